"""Figures are those worked out by hand or by scikit-learn; intervals those of a bootstrap over people done by hand."""

import numpy as np
import pytest
import sklearn.metrics
from scipy.special import softmax

from faceemo.training.metrics import (
    Outcome,
    auroc,
    calibration_bins,
    calibration_error,
    confusion,
    differences,
    fit_temperature,
    log_losses,
    rates_at,
    recall_threshold,
    roc_curve,
    score,
    score_answers,
)

CLASSES = ("a", "b", "c", "d")


def two_classes(second: list[float]) -> np.ndarray:
    return np.stack([1 - np.array(second), second], axis=1)


def each(count: int) -> np.ndarray:
    """As many people as pictures."""
    return np.array([f"{number}" for number in range(count)])


def test_the_score_of_a_tiny_case_worked_out_by_hand():
    second = [0.05, 0.25, 0.35, 0.65, 0.75, 0.85, 0.45]
    found = score(two_classes(second), np.array([0, 0, 0, 0, 0, 1, 1]), each(7), ("calm", "afraid"))
    assert (found["images"], found["people"]) == (7, 7)
    assert found["accuracy"] == pytest.approx(4 / 7)
    assert found["balanced_accuracy"] == pytest.approx((3 / 5 + 1 / 2) / 2)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 2 / 5) / 2)
    assert found["log_loss"] == pytest.approx(-np.log([0.95, 0.75, 0.65, 0.35, 0.25, 0.85, 0.45]).mean())
    assert found["auroc"] == pytest.approx(8 / 10)  # pairs in which the afraid face scores higher
    assert found["calibration_error"] == pytest.approx((0.05 + 2 * 0.25 + 2 * 0.15 + 0.15 + 0.55) / 7)
    assert found["confusion"] == [[3, 2], [1, 1]]
    calm, afraid = found["per_class"]["calm"], found["per_class"]["afraid"]
    assert [calm[k] for k in ("precision", "recall", "f1", "support")] == pytest.approx([3 / 4, 3 / 5, 2 / 3, 5])
    assert [afraid[k] for k in ("precision", "recall", "f1", "support")] == pytest.approx([1 / 3, 1 / 2, 2 / 5, 2])


def test_a_class_that_does_not_occur_is_left_out_of_the_means():
    probability = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.2, 0.7, 0.1]])
    found = score(probability, np.array([0, 0, 1]), each(3), ("a", "b", "c"))
    assert found["balanced_accuracy"] == pytest.approx((1 / 2 + 1) / 2)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 2 / 3) / 2)
    nothing = {"precision": 0, "recall": None, "recall_interval": (None, None), "f1": None, "support": 0}
    assert found["per_class"]["c"] == nothing


@pytest.mark.filterwarnings("error")
def test_of_no_pictures_every_figure_is_none():
    found = score(np.zeros((0, 2), np.float32), np.zeros(0, int), np.zeros(0, object), ("a", "b"))
    assert found.pop("images") == found.pop("people") == 0
    assert found.pop("confusion") == [[0, 0], [0, 0]]
    for values in found.pop("per_class").values():
        assert values == {**dict.fromkeys(("precision", "recall", "f1")), "recall_interval": (None, None), "support": 0}
    assert all(value in (None, (None, None)) for value in found.values())
    assert score_answers(np.zeros(0, int), np.zeros(0, int), np.zeros(0, object), ("a",))["balanced_accuracy"] is None


def test_an_answer_that_is_no_class_is_wrong():
    found = score_answers(np.array([0, 0, 1]), np.array([-1, 0, 1]), each(3), ("a", "b"))
    assert found["accuracy"] == pytest.approx(2 / 3) and found["per_class"] == {"a": 0.5, "b": 1}


@pytest.fixture(scope="module")
def faces():
    """200 faces of 20 people, ten of whom are read better: classes, probabilities and whose each is."""
    random = np.random.default_rng(1)
    person = np.array([f"p{number:02d}" for number in random.integers(0, 20, 200)])
    target = random.integers(0, 3, 200)
    right = random.random(200) < np.where(person < "p10", 0.9, 0.4)
    probability = np.full((200, 4), 0.2)
    probability[np.arange(200), np.where(right, target, (target + 1) % 3)] = 0.4
    return target, probability, person


def by_hand(values_of, person: np.ndarray) -> np.ndarray:
    """Quantiles of a figure over people that are drawn one by one, another way than the module does."""
    random = np.random.default_rng(2)
    where = {name: np.flatnonzero(person == name) for name in np.unique(person)}
    drawn = [np.concatenate([where[name] for name in random.choice(list(where), len(where))]) for _ in range(600)]
    return np.quantile([values_of(rows) for rows in drawn], (0.025, 0.975))


def test_every_interval_is_that_of_a_bootstrap_over_people(faces):
    target, probability, person = faces
    predicted, found = probability.argmax(axis=1), score(probability, target, person, CLASSES)
    loss = log_losses(probability, target)
    right = predicted == target

    def f1(rows: np.ndarray, name: int) -> float:
        actual, taken = target[rows] == name, predicted[rows] == name
        return 2 * (actual & taken).sum() / (actual.sum() + taken.sum())

    expected = {
        "accuracy": lambda rows: right[rows].mean(),
        "balanced_accuracy": lambda rows: np.mean([right[rows][target[rows] == name].mean() for name in range(3)]),
        "macro_f1": lambda rows: np.mean([f1(rows, name) for name in range(3)]),
        "log_loss": lambda rows: loss[rows].mean(),
    }
    for name, values_of in expected.items():
        assert found[f"{name}_interval"] == pytest.approx(by_hand(values_of, person), abs=0.025), name
    recall = by_hand(lambda rows: right[rows][target[rows] == 1].mean(), person)
    assert found["per_class"]["b"]["recall_interval"] == pytest.approx(recall, abs=0.025)
    assert found["per_class"]["d"]["recall_interval"] == (None, None)  # nobody shows that class
    answers = score_answers(target, predicted, person, CLASSES)
    assert answers["balanced_accuracy_interval"] == found["balanced_accuracy_interval"]
    assert [*answers["per_class"].values()] == [one["recall"] for one in found["per_class"].values()]


def test_many_equal_pictures_of_a_person_count_as_one_in_an_interval(faces):
    def width(target: np.ndarray, probability: np.ndarray, person: np.ndarray) -> float:
        low, high = score(probability, target, person, CLASSES)["balanced_accuracy_interval"]
        return high - low

    target, probability, _ = faces
    assert width(*faces) == pytest.approx(width(*(np.repeat(one, 30, axis=0) for one in faces)))
    assert width(*faces) > 1.3 * width(target, probability, each(200))


def test_an_interval_depends_on_no_name_and_bears_draws_that_miss_a_class():
    """One of three people alone has the second class: many draws are without them."""
    target, second = np.array([0, 0, 0, 0, 1, 1]), [0.1, 0.8, 0.1, 0.1, 0.9, 0.2]
    found = [
        score(two_classes(second), target, np.array(list(names), object), ("a", "b"))["balanced_accuracy_interval"]
        for names in ("aabbcc", "xxyyzz")
    ]
    assert found[0] == found[1] and found[0][0] <= 0.625 <= found[0][1]


def test_one_person_alone_has_no_interval(faces):
    target, probability, _ = faces
    alone = np.full(200, "kim")
    found = score(probability, target, alone, CLASSES)
    assert found["accuracy_interval"] == found["per_class"]["a"]["recall_interval"] == (None, None)
    first, other = (Outcome(target, np.full(200, right), np.zeros(200)) for right in (False, True))
    assert differences(first, other, alone)["accuracy"] == [1, None, None]


def test_a_difference_is_paired_by_picture(faces):
    target, probability, person = faces
    right = probability.argmax(axis=1) == target
    first, other = Outcome(target, right, 1.0 * right), Outcome(target, np.ones(200, bool), 2.0 * right)
    assert set(map(tuple, differences(first, first, person).values())) == {(0, 0, 0)}
    found = differences(first, other, person)
    for name, values in (("accuracy", 1.0 - right), ("log_loss", 1.0 * right)):
        mean, low, high = found[name]
        assert mean == pytest.approx(values.mean())
        assert (low, high) == pytest.approx(by_hand(lambda rows, of=values: of[rows].mean(), person), abs=0.025)


def test_a_difference_of_several_runs_is_of_how_often_each_picture_was_right(faces):
    target, probability, person = faces
    right = probability.argmax(axis=1) == target
    half = Outcome(target, (right + np.ones(200)) / 2, np.zeros(200))  # another run that was always right
    found = differences(Outcome(target, right, np.zeros(200)), half, person)
    assert found["accuracy"][0] == pytest.approx((1 - right.mean()) / 2)
    by_class = [(1 - right[target == name].mean()) / 2 for name in range(3)]
    assert found["balanced_accuracy"][0] == pytest.approx(np.mean(by_class))


def test_a_difference_of_balanced_accuracies_is_over_the_classes_of_each(faces):
    target, probability, person = faces
    grouped, predicted = np.minimum(target, 1), probability.argmax(axis=1)  # two classes of three
    first = Outcome(target, predicted == target, np.zeros(200))
    other = Outcome(grouped, np.minimum(predicted, 1) == grouped, np.zeros(200))
    means = [np.mean([one.right[one.target == c].mean() for c in np.unique(one.target)]) for one in (first, other)]
    mean, low, high = differences(first, other, person)["balanced_accuracy"]
    assert mean == pytest.approx(means[1] - means[0]) and low < mean < high


def test_confusion_counts_actual_by_predicted(faces):
    target, predicted = faces[0], faces[1].argmax(axis=1)
    expected = sklearn.metrics.confusion_matrix(target, predicted, labels=range(4))
    np.testing.assert_array_equal(confusion(target, predicted, 4), expected)


@pytest.mark.parametrize("classes", [2, 4])
def test_auroc_and_roc_curve_are_those_of_scikit_learn(classes):
    random = np.random.default_rng(classes)
    target = random.integers(0, classes, 200)
    probability = random.dirichlet(np.ones(classes), 200) + 0.3 * np.eye(classes)[target]
    probability = np.round(probability / probability.sum(axis=1, keepdims=True), 2)  # some are equal
    if classes == 2:
        expected = sklearn.metrics.roc_auc_score(target, probability[:, 1])
        curve = sklearn.metrics.roc_curve(target, probability[:, 1], drop_intermediate=False)[:2]
        np.testing.assert_allclose(roc_curve(probability[:, 1], target), curve)
    else:
        areas = [sklearn.metrics.roc_auc_score(target == one, probability[:, one]) for one in range(classes)]
        expected = np.mean(areas)
    assert 0.5 < auroc(probability, target) == pytest.approx(expected)


def test_auroc_of_one_class_alone_is_none():
    assert auroc(two_classes([0.2, 0.8]), np.array([1, 1])) is None


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
    assert calibration_error(two_classes(1 - confidence), target) < 0.02
    sure = np.full(1000, 0.01)
    right_in_seven_of_ten = (np.arange(1000) % 10 >= 7).astype(int)
    assert calibration_error(two_classes(sure), right_in_seven_of_ten) == pytest.approx(0.29)


def test_calibration_bins_leave_out_empty_ones_and_take_certainty_in():
    confidence, accuracy, count = calibration_bins(two_classes([1.0, 0.0, 0.45]), np.array([1, 1, 0]))
    np.testing.assert_allclose(confidence, [0.55, 1.0])
    np.testing.assert_allclose(accuracy, [1.0, 0.5])
    assert list(count) == [1, 2]


@pytest.mark.parametrize("wanted", [0.3, 0.5, 0.7, 0.9, 0.95, 0.999])
def test_the_threshold_is_the_highest_that_reaches_the_wanted_recall(wanted):
    random = np.random.default_rng(0)
    target = np.arange(100) % 4 == 0
    probability = random.random(100) + 0.3 * target
    threshold = recall_threshold(probability, target.astype(int), wanted)
    found = rates_at(threshold, probability, target.astype(int))
    assert found["recall"] >= wanted > np.mean(probability[target] > threshold)
    assert found["precision"] == pytest.approx(target[probability >= threshold].mean())
    assert found["false_positive_rate"] == pytest.approx((probability >= threshold)[~target].mean())


def test_rates_of_a_class_that_is_missing_are_none():
    assert rates_at(0.5, np.array([0.9, 0.1]), np.array([1, 1])) == {
        "recall": 0.5,
        "precision": 1,
        "false_positive_rate": None,
    }
    assert rates_at(0.95, np.array([0.9]), np.array([0]))["precision"] is None
