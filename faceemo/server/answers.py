"""What the server answers, as its OpenAPI description tells it."""

import numpy as np
from pydantic import BaseModel, Field

from faceemo.extraction.everyface import MOST_FACES
from faceemo.extraction.worker import Reading
from faceemo.prediction.predict import EmotionModel
from faceemo.status import Status

MODEL_ERROR = "model_error"  # a status: the model gives numbers that are not finite


class Face(BaseModel):
    """A face in a picture. Lengths are in pixels of the upright picture, after EXIF orientation."""

    label: str | None = Field(None, description="the most probable class; null without a face", examples=["neutral"])
    probabilities: dict[str, float] | None = Field(None, examples=[{"neutral": 0.9, "anxious": 0.1}])
    box: list[float] | None = Field(
        None, description="left, top, right, bottom of the face's landmarks", examples=[[213.1, 135.6, 426.7, 378.5]]
    )
    landmarks: list[list[float]] | None = Field(
        None, description="x, y of the 478 landmarks, if asked for", examples=[None]
    )


class Found(BaseModel):
    """What is true of a picture as a whole."""

    status: str = Field(description="ok, no_face or decode_error", examples=["ok"])
    error: str | None = Field(None, description="why a picture could not be decoded", examples=[None])
    width: int | None = Field(None, examples=[640])
    height: int | None = Field(None, examples=[480])


class Answer(Face, Found):
    """What was found in a picture, and its largest face."""


class EveryFaceAnswer(Answer):
    """The same, and every face."""

    faces: list[Face] = Field(description=f"the largest first, at most {MOST_FACES}")
    faces_found: int = Field(description="how many there are", examples=[1])


def describe(model: EmotionModel, reading: Reading, probability: np.ndarray | None, with_landmarks: bool) -> Answer:
    """The answer to a reading; probability: [classes] of its face, None if that was not judged."""
    found = {name: getattr(reading, name) for name in Found.model_fields}
    if reading.status != Status.OK:
        return Answer(**found)
    if probability is None:
        found["status"] = Status.NO_BASELINE
    return Answer(**found, **vars(describe_face(model, reading, probability, with_landmarks)))


def describe_face(model: EmotionModel, reading: Reading, probability: np.ndarray | None, with_landmarks: bool) -> Face:
    """As `describe`, of the face alone; the reading's status is ok."""
    return Face(
        label=None if probability is None else model.label(probability),
        probabilities=None if probability is None else by_class(model, probability),
        box=[round(edge, 1) for edge in reading.box],
        landmarks=np.round(reading.points, 1).tolist() if with_landmarks else None,
    )


def by_class(model: EmotionModel, probability: np.ndarray) -> dict[str, float]:
    """Probabilities [classes] by the names of the classes."""
    return {str(name): round(float(share), 6) for name, share in zip(model.classes_, probability, strict=True)}


class NeutralFace(BaseModel):
    neutral: str = Field(description="give this to /predict; kept until the server ends or 64 newer ones have come")


class ModelInfo(BaseModel):
    classes: list[str]
    korean: list[str] = Field(description="the classes in Korean")
    judges_change: bool = Field(
        description="it judges how a face differs from the same person's neutral face, and nothing without"
    )
    edges: list[list[int]] = Field(description="pairs of landmarks that the mesh joins")


class Problem(BaseModel):
    status: str
    error: str


class ProblemError(Exception):
    """A request that is answered with a Problem."""

    def __init__(self, code: int, status: str, error: str) -> None:
        super().__init__(error)
        self.code = code
        self.problem = Problem(status=status, error=error)
