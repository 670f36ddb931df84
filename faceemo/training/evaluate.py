"""What a model is worth on people it has never seen, as plain numbers for evaluation.json and metrics.json."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score
from torch import nn

from faceemo.extraction.facemesh import LANDMARKS
from faceemo.params import LabelParams, Params
from faceemo.training.dataset import Dataset, count_coverage, count_subjects
from faceemo.training.resample import sums_over_people
from faceemo.training.targets import NONE, OUTSIDE, pair_raters

RESAMPLES = 2000
BINS = 10
UNANIMOUS = 3  # raters
DIGITS = 6  # in both files


def evaluate(dataset: Dataset, logits: np.ndarray, temperature: float, params: Params) -> dict:
    """The whole of evaluation.json.

    logits: float32 [N, classes] for the N faces of the dataset; divided by temperature they give the probabilities.
    The test faces are judged by the archive's name, by their raters' majority and by what was learnt; the first two are
    the same faces whatever is learnt.
    """
    probability = softmax(logits / temperature, axis=1)
    predicted, targets, valid = probability.argmax(axis=1), dataset.targets, dataset.valid
    evaluation = {
        "valid": summary(probability[valid], targets.valid[valid], dataset.classes),
        "test": {
            "archive": {**judge(dataset, probability, targets.archive), **_archive_details(dataset, predicted)},
            "majority": judge(dataset, probability, targets.majority),
            "learnt": judge(dataset, probability, targets.learnt),
            "log_loss": learnt_log_loss(dataset, probability),
        },
        "ceiling": judge_raters(dataset, predicted),
        "labels": count_labels(dataset, params.labels),
        "coverage": count_coverage(dataset),
        "subjects": count_subjects(dataset),
        "temperature": temperature,
    }
    if len(dataset.classes) == 2:
        test = dataset.test
        evaluation["threshold"] = recall_threshold(
            probability[valid, 1],
            targets.valid[valid],
            probability[test, 1],
            targets.learnt[test],
            params.train.recall_target,
        )
    return plain(evaluation)


def headline(evaluation: dict) -> dict:
    """The whole of metrics.json: of evaluation.json the few numbers that are compared from run to run.

    All are scalars and always there, so that every run has the same columns; null where there is nothing.
    """
    test, valid, coverage = evaluation["test"], evaluation["valid"], evaluation["coverage"]
    archive, few = test["archive"], ("accuracy", "balanced_accuracy", "macro_f1")
    low, high = archive["balanced_accuracy_interval"]
    return {
        "test": {
            "archive": {
                "accuracy": archive["accuracy"],
                "balanced_accuracy": archive["balanced_accuracy"],
                "balanced_accuracy_low": low,
                "balanced_accuracy_high": high,
                "macro_f1": archive["macro_f1"],
            },
            "log_loss": test["log_loss"],
            "auroc": test["learnt"]["auroc"],
            "majority": {name: test["majority"][name] for name in few},
        },
        "ceiling": {"balanced_accuracy": evaluation["ceiling"]["raters"]["balanced_accuracy"]},
        "valid": {name: valid[name] for name in ("accuracy", "macro_f1", "log_loss")},
        "coverage": round(coverage["ok"] / coverage["images"], DIGITS) if coverage["images"] else None,
        "subjects": {name: evaluation["subjects"][name] for name in ("overlap", "each")},
    }


def judge(dataset: Dataset, probability: np.ndarray, truth: np.ndarray) -> dict:
    """The test faces that have a class in truth: summary, its interval over people, and by sex, age and profession.

    probability: [N, classes]; truth: int64 [N], below 0 for no class.
    """
    faces = dataset.indices("test", truth)
    target, predicted = truth[faces], probability[faces].argmax(axis=1)
    return {
        "images": len(faces),
        **summary(probability[faces], target, dataset.classes),
        "balanced_accuracy_interval": interval_over_people(target, predicted, dataset.column("subject")[faces]),
        **{
            f"by_{column}": by_group(target, predicted, dataset.column(column)[faces])
            for column in ("sex", "age", "professional")
        },
    }


def _archive_details(dataset: Dataset, predicted: np.ndarray) -> dict:
    faces = dataset.indices("test", dataset.targets.archive)
    target = dataset.targets.archive[faces]
    unanimous = np.array([value == UNANIMOUS for value in dataset.column("agreement")[faces]], bool)
    pictures = np.count_nonzero((dataset.split == "test") & (dataset.archive >= 0))
    right = np.count_nonzero(predicted[faces] == target)
    return {
        "unanimous": accuracies(target[unanimous], predicted[faces][unanimous]),
        "all_pictures": {"images": pictures, "accuracy": right / pictures if pictures else None},
    }


def learnt_log_loss(dataset: Dataset, probability: np.ndarray) -> float | None:
    """Of the test faces against what is learnt; against votes with their weights, faces with a tie among them."""
    targets = dataset.targets
    faces = np.flatnonzero((dataset.split[dataset.row_of] == "test") & (targets.weight > 0))
    if not len(faces):
        return None
    shares = np.eye(len(dataset.classes))[targets.learnt] if targets.shares is None else targets.shares
    loss = -(shares[faces] * np.log(np.clip(probability[faces], 1e-12, None))).sum(axis=1)
    return float(np.average(loss, weights=targets.weight[faces]))


def judge_raters(dataset: Dataset, predicted: np.ndarray) -> dict:
    """How far one rater agrees with the others, and the model on the same pictures, each as often as a rater of it.

    predicted: int64 [N]. share: of the judged test pictures with answers those where the others agree on a class.
    """
    pairs = pair_raters(dataset.targets, dataset.split[dataset.row_of] == "test")
    subject = dataset.column("subject")[pairs.face]
    return {
        "pairs": len(pairs.face),
        "images": len(set(pairs.face.tolist())),
        "share": len(set(pairs.face.tolist())) / pairs.rated if pairs.rated else None,
        "raters": _recalls(pairs.truth, pairs.answer, subject, dataset.classes),
        "model": _recalls(pairs.truth, predicted[pairs.face], subject, dataset.classes),
    }


def _recalls(truth: np.ndarray, answer: np.ndarray, subject: np.ndarray, classes: tuple[str, ...]) -> dict:
    right = truth == answer
    return {
        **accuracies(truth, answer),
        "balanced_accuracy_interval": interval_over_people(truth, answer, subject),
        "per_class": {
            name: np.mean(right[truth == number]) if number in truth else None for number, name in enumerate(classes)
        },
    }


def count_labels(dataset: Dataset, settings: LabelParams) -> dict:
    """What became of the training people's faces: those learnt, those that another class was made of, and in the chosen
    archives those without a record or answer, without a majority and with one for an emotion that is not chosen.
    """
    targets, training = dataset.targets, dataset.split[dataset.row_of] == "train"
    learnt, own = training & targets.trained, training & (targets.archive >= 0)
    rated = own & (targets.raters > 0)
    return {
        "target": settings.target,
        "learnt": np.count_nonzero(learnt),
        "by_name": np.count_nonzero(learnt & ~targets.labelled) if settings.target != "archive" else None,
        "moved": np.count_nonzero(learnt & (targets.learnt >= 0) & (targets.learnt != targets.archive)),
        "tied": np.count_nonzero(learnt & (targets.learnt == NONE)),
        "unrated": np.count_nonzero(own & targets.labelled & (targets.raters == 0)),
        "no_majority": np.count_nonzero(rated & (targets.majority == NONE)),
        "outside": np.count_nonzero(rated & (targets.majority == OUTSIDE)),
    }


def summary(probability: np.ndarray, target: np.ndarray, classes: tuple[str, ...]) -> dict:
    """Accuracy, balanced accuracy, macro F1, log loss and per-class figures.

    probability: [N, classes]; target: int64 [N]. Classes without a picture have null recall and are left out of means;
    without any picture all is None.
    """
    predicted = probability.argmax(axis=1)
    labels = range(len(classes))
    if not len(target):
        figures = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "auroc", "calibration_error")
        nothing = {"precision": None, "recall": None, "f1": None, "support": 0}
        return {**dict.fromkeys(figures), "per_class": {name: dict(nothing) for name in classes}}
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
    names = group_names(group)
    return {str(name): accuracies(target[names == name], predicted[names == name]) for name in np.unique(names)}


def group_names(group: np.ndarray) -> np.ndarray:
    """Values of a column as text, "unknown" for None."""
    words = {"None": "unknown", "True": "yes", "False": "no"}
    return np.array([words.get(str(value), str(value)) for value in group])


def interval_over_people(
    target: np.ndarray, predicted: np.ndarray, subject: np.ndarray, level: float = 0.95
) -> tuple[float | None, float | None]:
    """Bootstrap interval of balanced accuracy, resampling people: pictures of one person are not independent."""
    if not len(target):
        return None, None
    of_class = target[:, None] == np.unique(target)
    cells = np.hstack([of_class, of_class & (predicted == target)[:, None]])
    pictures, hits = np.split(sums_over_people(cells, subject, RESAMPLES), 2, axis=1)
    with np.errstate(invalid="ignore"):
        recall = hits / pictures
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


def recall_threshold(
    valid_score: np.ndarray, valid_target: np.ndarray, test_score: np.ndarray, test_target: np.ndarray, wanted: float
) -> dict:
    """The threshold on the second class's probability that reaches the wanted recall on valid; its worth on test."""
    positives = np.sort(valid_score[valid_target == 1])[::-1]
    threshold = positives[math.ceil(wanted * len(positives) - 1e-9) - 1]

    def reached(score: np.ndarray, target: np.ndarray) -> dict:
        chosen, truth = score >= threshold, target == 1
        return {
            "recall": np.mean(chosen[truth]) if truth.any() else None,
            "precision": np.mean(truth[chosen]) if chosen.any() else None,
            "false_positive_rate": np.mean(chosen[~truth]) if not truth.all() else None,
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
    (gradient,) = torch.autograd.grad(network(x).max(dim=1).values.sum(), x)
    return gradient.abs().mean(dim=0).reshape(LANDMARKS, 3).sum(dim=1).double().numpy()


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
