"""Typed parameters: params.yaml read by declared type and checked as a whole before any work.

The values and what they mean stand in params.yaml, nowhere else. dvc checks nothing and writes `lr=1e-5` back as
`1e-05`, which YAML 1.1 reads as a string, so a number may come as text.
"""

import dataclasses
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, NoneType
from typing import Annotated, Any, get_args, get_origin

from faceemo.emotions import emotion_classes
from faceemo.errors import FaceemoError, FileError
from faceemo.paths import PARAMS_FILE
from faceemo.plainyaml import read_yaml, shown, shown_key

LEAST_PICTURES = {"none": 0, "person": 8, "neutral": 1}  # of a person, that each kind of baseline needs
FEATURES = 1434  # of a face: 478 landmarks x 3
READ_CROPS = ("cnn", "both")  # of train.network

# Keys that params.yaml had up to version 0.2, and what holds in their place.
GONE = {
    "labels.min_agreement": "every picture is learnt",
    "extract.full_resolution": "JPEGs are decoded as small as the face allows",
    "extract.max_faces": "one face is looked for",
    "extract.max_pixels": "120000000",
    "extract.max_bytes": "200000000",
    "normalize.units": "equal",
    "normalize.align": "none",
    "normalize.baseline_min": "1 picture for neutral, 8 for person",
    "train.optimizer": "adamw",
    "train.schedule": "cosine",
    "train.standardize": "true",
    "train.best_epoch": "the last epoch is kept",
    "train.patience": "all epochs are trained",
}

Parser = Callable[[Any], Any]  # stands in the annotation of a field; raises ValueError for a value that is not right


def integer(at_least: int, at_most: int | None = None) -> Parser:
    """Takes whole numbers from at_least to at_most, both included."""

    def parse(value: Any) -> int:
        number = _number(value, "a whole number")
        if number != int(number):
            raise ValueError(f"must be a whole number, not {shown(value)}")
        return int(_bounded(number, at_least, at_most))

    return parse


def real(at_least: float | None = None, above: float | None = None, below: float | None = None) -> Parser:
    """Takes finite numbers: at_least is included, above and below are not."""

    def parse(value: Any) -> float:
        number = _number(value, "a number")
        if above is not None and not number > above:
            raise ValueError(f"must be above {above:.15g}, not {number:.15g}")
        if below is not None and not number < below:
            raise ValueError(f"must be below {below:.15g}, not {number:.15g}")
        return float(_bounded(number, at_least, None))

    return parse


def boolean(value: Any) -> bool:
    """Takes true and false; raises ValueError for anything else, also for 0 and 1."""
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {shown(value)}")
    return value


def choice(*words: str) -> Parser:
    """Takes one of these words."""

    def parse(value: Any) -> str:
        if value not in words:
            raise ValueError(f"must be one of {', '.join(words)}, not {shown(value)}")
        return value

    return parse


def optional(parse: Parser) -> Parser:
    """Takes null, and what `parse` takes."""
    return lambda value: None if value is None else parse(value)


def scheduler_address(value: Any) -> str:
    """Takes the address of a Dask scheduler; raises ValueError for anything else."""
    if not isinstance(value, str) or not value.startswith(("tcp://", "tls://")):
        raise ValueError(f"must be null or an address like tcp://host:8786, not {shown(value)}")
    return value


def model_name(value: Any) -> str:
    """faceemo, the model that comes along, or the path of a model file."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(f"must be null, faceemo or the path of a model file, not {shown(value)}")
    return value


def emotion_list(value: Any) -> dict[str, tuple[str, ...]]:
    """The members of each class by its name, as written in params.yaml; raises ValueError for what is no such list."""
    if not isinstance(value, list) or not value or not all(isinstance(entry, str | dict) for entry in value):
        raise ValueError(f"must be a list of emotions, not {shown(value)}")
    try:
        return emotion_classes(value)
    except FaceemoError as error:
        raise ValueError(str(error)) from None


def _number(value: Any, what: str) -> float | int:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise ValueError(f"must be {what}, not {shown(value)}") from None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        raise ValueError(f"must be {what}, not {shown(value)}")
    return value


def _bounded(number: float, at_least: float | None, at_most: float | None) -> float:
    if at_least is not None and number < at_least:
        raise ValueError(f"must be at least {at_least:.15g}, not {number:.15g}")
    if at_most is not None and number > at_most:
        raise ValueError(f"must be at most {at_most:.15g}, not {number:.15g}")
    return number


@dataclass(frozen=True)
class SplitParams:
    """params.yaml's `split`: who is in which split, and the shares of people in two of them."""

    by: Annotated[str, choice("person", "folder")]
    valid: Annotated[float, real(above=0, below=1)]
    test: Annotated[float, real(above=0, below=1)]


@dataclass(frozen=True)
class LabelParams:
    """params.yaml's `labels`."""

    target: Annotated[str, choice("archive", "majority", "votes")]


@dataclass(frozen=True)
class ExtractParams:
    """params.yaml's `extract`."""

    engine: Annotated[str, choice("auto", "mediapipe", "litert")]
    crops: Annotated[bool, boolean]
    scheduler: Annotated[str | None, optional(scheduler_address)]


@dataclass(frozen=True)
class NormalizeParams:
    """params.yaml's `normalize`."""

    center: Annotated[str, choice("centroid", "nose_tip")]
    scale: Annotated[str, choice("rms", "max_abs")]
    baseline: Annotated[str, choice("none", "person", "neutral")]

    @property
    def least_pictures(self) -> int:
        """How many pictures of a person their baseline needs; 0 without a baseline."""
        return LEAST_PICTURES[self.baseline]


@dataclass(frozen=True)
class TrainParams:
    """params.yaml's `train`; docs/outputs.md says what each means."""

    network: Annotated[str | None, optional(choice("mlp", "mlp_dropout", *READ_CROPS))]
    start: Annotated[str | None, optional(model_name)]
    whiten: Annotated[int | None, optional(integer(1, FEATURES))]
    weight_decay: Annotated[float, real(at_least=0)]
    label_smoothing: Annotated[float, real(at_least=0, below=1)]
    mirror: Annotated[bool, boolean]
    class_weights: Annotated[bool, boolean]
    recall_target: Annotated[float, real(above=0, below=1)]


@dataclass(frozen=True)
class Params:
    """All of params.yaml."""

    emotions: Annotated[Mapping[str, tuple[str, ...]] | None, optional(emotion_list)]
    """The members of each class, by its name; None: every class that is found is one."""
    limit: Annotated[int | None, optional(integer(1))]
    workers: Annotated[int | None, optional(integer(1))]
    seed: Annotated[int, integer(0, 2**32 - 1)]
    lr: Annotated[float, real(above=0)]
    epochs: Annotated[int, integer(1)]
    batch_size: Annotated[int, integer(2)]
    split: SplitParams
    labels: LabelParams
    extract: ExtractParams
    normalize: NormalizeParams
    train: TrainParams


def load_params(path: Path = PARAMS_FILE, changes: Mapping[str, Any] = MappingProxyType({})) -> Params:
    """Read and check params.yaml, with some keys like `train.whiten` set to other values.

    Raises FileError that names the first key that is wrong and what it must be; FaceemoError without the file.
    """
    try:
        values = read_yaml(path)
    except FileNotFoundError:
        raise FaceemoError(f"{path} is not here; run this in the project's folder") from None
    except ValueError as error:
        raise FileError(path, f"not valid YAML: {error}") from None
    for key, value in changes.items():
        *sections, name = key.split(".")
        section = values
        for part in sections:
            section = section.get(part) if isinstance(section, dict) else None
        if not isinstance(section, dict):
            raise FileError(path, f"no key {key}")
        section[name] = value
    _refuse_gone(values, path)
    params = parse_section(Params, values, str(path))
    if params.split.valid + params.split.test >= 1:
        raise FileError(path, "split.valid and split.test together must be below 1: people must remain to train")
    return params


def lone_class(emotions: Mapping[str, tuple[str, ...]] | None) -> str | None:
    """The line that says that `emotions` names one class alone, so that nothing can be learnt; None if it does not."""
    if emotions is None or len(emotions) > 1:
        return None
    return f"{PARAMS_FILE}: emotions names {', '.join(emotions)} alone, and a model needs two classes"


def as_values(params: Params) -> dict[str, Any]:
    """Parameters as params.yaml has them."""
    emotions = params.emotions and [
        name if members == (name,) else {name: list(members)} for name, members in params.emotions.items()
    ]
    return {**dataclasses.asdict(params), "emotions": emotions}


def _refuse_gone(values: Any, path: Path) -> None:
    """Raises FileError that names all keys which are no parameters any more, and what holds in their place."""
    found = []
    for key, instead in GONE.items():
        section, name = key.split(".")
        held = values.get(section) if isinstance(values, dict) else None
        if isinstance(held, dict) and name in held:
            found.append(f"{key} (now: {instead})")
    if found:
        raise FileError(path, f"no parameter any more, delete: {', '.join(found)}")


def parse_section(section: type, values: Any, where: str, prefix: str = "") -> Any:
    """A dataclass of this module from a mapping, every key checked.

    Raises FileError for a key that is unknown, missing or of the wrong type or range.
    """
    if not isinstance(values, dict):
        raise FileError(where, f"{prefix.rstrip('.') or 'the file'} must be a mapping of keys to values")
    fields = {field.name: field for field in dataclasses.fields(section)}
    for key in values:
        if key not in fields:
            raise FileError(where, f"unknown key {prefix}{shown_key(key)}; known here: {', '.join(fields)}")
    parsed = {}
    for name, field in fields.items():
        if name not in values:
            raise FileError(where, f"key {prefix}{name} is missing")
        value = values[name]
        inner, *others = get_args(field.type) or (field.type,)  # of `Annotated[type, parser]` or `Section | None`
        if get_origin(field.type) is not Annotated:
            absent = value is None and NoneType in others
            parsed[name] = None if absent else parse_section(inner, value, where, f"{prefix}{name}.")
            continue
        try:
            parsed[name] = others[0](value)
        except ValueError as error:
            raise FileError(where, f"{prefix}{name} {error}") from None
    return section(**parsed)
