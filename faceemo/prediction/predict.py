"""A model's answers to a stream of pictures and frames."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from faceemo.prediction.baselines import BaselineOf
from faceemo.prediction.inputs import Input
from faceemo.prediction.model import Answer, EmotionModel
from faceemo.status import Status

BATCH = 8  # pictures whose faces go through the network together; each frame of 4K has 25 MB


@dataclass(frozen=True)
class Prediction:
    """A picture or frame, and what a model says of it."""

    input: Input
    answers: list[Answer]
    """One a face, the largest first; where there is no face, one that says why."""


def predict_inputs(
    model: EmotionModel, inputs: Iterable[Input], baseline_of: BaselineOf | None = None
) -> Iterator[Prediction]:
    """A prediction for every input, in order.

    baseline_of: for a model that judges change: what each face is compared with; a face without is not judged.
    """
    inputs = iter(inputs)
    while batch := list(itertools.islice(inputs, BATCH)):
        faces = [entry.reading.each_face() for entry in batch]
        baselines = None
        if baseline_of is not None:  # of a model that judges change, which looks at one face a picture
            baselines = [baseline_of(entry) if entry.reading.status == Status.OK else None for entry in batch]
        answers = iter(model.answer(list(itertools.chain(*faces)), baselines))
        for entry, found in zip(batch, faces, strict=True):
            yield Prediction(entry, list(itertools.islice(answers, len(found))))
