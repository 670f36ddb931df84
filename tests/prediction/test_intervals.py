"""Intervals over people are those of a bootstrap done by hand."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from faceemo.prediction.intervals import Judged, differences_over_people, intervals_over_people, log_losses
from faceemo.training.evaluate import interval_over_people


@pytest.fixture
def faces():
    """Some 200 faces of 20 people: classes, a prediction that is right more often for some people, their names."""
    random = np.random.default_rng(1)
    person = np.array([f"p{number:02d}" for number in random.integers(0, 20, 200)])
    target = random.integers(0, 3, 200)
    right = random.random(200) < np.where(person < "p10", 0.9, 0.4)
    return target, np.where(right, target, (target + 1) % 3), person


def by_hand(values_of, person):
    """Quantiles of a metric over people that are drawn one by one, another way than the module does."""
    random = np.random.default_rng(2)
    where = {name: np.flatnonzero(person == name) for name in np.unique(person)}
    drawn = [np.concatenate([where[name] for name in random.choice(list(where), len(where))]) for _ in range(1000)]
    return np.quantile([values_of(rows) for rows in drawn], (0.025, 0.975))


@pytest.mark.slow
def test_every_metric_has_the_interval_of_a_bootstrap_over_people(faces):
    target, predicted, person = faces
    probability = np.full((200, 3), 0.2)
    probability[np.arange(200), predicted] = 0.6
    loss = log_losses(probability, target)
    found = intervals_over_people(target, predicted, loss, person, 4)
    expected = {
        "accuracy": lambda rows: (target == predicted)[rows].mean(),
        "balanced_accuracy": lambda rows: balanced_accuracy_score(target[rows], predicted[rows]),
        "macro_f1": lambda rows: f1_score(target[rows], predicted[rows], average="macro"),
        "log_loss": lambda rows: loss[rows].mean(),
    }
    for metric, values_of in expected.items():
        assert found[metric] == pytest.approx(by_hand(values_of, person), abs=0.02), metric
    assert found["balanced_accuracy"] == pytest.approx(interval_over_people(target, predicted, person))
    recall = by_hand(lambda rows: (predicted == 1)[rows][target[rows] == 1].mean(), person)
    assert found["recall"][1] == pytest.approx(recall, abs=0.02)
    assert found["recall"][3] is None  # nobody shows that class


def test_a_difference_is_paired_by_picture(faces):
    target, predicted, person = faces
    right = target == predicted
    first, other = Judged(target, right, 1.0 * right), Judged(target, np.ones(200, bool), 2.0 * right)
    nothing = differences_over_people(first, first, person)
    assert nothing["accuracy"] == nothing["balanced_accuracy"] == nothing["log_loss"] == [0, 0, 0]
    found = differences_over_people(first, other, person)
    for name, values in (("accuracy", 1.0 - right), ("log_loss", 1.0 * right)):
        mean, low, high = found[name]
        assert mean == pytest.approx(values.mean())
        assert (low, high) == pytest.approx(by_hand(lambda rows, of=values: of[rows].mean(), person), abs=0.02)


def test_balanced_accuracy_is_over_the_classes_of_each_model(faces):
    target, predicted, person = faces
    grouped = np.minimum(target, 1)  # one class of two
    right = np.minimum(predicted, 1) == grouped
    both = Judged(target, target == predicted, np.zeros(200)), Judged(grouped, right, np.zeros(200))
    first, other = (np.mean([one.right[one.target == c].mean() for c in np.unique(one.target)]) for one in both)
    found = differences_over_people(*both, person)
    mean, low, high = found["balanced_accuracy"]
    assert mean == pytest.approx(other - first) and low < mean < high


def test_one_person_alone_has_no_interval(faces):
    target, predicted, _ = faces
    alone = np.full(200, "kim")
    found = intervals_over_people(target, predicted, np.zeros(200), alone, 3)
    assert found["accuracy"] is None and found["recall"] == [None] * 3
    first, other = (Judged(target, np.full(200, right), np.zeros(200)) for right in (False, True))
    assert differences_over_people(first, other, alone)["accuracy"] == [1, None, None]
