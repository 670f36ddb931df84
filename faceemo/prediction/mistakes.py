"""The pictures on which a judged model was surest of a wrong class, drawn into a folder."""

from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from faceemo.extraction.executors import open_workers
from faceemo.pictures.reader import PictureReader
from faceemo.prediction.annotate import annotate
from faceemo.prediction.inputs import read_pictures
from faceemo.prediction.labelled import LabelledPictures
from faceemo.prediction.model import Answer, EmotionModel
from faceemo.prediction.predict import Prediction
from faceemo.training.metrics import wrong_ones

MISTAKES = 50  # at most


def draw_mistakes(
    folder: Path,
    model: EmotionModel,
    pictures: LabelledPictures,
    probability: np.ndarray,
    truth: np.ndarray,
    workers: int | None,
) -> int:
    """Draw the strongest mistakes into `folder`, named by their rank and both classes; returns how many.

    probability: float32 [N, classes], NaN for pictures without an answer; truth: int64 [N], below 0 for no class.
    """
    classes = model.classes_.tolist()
    judged = np.flatnonzero((truth >= 0) & ~np.isnan(probability[:, 0]))
    found = judged[wrong_ones(probability[judged], truth[judged])][:MISTAKES]
    named = []
    for rank, at in enumerate(found, 1):
        picture, said = pictures.every[at], classes[probability[at].argmax()]
        stem = PurePosixPath(picture.name).name
        named.append(replace(picture, name=f"{rank:02d} {classes[truth[at]]} taken for {said} {stem}"))
    with open_workers(None, workers, len(named)) as opened, PictureReader() as reader:
        inputs = read_pictures(named, model.extract_settings, opened, reader)
        predictions = (
            Prediction(one, [Answer(one.reading, classes[row.argmax()], row)])
            for one, row in zip(inputs, probability[found], strict=True)
        )
        for _ in annotate(predictions, classes, folder):
            pass
    return len(named)
