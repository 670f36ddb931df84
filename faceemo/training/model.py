"""The network, and the file that holds all that prediction needs."""

import hashlib
import io
import json
import math
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

from faceemo.durable import written_whole
from faceemo.errors import FaceemoError
from faceemo.extraction.facemesh import COORDINATES
from faceemo.training.seen import HASH_BYTES, hash_person

FORMAT = 2  # of the model file; format 1 had no digest


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


def mlp(classes: int, inputs: int = COORDINATES, dropout: tuple[float, float] = (0.3, 0.2)) -> nn.Sequential:
    """inputs-512-256-128-classes, from features [N, inputs] to logits [N, classes]."""
    return nn.Sequential(
        nn.Linear(inputs, 512),
        nn.ReLU(),
        nn.BatchNorm1d(512),
        Dropout(dropout[0]),
        nn.Linear(512, 256),
        nn.ReLU(),
        nn.BatchNorm1d(256),
        Dropout(dropout[1]),
        nn.Linear(256, 128),
        nn.ReLU(),
        nn.Linear(128, classes),
    )


NETWORKS: dict[str, Callable[..., nn.Module]] = {"mlp": mlp, "mlp_dropout": partial(mlp, dropout=(0.5, 0.3))}


@dataclass(frozen=True)
class TrainedModel:
    """A trained network with what it was trained on.

    mean, std: float32 [1434]; a feature x goes into the network as (x - mean) / std.
    temperature: logits are divided by it, so that probabilities are calibrated on the validation people.
    settings: those of `normalize` and `extract` behind its features; `sources`: which engine and versions found the
        landmarks of each source; `emotions`: the members of each class. Models of older versions lack the latter two.
    neutral: float32 [1434], how people's neutral faces differ from the mean of all their faces, in the training of a
        model that judges change; None for other models and where no class is neutral.
    salt, people: uint8 [people, 32], who was in training and validation (see seen); None in models of older
        versions.
    """

    network: str
    classes: tuple[str, ...]
    state_dict: dict[str, torch.Tensor]
    mean: torch.Tensor
    std: torch.Tensor
    temperature: float
    settings: dict
    neutral: torch.Tensor | None = None
    salt: str | None = None
    people: torch.Tensor | None = None

    @property
    def members(self) -> dict[str, tuple[str, ...]]:
        """The emotions that make up each class, by its name; of a model of an older version that name alone."""
        told = self.settings.get("emotions", {})
        return {name: tuple(map(str, told.get(name, [name]))) for name in self.classes}

    def has_seen(self, subjects: Iterable[str | None]) -> list[bool]:
        """Whether each of these people was in its training or validation; False for None, and if it does not say."""
        if self.people is None or self.salt is None:
            return [False for _ in subjects]
        known = {row.tobytes() for row in self.people.numpy()}
        return [subject is not None and hash_person(subject, self.salt) in known for subject in subjects]

    def build(self) -> nn.Module:
        """The network with its weights, ready for prediction, on the CPU."""
        network = NETWORKS[self.network](len(self.classes))
        network.load_state_dict(self.state_dict)
        return network.eval()


def save_model(path: Path, model: TrainedModel) -> None:
    """Write models/emotion.pt, whole or not at all."""
    values = {"faceemo": FORMAT, "digest": _digest(model), **vars(model)}
    values["deviation"] = values.pop("std")  # the file's older word
    buffer = io.BytesIO()  # torch.save to a path reports a full disk as a RuntimeError of its native code
    torch.save(values, buffer)
    with written_whole(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_model(path: Path) -> TrainedModel:
    """Read a model file, also one of format 1; no GPU is needed and no code in it is run.

    Raises FaceemoError if it is missing, damaged or not one of this version's.
    """
    values = _read(path)
    other = FaceemoError(f"{path}: not a model of this version of faceemo; train it again with 'dvc repro'")
    if not isinstance(values, dict):
        raise other
    number = values.pop("faceemo", None)
    if not isinstance(number, int) or number not in (1, FORMAT):
        raise other
    digest = values.pop("digest", None)
    try:
        model = TrainedModel(std=values.pop("deviation"), **values)
        if not _is_whole(model):
            raise other
        expected = _digest(model)  # for format 1 too: it finds settings that are not JSON
        if number == FORMAT and digest != expected:
            raise _damaged(path)
    except (TypeError, KeyError, ValueError, RuntimeError):  # other fields, settings that are not JSON, odd tensors
        raise other from None
    return model


def _read(path: Path) -> object:
    try:
        with zipfile.ZipFile(path) as archive:
            is_damaged = archive.testzip() is not None  # torch.load compares no CRC-32
        values = None if is_damaged else torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise FaceemoError(f"{path}: no such model; train one with 'dvc repro', or name one with --model") from None
    except Exception as error:  # zipfile and torch.load raise errors of many kinds for what is not their own
        reason = " ".join(str(error).split()).partition(". ")[0] or type(error).__name__
        raise FaceemoError(f"{path}: not a faceemo model ({reason})") from None
    if is_damaged:
        raise _damaged(path)
    return values


def _damaged(path: Path) -> FaceemoError:
    return FaceemoError(f"{path} is damaged: copy it again, or train it again with 'dvc repro'")


def _is_whole(model: TrainedModel) -> bool:
    """Whether everything that prediction needs is there, of the right type and shape, and every number is finite.

    What the settings hold is checked where they are used.
    """
    if not isinstance(model.network, str) or model.network not in NETWORKS:
        return False
    classes = model.classes
    if not isinstance(classes, tuple) or len(classes) < 2 or not all(isinstance(name, str) for name in classes):
        return False
    settings, weights = model.settings, model.state_dict
    if not isinstance(settings, dict) or not isinstance(weights, dict):
        return False
    if not isinstance(model.temperature, float) or not 0 < model.temperature < math.inf:
        return False
    with torch.device("meta"):  # shapes without memory
        expected = NETWORKS[model.network](len(classes)).state_dict()
        vector = torch.empty(COORDINATES)
    if weights.keys() != expected.keys() or not _tells_people(model):
        return False
    vectors = [model.mean, model.std] + ([] if model.neutral is None else [model.neutral])
    pairs = [(weights[name], like) for name, like in expected.items()] + [(one, vector) for one in vectors]
    return all(_is_like(tensor, like) for tensor, like in pairs) and bool((model.std > 0).all())


def _tells_people(model: TrainedModel) -> bool:
    """Whether it has both salt and hashes of people, of their types, or neither."""
    if model.people is None:
        return model.salt is None
    like = torch.empty((len(model.people), HASH_BYTES), dtype=torch.uint8, device="meta")
    return isinstance(model.salt, str) and _is_like(model.people, like)


def _is_like(tensor: object, like: torch.Tensor) -> bool:
    """Whether it is a tensor of finite numbers, of the type and shape of `like`."""
    return (
        isinstance(tensor, torch.Tensor)
        and (tensor.dtype, tensor.shape, tensor.layout) == (like.dtype, like.shape, torch.strided)
        and tensor.device.type == "cpu"
        and bool(tensor.isfinite().all())
    )


def _digest(model: TrainedModel) -> str:
    """SHA-256 of all that a model holds."""
    digest = hashlib.sha256()
    plain = (model.network, model.classes, model.temperature, model.settings)
    digest.update(json.dumps(plain, sort_keys=True).encode())
    tensors = {"mean": model.mean, "std": model.std, "neutral": model.neutral, **model.state_dict}
    for name, tensor in tensors.items():
        digest.update(f"{name} {None if tensor is None else (tensor.dtype, *tensor.shape)}".encode())
        if tensor is not None:
            digest.update(tensor.detach().numpy().tobytes())
    if model.people is not None:  # models of older versions have none
        digest.update(f"people {model.salt} {tuple(model.people.shape)}".encode())
        digest.update(model.people.numpy().tobytes())
    return digest.hexdigest()
