"""What the last run left behind, read as one and checked to belong together."""

import csv
import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import yaml

from faceemo.errors import FaceemoError
from faceemo.extraction.facemesh import COORDINATES
from faceemo.extraction.sources import Source, read_sources
from faceemo.features.labels import Raters
from faceemo.features.normalize import engine_of, feature_settings, open_features, raters_of
from faceemo.params import Params, load_params, parse_section
from faceemo.paths import EVALUATION_FILE, FEATURES_FOLDER, HISTORY_FILE, LOCK_FILE, MODEL_FILE, PARAMS_FILE
from faceemo.prediction.predict import EmotionModel
from faceemo.rows import RowsFile
from faceemo.training.dataset import Dataset, count_coverage, count_subjects, describe_faces, read_features
from faceemo.training.evaluate import evaluate, summary
from faceemo.training.train import Epoch

LOG_LOSS_TOLERANCE = 1e-3  # the same model on a GPU and on this CPU differs by some 1e-6


@dataclass(frozen=True)
class LastRun:
    """A finished run.

    sources: all of data/sources.yaml, also those of emotions that the run leaves out.
    evaluation: evaluation.json. history: a row an epoch.
    md5: of models/emotion.pt, as dvc.lock has it.
    raters: of each source, whose answers its column `votes` counts.
    extractors: by engine the versions, by library, that made its landmarks; more than one where archives were
        extracted apart.
    dataset: as load_dataset gives it.
    probability: float32 [T, classes] of the T faces dataset.test.
    """

    params: Params
    sources: dict[str, Source]
    evaluation: dict
    history: list[Epoch]
    md5: str
    extractors: dict[str, dict[str, list[str]]]
    raters: dict[str, Raters]
    dataset: Dataset
    probability: np.ndarray

    @property
    def kept_epoch(self) -> int:
        """The epoch whose weights the model has, by the rule of training."""
        best = max(self.history, key=lambda epoch: epoch.score)
        return (best if self.params.train.best_epoch else self.history[-1]).epoch


def read_last_run() -> LastRun:
    """The last run of the project in the current folder; the test split is judged again, a group of rows at a time.

    Raises FaceemoError if a file is missing or is not of the same run as the others.
    """
    params, sources = load_params(), read_sources()
    evaluation, history = _read_evaluation(), _read_history()
    model = EmotionModel.load(MODEL_FILE)
    md5 = hashlib.md5(MODEL_FILE.read_bytes(), usedforsecurity=False).hexdigest()
    files = {key: _features_file(key) for key in sorted(sources)}  # as load_dataset sorts them
    settings = {key: feature_settings(file) for key, file in files.items()}
    _check_params(params, model, _locked_params(params, sources, md5))
    if any(_deciding(one) != _deciding(model.trained.settings) for one in settings.values()):
        raise _not_of(MODEL_FILE.as_posix(), FEATURES_FOLDER.as_posix())
    dataset = describe_faces(list(files.values()), params.emotions, params.split, params.labels)
    if not _counts_match(evaluation, dataset):
        raise _not_of(EVALUATION_FILE.name, FEATURES_FOLDER.as_posix())
    if not _is_like(evaluation, evaluate(dataset, np.zeros((len(dataset.row_of), len(params.emotions))), 1.0, params)):
        raise _not_written_by_training(EVALUATION_FILE)
    probability = _judge_test(model, dataset, files)
    if not _log_loss_matches(evaluation, dataset, probability):
        raise _not_of(EVALUATION_FILE.name, MODEL_FILE.as_posix())
    raters = {key: raters_of(file) for key, file in files.items()}
    extractors = _extractors([one["extract"] for one in settings.values()])
    return LastRun(params, sources, evaluation, history, md5, extractors, raters, dataset, probability)


def _read_evaluation() -> dict:
    try:
        evaluation = json.loads(EVALUATION_FILE.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FaceemoError(f"{EVALUATION_FILE} is not here; run 'dvc repro' first") from None
    except (ValueError, RecursionError):
        evaluation = None
    if not isinstance(evaluation, dict):
        raise _not_written_by_training(EVALUATION_FILE)
    return evaluation


def _read_history() -> list[Epoch]:
    try:
        with HISTORY_FILE.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        figures = [field.name for field in fields(Epoch) if field.name != "epoch"]
        history = [Epoch(int(row["epoch"]), *(float(row[name]) for name in figures)) for row in rows]
    except FileNotFoundError:
        raise FaceemoError(f"{HISTORY_FILE.as_posix()} is not here; run 'dvc repro' first") from None
    except (ValueError, TypeError, KeyError, csv.Error):
        history = []
    if not history:
        raise _not_written_by_training(HISTORY_FILE)
    return history


def _features_file(key: str) -> RowsFile:
    path = FEATURES_FOLDER / f"{key}.parquet"
    if not path.exists():
        raise FaceemoError(f"{path.as_posix()} is not here; run 'dvc repro' first")
    return open_features(path)


def _check_params(params: Params, model: EmotionModel, made_with: Params) -> None:
    """Raises FaceemoError if params.yaml says anything else than what the model was made with."""
    now, then = (_leaves({**asdict(one), "emotions": tuple(one.emotions.items())}) for one in (params, made_with))
    changed = [key for key in now if now[key] != then[key]]
    if not changed and tuple(params.emotions) != model.trained.classes:
        changed = ["emotions"]
    wanted = _deciding({"normalize": asdict(params.normalize), "extract": {"settings": asdict(params.extract)}})
    if not changed and wanted != _deciding(model.trained.settings):
        changed = [key for key in wanted if wanted[key] != _deciding(model.trained.settings).get(key)]
    if changed:
        raise FaceemoError(f"{PARAMS_FILE} has changed since the last run ({', '.join(changed)}); run 'dvc repro'")


def _locked_params(params: Params, sources: dict[str, Source], md5: str) -> Params:
    """The params that dvc.lock says the model was made with; as they are now where it does not know that model."""
    try:
        stages = yaml.safe_load(LOCK_FILE.read_text(encoding="utf-8"))["stages"]
        if not any(out.get("md5") == md5 for out in stages["train"]["outs"]):
            return params
        values = asdict(params)
        # dvc keeps the stages of archives that are gone
        for stage in ("train", "normalize", *(f"extract@{key}" for key in sources)):
            for name, value in stages.get(stage, {}).get("params", {}).get(PARAMS_FILE.name, {}).items():
                *sections, key = name.split(".")
                section = values
                for part in sections:
                    section = section[part]
                section[key] = value
    except (OSError, yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError):  # none, or one in conflict
        return params
    try:
        return parse_section(Params, values, LOCK_FILE.name)
    except FaceemoError as error:
        raise FaceemoError(f"{error}: it is of another version of faceemo; run 'dvc repro'") from None


def _leaves(values: dict, prefix: str = "") -> dict:
    """A nested mapping as one with dotted keys."""
    flat: dict = {}
    for key, value in values.items():
        flat.update(_leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return flat


def _deciding(settings: dict) -> dict:
    """Of the settings that travel with features those that decide them, with dotted keys."""
    values = _leaves({"normalize": settings["normalize"], "extract": settings["extract"]["settings"]})
    for key in ("extract.scheduler", "extract.engine"):  # rows are the same, or all but the last bits of them
        values.pop(key, None)
    return values


def _counts_match(evaluation: dict, dataset: Dataset) -> bool:
    coverage = {name: count for name, count in count_coverage(dataset).items() if name != "per_emotion"}
    found = evaluation.get("coverage")
    return (
        isinstance(found, dict)
        and {name: found.get(name) for name in coverage} == coverage
        and evaluation.get("subjects") == count_subjects(dataset)
    )


def _is_like(value: object, like: object, name: str = "") -> bool:
    """Whether JSON has all keys that `like` has, lists as long as there, and a number or null where there is one."""
    if isinstance(like, dict):
        return isinstance(value, dict) and all(key in value and _is_like(value[key], like[key], key) for key in like)
    if isinstance(like, list):
        return isinstance(value, list) and len(value) == len(like) and all(map(_is_like, value, like))
    if isinstance(like, str):
        return value == like
    if value is None or like is None:
        return value is like or name == "precision"  # null where nothing is chosen; all else follows from the rows
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _judge_test(model: EmotionModel, dataset: Dataset, files: dict[str, RowsFile]) -> np.ndarray:
    """float32 [T, classes] of the faces dataset.test."""
    baseline = np.zeros(COORDINATES) if model.judges_change else None  # it is taken off in the files already
    source, row = dataset.column("source")[dataset.test], dataset.column("row")[dataset.test].astype(np.int64)
    return np.concatenate(
        [
            model.judge(features.copy(), baseline)
            for key in sorted(set(source))
            for features in read_features(files[key], row[source == key])
        ]
    )


def _log_loss_matches(evaluation: dict, dataset: Dataset, probability: np.ndarray) -> bool:
    target = dataset.targets.learnt[dataset.test]
    log_loss = summary(probability, target, dataset.classes)["log_loss"]
    return bool(
        np.isclose(log_loss, evaluation["test"]["learnt"]["log_loss"], rtol=LOG_LOSS_TOLERANCE, atol=LOG_LOSS_TOLERANCE)
    )


def _extractors(extracts: list[dict]) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = {}
    for engine in sorted(set(map(engine_of, extracts))):
        versions = [one["versions"] for one in extracts if engine_of(one) == engine]
        names = sorted(set().union(*versions))
        found[engine] = {name: sorted({one[name] for one in versions if name in one}) for name in names}
    return found


def _not_written_by_training(path: Path) -> FaceemoError:
    return FaceemoError(f"{path.as_posix()} is not what training writes; run 'dvc repro' again")


def _not_of(one: str, other: str) -> FaceemoError:
    return FaceemoError(f"{one} is not of {other} as it is now; run 'dvc repro'")
