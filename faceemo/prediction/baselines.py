"""What the faces of inputs are compared with."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from faceemo.errors import FaceemoError
from faceemo.features.baselines import Faces, NeutralBaselines, PersonMeans
from faceemo.prediction.inputs import Input, no_pixels
from faceemo.prediction.model import EmotionModel
from faceemo.status import Status

BaselineOf = Callable[[Input], np.ndarray | None]
"""[1434], or [classes] for a model of single pictures, that the largest face of an input is compared with; None for
nothing."""


def read_baselines(model: EmotionModel, inputs: Iterable[Input]) -> BaselineOf:
    """The baselines from inputs that show neutral faces.

    If every input's name says who is in it, each person has their own, and a face of somebody else has none; if no name
    does, they are one person's and serve every face. Raises FaceemoError if some names do and some do not, for a
    picture of the one person that cannot be read, and if there is no face in any.
    """
    entries = [replace(entry, pixels=no_pixels) for entry in inputs]  # frames of a video would fill the memory
    if names_say_who(entries):
        return PeoplesBaselines(model, entries)
    baseline = model.baseline_from(entry.reading for entry in entries)
    return lambda entry: baseline


def names_say_who(entries: list[Input]) -> bool:
    """Whether every input's name says who is in it; False if none does. Raises FaceemoError as read_baselines."""
    named = [entry for entry in entries if entry.subject is not None]
    nameless = [entry for entry in entries if entry.subject is None]
    for entry in nameless:
        if entry.reading.error:
            raise FaceemoError(f"{entry.path}: {entry.reading.status}: {entry.reading.error}")
    if named and nameless:
        raise FaceemoError(
            f"--neutral: the name of {named[0].path} says who is in it and that of {nameless[0].path} does not; give "
            "pictures of one kind only"
        )
    return bool(named)


class PeoplesBaselines:
    """A BaselineOf each person's neutral faces; a picture that is among them is compared with the others."""

    def __init__(self, model: EmotionModel, inputs: list[Input]) -> None:
        """Raises FaceemoError if there is no face in any of the inputs."""
        self._model = model
        found = [entry for entry in inputs if entry.reading.status == Status.OK]
        if not found:
            raise FaceemoError("no face found in the pictures of the neutral faces; take others, lit from the front")
        self._paths = {entry.path for entry in found}
        self._baselines = NeutralBaselines(self._faces(entry) for entry in found)

    def __call__(self, entry: Input) -> np.ndarray | None:
        [mean] = self._baselines.of(self._faces(entry))
        return None if mean is None else self._model.neutral_baseline(mean)

    def _faces(self, entry: Input) -> Faces:
        is_neutral = entry.path in self._paths
        # Of another face no number is asked: it counts in no mean.
        compared = self._model.compared([entry.reading]) if is_neutral else np.empty((1, 0), np.float32)
        return Faces([entry.subject], compared, np.array([is_neutral]))


def mean_so_far(model: EmotionModel) -> BaselineOf:
    """The mean of each person's faces so far, itself included, once there are enough: for `baseline: person` alone.

    Inputs that name no subject are taken for one person.
    """
    means = PersonMeans()

    def baseline_of(entry: Input) -> np.ndarray | None:
        name = entry.subject or ""
        means.add([name], model.features([entry.reading]))
        return means.get(name, model.normalize_settings.least_pictures)

    return baseline_of
