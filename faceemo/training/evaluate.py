"""What a model is worth on people it has never seen, as plain numbers for evaluation.json and metrics.json."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score
from torch import nn

from faceemo.extraction.facemesh import LANDMARKS
from faceemo.training.dataset import Dataset, count_coverage, count_subjects

RESAMPLES = 2000
BINS = 10
UNANIMOUS = 3  # raters
DIGITS = 6  # in both files


def evaluate(dataset: Dataset, logits: np.ndarray, temperature: float, recall_target: float) -> dict:
    """The whole of evaluation.json.

    logits: float32 [N, classes] for the N faces of the dataset; divided by temperature they give the probabilities.
    """
    probability = softmax(logits / temperature, axis=1)
    valid, test = dataset.indices("valid"), dataset.indices("test")
    evaluation = {
        "valid": summary(probability[valid], dataset.target[valid], dataset.classes),
        "test": {
            **summary(probability[test], dataset.target[test], dataset.classes),
            **_test_details(dataset, probability, test),
        },
        "coverage": count_coverage(dataset),
        "subjects": count_subjects(dataset),
        "temperature": temperature,
    }
    if len(dataset.classes) == 2:
        evaluation["threshold"] = recall_threshold(
            probability[valid, 1], dataset.target[valid], probability[test, 1], dataset.target[test], recall_target
        )
    return _plain(evaluation)


def headline(evaluation: dict) -> dict:
    """The whole of metrics.json: of evaluation.json the few numbers that are compared from run to run.

    All are scalars and always there, so that every run has the same columns; null where there is nothing.
    """
    test, valid, coverage = evaluation["test"], evaluation["valid"], evaluation["coverage"]
    low, high = test["balanced_accuracy_interval"]
    return {
        "test": {
            "archive": {
                "accuracy": test["accuracy"],
                "balanced_accuracy": test["balanced_accuracy"],
                "balanced_accuracy_low": low,
                "balanced_accuracy_high": high,
                "macro_f1": test["macro_f1"],
            },
            "log_loss": test["log_loss"],
            "auroc": test["auroc"],
            "majority": dict.fromkeys(("accuracy", "balanced_accuracy", "macro_f1")),
        },
        "ceiling": {"balanced_accuracy": None},
        "valid": {name: valid[name] for name in ("accuracy", "macro_f1", "log_loss")},
        "coverage": round(coverage["ok"] / coverage["images"], DIGITS),
        "subjects": {"overlap": evaluation["subjects"]["overlap"]},
    }


def summary(probability: np.ndarray, target: np.ndarray, classes: tuple[str, ...]) -> dict:
    """Accuracy, balanced accuracy, macro F1, log loss and per-class figures.

    probability: [N, classes]; target: int64 [N]. Classes without a picture have null recall and are left out of means.
    """
    predicted = probability.argmax(axis=1)
    labels = range(len(classes))
    precision, recall, f1, support = precision_recall_fscore_support(target, predicted, labels=labels, zero_division=0)
    present = support > 0
    chosen = np.clip(probability[np.arange(len(target)), target], 1e-12, None)
    return {
        "accuracy": np.mean(predicted == target),
        "balanced_accuracy": recall[present].mean(),
        "macro_f1": f1[present].mean(),
        "log_loss": -np.log(chosen).mean(),
        "auroc": auroc(probability, target),
        "calibration_error": expected_calibration_error(probability, target),
        "per_class": {
            name: {"precision": precision[i], "recall": recall[i], "f1": f1[i], "support": int(support[i])}
            for i, name in enumerate(classes)
        },
    }


def _test_details(dataset: Dataset, probability: np.ndarray, test: np.ndarray) -> dict:
    target, predicted = dataset.target[test], probability[test].argmax(axis=1)
    right = predicted == target
    agreement = dataset.column("agreement")[test]
    unanimous = np.array([value == UNANIMOUS for value in agreement], bool)
    pictures = int((dataset.split == "test").sum())
    return {
        "balanced_accuracy_interval": interval_over_people(target, predicted, dataset.column("subject")[test]),
        "unanimous": accuracies(target[unanimous], predicted[unanimous]),
        "all_pictures": {"images": pictures, "accuracy": right.sum() / pictures},
        "by_sex": by_group(target, predicted, dataset.column("sex")[test]),
        "by_age": by_group(target, predicted, dataset.column("age")[test]),
    }


def accuracies(target: np.ndarray, predicted: np.ndarray) -> dict:
    """Images, accuracy and balanced accuracy (over the classes that occur); null where there are no images."""
    recalls = [np.mean(predicted[target == number] == number) for number in np.unique(target)]
    return {
        "images": len(target),
        "accuracy": np.mean(predicted == target) if len(target) else None,
        "balanced_accuracy": np.mean(recalls) if recalls else None,
    }


def by_group(target: np.ndarray, predicted: np.ndarray, group: np.ndarray) -> dict[str, dict]:
    """accuracies for each value of group, "unknown" for None."""
    names = np.array(["unknown" if value is None else str(value) for value in group])
    return {str(name): accuracies(target[names == name], predicted[names == name]) for name in np.unique(names)}


def interval_over_people(
    target: np.ndarray, predicted: np.ndarray, subject: np.ndarray, level: float = 0.95
) -> tuple[float, float]:
    """Bootstrap interval of balanced accuracy, resampling people: pictures of one person are not independent."""
    people, person = np.unique(subject.astype(str), return_inverse=True)
    classes = np.unique(target)
    pictures = np.stack([np.bincount(person[target == c], minlength=len(people)) for c in classes], axis=1)
    hits = np.stack(
        [np.bincount(person[(target == c) & (predicted == c)], minlength=len(people)) for c in classes], axis=1
    )
    random = np.random.default_rng(0)
    draws = random.multinomial(len(people), np.full(len(people), 1 / len(people)), size=RESAMPLES)
    with np.errstate(invalid="ignore"):
        recall = (draws @ hits) / (draws @ pictures)
    balanced = np.nanmean(recall, axis=1)
    return tuple(np.quantile(balanced, [(1 - level) / 2, (1 + level) / 2]))


def auroc(probability: np.ndarray, target: np.ndarray) -> float | None:
    """Area under the ROC curve of the second of two classes; of more, the mean of one against the rest."""
    areas = []
    for number in [1] if probability.shape[1] == 2 else range(probability.shape[1]):
        truth = target == number
        if truth.any() and not truth.all():
            areas.append(roc_auc_score(truth, probability[:, number]))
    return float(np.mean(areas)) if areas else None


def calibration_bins(probability: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean confidence, accuracy and count of pictures in BINS bins of confidence; empty bins are left out."""
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


def expected_calibration_error(probability: np.ndarray, target: np.ndarray) -> float:
    """Mean distance between confidence and accuracy over bins, weighted by pictures (Guo et al. 2017)."""
    confidence, accuracy, count = calibration_bins(probability, target)
    return float(np.sum(np.abs(confidence - accuracy) * count) / count.sum())


def fit_temperature(logits: np.ndarray, target: np.ndarray) -> float:
    """The temperature that divides logits [N, classes] for the least log loss (Guo et al. 2017), within 0.05 and 20."""

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(logits.astype(np.float64) / math.exp(log_temperature), axis=1)
        return -scaled[np.arange(len(target)), target].mean()

    return math.exp(minimize_scalar(loss, bounds=(math.log(0.05), math.log(20)), method="bounded").x)


def recall_threshold(
    valid_score: np.ndarray, valid_target: np.ndarray, test_score: np.ndarray, test_target: np.ndarray, wanted: float
) -> dict:
    """The threshold on the second class's probability that reaches the wanted recall on valid; its worth on test."""
    positives = np.sort(valid_score[valid_target == 1])[::-1]
    threshold = positives[math.ceil(wanted * len(positives) - 1e-9) - 1]

    def reached(score: np.ndarray, target: np.ndarray) -> dict:
        chosen, truth = score >= threshold, target == 1
        return {
            "recall": np.mean(chosen[truth]),
            "precision": np.mean(truth[chosen]) if chosen.any() else None,
            "false_positive_rate": np.mean(chosen[~truth]),
        }

    return {
        "recall_target": wanted,
        "threshold": threshold,
        "valid": reached(valid_score, valid_target),
        "test": reached(test_score, test_target),
    }


def landmark_importance(network: nn.Module, features: np.ndarray) -> np.ndarray:
    """float64 [478]: how strongly the predicted class's logit answers to each landmark, mean absolute gradient.

    features: float32 [N, 1434], standardised, so that a landmark counts by how much it really moves.
    """
    x = torch.from_numpy(features).requires_grad_()
    network(x).max(dim=1).values.sum().backward()
    return x.grad.abs().mean(dim=0).reshape(LANDMARKS, 3).sum(dim=1).double().numpy()


def _plain(value: object) -> object:
    """Numbers as JSON knows them, rounded; NaN and None as null."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return None if math.isnan(value) else round(float(value), DIGITS)
    if isinstance(value, np.integer):
        return int(value)
    return value
