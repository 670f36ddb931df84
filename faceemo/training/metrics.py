"""How right answers are, on plain arrays, and how sure that is: 95 % intervals over people.

Pictures of one person are not independent, so every interval draws people, each with all their pictures, as many as
there are, 2,000 times. Training, folds and `faceemo evaluate` all judge by this module; the report shows what they
found.

Shapes, wherever these names stand: probability float [N, classes]; target int64 [N], the right class of each picture,
0 or above; predicted int64 [N], the class that a picture was taken for, below 0 for none of them; person [N], who is in
each picture, of any type.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

DRAWS = 2000
LEVEL = (0.025, 0.975)
BINS = 10  # of confidence
DIGITS = 6  # in files
CELLS = 1 << 24  # of draws in memory at once

Interval = tuple[float | None, float | None]  # low and high; None with fewer than two people


def score(probability: np.ndarray, target: np.ndarray, person: np.ndarray, classes: tuple[str, ...]) -> dict:
    """How right probabilities are.

    Returns `images` and `people`; `accuracy`, `balanced_accuracy` and `macro_f1` (over the classes that occur) and
    `log_loss`, each also with `_interval`; `auroc`, `calibration_error`; `per_class`, by its name precision, recall,
    recall_interval, f1 and support; `confusion`, a row of counts for each actual class. A figure of no pictures is
    None; of a class that does not occur recall and f1 are.
    """
    predicted = probability.argmax(axis=1)
    people, losses = _People(person), log_losses(probability, target)
    cells = people.count(target, predicted == target, predicted, len(classes))
    found: dict[str, Any] = {"images": len(target), "people": len(people)}
    whole = _rates(cells.sum(axis=0))
    whole["log_loss"] = losses.mean() if len(losses) else np.array(math.nan)
    drawn: dict[str, np.ndarray] = {}
    if len(people) > 1:
        cells, losses = draw(cells, people.sum(losses))
        drawn = {**_rates(cells), "log_loss": losses / cells[:, 0].sum(axis=1)}
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "log_loss"):
        found[name] = _number(whole[name])
        found[f"{name}_interval"] = _interval(drawn.get(name))
    found["auroc"] = auroc(probability, target)
    found["calibration_error"] = calibration_error(probability, target)
    found["per_class"] = {
        name: {
            "precision": _number(whole["precision"][number]) if len(target) else None,
            "recall": _number(whole["recall"][number]),
            "recall_interval": _interval(drawn["recall"][:, number] if drawn else None),
            "f1": _number(whole["f1"][number]),
            "support": int(np.count_nonzero(target == number)),
        }
        for number, name in enumerate(classes)
    }
    return {**found, "confusion": confusion(target, predicted, len(classes)).tolist()}


def score_answers(target: np.ndarray, predicted: np.ndarray, person: np.ndarray, classes: tuple[str, ...]) -> dict:
    """How right answers without probabilities are, as those of raters or of a small group of people.

    Returns images, people, accuracy, balanced_accuracy with its interval, and `per_class`, the recall of each.
    """
    people = _People(person)
    cells = people.count(target, predicted == target, predicted, len(classes))
    whole = _rates(cells.sum(axis=0))
    drawn = _rates(draw(cells)[0])["balanced_accuracy"] if len(people) > 1 else None
    return {
        "images": len(target),
        "people": len(people),
        "accuracy": _number(whole["accuracy"]),
        "balanced_accuracy": _number(whole["balanced_accuracy"]),
        "balanced_accuracy_interval": _interval(drawn),
        "per_class": {name: _number(recall) for name, recall in zip(classes, whole["recall"], strict=True)},
    }


@dataclass(frozen=True)
class Outcome:
    """What became of N pictures: their classes target int64 [N], and how right an answer was in each."""

    target: np.ndarray
    right: np.ndarray
    """bool [N], or float [N]: the share of several runs that were right."""
    loss: np.ndarray
    """float64 [N], log losses."""


def wrong_ones(probability: np.ndarray, target: np.ndarray) -> np.ndarray:
    """int64: those of N pictures whose most probable class is wrong, the most probable first.

    probability: [N, classes]; target: int64 [N], their classes.
    """
    wrong = np.flatnonzero(probability.argmax(axis=1) != target)
    return wrong[np.argsort(-probability[wrong].max(axis=1), kind="stable")]


def differences(first: Outcome, other: Outcome, person: np.ndarray) -> dict[str, list]:
    """Mean, low and high of what `other` has more than `first`: accuracy, balanced_accuracy and log_loss.

    Both are of the same pictures, in the same order, but may have other classes.
    """
    people = _People(person)
    pairs = [people.count(one.target, one.right, one.target, int(one.target.max()) + 1) for one in (first, other)]
    losses = people.sum(other.loss - first.loss)

    def differ(one: np.ndarray, two: np.ndarray, loss: np.ndarray) -> dict[str, np.ndarray]:
        before, after = _rates(one), _rates(two)
        found = {name: after[name] - before[name] for name in ("accuracy", "balanced_accuracy")}
        return {**found, "log_loss": loss / one[..., 0, :].sum(axis=-1)}

    whole = differ(*(part.sum(axis=0) for part in (*pairs, losses)))
    drawn = differ(*draw(*pairs, losses)) if len(people) > 1 else dict.fromkeys(whole)
    return {name: [_number(mean), *_interval(drawn[name])] for name, mean in whole.items()}


def draw(*sums: np.ndarray) -> list[np.ndarray]:
    """Sums over P people drawn with replacement, float64 [DRAWS, ...] of each array [P, ...] of sums of one person.

    The same people are drawn every time.
    """
    people = len(sums[0])
    flat = np.hstack([one.reshape(people, -1) for one in sums])
    random, share = np.random.default_rng(0), np.full(people, 1 / people)
    rows = max(CELLS // people, 1)
    drawn = np.concatenate(
        [random.multinomial(people, share, size=min(rows, DRAWS - start)) @ flat for start in range(0, DRAWS, rows)]
    )
    parts = np.split(drawn, np.cumsum([one[0].size for one in sums])[:-1], axis=1)
    return [part.reshape(DRAWS, *one.shape[1:]) for part, one in zip(parts, sums, strict=True)]


def confusion(target: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """int64 [classes, classes]: pictures by actual and predicted class; predicted: all 0 or above."""
    return np.bincount(target * classes + predicted, minlength=classes**2).reshape(classes, classes)


def log_losses(probability: np.ndarray, target: np.ndarray) -> np.ndarray:
    """float64 [N]"""
    return -np.log(np.clip(probability[np.arange(len(target)), target].astype(np.float64), 1e-12, None))


def auroc(probability: np.ndarray, target: np.ndarray) -> float | None:
    """Area under the ROC curve of the second of two classes; of more, the mean of one against the rest.

    None where nothing can be told apart.
    """
    areas = []
    for number in [1] if probability.shape[1] == 2 else range(probability.shape[1]):
        truth = target == number
        positives = np.count_nonzero(truth)
        if not 0 < positives < len(truth):
            continue
        _, inverse, counts = np.unique(probability[:, number], return_inverse=True, return_counts=True)
        ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]  # equal probabilities share their mean rank
        pairs = positives * (len(truth) - positives)
        areas.append((ranks[truth].sum() - positives * (positives + 1) / 2) / pairs)
    return float(np.mean(areas)) if areas else None


def roc_curve(probability: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates of the second class, each float64 [points], from (0, 0) to (1, 1).

    target: of both classes.
    """
    order = np.argsort(-probability, kind="stable")
    last = np.append(np.diff(probability[order]) != 0, True)  # of equal probabilities
    true, false = (np.cumsum(target[order] == number)[last] for number in (1, 0))
    return np.append(0, false / false[-1]), np.append(0, true / true[-1])


def calibration_bins(probability: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean confidence, share right and count of pictures in BINS bins of confidence; empty bins are left out."""
    confidence = probability.max(axis=1)
    right = probability.argmax(axis=1) == target
    index = np.minimum((confidence * BINS).astype(int), BINS - 1)
    count = np.bincount(index, minlength=BINS)
    used = count > 0
    return (
        np.bincount(index, confidence, BINS)[used] / count[used],
        np.bincount(index, right, BINS)[used] / count[used],
        count[used],
    )


def calibration_error(probability: np.ndarray, target: np.ndarray) -> float | None:
    """Mean distance between confidence and share right over bins, weighted by pictures (Guo et al. 2017)."""
    if not len(target):
        return None
    confidence, right, count = calibration_bins(probability, target)
    return float(np.sum(np.abs(confidence - right) * count) / count.sum())


def fit_temperature(logits: np.ndarray, target: np.ndarray) -> float:
    """The temperature that divides logits [N, classes] for the least log loss (Guo et al. 2017), within 0.05 and 20.

    Targets are Platt's (1999): (n + 1) / (n + 2) for a class of n pictures, the rest for the others. With plain ones a
    few people on whom nothing is mistaken would make the model sure of everything, also where it is wrong.
    """
    count = np.bincount(target, minlength=logits.shape[1])[target]
    shares = np.repeat(1 / (count + 2) / (logits.shape[1] - 1), logits.shape[1]).reshape(logits.shape)
    shares[np.arange(len(target)), target] = (count + 1) / (count + 2)

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(logits.astype(np.float64) / math.exp(log_temperature), axis=1)
        return -(shares * scaled).sum(axis=1).mean()

    return math.exp(minimize_scalar(loss, bounds=(math.log(0.05), math.log(20)), method="bounded").x)


def recall_threshold(score: np.ndarray, target: np.ndarray, wanted: float) -> float:
    """The highest threshold on the second class's probability [N] that finds a share `wanted` of its pictures.

    Raises IndexError where it has none.
    """
    positives = np.sort(score[target == 1])[::-1]
    return float(positives[math.ceil(wanted * len(positives) - 1e-9) - 1])


def rates_at(threshold: float, score: np.ndarray, target: np.ndarray) -> dict:
    """Recall, precision and false positive rate of the second class, from its probability [N]; None where undefined."""
    chosen, truth = score >= threshold, target == 1
    return {
        "recall": np.mean(chosen[truth]) if truth.any() else None,
        "precision": np.mean(truth[chosen]) if chosen.any() else None,
        "false_positive_rate": np.mean(chosen[~truth]) if not truth.all() else None,
    }


def plain(value: Any) -> Any:
    """Numbers as JSON knows them, rounded; NaN and None as null."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return None if math.isnan(value) else round(float(value), DIGITS)
    if isinstance(value, np.integer):
        return int(value)
    return value


class _People:
    """The people in N pictures, in the order of their names."""

    def __init__(self, person: np.ndarray) -> None:
        numbers = {one: number for number, one in enumerate(sorted(set(person), key=str))}
        self._number = np.array([numbers[one] for one in person], np.int64)
        self._size = len(numbers)

    def __len__(self) -> int:
        return self._size

    def sum(self, values: np.ndarray) -> np.ndarray:
        """float64 [P], the sums of values [N] over each person's pictures."""
        return np.bincount(self._number, values, self._size)

    def count(self, target: np.ndarray, right: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
        """float64 [P, 3, classes]: of each person the pictures of a class, those of them that were right, and those
        taken for it.
        """

        def cells(code: np.ndarray, weights: np.ndarray) -> np.ndarray:
            counts = np.bincount(self._number * classes + code, weights, self._size * classes)
            return counts.reshape(self._size, classes)

        taken = predicted >= 0
        parts = (cells(target, np.ones(len(target))), cells(target, right), cells(np.where(taken, predicted, 0), taken))
        return np.stack(parts, axis=1)


def _rates(cells: np.ndarray) -> dict[str, np.ndarray]:
    """Accuracy, balanced accuracy and macro F1 [...], and recall, precision and F1 of each class [..., classes].

    cells: [..., 3, classes], sums of those of _People.count. Recall and F1 of a class that does not occur are NaN; the
    precision of a class that nothing was taken for is 0.
    """
    actual, hits, taken = np.moveaxis(cells, -2, 0)
    with np.errstate(invalid="ignore"):  # a class that nobody drawn shows
        recall = hits / actual
        f1 = np.where(actual > 0, 2 * hits / (actual + taken), np.nan)
        accuracy = hits.sum(axis=-1) / actual.sum(axis=-1)
    occurs = ~np.isnan(recall)
    count = np.maximum(occurs.sum(axis=-1), 1)
    nothing = np.where(occurs.any(axis=-1), 0, np.nan)
    return {
        "accuracy": accuracy,
        "balanced_accuracy": np.where(occurs, recall, 0).sum(axis=-1) / count + nothing,
        "macro_f1": np.where(occurs, f1, 0).sum(axis=-1) / count + nothing,
        "recall": recall,
        "precision": hits / np.maximum(taken, 1),
        "f1": f1,
    }


def _interval(values: np.ndarray | None) -> Interval:
    """Of values [DRAWS], those of draws that lack a class being NaN."""
    if values is None or np.isnan(values).all():
        return None, None
    low, high = np.nanquantile(values, LEVEL)
    return float(low), float(high)


def _number(value: float | np.ndarray) -> float | None:
    return None if np.isnan(value) else float(value)
