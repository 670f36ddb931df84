import numpy as np
import pytest
import torch

from faceemo.errors import FaceemoError
from faceemo.training.mirror import mirrored_features
from faceemo.training.model import mlp
from faceemo.training.whiten import Whitening, fit_whitening

COMPONENTS = 12
ORDER, SIGN = mirrored_features()


def faces(count: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features float32 [N, 1434] around 3, along 20 directions, and their classes int64 [N]."""
    random = np.random.default_rng(seed)
    target = np.arange(count) % 3
    sources = random.normal(size=(count, 20)) * np.linspace(3, 0.5, 20) + 0.5 * target[:, None]
    features = 3 + sources @ random.normal(size=(20, 1434)) / 20
    return features.astype(np.float32), target


def fit(mirror: bool = True) -> Whitening:
    features, target = faces()
    return fit_whitening(features, np.arange(len(target)), target, COMPONENTS, mirror)


def components_of(whitening: Whitening, features: np.ndarray) -> np.ndarray:
    return whitening.transform(features, np.arange(len(features)))


def within(components: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The covariance [K, K] of components [N, K] within their classes."""
    apart = [components[target == name] - components[target == name].mean(axis=0) for name in np.unique(target)]
    return np.concatenate(apart).T @ np.concatenate(apart) / len(target)


@pytest.mark.slow
def test_components_are_those_of_the_largest_variance_and_their_spread_within_classes_is_one_less_the_shrinkage():
    features, target = faces()
    whitening = fit(mirror=False)
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:COMPONENTS].T
    rest = whitening.directions - axes @ (axes.T @ whitening.directions)
    assert np.abs(rest).max() < 1e-6 * np.abs(whitening.directions).max()
    spread = within(centred @ axes, target)
    variance = np.linalg.eigvalsh(spread)
    expected = variance / (variance + variance.mean())
    found = np.linalg.eigvalsh(within(components_of(whitening, features).astype(np.float64), target))
    np.testing.assert_allclose(found, np.sort(expected), atol=1e-4)


@pytest.mark.slow
def test_the_mirrored_components_are_those_of_the_mirrored_face():
    features, _ = faces()
    whitening = fit()
    mirrored = components_of(whitening, features[:, ORDER] * SIGN)
    np.testing.assert_allclose(components_of(whitening, features) @ whitening.mirror, mirrored, atol=1e-4)
    assert np.abs(mirrored - components_of(whitening, features)).max() > 0.1


@pytest.mark.slow
def test_rows_that_were_not_named_and_rows_without_a_class_change_nothing():
    features, target = faces()
    spoiled = np.concatenate([features, features[:4] * 50, features[:4] * -9])
    classes = np.concatenate([target, [-1, -1, -2, -1], [0, 1, 2, 0]])
    found = fit_whitening(spoiled, np.arange(len(features) + 4), classes, COMPONENTS, True)
    np.testing.assert_array_equal(found.directions, fit().directions)


@pytest.mark.slow
@pytest.mark.parametrize("training", [True, False])
def test_a_folded_network_takes_features_and_answers_the_same(training):
    features, _ = faces()
    whitening = fit()
    torch.manual_seed(0)
    small = mlp(3, COMPONENTS)
    components = torch.from_numpy(components_of(whitening, features))
    small.train(training)(components)
    large = mlp(3)
    large.load_state_dict(whitening.fold(small.state_dict()))
    with torch.no_grad():
        expected, found = small.eval()(components), large.eval()(torch.from_numpy(features))
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-4)


@pytest.mark.slow
def test_components_of_some_rows_are_theirs():
    features, _ = faces()
    rows = np.array([5, 3, 40])
    np.testing.assert_allclose(fit().transform(features, rows), components_of(fit(), features)[rows], atol=1e-5)


def test_faces_that_differ_by_class_alone_are_one_line():
    features, _ = faces(3)
    with pytest.raises(FaceemoError, match=r"train\.whiten: the faces of each class are all alike"):
        fit_whitening(features, np.arange(3), np.arange(3), 1, mirror=False)
    alike = np.repeat(features, 5, axis=0)
    with pytest.raises(FaceemoError, match="all alike"):
        fit_whitening(alike, np.arange(15), np.repeat(np.arange(3), 5), 7, mirror=False)
    assert np.isfinite(fit_whitening(features, np.arange(3), np.arange(3), 1, mirror=True).directions).all()
