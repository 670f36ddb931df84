"""Each feature to mean 0 and standard deviation 1 over the faces that are learnt from."""

from dataclasses import dataclass

import numpy as np

from faceemo.training.mirror import mirrored_features

BLOCK_ROWS = 2048  # in float64 at once
STD_FLOOR = 1e-3  # of features of size 1; a coordinate that never moved in training must not decide alone


@dataclass(frozen=True)
class Standardization:
    """Features x become (x - mean) / std."""

    mean: np.ndarray
    """float32 [1434]"""
    std: np.ndarray
    """float32 [1434]"""

    def apply(self, features: np.ndarray) -> np.ndarray:
        """float64 [N, 1434] of features [N, 1434]."""
        return (features.astype(np.float64) - self.mean) / self.std


def fit_standardization(features: np.ndarray, indices: np.ndarray, mirror: bool) -> Standardization:
    """Fit on these rows of features [N, 1434], and on their mirror images if asked."""
    total = np.zeros(features.shape[1])
    squares = np.zeros(features.shape[1])
    for start in range(0, len(indices), BLOCK_ROWS):
        some = features[indices[start : start + BLOCK_ROWS]].astype(np.float64)
        total += some.sum(axis=0)
        squares += np.square(some).sum(axis=0)
    mean, square = total / len(indices), squares / len(indices)
    if mirror:
        order, sign = mirrored_features()
        mean, square = (mean + mean[order] * sign) / 2, (square + square[order]) / 2
    std = np.sqrt(np.maximum(square - mean**2, 0))
    return Standardization(mean.astype(np.float32), np.maximum(std, STD_FLOOR).astype(np.float32))


def mean_of_rows(features: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """float32 [1434], the mean of these rows of features [N, 1434], which are not copied all at once."""
    total = np.zeros(features.shape[1])
    for start in range(0, len(indices), BLOCK_ROWS):
        total += features[indices[start : start + BLOCK_ROWS]].sum(axis=0, dtype=np.float64)
    return (total / len(indices)).astype(np.float32)
