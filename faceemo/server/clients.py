"""What the server does for its clients, with the bounds on how much of it at once."""

import asyncio
from collections.abc import Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from fastapi import Request, WebSocket, WebSocketDisconnect
from starlette.requests import ClientDisconnect

from faceemo.emotions import KOREAN
from faceemo.errors import FaceemoError
from faceemo.extraction.everyface import every_face
from faceemo.extraction.executors import default_workers
from faceemo.extraction.facemesh import mesh_edges
from faceemo.prediction.predict import EmotionModel, check_every_face
from faceemo.server.answers import (
    Answer,
    EveryFaceAnswer,
    ModelInfo,
    NeutralFace,
    ProblemError,
    describe,
    describe_face,
)
from faceemo.server.session import NeutralFaces, Readers, Session
from faceemo.status import Status

MAX_CLIENTS = 8
FRAMES_PER_SECOND = 60  # a client may send; more wait in its socket
BURST = 10
IDLE_SECONDS = 60.0
SEND_SECONDS = 10.0  # to take an answer

MAX_PICTURE_BYTES = 50_000_000
MAX_HELD_BYTES = 200_000_000  # of pictures on their way, over all clients
UPLOAD_SECONDS = 30.0

T = TypeVar("T")


class Service:
    """One model and its clients.

    Frames are judged by a thread a core, pictures by a thread of their own; each has a process look at them.
    """

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
        self._clients = self._held_bytes = 0
        cores = default_workers()
        self._readers = Readers(cores + 1)
        self._frames = ThreadPoolExecutor(cores, "frames")
        self._pictures = ThreadPoolExecutor(1, "pictures")  # a slow picture holds up no camera

    def start(self) -> None:
        self._readers.start(self._model.extract_settings)

    def close(self) -> None:
        for executor in (self._frames, self._pictures):
            executor.shutdown(wait=False, cancel_futures=True)
        self._readers.close()

    async def predict(self, request: Request, landmarks: bool, neutral: str | None) -> Answer:
        """Judge the largest face of the picture in a request's body. Raises ProblemError."""
        baseline = self._baseline(neutral)

        def judge(data: bytes) -> Answer:
            reading = self._readers.read(data, self._model.extract_settings)
            probability = None
            if reading.status == Status.OK:
                probability = self._model.judge(self._model.features(reading), baseline)[0]
            return describe(self._model, reading, probability, landmarks)

        return await self._with_picture(request, judge)

    async def predict_every_face(self, request: Request, landmarks: bool, neutral: str | None) -> EveryFaceAnswer:
        """Judge every face of the picture in a request's body. Raises ProblemError."""
        try:
            check_every_face(self._model)
        except FaceemoError as error:
            raise ProblemError(409, "one_person", str(error)) from None
        self._baseline(neutral)  # it takes none

        def judge(data: bytes) -> EveryFaceAnswer:
            reading = self._readers.read(data, every_face(self._model.extract_settings))
            readings = reading.each_face() if reading.status == Status.OK else []
            probabilities = list(self._model.judge(self._model.features(*readings))) if readings else []
            faces = [
                describe_face(self._model, one, probability, landmarks)
                for one, probability in zip(readings, probabilities, strict=True)
            ]
            largest = describe(self._model, reading, probabilities[0] if readings else None, landmarks)
            return EveryFaceAnswer(**vars(largest), faces=faces, faces_found=reading.faces or 0)

        return await self._with_picture(request, judge)

    async def neutral(self, request: Request) -> NeutralFace:
        """Keep the face of the picture in a request's body as a neutral face. Raises ProblemError."""
        if not self._model.judges_change:
            raise ProblemError(409, "no_neutral", "this model judges single pictures: it takes no neutral face")

        def keep(data: bytes) -> NeutralFace:
            reading = self._readers.read(data, self._model.extract_settings)
            if reading.status != Status.OK:
                raise ProblemError(400, reading.status, reading.error or "no face found")
            return NeutralFace(neutral=self._neutral_faces.keep(self._model.baseline_from([reading])))

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
        session = Session(self._model, self._readers, self._neutral_faces)
        pace = Pace()
        while message := await _next_message(websocket):
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
            raise ProblemError(409, "needs_neutral", "this neutral face is no longer known: POST it again")
        return baseline

    async def _with_picture(self, request: Request, work: Callable[[bytes], T]) -> T:
        """The result of `work` on a request's body, which is bounded in bytes and in time. Raises ProblemError."""
        data = bytearray()
        try:
            await self._read_body(request, data)
            return await asyncio.get_running_loop().run_in_executor(self._pictures, work, bytes(data))
        finally:
            self._held_bytes -= len(data)

    async def _read_body(self, request: Request, data: bytearray) -> None:
        """Append a request's body to `data`, counted in self._held_bytes as it comes. Raises ProblemError."""
        bound = min(MAX_PICTURE_BYTES, self._model.extract_settings.max_bytes)
        too_large = ProblemError(413, "too_large", f"more than {bound} bytes")
        if int(request.headers.get("content-length", 0)) > bound:
            raise too_large
        try:
            async with asyncio.timeout(UPLOAD_SECONDS):
                async for chunk in request.stream():
                    if len(data) + len(chunk) > bound:
                        raise too_large
                    if self._held_bytes + len(chunk) > MAX_HELD_BYTES:
                        raise ProblemError(503, "busy", "too many pictures at once; try again in a moment")
                    data += chunk
                    self._held_bytes += len(chunk)
        except TimeoutError:
            raise ProblemError(408, "timeout", f"the picture did not come in {UPLOAD_SECONDS:.0f} seconds") from None
        except ClientDisconnect:
            raise ProblemError(400, Status.DECODE_ERROR, "the connection was lost") from None


async def _next_message(websocket: WebSocket) -> MutableMapping[str, Any] | None:
    """What a client sends next; None if it goes, or is let go because it sends nothing."""
    try:
        async with asyncio.timeout(IDLE_SECONDS):
            message = await websocket.receive()
    except TimeoutError:
        async with asyncio.timeout(SEND_SECONDS):
            await websocket.close(1000, "idle")
        return None
    return None if message["type"] == "websocket.disconnect" else message


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
