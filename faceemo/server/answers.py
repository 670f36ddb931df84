"""What the server answers, as its OpenAPI description tells it."""

from pydantic import BaseModel, Field

EXAMPLE = {
    "status": "ok",
    "error": None,
    "width": 640,
    "height": 480,
    "label": "neutral",
    "probabilities": {"neutral": 0.9, "anxious": 0.1},
    "box": [213.1, 135.6, 426.7, 378.5],
    "landmarks": None,
}


class Answer(BaseModel):
    """What was found in a picture. Lengths are in pixels of the upright picture, after EXIF orientation."""

    model_config = {"json_schema_extra": {"example": EXAMPLE}}

    status: str = Field(description="ok, no_face or decode_error")
    error: str | None = Field(None, description="why a picture could not be decoded")
    width: int | None = None
    height: int | None = None
    label: str | None = Field(None, description="the most probable class; null without a face")
    probabilities: dict[str, float] | None = None
    box: list[float] | None = Field(None, description="left, top, right, bottom of the largest face's landmarks")
    landmarks: list[list[float]] | None = Field(None, description="x, y of the 478 landmarks, if asked for")


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
