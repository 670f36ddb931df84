"""Principal components of faces, whitened by their spread within the classes.

Most of that spread is who a face belongs to and how it is held, so a network that sees it scaled to one memorises less.
The map is linear: after training it is folded into the network's first layer.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import eigh

from faceemo.errors import FaceemoError
from faceemo.params import TrainParams
from faceemo.training.dataset import Dataset
from faceemo.training.mirror import mirrored_features

BLOCK_ROWS = 2048  # in float64 at once


@dataclass(frozen=True)
class Whitening:
    """The map from features x [1434] to components (x - center) @ directions [K].

    center: float64 [1434]. directions: float64 [1434, K]. mirror: float64 [K, K], components @ mirror are those of the
    mirrored face; None where it was fitted without mirror images, among which alone it is exact.
    """

    center: np.ndarray
    directions: np.ndarray
    mirror: np.ndarray | None

    def transform(self, features: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Components float32 [rows, K] of these rows of features [N, 1434]."""
        components = np.empty((len(rows), self.directions.shape[1]), np.float32)
        for start in range(0, len(rows), BLOCK_ROWS):
            some = slice(start, start + BLOCK_ROWS)
            components[some] = (features[rows[some]] - self.center) @ self.directions
        return components

    def fold(self, state_dict: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The weights of a network that takes components, changed to take features; its first layer is "0"."""
        weight = state_dict["0.weight"].double().numpy() @ self.directions.T
        bias = state_dict["0.bias"].double().numpy() - weight @ self.center
        folded = {"0.weight": torch.from_numpy(weight).float(), "0.bias": torch.from_numpy(bias).float()}
        return {**state_dict, **folded}


def make_whitening(dataset: Dataset, features: np.ndarray, settings: TrainParams) -> Whitening | None:
    """The whitening of standardised features that settings.whiten asks for; None without, and for changes of a person.

    Half as many components as there are faces to learn from are the most that it takes.
    """
    if settings.whiten is None:
        return None
    if dataset.settings.get("normalize", {}).get("baseline", "none") != "none":
        print("train.whiten is for models without baseline: not used", flush=True)
        return None
    components = min(settings.whiten, len(dataset.train) // 2)
    if components < settings.whiten:
        print(
            f"train.whiten: {components} components, not {settings.whiten}: there are {len(dataset.train)} faces to "
            "learn from",
            flush=True,
        )
    return fit_whitening(features, dataset.train, dataset.targets.learnt, components, settings.mirror)


def fit_whitening(
    features: np.ndarray, indices: np.ndarray, target: np.ndarray, components: int, mirror: bool
) -> Whitening:
    """Fit on these rows of features [N, 1434], and on their mirror images if asked.

    target: int64 [N], the class of each row, below 0 for none; rows without a class are left out.
    components: at most so many, fewer than there are features. Raises FaceemoError if faces differ by class alone.
    """
    indices = indices[target[indices] >= 0]
    classes, counts = np.unique(target[indices], return_counts=True)
    square = np.zeros((features.shape[1], features.shape[1]))  # mean of x^T x
    means = np.zeros((len(classes), features.shape[1]))
    for start in range(0, len(indices), BLOCK_ROWS):
        some = indices[start : start + BLOCK_ROWS]
        block = features[some].astype(np.float64)
        square += block.T @ block / len(indices)
        of_class = target[some] == classes[:, None]
        means += of_class @ block / counts[:, None]
    if mirror:
        order, sign = mirrored_features()
        square = (square + square[np.ix_(order, order)] * np.outer(sign, sign)) / 2
        means = (means + means[:, order] * sign) / 2
    shares = counts / len(indices)
    center = shares @ means
    width = len(center)
    spread, axes = eigh(square - np.outer(center, center), subset_by_index=(width - components, width - 1))
    within = axes.T @ (square - means.T @ (means * shares[:, None])) @ axes
    if np.trace(within) < 1e-9 * spread.sum():  # one face of each class, not even mirrored; the rest is rounding
        raise FaceemoError("train.whiten: the faces of each class are all alike; scan more pictures, or set it to null")
    variance, turn = eigh(within + np.trace(within) / components * np.eye(components))
    scale = np.sqrt(variance)
    mirrored = None
    if mirror:
        # The axes span the same space as their mirror images, since the faces they were found in include theirs.
        turned = axes @ turn
        mirrored = scale[:, None] * (turned.T @ _mirrored_rows(turned, order, sign)) / scale
    return Whitening(center, axes @ turn / scale, mirrored)


def _mirrored_rows(axes: np.ndarray, order: np.ndarray, sign: np.ndarray) -> np.ndarray:
    """M axes, where x @ M is the mirrored face of features x: M is its own inverse and symmetric."""
    return axes[order] * sign[:, None]
