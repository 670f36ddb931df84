"""95 % bootstrap intervals over people: pictures of one person are no independent witnesses.

People are resampled, each with all their pictures, as often as training/evaluate does for its interval.
"""

import numpy as np

from faceemo.training.evaluate import RESAMPLES

LEVEL = (0.025, 0.975)
CELLS = 1 << 24  # of draws in memory at once

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
    drawn = sums_over_people(cells, person)
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


def differences_over_people(right: np.ndarray, loss: np.ndarray, target: np.ndarray, person: np.ndarray) -> dict:
    """Mean, low and high of differences between two models: of accuracy, balanced accuracy and log loss.

    right, loss: float64 [N], what one model has more than the other in each picture; target: int64 [N].
    """
    present, number = np.unique(target, return_inverse=True)
    by_class = np.eye(len(present))[number]
    cells = np.hstack([loss[:, None], by_class, by_class * right[:, None]])
    whole = cells.sum(axis=0)[None]
    drawn = sums_over_people(cells, person) if len(set(person)) > 1 else None
    found = {}
    for name, mean in (("accuracy", _accuracy), ("balanced_accuracy", _balanced), ("log_loss", _loss)):
        bounds: tuple[float | None, float | None] = (None, None) if drawn is None else _interval(mean(drawn))
        found[name] = [mean(whole)[0], *bounds]
    return found


def sums_over_people(cells: np.ndarray, person: np.ndarray) -> np.ndarray:
    """float64 [RESAMPLES, K]: sums of cells [N, K] over the pictures of people drawn with replacement."""
    people, number = np.unique(person, return_inverse=True)
    sums = np.zeros((len(people), cells.shape[1]))
    np.add.at(sums, number, cells)
    random, share = np.random.default_rng(0), np.full(len(people), 1 / len(people))
    drawn, rows = [], max(CELLS // len(people), 1)
    for start in range(0, RESAMPLES, rows):
        drawn.append(random.multinomial(len(people), share, size=min(rows, RESAMPLES - start)) @ sums)
    return np.concatenate(drawn)


def _accuracy(sums: np.ndarray) -> np.ndarray:
    counts, right = np.split(sums[:, 1:], 2, axis=1)
    return right.sum(axis=1) / counts.sum(axis=1)


def _balanced(sums: np.ndarray) -> np.ndarray:
    counts, right = np.split(sums[:, 1:], 2, axis=1)
    with np.errstate(invalid="ignore"):
        return np.nanmean(right / counts, axis=1)


def _loss(sums: np.ndarray) -> np.ndarray:
    return sums[:, 0] / np.split(sums[:, 1:], 2, axis=1)[0].sum(axis=1)


def _interval(values: np.ndarray) -> tuple[float, float]:
    low, high = np.nanquantile(values, LEVEL)
    return float(low), float(high)
