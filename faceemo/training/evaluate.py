"""What a model is worth on people it has never seen, as plain numbers for evaluation.json and metrics.json."""

import numpy as np
from scipy.special import softmax

from faceemo.params import Params, as_values
from faceemo.training.counts import (
    UNANIMOUS,
    count_baselines,
    count_coverage,
    count_labels,
    count_people,
    count_raters,
    count_sources,
    count_subjects,
    strongest_mistakes,
)
from faceemo.training.dataset import Dataset
from faceemo.training.metrics import (
    DIGITS,
    DRAWS,
    calibration_bins,
    plain,
    rates_at,
    recall_threshold,
    roc_curve,
    score,
    score_answers,
)
from faceemo.training.targets import pair_raters

ROC_POINTS = 200  # at most


def evaluate(dataset: Dataset, logits: np.ndarray, temperature: float, params: Params, model: dict) -> dict:
    """The whole of evaluation.json.

    logits: float32 [N, classes] for the N faces of the dataset, of which those of its train split are not looked at;
    divided by temperature they give the probabilities.
    model: what names the model: md5 of its file, its network, the epoch that was kept, and `learnt_valid`, whether it
    has learnt from the valid people too in the end; valid's score is then of the network that has not.

    Keys, with `images` for pictures in all of them: model; params, as params.yaml has them; classes, the emotions of
    each; left_out, pictures of other emotions. valid, and test by three truths (`archive`, what archive, folder or
    table names; `majority` of the raters; `learnt`): a score (see metrics), for test also by_sex, by_age and
    by_professional; the first two truths are of the same faces whatever is learnt. test.archive.unanimous and
    .all_pictures: where all raters agree with the name; faces that were not found counted as errors. ceiling: a rater
    and the model against the other raters. truth: the one of test's that the headline, threshold, charts and mistakes
    are by: `archive`, or `learnt` where no test face is named after a class. threshold, of two classes alone. charts:
    calibration, bins of confidence, share right and images; roc, points of false and true positive rate, of two classes
    alone. mistakes, people, raters, baselines, sources, labels, coverage, subjects: see counts. temperature. draws: of
    people, behind each interval.
    """
    probability = softmax(logits / temperature, axis=1)
    predicted, targets, valid = probability.argmax(axis=1), dataset.targets, dataset.valid
    truth = main_truth(dataset)
    test = dataset.indices("test", truth)
    evaluation = {
        "model": model,
        "params": as_values(params),
        "classes": dataset.members,
        "left_out": dataset.left_out,
        "valid": score(probability[valid], targets.valid[valid], dataset.column("subject")[valid], dataset.classes),
        "test": {
            "archive": {
                **score_test(dataset, probability, targets.named),
                **_name_details(dataset, predicted),
            },
            "majority": score_test(dataset, probability, targets.majority),
            "learnt": score_test(dataset, probability, targets.learnt),
            "log_loss": learnt_log_loss(dataset, probability),
        },
        "truth": "archive" if truth is targets.named else "learnt",
        "draws": DRAWS,
        "ceiling": score_raters(dataset, predicted),
        "temperature": temperature,
        "charts": _charts(probability[test], truth[test]),
        "mistakes": strongest_mistakes(dataset, probability, truth),
        "labels": count_labels(dataset, params.labels),
        "coverage": count_coverage(dataset),
        "subjects": count_subjects(dataset),
        "people": count_people(dataset, model["learnt_valid"]),
        "raters": count_raters(dataset),
        "baselines": count_baselines(dataset),
        "sources": count_sources(dataset),
    }
    if len(dataset.classes) == 2:
        evaluation["threshold"] = _threshold(dataset, probability[:, 1], truth, params.train.recall_target)
    return plain(evaluation)


def main_truth(dataset: Dataset) -> np.ndarray:
    """int64 [N], what the headline, charts and mistakes are by: what archive, folder or table names; what is learnt
    where no test face is named after a class.
    """
    targets = dataset.targets
    return targets.named if len(dataset.indices("test", targets.named)) else targets.learnt


def split_lines(dataset: Dataset) -> list[str]:
    """For the terminal: how many pictures train, calibrate and judge, of how many people."""
    used = {"train": dataset.train, "valid": dataset.valid, "test": dataset.indices("test", main_truth(dataset))}
    each = "; a picture of --subject each counts as one" if count_subjects(dataset)["each"] else ""
    return [
        f"{split}: {len(indices)} pictures of {len(dataset.people(indices))} people{each}"
        for split, indices in used.items()
    ]


def _charts(probability: np.ndarray, target: np.ndarray) -> dict:
    """Of faces with these probabilities [N, classes] and classes int64 [N]."""
    charts = {"calibration": [one.tolist() for one in np.transpose(calibration_bins(probability, target))]}
    if probability.shape[1] == len(np.unique(target)) == 2:
        points = np.transpose(roc_curve(probability[:, 1], target))
        some = np.unique(np.linspace(0, len(points) - 1, ROC_POINTS).round().astype(int))
        charts["roc"] = points[some].tolist()
    return charts


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


def score_test(dataset: Dataset, probability: np.ndarray, truth: np.ndarray) -> dict:
    """The score of the test faces that have a class in truth, and of them by sex, age and profession.

    probability: [N, classes]; truth: int64 [N], below 0 for no class.
    """
    faces, subject, predicted = dataset.indices("test", truth), dataset.column("subject"), probability.argmax(axis=1)
    found = score(probability[faces], truth[faces], subject[faces], dataset.classes)
    for column in ("sex", "age", "professional"):
        names = group_names(dataset.column(column)[faces])
        groups = {str(name): faces[names == name] for name in np.unique(names)}
        found[f"by_{column}"] = {
            name: score_answers(truth[own], predicted[own], subject[own], dataset.classes)
            for name, own in groups.items()
        }
    return found


def _name_details(dataset: Dataset, predicted: np.ndarray) -> dict:
    """Of the test faces by the name of their archive, folder or table: those that all raters agree with, and accuracy
    where the pictures without a usable face count as wrong.
    """
    truth, subject = dataset.targets.named, dataset.column("subject")
    faces = dataset.indices("test", truth)
    agreed = faces[dataset.column("agreement")[faces] == UNANIMOUS]
    pictures = np.count_nonzero((dataset.split == "test") & (dataset.named >= 0))
    right = np.count_nonzero(predicted[faces] == truth[faces])
    return {
        "unanimous": score_answers(truth[agreed], predicted[agreed], subject[agreed], dataset.classes),
        "all_pictures": {"images": pictures, "accuracy": right / pictures if pictures else None},
    }


def _threshold(dataset: Dataset, probability: np.ndarray, truth: np.ndarray, wanted: float) -> dict:
    """The threshold on the second class's probability [N] for a wanted recall on valid, and what it gives there and on
    the test faces by truth int64 [N].
    """
    valid, test = dataset.valid, dataset.indices("test", truth)
    threshold = recall_threshold(probability[valid], dataset.targets.valid[valid], wanted)
    return {
        "recall_target": wanted,
        "threshold": threshold,
        "valid": rates_at(threshold, probability[valid], dataset.targets.valid[valid]),
        "test": rates_at(threshold, probability[test], truth[test]),
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


def score_raters(dataset: Dataset, predicted: np.ndarray) -> dict:
    """How far one rater agrees with the others, and the model on the same pictures, each as often as a rater of it.

    predicted: int64 [N]. share: of the judged test pictures with answers those where the others agree on a class.
    """
    pairs = pair_raters(dataset.targets, dataset.split[dataset.row_of] == "test")
    subject = dataset.column("subject")[pairs.face]
    images = len(set(pairs.face.tolist()))
    return {
        "pairs": len(pairs.face),
        "images": images,
        "share": images / pairs.rated if pairs.rated else None,
        "raters": score_answers(pairs.truth, pairs.answer, subject, dataset.classes),
        "model": score_answers(pairs.truth, predicted[pairs.face], subject, dataset.classes),
    }


def group_names(group: np.ndarray) -> np.ndarray:
    """Values of a column as text, "unknown" for None."""
    words = {"None": "unknown", "True": "yes", "False": "no"}
    return np.array([words.get(str(value), str(value)) for value in group])
