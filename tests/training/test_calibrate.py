"""Of few people those of the valid split are learnt from too, once they have calibrated the model."""

import dataclasses
import signal

import numpy as np
import pytest
from test_train import params, separable

from faceemo.console import Interrupted
from faceemo.training.calibrate import train_calibrated
from faceemo.training.metrics import fit_temperature
from faceemo.training.model import load_model
from faceemo.training.train import train


@pytest.fixture(scope="module")
def first():
    """A training of the train split alone."""
    data, features = separable()
    return train(data, {"features": features}, params(), None)


def calibrated(path, **options):
    data, features = separable()
    return train_calibrated(data, {"features": features}, params(), path, **options)


def temperature_of(training) -> float:
    data, _ = separable()
    return fit_temperature(training.logits[data.valid], data.targets.valid[data.valid])


def test_of_many_people_the_model_is_that_of_the_train_split_with_the_temperature_of_the_valid_people(first, tmp_path):
    found = calibrated(tmp_path / "interrupted.pt", few_people=60)
    np.testing.assert_array_equal(found.logits, first.logits)
    assert found.model.temperature == temperature_of(first) and not found.learnt_valid
    assert found.history == first.history


def test_of_few_people_the_valid_ones_are_learnt_from_and_judged_by_the_network_that_has_not(first, tmp_path, capsys):
    data, features = separable()
    found = calibrated(tmp_path / "interrupted.pt", few_people=61)
    both = np.where(data.split == "valid", "train", data.split)
    last = train(dataclasses.replace(data, split=both), {"features": features}, params(), None)
    np.testing.assert_array_equal(found.logits[data.test], last.logits[data.test])
    np.testing.assert_array_equal(found.logits[data.valid], first.logits[data.valid])
    assert found.model.temperature == temperature_of(first) and found.learnt_valid
    assert found.history == first.history
    assert found.model.has_seen(data.column("subject")) == [split != "test" for split in data.split]
    assert "trained again with the valid people, who have calibrated it: 60 people are few\n" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


class Watched(dict):
    """Inputs that count how often they are read; the read after `at_most` presses Ctrl-C."""

    def __init__(self, features: np.ndarray, at_most: float = float("inf")) -> None:
        super().__init__(features=features)
        self.reads, self.at_most = 0, at_most

    def __getitem__(self, name: str) -> np.ndarray:
        self.reads += 1
        if self.reads > self.at_most:
            signal.raise_signal(signal.SIGINT)
        return super().__getitem__(name)


def test_ctrl_c_in_the_second_training_leaves_the_model_of_the_first(first, tmp_path):
    path = tmp_path / "models" / "interrupted.pt"
    data, features = separable()
    watched = Watched(features)
    train(data, watched, params(), None)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(Interrupted, match=r"the model without the valid people is in .*/models/interrupted\.pt"):
            train_calibrated(data, Watched(features, watched.reads), params(), path, few_people=61)
    finally:
        signal.signal(signal.SIGINT, before)
    assert load_model(path).temperature == temperature_of(first)
