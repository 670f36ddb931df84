"""The web application of `faceemo serve`: the page, its WebSocket, and pictures by POST."""

import asyncio
import contextlib
import importlib.metadata
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
from fastapi import FastAPI, Query, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel, Field
from starlette.requests import ClientDisconnect

from faceemo.emotions import KOREAN
from faceemo.executors import default_workers
from faceemo.facemesh import mesh_edges
from faceemo.guard import Guard
from faceemo.live import NeutralFaces, Session, describe, read_picture
from faceemo.predict import EmotionModel

WEB = Path(__file__).parent / "web"
PAGE = {
    "/": ("index.html", "text/html"),
    "/style.css": ("style.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    **{f"/{name}": (name, "text/javascript") for name in ("app.js", "camera.js", "drawing.js", "live.js", "words.js")},
}

MAX_CLIENTS = 8
FRAMES_PER_SECOND = 60  # a client may send; more wait in its socket
BURST = 10
IDLE_SECONDS = 60.0
SEND_SECONDS = 10.0  # to take an answer

MAX_PICTURE_BYTES = 50_000_000
MAX_UPLOADS = 4
UPLOAD_SECONDS = 30.0

T = TypeVar("T")

DESCRIPTION = """Emotion from face landmarks, on this machine alone. Pictures are judged in memory and never stored.

    curl --data-binary @face.jpg http://127.0.0.1:8000/predict
"""
PICTURE_BODY = {
    "requestBody": {
        "required": True,
        "description": "A picture, not a form: JPEG, PNG, WebP, GIF or BMP, whatever the type says.",
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in ("image/jpeg", "image/png")},
    }
}


class Answer(BaseModel):
    """What was found in a picture. Lengths are in pixels of the upright picture, after EXIF orientation."""

    status: str = Field(description="ok, no_face or decode_error", examples=["ok"])
    error: str | None = Field(None, description="why a picture could not be decoded")
    width: int | None = None
    height: int | None = None
    label: str | None = Field(None, description="the most probable class; null without a face", examples=["neutral"])
    probabilities: dict[str, float] | None = Field(None, examples=[{"neutral": 0.9, "anxious": 0.1}])
    box: list[float] | None = Field(None, description="left, top, right, bottom of the largest face's landmarks")
    landmarks: list[list[float]] | None = Field(None, description="x, y of the 478 landmarks, if asked for")


class NeutralFace(BaseModel):
    neutral: str = Field(description="give this to /predict; kept until the server ends or 64 newer ones have come")


class ModelInfo(BaseModel):
    classes: list[str]
    korean: list[str] = Field(description="the classes in Korean")
    judges_change: bool = Field(description="it judges how a face differs from the same person's neutral face")
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


def _problems(**words: str) -> dict[int | str, dict[str, Any]]:
    """The entries of an OpenAPI description for answers that are Problems, by code: _problems(_413="too large")."""
    return {int(code[1:]): {"model": Problem, "description": text} for code, text in words.items()}


UPLOAD_PROBLEMS = _problems(
    _403="asked for by a page from elsewhere",
    _408="the picture did not arrive in time",
    _413="the picture has too many bytes",
    _503="too many pictures at once",
)


def create_app(model: EmotionModel) -> FastAPI:
    """The application for one model. Frames are judged by a thread a core, pictures by a thread of their own."""
    service = Service(model)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPIOffline(
        title="faceemo",
        version=importlib.metadata.version("faceemo"),
        description=DESCRIPTION,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_middleware(Guard)
    for path, (name, kind) in PAGE.items():
        app.add_route(path, _file(name, kind), include_in_schema=False)

    @app.exception_handler(ProblemError)
    async def problem(request: Request, error: ProblemError) -> JSONResponse:
        return JSONResponse(error.problem.model_dump(), error.code)

    @app.get("/model", summary="What the model tells apart")
    async def info() -> ModelInfo:
        return service.info

    @app.post(
        "/predict",
        summary="Judge the largest face in a picture",
        openapi_extra=PICTURE_BODY,
        responses={
            **UPLOAD_PROBLEMS,
            400: {"model": Answer, "description": "the bytes are no whole picture (decode_error)"},
            **_problems(_409="this model needs a neutral face"),
        },
    )
    async def predict(
        request: Request,
        response: Response,
        landmarks: Annotated[bool, Query(description="with the landmarks")] = False,
        neutral: Annotated[
            str | None, Query(description="the person's neutral face, for a model that judges change: see /neutral")
        ] = None,
    ) -> Answer:
        answer = await service.predict(request, landmarks, neutral)
        response.status_code = 400 if answer.status == "decode_error" else 200
        return answer

    @app.post(
        "/neutral",
        summary="Make the face in a picture a neutral face for /predict",
        openapi_extra=PICTURE_BODY,
        responses={
            **UPLOAD_PROBLEMS,
            **_problems(_400="no face in the picture, or no picture", _409="this model judges single pictures"),
        },
    )
    async def neutral(request: Request) -> NeutralFace:
        return await service.neutral(request)

    @app.websocket("/live")
    async def live(websocket: WebSocket) -> None:
        await service.live(websocket)

    return app


class Service:
    """What the application does, with the bounds on how much of it at once."""

    def __init__(self, model: EmotionModel) -> None:
        edges = np.unique(np.sort(mesh_edges(), axis=1), axis=0)
        classes = model.classes_.tolist()
        self.info = ModelInfo(
            classes=classes,
            korean=[KOREAN.get(name, name) for name in classes],
            judges_change=model.judges_change,
            edges=edges.tolist(),
        )
        self._model = model
        self._neutral_faces = NeutralFaces()
        self._clients = self._uploads = 0
        self._frames = ThreadPoolExecutor(default_workers(), "frames")
        self._pictures = ThreadPoolExecutor(1, "pictures")  # a slow picture holds up no camera

    def close(self) -> None:
        for executor in (self._frames, self._pictures):
            executor.shutdown(wait=False, cancel_futures=True)

    async def predict(self, request: Request, landmarks: bool, neutral: str | None) -> Answer:
        """Judge the picture in a request's body. Raises ProblemError."""
        baseline = self._baseline(neutral)

        def judge(data: bytes) -> Answer:
            reading = read_picture(data, self._model.extract_settings)
            probability = None
            if reading.status == "ok":
                probability = self._model.judge(self._model.features(reading), baseline)[0]
            return Answer(**describe(self._model, reading, probability, landmarks))

        return await self._with_picture(request, judge)

    async def neutral(self, request: Request) -> NeutralFace:
        """Keep the face of the picture in a request's body as a neutral face. Raises ProblemError."""
        if not self._model.judges_change:
            raise ProblemError(409, "no_neutral", "this model judges single pictures: it takes no neutral face")

        def keep(data: bytes) -> NeutralFace:
            reading = read_picture(data, self._model.extract_settings)
            if reading.status != "ok":
                raise ProblemError(400, reading.status, reading.error or "no face found")
            return NeutralFace(neutral=self._neutral_faces.keep(self._model.features(reading)[0]))

        return await self._with_picture(request, keep)

    async def live(self, websocket: WebSocket) -> None:
        """Judge a client's frames one after another.

        What it sends meanwhile stays in its socket, so a client that sends or reads badly waits for itself alone.
        """
        await websocket.accept()
        if self._clients >= MAX_CLIENTS:
            await websocket.close(1013, f"{MAX_CLIENTS} pages are open already")
            return
        self._clients += 1
        try:
            await self._answer_frames(websocket)
        except (WebSocketDisconnect, TimeoutError):
            pass
        finally:
            self._clients -= 1

    async def _answer_frames(self, websocket: WebSocket) -> None:
        loop = asyncio.get_running_loop()
        session = Session(self._model, self._neutral_faces)
        pace = Pace()
        while True:
            async with asyncio.timeout(IDLE_SECONDS):
                message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            data = message.get("bytes")
            judging = (session.command, message["text"]) if data is None else (session.frame, data)
            for answer in await loop.run_in_executor(self._frames, *judging):
                async with asyncio.timeout(SEND_SECONDS):
                    await websocket.send_text(answer)
            await pace.wait()

    def _baseline(self, neutral: str | None) -> np.ndarray | None:
        if neutral is None and not self._model.judges_change:
            return None
        if neutral is None:
            raise ProblemError(
                409,
                "needs_neutral",
                "this model judges how a face differs from the same person's neutral face: POST a picture of that to "
                "/neutral first and give its answer as ?neutral=",
            )
        if not self._model.judges_change:
            raise ProblemError(409, "no_neutral", "this model judges single pictures: it takes no neutral face")
        baseline = self._neutral_faces.get(neutral)
        if baseline is None:
            raise ProblemError(409, "needs_neutral", "this neutral face is not known any more: POST it again")
        return baseline

    async def _with_picture(self, request: Request, work: Callable[[bytes], T]) -> T:
        """The result of `work` on a request's body, which is bounded in bytes and in time. Raises ProblemError."""
        if self._uploads >= MAX_UPLOADS:
            raise ProblemError(503, "busy", "too many pictures at once; try again in a moment")
        self._uploads += 1
        try:
            data = await _read_body(request, min(MAX_PICTURE_BYTES, self._model.extract_settings.max_bytes))
            return await asyncio.get_running_loop().run_in_executor(self._pictures, work, data)
        finally:
            self._uploads -= 1


class Pace:
    """Holds a client to FRAMES_PER_SECOND, with BURST messages more for a start."""

    def __init__(self) -> None:
        self._due = 0.0

    async def wait(self) -> None:
        """Return when the next message may be read."""
        now = asyncio.get_running_loop().time()
        self._due = max(self._due, now - BURST / FRAMES_PER_SECOND) + 1 / FRAMES_PER_SECOND
        if self._due > now:
            await asyncio.sleep(self._due - now)


def _file(name: str, kind: str) -> Callable[[Request], Response]:
    """An endpoint that gives out a file of the page, read once."""
    content = (WEB / name).read_bytes()
    return lambda request: Response(content, media_type=kind)


async def _read_body(request: Request, bound: int) -> bytes:
    chunks, size = [], int(request.headers.get("content-length", 0))
    try:
        async with asyncio.timeout(UPLOAD_SECONDS):
            if size <= bound:
                size = 0
                async for chunk in request.stream():
                    chunks.append(chunk)
                    size += len(chunk)
                    if size > bound:
                        break
    except TimeoutError:
        raise ProblemError(408, "timeout", f"the picture did not arrive within {UPLOAD_SECONDS:.0f} seconds") from None
    except ClientDisconnect:
        raise ProblemError(400, "decode_error", "the connection was lost") from None
    if size > bound:
        raise ProblemError(413, "too_large", f"more than {bound} bytes")
    return b"".join(chunks)
