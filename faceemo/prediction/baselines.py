"""What the faces of an input are compared with, for a model that judges change."""

from collections.abc import Iterable

import numpy as np

from faceemo.errors import FaceemoError
from faceemo.features.baselines import PersonMeans
from faceemo.prediction.inputs import Input
from faceemo.prediction.predict import BaselineOf, EmotionModel
from faceemo.status import Status


def read_baselines(model: EmotionModel, inputs: Iterable[Input]) -> BaselineOf:
    """The baselines from inputs that show neutral faces.

    If every input's name tells whose it is, each person has their own, and a face of somebody else has none; if none
    does, they are one person's and serve every face. Raises FaceemoError if some tell and some do not, for a picture of
    the one person that cannot be read, and if there is no face in any.
    """
    entries = list(inputs)
    if tell_whose(entries):
        return PeoplesBaselines(model, entries)
    baseline = model.baseline_from(entry.reading for entry in entries)
    return lambda entry, features: baseline


def tell_whose(entries: list[Input]) -> bool:
    """Whether every input's name tells whose face it is, or none does. Raises FaceemoError as read_baselines."""
    named = [entry for entry in entries if entry.subject is not None]
    nameless = [entry for entry in entries if entry.subject is None]
    for entry in nameless:
        if entry.reading.error:
            raise FaceemoError(f"{entry.path}: {entry.reading.status}: {entry.reading.error}")
    if named and nameless:
        raise FaceemoError(
            f"--neutral: the name of {named[0].path} tells who is in it and that of {nameless[0].path} does not; give "
            "pictures of one kind only"
        )
    return bool(named)


class PeoplesBaselines:
    """Each person's neutral faces; a picture that is among them is compared with the others."""

    def __init__(self, model: EmotionModel, inputs: list[Input]) -> None:
        self._model = model
        self._means = PersonMeans()
        found = [entry for entry in inputs if entry.reading.status == Status.OK]
        for entry in found:
            self._means.add([entry.subject], model.features(entry.reading))
        self._paths = {entry.path for entry in found}
        if not found:
            raise FaceemoError("no face found in the pictures of the neutral faces; take others, lit from the front")

    def __call__(self, entry: Input, features: np.ndarray) -> np.ndarray | None:
        return self.of(entry.subject, entry.path, features)

    def of(self, subject: str | None, path: str, features: np.ndarray) -> np.ndarray | None:
        """The baseline of a face [1434] of this person in the picture at `path`."""
        mean = self._means.get(subject, at_least=1, without=features if path in self._paths else None)
        return None if mean is None else self._model.neutral_baseline(mean)


class MeansSoFar:
    """The mean of each person's faces so far, itself included, of `at_least` at least: for `baseline: person` alone.

    Inputs that name no subject are taken for one person.
    """

    def __init__(self, at_least: int) -> None:
        self._at_least = at_least
        self._means = PersonMeans()

    def __call__(self, entry: Input, features: np.ndarray) -> np.ndarray | None:
        name = entry.subject or ""
        self._means.add([name], features[None])
        return self._means.get(name, self._at_least)
