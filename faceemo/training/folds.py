"""Settings judged on people that the network has not seen, over folds of people and several seeds.

Each fold is predicted by a network trained on all people of the other folds. It keeps its last epoch, so nothing is
chosen on the fold that is judged.
"""

import contextlib
import dataclasses
import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedGroupKFold

from faceemo.errors import FaceemoError
from faceemo.params import Params
from faceemo.training.dataset import Dataset
from faceemo.training.train import train

RESAMPLES = 4000
INTERVAL = (0.025, 0.975)


def predict_over_folds(
    dataset: Dataset, params: Params, folds: int, seed: int, after_fold: Callable[[], None] = lambda: None
) -> np.ndarray:
    """int64 [N], the class that each face is taken for by a network that has not seen its person.

    Faces of nobody known are trained on in every fold and get -1. Raises FaceemoError with fewer people than folds.
    """
    subject = dataset.column("subject")
    known = np.flatnonzero(subject != None)  # noqa: E711 - elementwise
    people = len(set(subject[known]))
    if people < folds:
        raise FaceemoError(f"{people} people cannot be put into {folds} folds; lower --folds")
    stratify = dataset.targets.archive[known]
    predicted = np.full(len(subject), -1)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for _, fold in splitter.split(known, stratify, subject[known]):
        judged = known[fold]
        predicted[judged] = train_and_predict(dataset, params, set(subject[judged]), seed)[judged].argmax(axis=1)
        after_fold()
    return predicted


def train_and_predict(dataset: Dataset, params: Params, unseen: set[str], seed: int) -> np.ndarray:
    """Logits float32 [N, classes] of all faces by a network trained on everybody but these people."""
    rows = np.array([subject in unseen for subject in dataset.rows["subject"].to_pylist()])
    # "valid" is measured after every epoch; without best_epoch and patience it chooses nothing
    split = np.where(rows, "valid", "train").astype(object)
    settings = dataclasses.replace(params.train, best_epoch=False, patience=None)
    copied = dataclasses.replace(dataset, split=split, features=dataset.features.copy())  # train changes features
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return train(copied, dataclasses.replace(params, seed=seed, train=settings), interrupted_path=None).logits


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


def interval_over_people(values: np.ndarray, subject: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval of the mean of values [N] over faces, where people are resampled, not faces."""
    people, person = np.unique(subject.astype(str), return_inverse=True)
    sums, counts = np.bincount(person, values), np.bincount(person)
    draws = np.random.default_rng(0).multinomial(len(people), np.full(len(people), 1 / len(people)), size=RESAMPLES)
    low, high = np.quantile((draws @ sums) / (draws @ counts), INTERVAL)
    return float(low), float(high)
