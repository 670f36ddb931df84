"""Which of two models a crop is for: the one from whose training pictures it comes more likely.

A network that learns on from another forgets how faces look before other cameras (docs/recipes.md). What tells cameras
apart is the texture of crops, not what the faces show: the responses to the eight filters of the discrete cosine
transform of 3x3 pixels. The textures of a model's training pictures, its domain, are taken for normally distributed.
"""

import math

import numpy as np
import scipy.fft
import torch
from sklearn.covariance import LedoitWolf
from sklearn.model_selection import GroupKFold
from torch import nn
from torch.nn import functional

from faceemo.training.cnn import middle, prepared
from faceemo.training.recipe import FACES_AT_ONCE

KERNEL = 3
FLOOR = 1e-3  # of a crop's contrast: what is below it is noise
MOST = 20_000  # crops that a domain is learnt from
FOLDS = 5
LEFT = 0.02  # of the crops of people held out in training; measured beside others in docs/recipes.md
SPREAD = 1e-6  # variance that a texture has at least: few crops, or the same one again, have none


class Texture(nn.Module):
    """How rough crops are, in eight directions and scales."""

    filters: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        cosines = scipy.fft.dct(np.eye(KERNEL), norm="ortho", axis=0)
        products = np.einsum("ai,bj->abij", cosines, cosines).reshape(-1, 1, KERNEL, KERNEL)
        self.register_buffer("filters", torch.from_numpy(products[1:]).float(), persistent=False)  # without the mean

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """crops: uint8 [N, side, side]. Returns float32 [N, 16], logarithms of the responses' mean size and spread."""
        found = functional.conv2d(middle(prepared(crops)), self.filters)
        return (torch.cat([found.abs().mean((2, 3)), found.std((2, 3))], dim=1) + FLOOR).log()


class Likelier(nn.Module):
    """How much likelier crops are in one domain than in another."""

    one: torch.Tensor
    other: torch.Tensor

    def __init__(self, one: torch.Tensor, other: torch.Tensor) -> None:
        """one, other: of fit_domain."""
        super().__init__()
        self.texture = Texture()
        self.register_buffer("one", one, persistent=False)
        self.register_buffer("other", other, persistent=False)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """crops: uint8 [N, side, side]. Returns float32 [N], the difference of the logarithms of the densities."""
        return _log_density(textures := self.texture(crops), self.one) - _log_density(textures, self.other)


def fit_domain(crops: np.ndarray, rows: np.ndarray) -> torch.Tensor:
    """The domain of these rows of crops uint8 [N, side, side]: float32 [17, 16].

    The mean of their textures and, below it, the Cholesky factor of the inverse of their covariance (Ledoit & Wolf
    2004).
    """
    return _domain(_textures(crops, rows[_some(len(rows))]))


def fit_margin(crops: np.ndarray, rows: np.ndarray, people: np.ndarray, other: torch.Tensor) -> float:
    """How much less likely a crop must be in the domain of these rows than in another to be left to that one's model.

    By what Likelier says, LEFT of the crops of people of whom the domain has not learnt are below it.

    people: object [rows], whose crops they are, None for somebody unknown. -inf, which leaves none, for one person.
    """
    some = _some(len(rows))
    textures = _textures(crops, rows[some])
    names = [f"unknown {at}" if person is None else f"person {person}" for at, person in enumerate(people[some])]
    folds = min(FOLDS, len(set(names)))
    if folds < 2:
        return -math.inf
    found = np.empty(len(some), np.float32)
    for learnt, held in GroupKFold(folds).split(textures, groups=names):
        of_held = torch.from_numpy(textures[held])
        found[held] = (_log_density(of_held, _domain(textures[learnt])) - _log_density(of_held, other)).numpy()
    return float(np.quantile(found, LEFT))


def _some(count: int) -> np.ndarray:
    """At most MOST of so many indices, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, MOST)).round().astype(np.int64))


@torch.no_grad()
def _textures(crops: np.ndarray, rows: np.ndarray) -> np.ndarray:
    texture = Texture()
    blocks = (crops[rows[start : start + FACES_AT_ONCE]] for start in range(0, len(rows), FACES_AT_ONCE))
    return np.concatenate([texture(torch.from_numpy(block)).numpy() for block in blocks])


def _domain(textures: np.ndarray) -> torch.Tensor:
    fitted = LedoitWolf().fit(textures if len(textures) > 1 else textures.repeat(2, axis=0))  # it warns of one
    covariance = fitted.covariance_ + SPREAD * np.eye(len(fitted.covariance_))
    factor = np.linalg.cholesky(np.linalg.inv(covariance))
    return torch.from_numpy(np.vstack([fitted.location_, factor]).astype(np.float32))


def _log_density(textures: torch.Tensor, domain: torch.Tensor) -> torch.Tensor:
    """[N] of [N, 16], but for a constant that all domains share."""
    mean, factor = domain[0], domain[1:]
    return factor.diagonal().log().sum() - ((textures - mean) @ factor).square().sum(dim=1) / 2
