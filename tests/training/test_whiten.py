import numpy as np
import pytest
import torch

from faceemo.errors import FaceemoError
from faceemo.training.mirror import mirrored_features
from faceemo.training.recipe import RECIPES
from faceemo.training.standardize import Standardization
from faceemo.training.whiten import Whitening, fit_whitening

COMPONENTS = 12
ORDER, SIGN = mirrored_features()
WIDTH = len(ORDER)
STANDARDIZATION = Standardization(np.full(WIDTH, 2.5, np.float32), np.full(WIDTH, 0.5, np.float32))


def faces(count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Features float32 [N, 1434] around 3, along 20 directions, and their classes int64 [N]."""
    random = np.random.default_rng(0)
    target = np.arange(count) % 3
    sources = random.normal(size=(count, 20)) * np.linspace(3, 0.5, 20) + 0.5 * target[:, None]
    features = 3 + sources @ random.normal(size=(20, WIDTH)) / 20
    return features.astype(np.float32), target


def fit(features: np.ndarray, target: np.ndarray, mirror: bool = True, components: int = COMPONENTS) -> Whitening:
    return fit_whitening(features, STANDARDIZATION, np.arange(len(target)), target, components, mirror)


@pytest.fixture(scope="module")
def mirrored():
    """A whitening that was fitted with mirror images."""
    return fit(*faces())


@pytest.fixture(scope="module")
def plain():
    return fit(*faces(), mirror=False)


def within(components: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The covariance [K, K] of components [N, K] within their classes."""
    apart = [components[target == name] - components[target == name].mean(axis=0) for name in np.unique(target)]
    return np.concatenate(apart).T @ np.concatenate(apart) / len(target)


def check_components(whitening: Whitening, features: np.ndarray, target: np.ndarray) -> None:
    """They are those of the largest variance, and their spread within classes is one, less the shrinkage."""
    standardised = STANDARDIZATION.apply(features)
    centred = standardised - standardised.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:COMPONENTS].T
    rest = whitening.directions - axes @ (axes.T @ whitening.directions)
    assert np.abs(rest).max() < 1e-6 * np.abs(whitening.directions).max()
    variance = np.linalg.eigvalsh(within(centred @ axes, target))
    found = np.linalg.eigvalsh(within(whitening.transform(features).astype(np.float64), target))
    np.testing.assert_allclose(found, np.sort(variance / (variance + variance.mean())), atol=1e-4)


def test_components_are_those_of_the_largest_variance_whitened_within_the_classes(plain):
    check_components(plain, *faces())


def test_with_mirror_images_they_are_those_of_faces_and_images_together(mirrored):
    features, target = faces()
    both = np.concatenate([features, _image(features)])
    check_components(mirrored, both, np.concatenate([target, target]))


def _image(features: np.ndarray) -> np.ndarray:
    """Features of the mirrored faces, before standardisation that treats both sides alike."""
    centre = STANDARDIZATION.mean
    return ((features - centre)[:, ORDER] * SIGN + centre).astype(np.float32)


def test_the_components_of_a_mirrored_face_are_the_same_but_for_signs(mirrored):
    features, _ = faces()
    components, image = mirrored.transform(features), mirrored.transform(_image(features))
    np.testing.assert_allclose(components * mirrored.parity, image, atol=1e-4)
    assert set(mirrored.parity) == {-1, 1}


def test_every_direction_has_one_sign_whatever_the_order_of_the_rows_and_a_little_noise(mirrored, plain):
    features, target = faces()
    order = np.random.default_rng(1).permutation(len(target))
    noisy = (features + np.random.default_rng(2).normal(0, 1e-6, features.shape)).astype(np.float32)
    for before, mirror in ((mirrored, True), (plain, False)):
        for some, classes in ((features[order], target[order]), (noisy, target)):
            found = fit(some, classes, mirror).directions
            assert np.abs(found - before.directions).max() < 1e-3 * np.abs(before.directions).max()


def test_rows_that_were_not_named_and_rows_without_a_class_change_nothing(mirrored):
    features, target = faces()
    spoiled = np.concatenate([features, features[:4] * 50, features[:4] * -9])
    classes = np.concatenate([target, [-1, -1, -2, -1], [0, 1, 2, 0]])
    named = np.arange(len(features) + 4)
    found = fit_whitening(spoiled, STANDARDIZATION, named, classes, COMPONENTS, True)
    np.testing.assert_array_equal(found.directions, mirrored.directions)


@pytest.mark.parametrize("training", [True, False])
def test_a_folded_layer_takes_standardised_features_and_answers_the_same(mirrored, training):
    features, _ = faces()
    torch.manual_seed(0)
    small = RECIPES["mlp"].build(3, COMPONENTS).train(training)
    components = torch.from_numpy(mirrored.transform(features))
    layer = small.branches["features"].layers[0]
    weight, bias = mirrored.fold(layer.weight.detach(), layer.bias.detach())
    standardised = torch.from_numpy(STANDARDIZATION.apply(features)).float()
    with torch.no_grad():
        found = standardised @ weight.T + bias
        np.testing.assert_allclose(found.numpy(), layer(components).numpy(), atol=1e-4)


def test_faces_that_differ_by_class_alone_are_one_line():
    """Ten features are enough for that; without mirror images any will do."""
    some = np.random.default_rng(0).normal(size=(3, 10)).astype(np.float32)
    by = Standardization(np.zeros(10, np.float32), np.ones(10, np.float32))
    with pytest.raises(FaceemoError, match=r"train\.whiten: the faces of each class are all alike"):
        fit_whitening(some, by, np.arange(3), np.arange(3), 1, mirror=False)
    alike = np.repeat(some, 5, axis=0)
    with pytest.raises(FaceemoError, match="all alike"):
        fit_whitening(alike, by, np.arange(15), np.repeat(np.arange(3), 5), 7, mirror=False)
    features, _ = faces(3)
    assert np.isfinite(fit(features, np.arange(3), components=1).directions).all()
