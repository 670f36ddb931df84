"""What trains: the columns of data/features that a network reads, and the network.

A new kind of input is a branch in a file of its own, a column, and an entry here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from faceemo.extraction.facemesh import COORDINATES
from faceemo.training.cnn import CropBranch
from faceemo.training.mirror import mirrored_features
from faceemo.training.networks import Branch, MeshBranch, Network

Inputs = Mapping[str, np.ndarray]
"""By column, a row a face: features float32 [N, 1434], crop uint8 [N, side, side]."""

MESH, CROP = "features", "crop"  # columns
FACES_AT_ONCE = 512  # that are looked at, without learning: a crop and its mirror image take 0.6 MB of activations


@dataclass(frozen=True)
class Recipe:
    """What a network reads, and its parts."""

    columns: tuple[str, ...]
    """Of data/features, in the order in which the network takes them."""
    dropout: tuple[float, float] = (0.3, 0.2)
    """Of the branch that reads landmarks."""

    @property
    def is_heavy(self) -> bool:
        """Whether a step is worth all cores and half precision: the landmarks' network is as fast on one core."""
        return CROP in self.columns

    def build(self, classes: int, inputs: int = COORDINATES) -> Network:
        """A network with random weights. inputs: of the branch that reads landmarks."""
        return Network({name: self._branch(name, inputs) for name in self.columns}, classes)

    def _branch(self, column: str, inputs: int) -> Branch:
        return CropBranch() if column == CROP else MeshBranch(inputs, self.dropout)


RECIPES = {
    "mlp": Recipe((MESH,)),
    "mlp_dropout": Recipe((MESH,), dropout=(0.5, 0.3)),
    "cnn": Recipe((CROP,)),
    "both": Recipe((MESH, CROP), dropout=(0.5, 0.3)),
}


def choose_network(network: str | None, has_crops: bool, whitens: bool) -> str:
    """The name of the recipe for params.yaml's train.network; null takes what measures best (see docs/recipes)."""
    if network is not None:
        return network
    if has_crops:
        return "both"
    return "mlp_dropout" if whitens else "mlp"


class MeshMirror(nn.Module):
    """Turns features of landmarks into those of the mirrored faces."""

    order: torch.Tensor
    sign: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        order, sign = mirrored_features()
        self.register_buffer("order", torch.from_numpy(order), persistent=False)
        self.register_buffer("sign", torch.from_numpy(sign), persistent=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """features: [N, 1434]"""
        return features.index_select(1, self.order) * self.sign


class CropMirror(nn.Module):
    """Turns crops into those of the mirrored faces: the mean mesh that they are laid onto is even."""

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """crops: [N, side, side]"""
        return crops.flip(-1)


Mirror = Callable[[torch.Tensor], torch.Tensor]


class BothWays(nn.Module):
    """A network that says of a face and of its mirror image the same: the mean of its logits of both.

    Measured beside the network that looks once: docs/recipes.md.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.mirrors = nn.ModuleList(MIRRORS[column]() for column in network.branches)

    def forward(self, *columns: torch.Tensor) -> torch.Tensor:
        """As the network's."""
        pairs = (torch.cat([column, mirror(column)]) for column, mirror in zip(columns, self.mirrors, strict=True))
        face, mirrored = self.network(*pairs).chunk(2)
        return (face + mirrored) / 2


MIRRORS: dict[str, Callable[[], nn.Module]] = {MESH: MeshMirror, CROP: CropMirror}
