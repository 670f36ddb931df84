"""What each person's faces are compared with: the mean of all of them, or of their neutral ones."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from faceemo.params import LEAST_PICTURES, NormalizeParams


@dataclass(frozen=True)
class Faces:
    """N faces before any baseline."""

    subjects: list[str | None]
    """Whose they are; None if unknown."""
    features: np.ndarray
    """float32 [N, 1434], or other numbers [N, W] that are compared with a mean of such"""
    neutral: np.ndarray
    """bool [N]: whether their archive, folder or table says that they are neutral."""
    disputed: np.ndarray | None = None
    """bool [N]: whether more than half of the raters saw something else than neutral; None: nobody says so."""


class PersonMeans:
    """Each person's mean features over the faces added."""

    def __init__(self) -> None:
        self._sums: dict[str, np.ndarray] = {}
        self._counts: Counter[str] = Counter()

    def add(self, subjects: list[str | None], features: np.ndarray) -> None:
        """Add the features [N, 1434] of these subjects; those of an unknown one (None) are left out."""
        for subject, row in zip(subjects, features.astype(np.float64), strict=True):
            if subject is None:
                continue
            if subject in self._sums:
                self._sums[subject] += row
            else:
                self._sums[subject] = row.copy()  # a view would keep the whole shard in memory
            self._counts[subject] += 1

    def __contains__(self, subject: str | None) -> bool:
        return subject in self._sums

    def get(self, subject: str | None, at_least: int, without: np.ndarray | None = None) -> np.ndarray | None:
        """float64 [1434], or None for an unknown person or one with fewer than `at_least` faces.

        without: the features [1434] of one of the faces added, which does not count.
        """
        if subject not in self._sums:
            return None
        count = self._counts[subject] - (without is not None)
        if count < at_least:
            return None
        return (self._sums[subject] if without is None else self._sums[subject] - without) / count


class PersonBaselines:
    """The mean of all of a person's faces, if they are enough; the face that is compared with it counts too."""

    def __init__(self, faces: Iterable[Faces]) -> None:
        self._means = PersonMeans()
        for some in faces:
            self._means.add(some.subjects, some.features)

    def of(self, faces: Faces) -> list[np.ndarray | None]:
        """float64 [1434] for each face, None where its person has none."""
        means = {subject: self._means.get(subject, LEAST_PICTURES["person"]) for subject in set(faces.subjects)}
        return [means[subject] for subject in faces.subjects]


class NeutralBaselines:
    """The mean of a person's neutral faces; a face never counts in its own baseline.

    The neutral faces are those that are not disputed; all of them where none is left.
    """

    def __init__(self, faces: Iterable[Faces]) -> None:
        self._undisputed, self._all = PersonMeans(), PersonMeans()
        for some in faces:
            for means, chosen in ((self._undisputed, _undisputed(some)), (self._all, some.neutral)):
                subjects = [subject for subject, taken in zip(some.subjects, chosen, strict=True) if taken]
                means.add(subjects, some.features[chosen])

    def of(self, faces: Faces) -> list[np.ndarray | None]:
        """float64 [1434] for each face, None where its person has none."""
        undisputed = _undisputed(faces)
        baselines = []
        for index, subject in enumerate(faces.subjects):
            means, counts = self._undisputed, undisputed[index]
            if subject not in means:
                means, counts = self._all, faces.neutral[index]
            without = faces.features[index] if counts else None
            baselines.append(means.get(subject, LEAST_PICTURES["neutral"], without))
        return baselines


def _undisputed(faces: Faces) -> np.ndarray:
    """bool [N]: the neutral faces that are not disputed."""
    return faces.neutral if faces.disputed is None else faces.neutral & ~faces.disputed


Baselines = PersonBaselines | NeutralBaselines


def fit_baselines(faces: Iterable[Faces], settings: NormalizeParams) -> Baselines | None:
    """The baselines that settings.baseline names, of all these faces; None for `none`, which looks at no face."""
    if settings.baseline == "none":
        return None
    return PersonBaselines(faces) if settings.baseline == "person" else NeutralBaselines(faces)


def subtract_baselines(faces: Faces, baselines: Baselines) -> list[np.ndarray | None]:
    """Features float32 [1434] of each face minus its baseline, None without one."""
    found = zip(faces.features, baselines.of(faces), strict=True)
    return [None if baseline is None else (row - baseline).astype(np.float32) for row, baseline in found]
