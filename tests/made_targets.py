"""Targets that the tests of training and report share."""

import numpy as np
import pyarrow as pa

from faceemo.features.labels import Raters
from faceemo.params import LabelParams
from faceemo.training.targets import Targets, make_targets

ARCHIVE = LabelParams(target="archive", min_agreement=0)


def single(*names: str) -> dict[str, tuple[str, ...]]:
    """Classes of one emotion each, as params.emotions has them."""
    return {name: (name,) for name in names}


def targets_of(
    emotions: list[str],
    classes: dict[str, tuple[str, ...]],
    votes: list[list[int] | None] | None = None,
    voted: tuple[str, ...] = (),
    settings: LabelParams = ARCHIVE,
) -> Targets:
    """Of pictures of archives with these emotions; without votes they have no label archive."""
    column = pa.chunked_array([pa.array([None] * len(emotions) if votes is None else votes, pa.list_(pa.int8()))])
    return make_targets(emotions, column, Raters(voted, 3 if voted else 0), classes, settings)


def by_number(target: np.ndarray, classes: tuple[str, ...]) -> Targets:
    """Of pictures whose archives are named after the classes with these numbers."""
    return targets_of([classes[int(number)] for number in target], single(*classes))
