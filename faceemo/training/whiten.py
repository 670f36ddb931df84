"""Principal components of faces, whitened by their spread within the classes.

Most of that spread is who a face belongs to and how it is held, so a network that sees it scaled to one memorises less.
The map is linear: after training it is folded into the network's first layer.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse
import torch
from scipy.linalg import eigh
from threadpoolctl import threadpool_limits

from faceemo.errors import FaceemoError
from faceemo.training.mirror import mirror_basis
from faceemo.training.standardize import BLOCK_ROWS, Standardization


@contextlib.contextmanager
def _sums_in_one_order() -> Iterator[None]:
    """One thread of the linear algebra, so that the same features give the same numbers on any number of cores."""
    with threadpool_limits(1, "blas"):
        yield


@dataclass(frozen=True)
class Whitening:
    """The map from features x [1434] to components ((x - mean) / std - center) @ directions [K]."""

    standardization: Standardization
    center: np.ndarray
    """float64 [1434]"""
    directions: np.ndarray
    """float64 [1434, K]"""
    parity: np.ndarray | None
    """float64 [K], 1 or -1: components * parity are those of the mirrored face; None where it was fitted without mirror
    images, for it is exact among them alone."""

    @_sums_in_one_order()
    def transform(self, features: np.ndarray) -> np.ndarray:
        """Components float32 [N, K] of features [N, 1434]."""
        components = np.empty((len(features), self.directions.shape[1]), np.float32)
        for start in range(0, len(features), BLOCK_ROWS):
            block = self.standardization.apply(features[start : start + BLOCK_ROWS])
            components[start : start + BLOCK_ROWS] = (block - self.center) @ self.directions
        return components

    def fold(self, weight: torch.Tensor, bias: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight [outputs, K] and bias [outputs] of a layer that takes components, for standardised features."""
        folded = weight.double().numpy() @ self.directions.T
        shifted = bias.double().numpy() - folded @ self.center
        return torch.from_numpy(folded).float(), torch.from_numpy(shifted).float()


@_sums_in_one_order()
def fit_whitening(
    features: np.ndarray,
    standardization: Standardization,
    indices: np.ndarray,
    target: np.ndarray,
    components: int,
    mirror: bool,
) -> Whitening:
    """Fit on these rows of features [N, 1434], and on their mirror images if asked; the same on any number of cores.

    target: int64 [N], the class of each row, below 0 for none; rows without a class are left out.
    components: at most so many, fewer than there are features. Raises FaceemoError if faces differ by class alone.
    """
    indices = indices[target[indices] >= 0]
    width = features.shape[1]
    basis, parity = mirror_basis() if mirror else (scipy.sparse.csr_array(scipy.sparse.eye(width)), np.ones(width))
    # Of faces and their images together, what changes its sign in the mirror has no mean, nor covariance with the rest.
    parts = [np.flatnonzero(parity == side) for side in np.unique(parity)]
    squares = [np.zeros((len(part), len(part))) for part in parts]  # mean of x^T x
    classes, counts = np.unique(target[indices], return_counts=True)
    means = np.zeros((len(classes), width))
    for start in range(0, len(indices), BLOCK_ROWS):
        some = indices[start : start + BLOCK_ROWS]
        block = standardization.apply(features[some]) @ basis
        for square, part in zip(squares, parts, strict=True):
            square += block[:, part].T @ block[:, part] / len(indices)
        means += (target[some] == classes[:, None]) @ block / counts[:, None]
    means[:, parity < 0] = 0
    shares = counts / len(indices)
    center = shares @ means
    found = [
        _largest(square - np.outer(center[part], center[part]), components)
        for square, part in zip(squares, parts, strict=True)
    ]
    least = np.sort(np.concatenate([spread for spread, _ in found]))[-components]
    axes = [vectors[:, spread >= least] for spread, vectors in found]
    within = [
        own.T @ (square - means[:, part].T @ (means[:, part] * shares[:, None])) @ own
        for own, square, part in zip(axes, squares, parts, strict=True)
    ]
    total = sum(map(np.trace, within))
    if total < 1e-9 * sum(spread.sum() for spread, _ in found):  # one face of each class, not even mirrored
        raise FaceemoError("train.whiten: the faces of each class are all alike; scan more pictures, or set it to null")
    directions, sides = [], []
    for own, covariance, part in zip(axes, within, parts, strict=True):
        variance, turn = eigh(covariance + total / components * np.eye(len(covariance)))
        turned = np.zeros((width, len(variance)))
        turned[part] = own @ turn
        directions.append(turned * signs(turned) / np.sqrt(variance))
        sides.append(np.repeat(parity[part[:1]], len(variance)))
    joined = basis @ np.hstack(directions)
    return Whitening(standardization, basis @ center, joined, np.concatenate(sides) if mirror else None)


def _largest(covariance: np.ndarray, at_most: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest variances [k], ascending, and their axes [width, k]."""
    width = len(covariance)
    return eigh(covariance, subset_by_index=(max(width - at_most, 0), width - 1))


def signs(axes: np.ndarray) -> np.ndarray:
    """float64 [K], 1 or -1: what gives axes [width, K] one sign, which eigenvectors have not.

    By the side of a fixed direction on which each lies: the largest of an axis's numbers would not do, since rounding
    chooses among those that are nearly the largest.
    """
    fixed = np.random.default_rng(0).standard_normal(len(axes))
    return np.where(fixed @ axes < 0, -1.0, 1.0)
