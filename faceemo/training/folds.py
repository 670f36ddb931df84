"""Settings judged on people that the network has not seen, over folds of people and several seeds.

Each fold is predicted by a network trained on all people of the other folds. It keeps its last epoch, so nothing is
chosen on the fold that is judged.
"""

import contextlib
import dataclasses
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedGroupKFold

from faceemo.console import progress
from faceemo.errors import FaceemoError
from faceemo.params import Params
from faceemo.rows import as_objects
from faceemo.training.dataset import Dataset, load_dataset, load_features
from faceemo.training.resample import sums_over_people
from faceemo.training.train import train

RESAMPLES = 4000
INTERVAL = (0.025, 0.975)


def predict_over_folds(
    dataset: Dataset,
    features: np.ndarray,
    params: Params,
    folds: int,
    after_fold: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """int64 [N], the class that each face is taken for by a network that has not seen its person.

    features: float32 [N, 1434]. params.seed decides the folds too.
    Faces of unknown people are trained on in every fold and get -1. Raises FaceemoError if there are fewer people, or
    fewer faces of each class, than folds.
    """
    subject = dataset.column("subject")
    known = np.flatnonzero(subject != None)  # noqa: E711 - elementwise
    people = len(set(subject[known]))
    if people < folds:
        raise FaceemoError(f"{people} people cannot be put into {folds} folds; lower --folds")
    stratify = dataset.targets.archive[known]
    most = int(np.unique(stratify, return_counts=True)[1].max())
    if most < folds:
        raise FaceemoError(f"{most} pictures of a class cannot be put into {folds} folds; lower --folds")
    predicted = np.full(len(subject), -1)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=params.seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")  # it is then missing in some folds
        parts = [known[fold] for _, fold in splitter.split(known, stratify, subject[known])]
    for judged in parts:
        logits = train_and_predict(dataset, features, params, set(subject[judged]))
        predicted[judged] = logits[judged].argmax(axis=1)
        after_fold()
    return predicted


def train_and_predict(dataset: Dataset, features: np.ndarray, params: Params, unseen: set[str]) -> np.ndarray:
    """Logits float32 [N, classes] of all faces by a network trained on everybody but these people."""
    rows = np.array([subject in unseen for subject in as_objects(dataset.rows["subject"])])
    # "valid" is measured after every epoch; without best_epoch and patience it chooses nothing
    split = np.where(rows, "valid", "train").astype(object)
    settings = dataclasses.replace(params.train, best_epoch=False, patience=None)
    fold = dataclasses.replace(dataset, split=split)
    params = dataclasses.replace(params, train=settings)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return train(fold, features.copy(), params, interrupted_path=None).logits


@dataclass(frozen=True)
class Judgement:
    """How right predictions [seeds, N] are, of N faces with a class: means over the seeds, and their std."""

    accuracy: float
    accuracy_std: float
    balanced_accuracy: float
    balanced_accuracy_std: float
    macro_f1: float
    macro_f1_std: float


def judge(predicted: np.ndarray, truth: np.ndarray) -> Judgement:
    """predicted: int64 [seeds, N]; truth: int64 [N]."""
    present = np.unique(truth)
    accuracy = (predicted == truth).mean(axis=1)
    balanced = np.mean([(predicted[:, truth == name] == name).mean(axis=1) for name in present], axis=0)
    f1 = np.array([f1_score(truth, one, labels=present, average="macro", zero_division=0) for one in predicted])
    spread = [float(values.std(ddof=1)) if len(values) > 1 else 0.0 for values in (accuracy, balanced, f1)]
    means = [float(values.mean()) for values in (accuracy, balanced, f1)]
    return Judgement(*(value for pair in zip(means, spread, strict=True) for value in pair))


def interval_over_people(
    values: np.ndarray, subject: np.ndarray, group: np.ndarray | None = None
) -> tuple[float, float]:
    """95 % bootstrap interval of the mean of values [N] over faces, where people are resampled, not faces.

    group: int64 [N], for the mean over groups of their means.
    """
    groups = np.zeros(len(values)) if group is None else group
    of_group = (groups[:, None] == np.unique(groups)).astype(float)
    cells = np.hstack([of_group, of_group * values[:, None]])
    counted, sums = np.split(sums_over_people(cells, subject, RESAMPLES), 2, axis=1)
    means = np.divide(sums, counted, out=np.full(counted.shape, np.nan), where=counted > 0)
    low, high = np.quantile(np.nanmean(means, axis=1), INTERVAL)
    return float(low), float(high)


@dataclass(frozen=True)
class FoldRun:
    """Predictions int64 [seeds, N] of all faces, with their subjects and their classes by each truth (-1: none)."""

    predicted: np.ndarray
    subject: np.ndarray
    truths: dict[str, np.ndarray]

    def judged(self, truth: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Predictions [seeds, M], classes [M] and subjects [M] of the faces of known people that have a class."""
        chosen = (self.truths[truth] >= 0) & (self.predicted[0] >= 0)
        return self.predicted[:, chosen], self.truths[truth][chosen], self.subject[chosen]


def compare_over_folds(features_folder: Path, settings: dict[str, Params], folds: int, seeds: int) -> dict:
    """Judge each of these parameters by its name over folds of people, the first of them beside the others.

    They may differ in what the stage train reads but for emotions and split. Returns what folds.json holds: for each
    truth (the archive's name; the raters' majority, where there are raters) a Judgement by name, and for the others
    their differences to the first, mean, low and high.
    """
    runs: dict[str, FoldRun] = {}
    with progress(len(settings) * seeds * folds, "folds", "trainings") as advance:
        for name, params in settings.items():
            dataset = load_dataset(features_folder, params.emotions, None, params.labels)
            features = load_features(features_folder, dataset)
            predicted = [
                predict_over_folds(
                    dataset, features, dataclasses.replace(params, seed=params.seed + number), folds, lambda: advance(1)
                )
                for number in range(seeds)
            ]
            truths = {"archive": dataset.targets.archive, "majority": dataset.targets.majority}
            runs[name] = FoldRun(np.array(predicted), dataset.column("subject"), truths)
    first, *others = runs
    result: dict = {"folds": folds, "seeds": seeds, "truths": {}}
    for truth in ("archive", "majority"):
        before, classes, subject = runs[first].judged(truth)
        if not len(classes):
            continue
        judged = {name: dataclasses.asdict(judge(*run.judged(truth)[:2])) for name, run in runs.items()}
        differences: dict[str, dict] = {}
        for name in others:
            after, _, _ = runs[name].judged(truth)
            difference = ((after == classes).astype(float) - (before == classes)).mean(axis=0)
            by_class = [difference[classes == number].mean() for number in np.unique(classes)]
            differences[name] = {
                "accuracy": [float(difference.mean()), *interval_over_people(difference, subject)],
                "balanced_accuracy": [float(np.mean(by_class)), *interval_over_people(difference, subject, classes)],
            }
        result["truths"][truth] = {
            "images": len(classes),
            "people": len(set(subject)),
            "settings": judged,
            "differences": differences,
        }
    return result


def fold_lines(result: dict) -> list[str]:
    """What compare_over_folds found, as lines for the terminal."""
    against = {"archive": "the archive's name", "majority": "the majority of raters"}
    lines = []
    for truth, entry in result["truths"].items():
        width = max(map(len, entry["settings"]))
        size = f"{entry['people']} people, {entry['images']} pictures, {result['seeds']} seeds"
        lines.append(f"{result['folds']} folds of {size}: mean and std over seeds, against {against[truth]}")
        for name, found in entry["settings"].items():
            words = [
                f"{metric.replace('_', ' ')} {found[metric]:.3f} ({found[f'{metric}_std']:.3f})"
                for metric in ("accuracy", "balanced_accuracy", "macro_f1")
            ]
            lines.append(f"  {name:{width}}  {'  '.join(words)}")
        for name, found in entry["differences"].items():
            words = [
                f"{metric.replace('_', ' ')} {mean:+.3f} [{low:+.3f}, {high:+.3f}]"
                for metric, (mean, low, high) in found.items()
            ]
            lines.append(f"  {name} minus {next(iter(entry['settings']))}, 95 % over people: {'  '.join(words)}")
    return lines
