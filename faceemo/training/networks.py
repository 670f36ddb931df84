"""The networks' parts: a branch for each column of features that is read, and a head on what they give."""

from collections.abc import Mapping

import torch
from torch import nn

from faceemo.extraction.facemesh import COORDINATES


class Dropout(nn.Dropout):
    """nn.Dropout whose mask takes a quarter of the time on a CPU, where it is otherwise a sixth of a training step.

    Four elements share one random int64, so the rate is right to 1/65536.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x of any shape."""
        if not self.training or x.device.type != "cpu":
            return super().forward(x)
        words = torch.randint(-(2**63), 2**63 - 1, (-(-x.numel() // 4),))
        kept = words.view(torch.int16)[: x.numel()].view_as(x) >= round(self.p * 2**16) - 2**15
        return x * (kept / (1 - self.p))


class Branch(nn.Module):
    """A part of a network that reads one column of features."""

    width: int
    """How many numbers it gives for a face."""


class MeshBranch(Branch):
    """Features of landmarks, standardised, through inputs-512-256-128."""

    width = 128
    mean: torch.Tensor
    """float32 [inputs], of the faces learnt from; what is fed while components are learnt from has mean 0."""
    std: torch.Tensor
    """float32 [inputs]"""

    def __init__(self, inputs: int = COORDINATES, dropout: tuple[float, float] = (0.3, 0.2)) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("std", torch.ones(inputs))
        self.layers = nn.Sequential(
            nn.Linear(inputs, 512),
            nn.ReLU(),
            nn.BatchNorm1d(512),
            Dropout(dropout[0]),
            nn.Linear(512, 256),
            nn.ReLU(),
            nn.BatchNorm1d(256),
            Dropout(dropout[1]),
            nn.Linear(256, self.width),
            nn.ReLU(),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """features: float32 [N, inputs]. Returns [N, 128]."""
        return self.layers((features - self.mean) / self.std)


class Network(nn.Module):
    """Branches side by side and a linear head on what they give; a MeshBranch alone is 1434-512-256-128-classes."""

    def __init__(self, branches: Mapping[str, Branch], classes: int) -> None:
        """branches: by the column of features that each reads."""
        super().__init__()
        self.branches = nn.ModuleDict(dict(branches))
        self._widths = {column: branch.width for column, branch in branches.items()}
        self.head = nn.Linear(sum(self._widths.values()), classes)

    def places(self) -> dict[str, slice]:
        """Which of the head's inputs each branch gives."""
        found, start = {}, 0
        for column, width in self._widths.items():
            found[column] = slice(start, start + width)
            start += width
        return found

    def forward(self, *columns: torch.Tensor) -> torch.Tensor:
        """Logits [N, classes] of the columns, each [N, ...], in the order of the branches."""
        given = [branch(column) for branch, column in zip(self.branches.values(), columns, strict=True)]
        return self.head(torch.cat(given, dim=1))
