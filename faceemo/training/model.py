"""The network, and the file that holds all that prediction needs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from faceemo.durable import written_whole
from faceemo.errors import FaceemoError
from faceemo.extraction.facemesh import COORDINATES

FORMAT = 1  # of the model file


class Dropout(nn.Dropout):
    """nn.Dropout whose mask takes a quarter of the time on a CPU, where it is otherwise a sixth of a training step.

    Four elements share one random int64, so the rate is right to 1/65536.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or x.device.type != "cpu":
            return super().forward(x)
        words = torch.randint(-(2**63), 2**63 - 1, (-(-x.numel() // 4),))
        kept = words.view(torch.int16)[: x.numel()].view_as(x) >= round(self.p * 2**16) - 2**15
        return x * (kept / (1 - self.p))


def mlp(classes: int) -> nn.Sequential:
    """1434-512-256-128-classes, from features [N, 1434] to logits [N, classes]."""
    return nn.Sequential(
        nn.Linear(COORDINATES, 512),
        nn.ReLU(),
        nn.BatchNorm1d(512),
        Dropout(0.3),
        nn.Linear(512, 256),
        nn.ReLU(),
        nn.BatchNorm1d(256),
        Dropout(0.2),
        nn.Linear(256, 128),
        nn.ReLU(),
        nn.Linear(128, classes),
    )


NETWORKS: dict[str, Callable[[int], nn.Module]] = {"mlp": mlp}


@dataclass(frozen=True)
class TrainedModel:
    """A trained network with what it was trained on.

    mean, std: float32 [1434]; a feature x goes into the network as (x - mean) / std.
    temperature: logits are divided by it, so that probabilities are calibrated on the validation people.
    settings: those of `normalize` and `extract` behind its features.
    neutral: float32 [1434], how people's neutral faces differ from the mean of all their faces, in the training of a
        model that judges change; None for other models and where no class is neutral.
    """

    network: str
    classes: tuple[str, ...]
    state_dict: dict[str, torch.Tensor]
    mean: torch.Tensor
    std: torch.Tensor
    temperature: float
    settings: dict
    neutral: torch.Tensor | None = None

    def build(self) -> nn.Module:
        """The network with its weights, ready for prediction, on the CPU."""
        network = NETWORKS[self.network](len(self.classes))
        network.load_state_dict(self.state_dict)
        return network.eval()


def save_model(path: Path, model: TrainedModel) -> None:
    """Write models/emotion.pt, whole or not at all."""
    with written_whole(path) as temporary:
        values = {"faceemo": FORMAT, **vars(model)}
        values["deviation"] = values.pop("std")  # the file's older word
        torch.save(values, temporary)


def load_model(path: Path) -> TrainedModel:
    """Read a model file; no GPU is needed and no code in it is run.

    Raises FaceemoError if it is missing or not one of this version's.
    """
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise FaceemoError(f"{path}: no such model; train one with 'dvc repro'") from None
    except Exception as error:  # torch.load raises pickle, zip, runtime and key errors for what is not its own
        reason = str(error).partition(". ")[0].splitlines()[0] if str(error) else type(error).__name__
        raise FaceemoError(f"{path}: not a faceemo model ({reason})") from None
    other = FaceemoError(f"{path}: not a model of this version of faceemo; train it again with 'dvc repro'")
    if not isinstance(values, dict) or values.pop("faceemo", None) != FORMAT or values.get("network") not in NETWORKS:
        raise other
    try:
        return TrainedModel(std=values.pop("deviation"), **values)
    except (TypeError, KeyError):
        raise other from None
