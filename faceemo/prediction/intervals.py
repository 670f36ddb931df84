"""95 % bootstrap intervals over people: pictures of one person are not independent.

People are resampled, each with all their pictures, as often as training/evaluate does for its interval.
"""

from dataclasses import dataclass

import numpy as np

from faceemo.training.evaluate import RESAMPLES
from faceemo.training.resample import sums_over_people

LEVEL = (0.025, 0.975)

Interval = tuple[float, float] | None  # None with fewer than two people, who tell nothing about others


def log_losses(probability: np.ndarray, target: np.ndarray) -> np.ndarray:
    """float64 [N], of probabilities [N, classes] for the classes int64 [N]."""
    return -np.log(np.clip(probability[np.arange(len(target)), target].astype(np.float64), 1e-12, None))


def intervals_over_people(
    target: np.ndarray, predicted: np.ndarray, loss: np.ndarray, person: np.ndarray, classes: int
) -> dict:
    """Of accuracy, balanced accuracy, macro F1 and log loss, and a list of those of each class's recall.

    target, predicted: int64 [N]; loss: float64 [N]; person: str [N].
    """
    if len(set(person)) < 2:
        return {**dict.fromkeys(("accuracy", "balanced_accuracy", "macro_f1", "log_loss")), "recall": [None] * classes}
    cells = np.zeros((len(target), classes * classes + 1))
    cells[np.arange(len(target)), target * classes + predicted] = 1
    cells[:, -1] = loss
    drawn = sums_over_people(cells, person, RESAMPLES)
    counts = drawn[:, :-1].reshape(-1, classes, classes)
    hits, actual, chosen = np.diagonal(counts, axis1=1, axis2=2), counts.sum(axis=2), counts.sum(axis=1)
    present = np.unique(target)
    with np.errstate(invalid="ignore"):  # a class that nobody drawn shows
        recall = hits / actual
        f1 = np.where(actual > 0, 2 * hits / (actual + chosen), np.nan)
    return {
        "accuracy": _interval(hits.sum(axis=1) / actual.sum(axis=1)),
        "balanced_accuracy": _interval(np.nanmean(recall[:, present], axis=1)),
        "macro_f1": _interval(np.nanmean(f1[:, present], axis=1)),
        "log_loss": _interval(drawn[:, -1] / actual.sum(axis=1)),
        "recall": [_interval(recall[:, number]) if number in present else None for number in range(classes)],
    }


@dataclass(frozen=True)
class Judged:
    """What a model said of N faces: their classes int64 [N], whether it was right, bool [N], and log losses [N]."""

    target: np.ndarray
    right: np.ndarray
    loss: np.ndarray

    def by_class(self) -> np.ndarray:
        """float64 [N, 2C], of the C classes that occur: each face's class, then that again where it was right."""
        present, number = np.unique(self.target, return_inverse=True)
        one_hot = np.eye(len(present))[number]
        return np.hstack([one_hot, one_hot * self.right[:, None]])


def differences_over_people(first: Judged, other: Judged, person: np.ndarray) -> dict:
    """Mean, low and high of what `other` has more than `first`: of accuracy, balanced accuracy and log loss.

    Both are of the same faces, of these people [N], but may have other classes.
    """
    cells = [first.by_class(), other.by_class(), (other.loss - first.loss)[:, None]]
    bounds = np.cumsum([part.shape[1] for part in cells])[:-1]

    def differences(sums: np.ndarray) -> dict[str, np.ndarray]:
        one, two, loss = np.split(sums, bounds, axis=1)
        return {
            "accuracy": _accuracy(two) - _accuracy(one),
            "balanced_accuracy": _balanced(two) - _balanced(one),
            "log_loss": loss[:, 0] / _pictures(one),
        }

    joined = np.hstack(cells)
    whole = differences(joined.sum(axis=0)[None])
    if len(set(person)) < 2:
        return {name: [mean[0], None, None] for name, mean in whole.items()}
    drawn = differences(sums_over_people(joined, person, RESAMPLES))
    return {name: [mean[0], *_interval(drawn[name])] for name, mean in whole.items()}


def _pictures(by_class: np.ndarray) -> np.ndarray:
    return np.split(by_class, 2, axis=1)[0].sum(axis=1)


def _accuracy(by_class: np.ndarray) -> np.ndarray:
    return np.split(by_class, 2, axis=1)[1].sum(axis=1) / _pictures(by_class)


def _balanced(by_class: np.ndarray) -> np.ndarray:
    counts, right = np.split(by_class, 2, axis=1)
    with np.errstate(invalid="ignore"):  # a class that nobody drawn shows
        return np.nanmean(right / counts, axis=1)


def _interval(values: np.ndarray) -> tuple[float, float]:
    low, high = np.nanquantile(values, LEVEL)
    return float(low), float(high)
