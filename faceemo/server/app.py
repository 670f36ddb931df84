"""The web application of `faceemo serve`: the page, its WebSocket, and pictures by POST."""

import contextlib
import importlib.metadata
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline

from faceemo.errors import FaceemoError
from faceemo.prediction.model import EmotionModel
from faceemo.server.answers import (
    MODEL_ERROR,
    EveryFaceAnswer,
    ModelInfo,
    NeutralFace,
    PictureAnswer,
    Problem,
    ProblemError,
)
from faceemo.server.clients import Service
from faceemo.server.guard import Guard
from faceemo.status import Status

PAGE_FOLDER = Path(__file__).parent / "page"
PAGE = {
    "/": ("index.html", "text/html"),
    "/style.css": ("style.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    **{
        f"/{name}.js": (f"{name}.js", "text/javascript")
        for name in ("app", "camera", "drawing", "faces", "guide", "live", "result", "words")
    },
}

DESCRIPTION = """Emotion from face landmarks, on this machine alone. Pictures are judged in memory and never stored.

    curl --data-binary @face.jpg http://127.0.0.1:8000/predict
    curl -F file=@face.jpg http://127.0.0.1:8000/predict
"""
SHOWN_CHARACTERS = 40  # of a parameter that is wrong
BODY = "The body is the picture itself, or a form with it as its first file: JPEG, PNG, WebP, GIF or BMP."
PICTURE_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            **{kind: {"schema": {"type": "string", "format": "binary"}} for kind in ("image/jpeg", "image/png")},
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
            },
        },
    }
}


def _problems(**words: str) -> dict[int | str, dict[str, Any]]:
    """The entries of an OpenAPI description for answers that are Problems, by code: _problems(_413="too large")."""
    return {int(code[1:]): {"model": Problem, "description": text} for code, text in words.items()}


UPLOAD_PROBLEMS = _problems(
    _403="asked for by a page from elsewhere",
    _408="the picture did not arrive in time",
    _413="the picture has too many bytes",
    _500="the model cannot judge (model_error); train it again",
    _503="too many pictures at once",
)


def create_app(model: EmotionModel, origins: tuple[str, ...] = ()) -> FastAPI:
    """The application for one model. origins: see Guard."""
    service = Service(model)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        service.close()

    app = FastAPIOffline(
        title="faceemo",
        version=importlib.metadata.version("faceemo"),
        description=DESCRIPTION,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_middleware(Guard, origins=origins)
    for path, (name, kind) in PAGE.items():
        app.add_route(path, _file(name, kind), include_in_schema=False)

    @app.exception_handler(ProblemError)
    async def problem(request: Request, error: ProblemError) -> JSONResponse:
        return JSONResponse(error.problem.model_dump(), error.code)

    @app.exception_handler(FaceemoError)
    async def model_failed(request: Request, error: FaceemoError) -> JSONResponse:
        return JSONResponse(Problem(status=MODEL_ERROR, error=str(error)).model_dump(), 500)

    @app.exception_handler(RequestValidationError)
    async def wrong_parameter(request: Request, error: RequestValidationError) -> JSONResponse:
        wrong = error.errors()[0]
        said = f"{wrong['loc'][-1]}: {wrong['msg']}, not {str(wrong['input'])[:SHOWN_CHARACTERS]!r}"
        return JSONResponse(Problem(status="wrong_parameter", error=said).model_dump(), 422)

    @app.get("/model", summary="What the model tells apart")
    async def info() -> ModelInfo:
        return service.info

    @app.post(
        "/predict",
        summary="Judge the largest face in a picture, or every face",
        description=BODY,
        openapi_extra=PICTURE_BODY,
        responses={
            **UPLOAD_PROBLEMS,
            400: {"model": PictureAnswer, "description": "the bytes are no whole picture (decode_error)"},
            **_problems(_409="this model needs a neutral face", _422="a parameter is wrong"),
        },
    )
    async def predict(
        request: Request,
        response: Response,
        landmarks: Annotated[bool, Query(description="with the landmarks")] = False,
        neutral: Annotated[
            str | None, Query(description="the person's neutral face, for a model that judges change: see /neutral")
        ] = None,
        faces: Annotated[
            Literal["largest", "all"], Query(description="all: the answer has `faces`; for a model of single pictures")
        ] = "largest",
    ) -> EveryFaceAnswer | PictureAnswer:
        answer = await service.predict(request, landmarks, neutral, faces == "all")
        response.status_code = 400 if answer.status == Status.DECODE_ERROR else 200
        return answer

    @app.post(
        "/neutral",
        summary="Make the face in a picture a neutral face for /predict",
        description=BODY,
        openapi_extra=PICTURE_BODY,
        responses={
            **UPLOAD_PROBLEMS,
            **_problems(_400="no face in the picture, or no picture", _409="this model takes no neutral face"),
        },
    )
    async def neutral(request: Request) -> NeutralFace:
        return await service.neutral(request)

    @app.websocket("/live")
    async def live(websocket: WebSocket) -> None:
        await service.live(websocket)

    return app


def _file(name: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that gives out a file of the page, read once."""
    content = (PAGE_FOLDER / name).read_bytes()

    async def give(request: Request) -> Response:
        return Response(content, media_type=kind)

    return give
