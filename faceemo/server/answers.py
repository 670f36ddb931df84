"""What the server answers, as its OpenAPI description has it."""

from collections.abc import Iterable

import numpy as np
from pydantic import BaseModel, Field

from faceemo.extraction.everyface import MOST_FACES
from faceemo.prediction.model import Answer

MODEL_ERROR = "model_error"  # a status: the model gives numbers that are not finite


class FaceAnswer(BaseModel):
    """A face in a picture. Lengths are in pixels of the upright picture, after EXIF orientation."""

    label: str | None = Field(
        default=None, description="the most probable class; null without a face", examples=["neutral"]
    )
    probabilities: dict[str, float] | None = Field(default=None, examples=[{"neutral": 0.9, "anxious": 0.1}])
    box: list[float] | None = Field(
        default=None,
        description="left, top, right, bottom of the face's landmarks",
        examples=[[213.1, 135.6, 426.7, 378.5]],
    )
    landmarks: list[list[float]] | None = Field(
        default=None, description="x, y of the 478 landmarks, if asked for", examples=[None]
    )


class PictureFacts(BaseModel):
    """What is true of a picture as a whole."""

    status: str = Field(description="ok, no_face or decode_error", examples=["ok"])
    error: str | None = Field(default=None, description="why a picture could not be decoded", examples=[None])
    width: int | None = Field(default=None, examples=[640])
    height: int | None = Field(default=None, examples=[480])


class PictureAnswer(FaceAnswer, PictureFacts):
    """What was found in a picture, and its largest face."""


class EveryFaceAnswer(PictureAnswer):
    """The same, and every face."""

    faces: list[FaceAnswer] = Field(description=f"the largest first, at most {MOST_FACES}")
    faces_found: int = Field(description="how many there are", examples=[1])


def describe(answer: Answer, classes: Iterable[str], with_landmarks: bool) -> PictureAnswer:
    """A picture, by what the model says of its largest face."""
    facts = {name: getattr(answer.reading, name) for name in ("error", "width", "height")}
    return PictureAnswer(status=answer.status, **facts, **vars(_describe_face(answer, classes, with_landmarks)))


def describe_every_face(answers: list[Answer], classes: Iterable[str], with_landmarks: bool) -> EveryFaceAnswer:
    """A picture, by what the model says of each of its faces, the largest first."""
    largest = describe(answers[0], classes, with_landmarks)
    faces = [_describe_face(answer, classes, with_landmarks) for answer in answers if answer.face]
    return EveryFaceAnswer(**vars(largest), faces=faces, faces_found=answers[0].reading.faces or 0)


def _describe_face(answer: Answer, classes: Iterable[str], with_landmarks: bool) -> FaceAnswer:
    if answer.box is None:
        return FaceAnswer()
    return FaceAnswer(
        label=answer.label,
        probabilities=None if answer.probability is None else by_class(answer.probability, classes),
        box=[round(edge, 1) for edge in answer.box],
        landmarks=np.round(answer.reading.points, 1).tolist() if with_landmarks else None,
    )


def by_class(probability: np.ndarray, classes: Iterable[str]) -> dict[str, float]:
    """Probabilities [classes] by the names of the classes."""
    return {name: round(float(share), 6) for name, share in zip(classes, probability, strict=True)}


class NeutralFace(BaseModel):
    """What /neutral answers."""

    neutral: str = Field(description="give this to /predict; kept until the server ends or 64 newer ones have come")


class ModelInfo(BaseModel):
    """What /model answers."""

    classes: list[str]
    korean: list[str] = Field(description="the classes in Korean")
    judges_change: bool = Field(
        description="it judges how a face differs from the same person's neutral face, and nothing without"
    )
    edges: list[list[int]] = Field(description="pairs of landmarks that the mesh joins")
    contours: list[list[int]] = Field(description="those that outline the face, its eyes, irises, brows and lips")


class Problem(BaseModel):
    """What a request is answered with that cannot be served."""

    status: str
    error: str


class ProblemError(Exception):
    """A request that is answered with a Problem."""

    def __init__(self, code: int, status: str, error: str) -> None:
        super().__init__(error)
        self.code = code
        self.problem = Problem(status=status, error=error)
