import dataclasses
import math

import cv2
import numpy as np
import pytest
import torch
from made_datasets import dataset_of, person
from made_models import NORMALIZE, random_model
from scipy.special import log_softmax, softmax

from faceemo.training.dataset import Dataset
from faceemo.training.domains import Likelier, fit_domain, fit_margin
from faceemo.training.train import Training, leave_to

TWO = ("neutral", "anxious")


def faces(count: int, test: int = 0) -> Dataset:
    """Each of a person of their own, to learn from but for the last ones."""
    splits = ["train"] * (count - test) + ["test"] * test
    rows = [{"emotion": TWO[at % 2], "subject": person(at), "split": split} for at, split in enumerate(splits)]
    return dataset_of(rows, TWO, settings={"normalize": NORMALIZE, "extract": {"settings": {"crops": True}}})


def rough(count: int, seed: int = 0) -> np.ndarray:
    """Crops uint8 [count, 64, 64] of noise, as it is."""
    return np.random.default_rng(seed).integers(0, 256, (count, 64, 64), dtype=np.uint8)


def smooth(count: int, seed: int = 0) -> np.ndarray:
    """Crops of noise that is blurred."""
    return np.stack([cv2.GaussianBlur(crop, None, 2) for crop in rough(count, seed)])


@pytest.mark.parametrize(
    ("network", "start", "expected"),
    [
        ("both", {"network": "cnn"}, True),
        ("both", {"network": "both"}, True),
        ("both", {"network": "cnn", "classes": ("happy", "anxious", "angry", "neutral")}, True),
        ("both", {"network": "cnn", "classes": ("happy", "anxious")}, False),  # one class in common
        ("both", {"network": "both", "scale": "max_abs"}, False),  # landmarks in another way
        ("both", {"network": "mlp"}, False),
        ("cnn", {"network": "both"}, False),  # reads landmarks too
        ("mlp", {"network": "cnn"}, False),
    ],
)
def test_a_model_keeps_its_start_where_that_can_answer_in_its_place(network, start, expected):
    data = faces(12)
    model = random_model(network=network)
    model = model if model.domain is None else dataclasses.replace(model, domain=fit_domain(smooth(12), data.train))
    begun = leave_to(random_model(**start), model, data, {"crop": smooth(12)})
    assert (begun.start is not None) == expected
    changes = dataclasses.replace(model, settings={**model.settings, "normalize": {**NORMALIZE, "baseline": "neutral"}})
    assert leave_to(random_model(**start), changes, data, {"crop": smooth(12)}).start is None


def test_faces_that_look_like_those_of_the_start_get_its_answers():
    """In the training's own logits as in the model's, before and after the temperature and the shares."""
    data, features = faces(60, test=8), np.random.default_rng(0).normal(size=(60, 1434)).astype(np.float32)
    crops = smooth(60)
    crops[-8:] = rough(8, seed=1)
    start = random_model(("anxious", "neutral", "happy"), seed=3, network="cnn")
    start = dataclasses.replace(start, domain=fit_domain(rough(50), np.arange(50)))
    model = dataclasses.replace(
        random_model(network="both"), domain=fit_domain(crops, data.train), temperature=1.3, shares=(0.8, 0.2)
    )
    inputs = {"features": features, "crop": crops}
    columns = [torch.from_numpy(inputs[name]) for name in model.columns]
    with torch.no_grad():
        own = model.build()(*columns).numpy()
        first = start.build()(columns[1]).numpy()
    model = leave_to(start, model, data, inputs)
    for balanced in (False, True):
        training = Training(model, [], own).answering(inputs, balanced)
        with torch.no_grad():
            found = training.model.predictor()(*columns).numpy()
        np.testing.assert_allclose(log_softmax(found, axis=1), log_softmax(training.logits, axis=1), atol=1e-4)
        left = training.model.predictor().left(columns[1]).numpy()
        assert left[-8:].all() and left[:-8].sum() <= 2
        lean = model.lean.numpy() if balanced else 0.0
        np.testing.assert_allclose(training.logits[~left], (own - lean)[~left], atol=1e-4)
        expected = softmax(first[left][:, [1, 0]] / start.temperature, axis=1)
        np.testing.assert_allclose(softmax(training.logits[left] / model.temperature, axis=1), expected, atol=1e-4)


@pytest.mark.parametrize("classes", [("happy", "anxious", "neutral"), ("anxious", "neutral")])
def test_a_face_that_is_left_to_a_start_that_knows_all_classes_costs_one_network(classes):
    crops, own = np.concatenate([smooth(9), rough(1)]), classes == ("happy", "anxious", "neutral")
    data = faces(10)
    start = dataclasses.replace(
        random_model(("neutral", "anxious"), seed=3, network="cnn"), domain=fit_domain(rough(50), np.arange(50))
    )
    model = random_model(classes, network="cnn")
    model = leave_to(
        start, dataclasses.replace(model, domain=fit_domain(crops[:9], np.arange(9))), data, {"crop": crops}
    )
    predictor = dataclasses.replace(model, margin=0.0).predictor()
    taken = []
    predictor.own.register_forward_pre_hook(lambda _, columns: taken.append(len(columns[0])))
    with torch.no_grad():
        found = predictor(torch.from_numpy(crops)), predictor(torch.from_numpy(crops[9:]))
        assert taken == ([10, 1] if own else [9])
        expected = predictor.each(torch.from_numpy(crops))
    right = np.stack([*expected[:9, 0], expected[9, 1]])
    np.testing.assert_allclose(log_softmax(found[0], axis=1), log_softmax(right, axis=1), atol=1e-5)
    np.testing.assert_allclose(log_softmax(found[1], axis=1), log_softmax(right[9:], axis=1), atol=1e-5)


def test_crops_are_likelier_among_their_like():
    one, other = (fit_domain(make(80), np.arange(60)) for make in (smooth, rough))
    with torch.no_grad():
        found = Likelier(one, other)(torch.from_numpy(np.concatenate([smooth(80)[60:], rough(80)[60:]])))
    assert (found[:20] > 0).all() and (found[20:] < 0).all()


def test_the_margin_leaves_few_of_those_that_are_at_home():
    """Also where both domains are alike; and nobody is left by a model that has seen one person only."""
    crops, rows = smooth(200), np.arange(200)
    domain = fit_domain(crops, rows)
    people = np.array([person(at // 10) for at in rows], object)
    for other in (fit_domain(rough(200), rows), fit_domain(smooth(200, seed=1), rows)):
        margin = fit_margin(crops, rows, people, other)
        with torch.no_grad():
            left = Likelier(domain, other)(torch.from_numpy(smooth(200, seed=2))) < margin
        assert left.float().mean() <= 0.05
    assert fit_margin(crops, rows, np.full(200, person(0), object), domain) == -math.inf
    assert fit_margin(crops, rows, np.full(200, None, object), domain) > -math.inf


@pytest.mark.parametrize(
    "crops", [smooth(1), smooth(2), np.repeat(smooth(1), 20, axis=0), np.zeros((3, 64, 64), np.uint8)]
)
def test_a_few_crops_or_the_same_one_again_are_a_domain_too(crops):
    rows = np.arange(len(crops))
    domain = fit_domain(crops, rows)
    assert domain.isfinite().all()
    margin = fit_margin(
        crops, rows, np.array([person(at) for at in rows], object), fit_domain(rough(50), np.arange(50))
    )
    assert not math.isnan(margin)


def test_a_crop_of_one_grey_has_a_texture_too():
    flat = np.full((4, 64, 64), 90, np.uint8)
    domain = fit_domain(smooth(50), np.arange(50))
    with torch.no_grad():
        assert Likelier(domain, fit_domain(rough(50), np.arange(50)))(torch.from_numpy(flat)).isfinite().all()
