"""What each person's faces are compared with: the mean of all of them, or of their neutral ones."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from faceemo.params import NormalizeParams


@dataclass(frozen=True)
class Faces:
    """N faces before any baseline.

    subjects: whose they are, None if unknown. features: float32 [N, 1434]. neutral: bool [N], whether they come
    from the neutral archive. denied: bool [N], whether more than half of the raters saw something else than neutral.
    """

    subjects: list[str | None]
    features: np.ndarray
    neutral: np.ndarray
    denied: np.ndarray


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
    """The mean of all of a person's faces, of `at_least` at least; what is judged counts in it."""

    def __init__(self, at_least: int) -> None:
        self._at_least = at_least
        self._means = PersonMeans()

    def add(self, faces: Faces) -> None:
        self._means.add(faces.subjects, faces.features)

    def of(self, faces: Faces) -> list[np.ndarray | None]:
        """float64 [1434] for each face, None where its person has none."""
        means = {subject: self._means.get(subject, self._at_least) for subject in set(faces.subjects)}
        return [means[subject] for subject in faces.subjects]


class NeutralBaselines:
    """The mean of a person's neutral faces, of `at_least` at least; a face never counts in its own baseline.

    The neutral faces are those of the neutral archive that are not denied; all of that archive where none is left.
    """

    def __init__(self, at_least: int) -> None:
        self._at_least = at_least
        self._undenied, self._every = PersonMeans(), PersonMeans()

    def add(self, faces: Faces) -> None:
        for means, chosen in ((self._undenied, faces.neutral & ~faces.denied), (self._every, faces.neutral)):
            subjects = [subject for subject, taken in zip(faces.subjects, chosen, strict=True) if taken]
            means.add(subjects, faces.features[chosen])

    def of(self, faces: Faces) -> list[np.ndarray | None]:
        """float64 [1434] for each face, None where its person has none."""
        return [self._of_face(faces, index) for index in range(len(faces.subjects))]

    def _of_face(self, faces: Faces, index: int) -> np.ndarray | None:
        subject = faces.subjects[index]
        means = self._undenied if subject in self._undenied else self._every
        counts = faces.neutral[index] and (means is self._every or not faces.denied[index])
        return means.get(subject, self._at_least, faces.features[index] if counts else None)


Baselines = PersonBaselines | NeutralBaselines


def fit_baselines(faces: Iterable[Faces], settings: NormalizeParams) -> Baselines | None:
    """The baselines that settings.baseline names, of all these faces; None for `none`, which looks at no face."""
    if settings.baseline == "none":
        return None
    kind = PersonBaselines if settings.baseline == "person" else NeutralBaselines
    baselines = kind(settings.least_pictures)
    for some in faces:
        baselines.add(some)
    return baselines


def subtract_baselines(faces: Faces, baselines: Baselines) -> list[np.ndarray | None]:
    """Features float32 [1434] of each face minus its baseline, None without one."""
    found = zip(faces.features, baselines.of(faces), strict=True)
    return [None if baseline is None else (row - baseline).astype(np.float32) for row, baseline in found]
