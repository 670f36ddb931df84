import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from made_datasets import dataset_of, person

from faceemo.emotions import KOREAN
from faceemo.params import LabelParams, Params, load_params
from faceemo.pictures.labels import VOTED
from faceemo.training.dataset import Dataset
from faceemo.training.evaluate import evaluate, headline, split_lines

TWO = ("neutral", "anxious")
PARAMS = load_params(Path(__file__).parents[2] / "params.yaml")


MODEL = {"md5": "0" * 32, "network": "mlp", "epoch": 3, "learnt_valid": False}


def evaluated(dataset: Dataset, logits: np.ndarray, temperature: float = 1.0, params: Params = PARAMS) -> dict:
    return evaluate(dataset, logits, temperature, params, MODEL)


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
    metrics = evaluated(*mixed_dataset(), temperature=2.0)
    test = metrics["test"]["archive"]
    assert test["accuracy"] == pytest.approx(3 / 5)
    assert test["all_pictures"] == {"images": 8, "accuracy": pytest.approx(3 / 8)}
    unanimous = test["unanimous"]
    assert (unanimous["images"], unanimous["people"], unanimous["accuracy"]) == (2, 2, 1)
    assert {name: group["images"] for name, group in test["by_sex"].items()} == {"male": 2, "female": 3}
    assert {name: group["people"] for name, group in test["by_age"].items()} == {"20": 1, "60": 1}
    assert [group["accuracy"] for group in test["by_age"].values()] == pytest.approx([1 / 2, 2 / 3], abs=1e-6)
    gaps = np.array([2, -2, 2, -1, 3]) / 2  # how far the true class's logit lies above the other, by temperature
    assert test["log_loss"] == pytest.approx(np.log1p(np.exp(-gaps)).mean(), abs=1e-5)
    assert metrics["valid"]["accuracy"] == pytest.approx(2 / 3, abs=1e-5)
    assert metrics["subjects"] == {"train": 1, "valid": 1, "test": 2, "overlap": 0, "unknown": 0, "each": 0}
    assert metrics["coverage"]["images"] == 13
    assert metrics["temperature"] == 2
    assert metrics["threshold"]["valid"]["recall"] == 1


def test_metrics_are_plain_json_with_the_promised_keys():
    metrics = evaluated(*mixed_dataset())
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    for judged in (metrics["valid"], *(metrics["test"][truth] for truth in ("archive", "majority", "learnt"))):
        assert set(judged) >= {"accuracy", "balanced_accuracy", "macro_f1", "log_loss", "per_class"}
        assert set(judged["per_class"]["calm"]) == {"precision", "recall", "recall_interval", "f1", "support"}
    assert set(metrics["coverage"]) >= {"images", "ok", "no_face", "decode_error", "read_error", "per_emotion"}
    assert set(metrics["subjects"]) == {"train", "valid", "test", "overlap", "unknown", "each"}


def test_the_model_its_parameters_and_classes_are_named_and_the_mistakes_and_charts_are_there():
    dataset, logits = mixed_dataset()
    params = dataclasses.replace(PARAMS, emotions={"calm": ("calm",), "afraid": ("afraid", "scared")})
    found = evaluated(dataset, logits, params=params)
    assert found["model"] == MODEL
    assert found["params"]["emotions"] == ["calm", {"afraid": ["afraid", "scared"]}]
    assert found["params"]["train"] == dataclasses.asdict(PARAMS.train) and found["params"]["limit"] is None
    assert found["classes"] == {"calm": ["calm"], "afraid": ["afraid"]} and found["left_out"] == {}
    assert [one["row"] for one in found["mistakes"]] == [7, 11]  # the surest first
    assert found["mistakes"][0]["subject"] == person(2)[:8]
    assert found["charts"]["calibration"] == [
        pytest.approx([sure, right, images], abs=1e-6)
        for sure, right, images in ((0.731059, 0, 1), (0.880797, 2 / 3, 3), (0.952574, 1, 1))
    ]
    assert found["charts"]["roc"][0] == [0, 0] and found["charts"]["roc"][-1] == [1, 1]
    assert np.shape(found["test"]["learnt"]["confusion"]) == (2, 2)


def test_a_roc_curve_of_many_faces_is_thinned_and_keeps_its_ends():
    random = np.random.default_rng(0)
    rows = [{"split": split, "emotion": name, "subject": person(7)} for split in ("train", "valid") for name in TWO]
    rows += [{"split": "test", "emotion": TWO[n % 2], "subject": person(n % 9)} for n in range(600)]
    logits = random.normal(size=(len(rows), 2)).astype(np.float32)
    points = evaluated(dataset_of(rows, TWO), logits)["charts"]["roc"]
    assert len(points) <= 200 and points[0] == [0, 0] and points[-1] == [1, 1]
    assert (np.diff(points, axis=0) >= 0).all()


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
    metrics = evaluated(dataset_of(rows, classes), logits)
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    assert metrics["test"]["archive"]["unanimous"]["accuracy"] is None
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
    evaluation = evaluated(dataset_of(rows, names), logits)
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
    params = dataclasses.replace(PARAMS, labels=LabelParams(target))
    return evaluated(data, logits, params=params)


@pytest.mark.parametrize("target", ["archive", "majority", "votes"])
def test_as_many_test_pictures_are_told_before_training_as_the_headline_is_of(target):
    """Whatever is learnt: of a picture that raters saw another emotion in, nothing is."""
    data = dataset_of(rated_rows(), ("neutral", "anxious"), VOTED, target=target)
    assert split_lines(data)[0] == "train: 2 pictures of 1 people"
    assert split_lines(data)[2] == "test: 6 pictures of 2 people"
    assert rated_evaluation(target)["test"]["archive"]["images"] == 6


@pytest.mark.parametrize("target", ["archive", "majority", "votes"])
def test_both_truths_and_the_ceiling_are_the_same_whatever_is_learnt(target):
    found = rated_evaluation(target)
    assert found["test"]["archive"]["images"] == 6
    assert found["test"]["archive"]["accuracy"] == 1
    assert found["truth"] == "archive" and found["mistakes"] == []
    assert sum(images for *_, images in found["charts"]["calibration"]) == 6
    assert found["threshold"]["test"] == {"recall": 1, "precision": 1, "false_positive_rate": 0}
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


def test_without_a_test_face_of_an_archive_nothing_is_said_against_its_name():
    rows = rated_rows()[:4]
    rows.append({"split": "test", "emotion": "happy", "subject": person(9), "votes": votes(anxious=3)})
    logits = np.array([[2, 0], [0, 2]] * 2 + [[0, 2]], np.float32)
    found = evaluated(dataset_of(rows, ("neutral", "anxious"), VOTED, target="majority"), logits)
    assert found["test"]["archive"]["accuracy"] is found["test"]["archive"]["log_loss"] is None
    assert found["test"]["archive"]["balanced_accuracy_interval"] == [None, None]
    assert found["test"]["majority"]["accuracy"] == found["test"]["learnt"]["accuracy"] == 1
    assert found["truth"] == "learnt" and sum(images for *_, images in found["charts"]["calibration"]) == 1
    assert json.loads(json.dumps(headline(found), allow_nan=False)) == headline(found)


def test_classes_that_only_raters_saw_in_other_archives_have_metrics_too():
    rows = [
        {"split": split, "emotion": "happy", "subject": person(number), "votes": votes(**{name: 3})}
        for number, split in enumerate(("train", "valid", "test"))
        for name in ("neutral", "anxious")
    ]
    logits = np.array([[2, 0], [0, 2]] * 3, np.float32)
    found = evaluated(dataset_of(rows, ("neutral", "anxious"), VOTED, target="majority"), logits)
    assert headline(found)["coverage"] is headline(found)["test"]["archive"]["accuracy"] is None
    assert headline(found)["test"]["majority"]["accuracy"] == 1
