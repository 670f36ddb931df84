import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from made_targets import single, targets_of
from scipy.special import softmax
from sklearn.metrics import roc_auc_score
from torch import nn

from faceemo.emotions import KOREAN
from faceemo.features.labels import VOTED
from faceemo.params import LabelParams, load_params
from faceemo.training.dataset import Dataset
from faceemo.training.evaluate import (
    accuracies,
    auroc,
    by_group,
    calibration_bins,
    count_labels,
    evaluate,
    expected_calibration_error,
    fit_temperature,
    headline,
    interval_over_people,
    landmark_importance,
    recall_threshold,
    summary,
)


def two_classes(second: list[float]) -> np.ndarray:
    return np.stack([1 - np.array(second), second], axis=1)


PARAMS = load_params(Path(__file__).parents[2] / "params.yaml")


def dataset_of(rows: list[dict], classes: tuple[str, ...], voted: tuple[str, ...] = (), **labels: object) -> Dataset:
    """Rows with the keys split, emotion, subject and, if it is not the plain case, status, sex, age, agreement, votes.

    voted: what the votes count; labels: of LabelParams.
    """
    plain = {"image": "a.jpg", "folder": "training", "source": "a", "status": "ok"}
    plain |= dict.fromkeys(("sex", "age", "agreement", "professional", "votes"))
    rows = [{**plain, **row} for row in rows]
    ok = np.array([row["status"] == "ok" for row in rows])
    types = {"age": pa.int16(), "agreement": pa.int8(), "professional": pa.bool_(), "votes": pa.list_(pa.int8())}
    names = [name for name in rows[0] if name != "split"]
    settings = LabelParams(**{"target": "archive", "min_agreement": 0, **labels})
    emotions, votes = ([row[name] for row in rows] for name in ("emotion", "votes"))
    targets = targets_of(emotions, single(*classes), votes, voted, settings)
    return Dataset(
        classes,
        pa.table({name: pa.array([row[name] for row in rows], types.get(name, pa.string())) for name in names}),
        np.array([row["split"] for row in rows], object),
        archive=targets.archive,
        targets=targets.take(ok),
        row_of=np.flatnonzero(ok),
        settings={},
        face=np.zeros((478, 3)),
    )


def test_summary_of_a_tiny_case_worked_out_by_hand():
    second = [0.05, 0.25, 0.35, 0.65, 0.75, 0.85, 0.45]
    found = summary(two_classes(second), np.array([0, 0, 0, 0, 0, 1, 1]), ("calm", "afraid"))
    assert found["accuracy"] == pytest.approx(4 / 7)
    assert found["balanced_accuracy"] == pytest.approx((3 / 5 + 1 / 2) / 2)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 2 / 5) / 2)
    assert found["log_loss"] == pytest.approx(-np.log([0.95, 0.75, 0.65, 0.35, 0.25, 0.85, 0.45]).mean())
    assert found["auroc"] == pytest.approx(8 / 10)  # pairs in which the afraid face scores higher
    assert found["calibration_error"] == pytest.approx((0.05 + 2 * 0.25 + 2 * 0.15 + 0.15 + 0.55) / 7)
    calm, afraid = found["per_class"]["calm"], found["per_class"]["afraid"]
    assert [calm[k] for k in ("precision", "recall", "f1", "support")] == pytest.approx([3 / 4, 3 / 5, 2 / 3, 5])
    assert [afraid[k] for k in ("precision", "recall", "f1", "support")] == pytest.approx([1 / 3, 1 / 2, 2 / 5, 2])


def test_a_class_that_does_not_occur_is_left_out_of_the_means():
    probability = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.2, 0.7, 0.1]])
    found = summary(probability, np.array([0, 0, 1]), ("a", "b", "c"))
    assert found["balanced_accuracy"] == pytest.approx((1 / 2 + 1) / 2)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert found["per_class"]["c"]["support"] == 0


def noisy_people(people: int, pictures: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Target, predicted class and subject; people differ in how readable they are."""
    random = np.random.default_rng(seed)
    subject = np.repeat([f"{n:064x}" for n in range(people)], pictures).astype(object)
    target = np.tile(np.arange(pictures) % 2, people)
    readable = np.repeat(random.beta(4, 2, people), pictures)
    return target, np.where(random.random(len(target)) < readable, target, 1 - target), subject


def test_the_interval_holds_the_balanced_accuracy_and_is_wider_for_fewer_people():
    widths = []
    for people in (10, 400):
        target, predicted, subject = noisy_people(people)
        low, high = interval_over_people(target, predicted, subject)
        assert 0 <= low < accuracies(target, predicted)["balanced_accuracy"] < high <= 1
        widths.append(high - low)
    assert widths[0] > 2 * widths[1]


def test_the_interval_is_the_same_every_time_and_wider_at_a_higher_level():
    target, predicted, subject = noisy_people(30)
    assert interval_over_people(target, predicted, subject) == interval_over_people(target, predicted, subject)
    narrow = interval_over_people(target, predicted, subject, level=0.5)
    wide = interval_over_people(target, predicted, subject, level=0.95)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_many_equal_pictures_of_a_person_count_as_one_in_the_interval():
    target, predicted, subject = noisy_people(20, pictures=2)
    once = interval_over_people(target, predicted, subject)
    again = interval_over_people(*(np.repeat(values, 50) for values in (target, predicted, subject)))
    np.testing.assert_allclose(again, once)
    of_strangers = interval_over_people(
        np.repeat(target, 50), np.repeat(predicted, 50), np.array([str(n) for n in range(2000)], object)
    )
    assert once[1] - once[0] > 3 * (of_strangers[1] - of_strangers[0])


def test_the_interval_bears_draws_of_people_that_miss_a_class():
    """One of three people alone has the second class: many draws are without them."""
    target = np.array([0, 0, 0, 0, 1, 1])
    predicted = np.array([0, 1, 0, 0, 1, 0])
    low, high = interval_over_people(target, predicted, np.array(list("aabbcc"), object))
    assert np.isfinite([low, high]).all() and low <= 0.625 <= high


def overconfident(rows: int = 3000, factor: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are right as often as they say, times `factor`, and the targets."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 1.5, (rows, 3))
    odds = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    target = (random.random((rows, 1)) > odds.cumsum(axis=1)).sum(axis=1)
    return (factor * logits).astype(np.float32), target


def test_the_temperature_of_honest_logits_is_one_and_grows_with_them():
    honest = fit_temperature(*overconfident())
    assert honest == pytest.approx(1, abs=0.1)
    for factor in (0.25, 3, 8):
        assert fit_temperature(*overconfident(factor=factor)) == pytest.approx(factor * honest, rel=1e-3)


def test_a_few_faces_on_whom_nothing_is_mistaken_do_not_make_a_model_sure_of_everything():
    logits = np.tile([[1.0, -1.0], [-1.0, 1.0]], (10, 1)).astype(np.float32)
    temperature = fit_temperature(logits, np.tile([0, 1], 10))
    assert softmax(logits[0] / temperature).max() == pytest.approx(11 / 12, abs=1e-3)


def test_the_temperature_stays_within_bounds_when_every_guess_is_wrong_or_right_by_a_hair():
    logits = np.array([[1.0, -1.0], [-1.0, 1.0]], np.float32)
    assert 19 < fit_temperature(logits, np.array([1, 0])) <= 20
    assert 0.05 <= fit_temperature(logits / 1000, np.array([0, 1])) < 0.06


def test_calibration_error_is_small_for_honest_and_the_gap_for_overconfident_probabilities():
    random = np.random.default_rng(0)
    confidence = random.uniform(0.5, 1, 20000)
    target = (random.random(20000) > confidence).astype(int)  # class 0 with that probability
    assert expected_calibration_error(two_classes(1 - confidence), target) < 0.02
    sure = np.full(1000, 0.01)
    right_in_seven_of_ten = (np.arange(1000) % 10 >= 7).astype(int)
    assert expected_calibration_error(two_classes(sure), right_in_seven_of_ten) == pytest.approx(0.29)


def test_calibration_bins_leave_out_empty_ones_and_take_certainty_in():
    confidence, accuracy, count = calibration_bins(two_classes([1.0, 0.0, 0.45]), np.array([1, 1, 0]))
    np.testing.assert_allclose(confidence, [0.55, 1.0])
    np.testing.assert_allclose(accuracy, [1.0, 0.5])
    assert list(count) == [1, 2]


@pytest.mark.parametrize("classes", [2, 4])
def test_auroc_is_that_of_scikit_learn(classes):
    random = np.random.default_rng(classes)
    target = random.integers(0, classes, 200)
    probability = random.dirichlet(np.ones(classes), 200) + 0.3 * np.eye(classes)[target]
    probability /= probability.sum(axis=1, keepdims=True)
    if classes == 2:
        expected = roc_auc_score(target, probability[:, 1])
    else:
        expected = roc_auc_score(target, probability, multi_class="ovr", average="macro")
    assert 0.5 < auroc(probability, target) == pytest.approx(expected)


def test_auroc_of_one_class_alone_is_none():
    assert auroc(two_classes([0.2, 0.8]), np.array([1, 1])) is None


@pytest.mark.parametrize("wanted", [0.3, 0.5, 0.7, 0.9, 0.95, 0.999])
def test_the_threshold_is_the_highest_that_reaches_the_wanted_recall_on_valid(wanted):
    random = np.random.default_rng(0)
    target = np.arange(100) % 4 == 0
    score = random.random(100) + 0.3 * target
    found = recall_threshold(score, target.astype(int), score[:40], target[:40].astype(int), wanted)
    assert found["recall_target"] == wanted
    assert found["valid"]["recall"] >= wanted
    assert np.mean(score[target] > found["threshold"]) < wanted
    chosen = score[:40] >= found["threshold"]
    assert found["test"]["recall"] == pytest.approx(chosen[target[:40]].mean())
    assert found["test"]["precision"] == pytest.approx(target[:40][chosen].mean())
    assert found["test"]["false_positive_rate"] == pytest.approx(chosen[~target[:40]].mean())


def test_the_threshold_chooses_the_second_class():
    valid, truth = np.array([0.9, 0.6, 0.2]), np.array([1, 1, 0])
    found = recall_threshold(valid, truth, valid, truth, 0.9)
    assert found["threshold"] == 0.6
    assert found["valid"] == {"recall": 1, "precision": 1, "false_positive_rate": 0}


def test_accuracies_of_nothing_are_none():
    empty = np.zeros(0, int)
    assert accuracies(empty, empty) == {"images": 0, "accuracy": None, "balanced_accuracy": None}


def test_groups_are_judged_apart_and_unknown_is_a_group():
    target, predicted = np.array([0, 0, 1, 1, 0]), np.array([0, 1, 1, 1, 1])
    found = by_group(target, predicted, np.array([20, 20, 20, None, 30], object))
    assert found == {
        "20": {"images": 3, "accuracy": pytest.approx(2 / 3), "balanced_accuracy": pytest.approx(0.75)},
        "30": {"images": 1, "accuracy": 0, "balanced_accuracy": 0},
        "unknown": {"images": 1, "accuracy": 1, "balanced_accuracy": 1},
    }


def person(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def mixed_dataset() -> tuple[Dataset, np.ndarray]:
    """Five faces and three failed pictures of the test split, with logits that are right in three of the five."""
    rows = [{"split": "train", "emotion": e, "subject": person(0)} for e in ("calm", "afraid")]
    rows += [{"split": "valid", "emotion": e, "subject": person(1)} for e in ("calm", "afraid", "afraid")]
    rows += [
        {"split": "test", "emotion": "calm", "subject": person(2), "sex": "male", "age": 20, "agreement": 3},
        {"split": "test", "emotion": "calm", "subject": person(2), "status": "no_face"},
        {"split": "test", "emotion": "afraid", "subject": person(2), "sex": "male", "age": 20, "agreement": 2},
        {"split": "test", "emotion": "afraid", "subject": person(3), "sex": "female", "age": 60, "agreement": 3},
        {"split": "test", "emotion": "calm", "subject": person(3), "status": "decode_error"},
        {"split": "test", "emotion": "afraid", "subject": person(3), "status": "no_baseline"},
        {"split": "test", "emotion": "calm", "subject": person(3), "sex": "female", "age": 60},
        {"split": "test", "emotion": "calm", "subject": person(3), "sex": "female", "age": 60, "agreement": 0},
    ]
    logits = [[1, 0], [0, 1], [2, 0], [0, 2], [1, 0], [2, 0], [2, 0], [0, 2], [0, 1], [3, 0]]
    return dataset_of(rows, ("calm", "afraid")), np.array(logits, np.float32)


def test_metrics_of_a_mixed_test_part():
    metrics = evaluate(*mixed_dataset(), temperature=2.0, params=PARAMS)
    test = metrics["test"]["archive"]
    assert test["accuracy"] == pytest.approx(3 / 5)
    assert test["all_pictures"] == {"images": 8, "accuracy": pytest.approx(3 / 8)}
    assert test["unanimous"] == {"images": 2, "accuracy": 1, "balanced_accuracy": 1}
    assert {name: group["images"] for name, group in test["by_sex"].items()} == {"male": 2, "female": 3}
    assert {name: group["images"] for name, group in test["by_age"].items()} == {"20": 2, "60": 3}
    gaps = np.array([2, -2, 2, -1, 3]) / 2  # how far the true class's logit lies above the other, by temperature
    assert test["log_loss"] == pytest.approx(np.log1p(np.exp(-gaps)).mean(), abs=1e-5)
    assert metrics["valid"]["accuracy"] == pytest.approx(2 / 3, abs=1e-5)
    assert metrics["subjects"] == {"train": 1, "valid": 1, "test": 2, "overlap": 0, "unknown": 0, "each": 0}
    assert metrics["coverage"]["images"] == 13
    assert metrics["temperature"] == 2
    assert metrics["threshold"]["valid"]["recall"] == 1


def test_metrics_are_plain_json_with_the_promised_keys():
    metrics = evaluate(*mixed_dataset(), temperature=1.0, params=PARAMS)
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    for judged in (metrics["valid"], *(metrics["test"][truth] for truth in ("archive", "majority", "learnt"))):
        assert set(judged) >= {"accuracy", "balanced_accuracy", "macro_f1", "log_loss", "per_class"}
        assert set(judged["per_class"]["calm"]) == {"precision", "recall", "f1", "support"}
    assert set(metrics["coverage"]) >= {"images", "ok", "no_face", "decode_error", "read_error", "per_emotion"}
    assert set(metrics["subjects"]) == {"train", "valid", "test", "overlap", "unknown", "each"}


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value encountered")
@pytest.mark.parametrize("classes", [("calm", "afraid"), ("calm", "afraid", "glad")])
def test_metrics_hold_no_nan_where_a_class_raters_and_sexes_are_missing(classes):
    rows = [
        {"split": split, "emotion": e, "subject": person(n)}
        for n, split in enumerate(("train", "valid"))
        for e in classes
    ]
    rows += [{"split": "test", "emotion": "calm", "subject": person(9)}] * 3
    logits = np.random.default_rng(0).normal(size=(len(rows), len(classes))).astype(np.float32)
    metrics = evaluate(dataset_of(rows, classes), logits, temperature=1.0, params=PARAMS)
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    assert metrics["test"]["archive"]["unanimous"] == {"images": 0, "accuracy": None, "balanced_accuracy": None}
    assert set(metrics["test"]["learnt"]["by_sex"]) == set(metrics["test"]["learnt"]["by_age"]) == {"unknown"}
    assert metrics["test"]["learnt"]["auroc"] is None
    assert ("threshold" in metrics) == (len(classes) == 2)


def numbers(values: dict, prefix: str = "") -> dict:
    flat = {}
    for key, value in values.items():
        flat.update(numbers(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return flat


@pytest.mark.parametrize("classes", [2, 7])
def test_metrics_json_has_the_same_few_numbers_for_any_classes(classes):
    names = tuple(KOREAN)[:classes]
    rows = [
        {"split": split, "emotion": name, "subject": person(n)}
        for n, split in enumerate(("train", "valid", "test"))
        for name in names
    ]
    logits = np.random.default_rng(0).normal(size=(len(rows), classes)).astype(np.float32)
    evaluation = evaluate(dataset_of(rows, names), logits, temperature=1.0, params=PARAMS)
    found = numbers(headline(evaluation))
    archive = ("accuracy", "balanced_accuracy", "balanced_accuracy_low", "balanced_accuracy_high", "macro_f1")
    assert set(found) == {
        *(f"test.archive.{name}" for name in archive),
        *("test.log_loss", "test.auroc"),
        *(f"test.majority.{name}" for name in ("accuracy", "balanced_accuracy", "macro_f1")),
        "ceiling.balanced_accuracy",
        *(f"valid.{name}" for name in ("accuracy", "macro_f1", "log_loss")),
        *("coverage", "subjects.overlap", "subjects.each"),
    }
    assert len(found) <= 20
    assert all(value is None or isinstance(value, int | float) for value in found.values())
    assert found["test.archive.accuracy"] == evaluation["test"]["archive"]["accuracy"]
    assert found["coverage"] == 1


def votes(**counts: int) -> list[int]:
    return [counts.get(name, 0) for name in VOTED]


def rated_rows() -> list[dict]:
    """A person in train and in valid with a picture of each class, and six rated pictures of two test people."""
    rows = [
        {"split": split, "emotion": name, "subject": person(number), "votes": votes(**{name: 3})}
        for number, split in enumerate(("train", "valid"))
        for name in ("neutral", "anxious")
    ]
    answers = [
        ("neutral", {"neutral": 3}),
        ("neutral", {"neutral": 2, "anxious": 1}),
        ("anxious", {"neutral": 2, "anxious": 1}),
        ("anxious", {"anxious": 2, "sad": 1}),
        ("anxious", {"sad": 3}),
        ("anxious", {"neutral": 1, "anxious": 1}),
        ("happy", {"anxious": 3}),
    ]
    return rows + [
        {"split": "test", "emotion": name, "subject": person(5 + n % 2), "votes": votes(**seen), "professional": n < 3}
        for n, (name, seen) in enumerate(answers)
    ]


def rated_evaluation(target: str) -> dict:
    """Judged by logits that say neutral for the first two test pictures and anxious for the others."""
    logits = np.array([[2, 0], [0, 2]] * 2 + [[2, 0]] * 2 + [[0, 2]] * 5, np.float32)
    data = dataset_of(rated_rows(), ("neutral", "anxious"), VOTED, target=target)
    params = dataclasses.replace(PARAMS, labels=LabelParams(target, min_agreement=0))
    return evaluate(data, logits, temperature=1.0, params=params)


@pytest.mark.parametrize("target", ["archive", "majority", "votes"])
def test_both_truths_and_the_ceiling_are_the_same_whatever_is_learnt(target):
    found = rated_evaluation(target)
    assert found["test"]["archive"]["images"] == 6
    assert found["test"]["archive"]["accuracy"] == 1
    majority = found["test"]["majority"]
    assert majority["images"] == 5  # not the one that is sad, nor the tie, but the one that was to be happy
    assert majority["accuracy"] == pytest.approx(4 / 5)
    assert {name: group["images"] for name, group in majority["by_professional"].items()} == {"yes": 3, "no": 2}
    ceiling = found["ceiling"]
    assert (ceiling["pairs"], ceiling["images"]) == (9, 5)
    assert ceiling["share"] == pytest.approx(5 / 7, abs=1e-6)
    assert ceiling["raters"]["per_class"] == {"neutral": pytest.approx(3 / 5), "anxious": pytest.approx(3 / 4)}
    assert ceiling["model"]["per_class"] == {"neutral": pytest.approx(4 / 5), "anxious": 1}
    assert ceiling["raters"]["balanced_accuracy"] == headline(found)["ceiling"]["balanced_accuracy"]
    assert headline(found)["test"]["majority"]["accuracy"] == majority["accuracy"]


def test_log_loss_is_against_what_is_learnt():
    sure, unsure = np.log1p(np.exp(-2)), np.log1p(np.exp(2))
    assert rated_evaluation("archive")["test"]["log_loss"] == pytest.approx(sure, abs=1e-6)
    assert rated_evaluation("majority")["test"]["log_loss"] == pytest.approx((4 * sure + unsure) / 5, abs=1e-6)
    weighted = [
        (1, sure),
        (1, (2 * sure + unsure) / 3),
        (1, (2 * unsure + sure) / 3),
        (2 / 3, sure),
        (1, (sure + unsure) / 2),
        (1, sure),
    ]
    expected = np.average([loss for _, loss in weighted], weights=[weight for weight, _ in weighted])
    assert rated_evaluation("votes")["test"]["log_loss"] == pytest.approx(expected, abs=1e-6)


def test_what_became_of_the_training_pictures_is_counted():
    answers = {
        "neutral": [{"neutral": 3}, {"anxious": 2}, {"sad": 3}, None, {"neutral": 1, "anxious": 1}],
        "happy": [{"neutral": 3}, {"happy": 3}],
    }
    rows = rated_rows()
    rows += [
        {"split": "train", "emotion": name, "subject": person(0), "votes": None if seen is None else votes(**seen)}
        for name, several in answers.items()
        for seen in several
    ]
    expected = {
        "archive": {"learnt": 7, "by_name": None, "moved": 0, "tied": 0},
        "majority": {"learnt": 5, "by_name": 0, "moved": 2, "tied": 0},
        "votes": {"learnt": 6, "by_name": 0, "moved": 2, "tied": 1},
    }
    for target, counts in expected.items():
        data = dataset_of(rows, ("neutral", "anxious"), VOTED, target=target)
        found = count_labels(data, LabelParams(target, min_agreement=0))
        assert found == {"target": target, **counts, "unrated": 1, "no_majority": 1, "outside": 1}


def test_without_a_test_face_of_an_archive_nothing_is_said_against_its_name():
    rows = rated_rows()[:4]
    rows.append({"split": "test", "emotion": "happy", "subject": person(9), "votes": votes(anxious=3)})
    logits = np.array([[2, 0], [0, 2]] * 2 + [[0, 2]], np.float32)
    found = evaluate(dataset_of(rows, ("neutral", "anxious"), VOTED, target="majority"), logits, 1.0, PARAMS)
    assert found["test"]["archive"]["accuracy"] is found["test"]["archive"]["log_loss"] is None
    assert found["test"]["archive"]["balanced_accuracy_interval"] == [None, None]
    assert found["test"]["majority"]["accuracy"] == found["test"]["learnt"]["accuracy"] == 1
    assert json.loads(json.dumps(headline(found), allow_nan=False)) == headline(found)


def test_classes_that_only_raters_saw_in_other_archives_have_metrics_too():
    rows = [
        {"split": split, "emotion": "happy", "subject": person(number), "votes": votes(**{name: 3})}
        for number, split in enumerate(("train", "valid", "test"))
        for name in ("neutral", "anxious")
    ]
    logits = np.array([[2, 0], [0, 2]] * 3, np.float32)
    found = evaluate(dataset_of(rows, ("neutral", "anxious"), VOTED, target="majority"), logits, 1.0, PARAMS)
    assert headline(found)["coverage"] is headline(found)["test"]["archive"]["accuracy"] is None
    assert headline(found)["test"]["majority"]["accuracy"] == 1


def test_only_the_landmarks_that_the_network_looks_at_are_important():
    network = nn.Linear(1434, 2, bias=False)
    with torch.no_grad():
        network.weight.zero_()
        network.weight[0, 3 * 61 + 1] = 2.0
        network.weight[1, 3 * 291] = 1.0
    features = np.random.default_rng(0).normal(size=(40, 1434)).astype(np.float32)
    importance = landmark_importance(network, features)
    assert importance.shape == (478,)
    assert set(np.flatnonzero(importance)) == {61, 291}
    predicted = (features[:, 291 * 3] > 2 * features[:, 61 * 3 + 1]).mean()
    np.testing.assert_allclose(importance[[61, 291]], [2 * (1 - predicted), predicted], rtol=1e-5)
