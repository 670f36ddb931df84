"""What the last run left behind, read as one and checked to belong together."""

import csv
import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from faceemo.errors import FaceemoError
from faceemo.params import Params, load_params, parse_section
from faceemo.paths import EVALUATION_FILE, HISTORY_FILE, IMPORTANCE_FILE, MODEL_FILE, PARAMS_FILE, SOURCES_FILE
from faceemo.pictures.sources import Source, read_sources
from faceemo.plainjson import read_json
from faceemo.running import is_training

if TYPE_CHECKING:
    from faceemo.training.plots import Importance

ANY_VALUE = ("workers", "extract.scheduler")  # of these makes the same run


@dataclass(frozen=True)
class LastRun:
    """A finished run."""

    params: Params
    """Those it was made with."""
    sources: dict[str, Source]
    """All of data/sources.yaml, also those of emotions that the run leaves out."""
    evaluation: dict
    """evaluation.json: see training.evaluate."""
    history: list[dict[str, float]]
    """A row of plots/history.csv an epoch; the last one is the model's."""

    @property
    def test(self) -> dict:
        """The score of the test faces by the truth that the headline is by."""
        return self.evaluation["test"][self.evaluation["truth"]]

    def importance(self) -> "Importance":
        """What the model's answers hang on. Raises FaceemoError if it is missing, broken or of another run."""
        from faceemo.training.plots import read_importance  # it needs matplotlib

        try:
            found, md5 = read_importance(IMPORTANCE_FILE)
        except FileNotFoundError:
            raise _missing(IMPORTANCE_FILE) from None
        except (ValueError, LookupError, TypeError, AttributeError):
            raise not_written_by_training(IMPORTANCE_FILE) from None
        if md5 != self.evaluation["model"]["md5"]:
            raise _not_of(IMPORTANCE_FILE, EVALUATION_FILE)
        return found


def read_last_run() -> LastRun:
    """The last run of the project in the current folder.

    Raises FaceemoError while dvc trains, if a file is missing or is not of the same run as the others; KeyError,
    TypeError, ValueError and their like where evaluation.json lacks what training writes.
    """
    if is_training():
        raise FaceemoError("dvc is training, and the last run is gone; wait for the end of the new one")
    now, sources = load_params(), read_sources()
    evaluation, history = _read_evaluation(), _read_history()
    made_with = _params(evaluation)
    if not MODEL_FILE.is_file():
        raise _missing(MODEL_FILE)
    if hashlib.md5(MODEL_FILE.read_bytes(), usedforsecurity=False).hexdigest() != evaluation["model"]["md5"]:
        raise _not_of(EVALUATION_FILE, MODEL_FILE)
    changed = [key for key, value in _leaves(now).items() if _leaves(made_with)[key] != value]
    if changed := [key for key in changed if key not in ANY_VALUE]:
        raise FaceemoError(f"{PARAMS_FILE} has changed since the last run ({', '.join(changed)}); run 'dvc repro'")
    if sources.keys() != evaluation["sources"].keys():
        raise _not_of(EVALUATION_FILE, SOURCES_FILE)
    if history[-1]["epoch"] != evaluation["model"]["epoch"]:
        raise _not_of(HISTORY_FILE, EVALUATION_FILE)
    return LastRun(made_with, sources, evaluation, history)


def not_written_by_training(path: Path) -> FaceemoError:
    """For a file that was edited, merged or made by another version."""
    return FaceemoError(f"{path.as_posix()} is not what training writes; run 'dvc repro' again")


def _read_evaluation() -> dict:
    try:
        return read_json(EVALUATION_FILE)
    except FileNotFoundError:
        raise _missing(EVALUATION_FILE) from None
    except ValueError:
        raise not_written_by_training(EVALUATION_FILE) from None


def _params(evaluation: dict) -> Params:
    try:
        return parse_section(Params, evaluation["params"], EVALUATION_FILE.name)
    except FaceemoError:  # of another version
        raise not_written_by_training(EVALUATION_FILE) from None


def _read_history() -> list[dict[str, float]]:
    try:
        with HISTORY_FILE.open(encoding="utf-8", newline="") as file:
            history = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
        for split in ("train", "valid"):
            assert {"epoch", f"{split}_loss", f"{split}_accuracy"} <= history[0].keys()
    except FileNotFoundError:
        raise _missing(HISTORY_FILE) from None
    except (ValueError, TypeError, IndexError, AssertionError, csv.Error):
        raise not_written_by_training(HISTORY_FILE) from None
    return history


def _leaves(params: Params) -> dict:
    """Parameters by dotted keys; the order of emotions counts."""
    values = {**asdict(params), "emotions": params.emotions and tuple(params.emotions.items())}
    flat = {}
    for name, value in values.items():
        flat.update({f"{name}.{key}": one for key, one in value.items()} if isinstance(value, dict) else {name: value})
    return flat


def _missing(path: Path) -> FaceemoError:
    return FaceemoError(f"{path.as_posix()} is not here; run 'dvc repro' first")


def _not_of(one: Path, other: Path) -> FaceemoError:
    return FaceemoError(f"{one.as_posix()} is not of {other.as_posix()} as it is now; run 'dvc repro'")
