"""A trained model, and the file that holds all that prediction needs."""

import hashlib
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from faceemo.durable import written_whole
from faceemo.errors import FaceemoError, cannot_open
from faceemo.extraction.facemesh import COORDINATES
from faceemo.paths import COMES_ALONG, MODEL_FILE
from faceemo.running import is_training
from faceemo.training.domains import Likelier
from faceemo.training.networks import Network
from faceemo.training.recipe import CROP, RECIPES, BothWays
from faceemo.training.seen import HASH_BYTES, hash_person

FORMAT = 4  # of the model file
# How much of the logarithm of the classes' shares balanced answers are without: all of it overshoots (docs/recipes.md).
SHARES_TAKEN = 0.75
COMES_ALONG_FILE = Path(__file__).with_name("faceemo.pt")


@dataclass(frozen=True)
class TrainedModel:
    """A trained network with what it was trained on."""

    network: str
    """The name of its recipe."""
    classes: tuple[str, ...]
    state_dict: dict[str, torch.Tensor]
    """How features are prepared is among it."""
    temperature: float
    """Logits are divided by it, so that probabilities are calibrated on the validation people."""
    shares: tuple[float, ...]
    """Of what was learnt, how much each class was; they are in the probabilities. All equal: they are taken out."""
    mirror: bool
    """Whether a face gets the answer of its mirror image too, as in the training."""
    settings: dict
    """Those of `normalize` and `extract` behind its features; `sources`: which engine and versions found the landmarks
    of each source; `emotions`: the members of each class."""
    neutral: torch.Tensor | None = None
    """float32 [1434], how people's neutral faces differ from the mean of all their faces, in the training of a model
    with normalize.baseline: person; None for others and where no class is neutral."""
    salt: str | None = None
    people: torch.Tensor | None = None
    """uint8 [people, 32], who was in training and validation (see seen)."""
    domain: torch.Tensor | None = None
    """float32 [17, 16], of the crops learnt from (see domains); None for a network that reads none."""
    start: "TrainedModel | None" = None
    """The model that it began as, where that answers in its place (see Deferring)."""
    margin: float = -math.inf
    """Of Likelier, between the domains of the model and of its start; below it the start answers."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of features that the network reads, in the order in which it takes them."""
        return RECIPES[self.network].columns

    @property
    def members(self) -> dict[str, tuple[str, ...]]:
        """The emotions that make up each class, by its name."""
        return {name: tuple(self.settings["emotions"][name]) for name in self.classes}

    def has_seen(self, subjects: Iterable[str | None]) -> list[bool]:
        """Whether each of these people was in its training or validation, or in those of its start; False for None, and
        if it does not say.
        """
        subjects = list(subjects)
        by_start = [False for _ in subjects] if self.start is None else self.start.has_seen(subjects)
        if self.people is None or self.salt is None:
            return by_start
        known = {row.tobytes() for row in self.people.numpy()}
        return [
            seen or (subject is not None and hash_person(subject, self.salt) in known)
            for subject, seen in zip(subjects, by_start, strict=True)
        ]

    def weighted(self) -> Network:
        """The network with its weights, on the CPU."""
        network = RECIPES[self.network].build(len(self.classes))
        network.load_state_dict(self.state_dict)
        return network.eval()

    def build(self) -> nn.Module:
        """What it has learnt itself, on the CPU: columns [N, ...] to logits [N, classes]."""
        return (BothWays(self.weighted()) if self.mirror else self.weighted()).eval()

    def predictor(self) -> nn.Module:
        """What predicts: as build, but for the faces that are left to the start."""
        return self.build() if self.start is None else Deferring(self, self.start).eval()

    @property
    def lean(self) -> torch.Tensor:
        """float32 [classes]: what is taken off the logits for answers without the shares of what it learnt."""
        return (
            SHARES_TAKEN
            * torch.tensor([math.log(share * len(self.shares)) for share in self.shares])
            * self.temperature
        )

    def balanced(self) -> "TrainedModel":
        """The same without the shares of what it learnt: rare classes are answered as readily as common ones."""
        weights = {**self.state_dict, "head.bias": self.state_dict["head.bias"] - self.lean}
        start = None if self.start is None else self.start.balanced()
        return replace(self, state_dict=weights, shares=(1 / len(self.shares),) * len(self.shares), start=start)

    def anonymous(self) -> "TrainedModel":
        """The same without a word on whom it was trained on: for a model that is given away."""
        return replace(self, salt=None, people=None, start=None if self.start is None else self.start.anonymous())


class Deferring(nn.Module):
    """A model's network, and that of its start for crops that look more like what that one learnt from.

    The start's answer stands for the classes that both know; how probable these are together, and all others, remains
    what the model itself says.
    """

    is_known: torch.Tensor
    place: torch.Tensor

    def __init__(self, model: TrainedModel, start: TrainedModel) -> None:
        """Raises ValueError if they have no domains."""
        super().__init__()
        if model.domain is None or start.domain is None:
            raise ValueError("a model without a domain")
        self.own, self.start = model.build(), start.build()
        self.likelier, self.margin = Likelier(model.domain, start.domain), model.margin
        self.temperature, self.scale = model.temperature, model.temperature / start.temperature
        self.crop, self.read = model.columns.index(CROP), [model.columns.index(one) for one in start.columns]
        places = [start.classes.index(name) if name in start.classes else -1 for name in model.classes]
        self.register_buffer("is_known", torch.tensor(places) >= 0, persistent=False)
        self.register_buffer("place", torch.tensor(places).clamp(min=0), persistent=False)

    def forward(self, *columns: torch.Tensor) -> torch.Tensor:
        """As what build gives; a face that is left to a start that knows all classes costs one network, not two."""
        left = self.left(columns[self.crop])
        if torch.onnx.is_in_onnx_export():  # where all faces take the same way
            logits = self.own(*columns)
            return torch.where(left[:, None], self._merged(logits, columns), logits)
        asked = ~(left & self.is_known.all())
        if asked.all():
            logits = self.own(*columns)
        else:
            logits = torch.zeros(len(left), len(self.is_known), device=left.device)
            if asked.any():
                logits[asked] = self.own(*(column[asked] for column in columns))
        return self.settle(logits, left, columns)

    @torch.no_grad()
    def settle(self, logits: torch.Tensor, left: torch.Tensor, columns: Sequence[torch.Tensor]) -> torch.Tensor:
        """Put the start's answers into the model's own logits [N, classes], which are returned, for those of `left`."""
        if left.any():
            logits[left] = self._merged(logits[left], [column[left] for column in columns])
        return logits

    def each(self, *columns: torch.Tensor) -> torch.Tensor:
        """[N, 2, classes]: the model's own logits, and those with the start's answers, of every face."""
        own = self.own(*columns)
        return torch.stack([own, self._merged(own, columns)], dim=1)

    def left(self, crops: torch.Tensor) -> torch.Tensor:
        """bool [N]: which faces are left to the start, by their crops uint8 [N, side, side]."""
        return self.likelier(crops) < self.margin

    def _merged(self, logits: torch.Tensor, columns: Sequence[torch.Tensor]) -> torch.Tensor:
        start = self.start(*(columns[one] for one in self.read))[:, self.place] * self.scale
        return torch.where(self.is_known, start - self._together(start) + self._together(logits), logits)

    def _together(self, logits: torch.Tensor) -> torch.Tensor:
        """[N, 1], the logit of all known classes together."""
        known = (logits / self.temperature).masked_fill(~self.is_known, -math.inf)
        return known.logsumexp(dim=1, keepdim=True) * self.temperature


def model_file(name: str | Path) -> Path:
    """The file of a model by its path, or of the one that comes along by COMES_ALONG."""
    return COMES_ALONG_FILE if str(name) == COMES_ALONG else Path(name)


def save_model(path: Path, model: TrainedModel) -> None:
    """Write a model file, whole or not at all."""
    buffer = io.BytesIO()  # torch.save to a path reports a full disk as a RuntimeError of its native code
    start = None if model.start is None else vars(model.start)
    torch.save({"faceemo": FORMAT, "digest": _digest(model), **vars(model), "start": start}, buffer)
    with written_whole(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_model(path: Path) -> TrainedModel:
    """Read a model file; no GPU is needed and no code in it is run.

    Raises FaceemoError if it is missing, damaged or not one of this version's.
    """
    values = _read(path)
    if not isinstance(values, dict) or values.pop("faceemo", None) != FORMAT:
        raise _other_version(path)
    digest = values.pop("digest", None)
    try:
        start = values.pop("start")
        model = TrainedModel(**values, start=None if start is None else TrainedModel(**start))
        is_whole = digest == _digest(model)
        if is_whole:
            _check(model)
    except (TypeError, KeyError, ValueError, RuntimeError, AttributeError):  # other fields, weights that do not fit
        raise _other_version(path) from None
    if not is_whole:
        raise FaceemoError(f"{path} is damaged: copy it again, or train it again with 'dvc repro'")
    return model


def _read(path: Path) -> object:
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise FaceemoError(f"{path}: not a faceemo model (not a regular file)")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        what = "no such model; train one with 'dvc repro', or name another: faceemo is the one that comes along"
        if path.resolve() == MODEL_FILE.resolve() and is_training():
            what = "dvc is training it; wait for its end, or name another: faceemo is the one that comes along"
        raise FaceemoError(f"{path}: {what}") from None
    except OSError as error:
        raise cannot_open(path, error) from None
    except Exception as error:  # torch.load raises errors of many kinds for what is not its own
        reason = " ".join(str(error).split()).partition(". ")[0] or type(error).__name__
        raise FaceemoError(f"{path}: not a faceemo model ({reason})") from None


def _other_version(path: Path) -> FaceemoError:
    return FaceemoError(f"{path}: not a model of this version of faceemo; train it again with 'dvc repro'")


def _check(model: TrainedModel) -> None:
    """Raises ValueError, RuntimeError or KeyError unless prediction can work with a model whose digest is right."""
    is_distinct = len(set(model.classes)) == len(model.classes) == len(model.shares) >= 2
    if not is_distinct or not 0 < model.temperature < math.inf or not all(share > 0 for share in model.shares):
        raise ValueError("classes, shares or temperature")
    if not all(one.isfinite().all() for one in model.state_dict.values()):
        raise ValueError("weights that are not finite")
    if model.neutral is not None and model.neutral.shape != (COORDINATES,):
        raise ValueError("neutral face")
    if model.people is not None and (model.people.dtype != torch.uint8 or model.people.shape[1:] != (HASH_BYTES,)):
        raise ValueError("people")
    if model.domain is not None and not model.domain.isfinite().all():
        raise ValueError("domain")
    assert set(model.members) == set(model.classes)
    if model.start is not None:
        _check(model.start)
    model.predictor()


def _digest(model: TrainedModel) -> str:
    """SHA-256 of all that a model holds."""
    digest = hashlib.sha256()
    plain = (
        model.network,
        model.classes,
        model.temperature,
        model.shares,
        model.mirror,
        model.settings,
        model.salt,
        model.margin,
        None if model.start is None else _digest(model.start),
    )
    digest.update(json.dumps(plain, sort_keys=True).encode())
    tensors = {"neutral": model.neutral, "people": model.people, "domain": model.domain, **model.state_dict}
    for name, tensor in tensors.items():
        digest.update(f"{name} {None if tensor is None else (tensor.dtype, *tensor.shape)}".encode())
        if tensor is not None:
            digest.update(tensor.detach().numpy().tobytes())
    return digest.hexdigest()
