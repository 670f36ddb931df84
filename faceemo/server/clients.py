"""What the server does for its clients, with the bounds on how much of it at once."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from typing import Any, TypeVar, cast

import numpy as np
from fastapi import Request, WebSocket, WebSocketDisconnect
from starlette.requests import ClientDisconnect

from faceemo.emotions import IN_KOREAN
from faceemo.errors import FaceemoError
from faceemo.extraction.executors import default_workers
from faceemo.extraction.facemesh import contour_edges, mesh_edges
from faceemo.extraction.worker import Reading
from faceemo.params import ExtractParams
from faceemo.prediction.model import NO_NEUTRAL, EmotionModel
from faceemo.server.answers import (
    EveryFaceAnswer,
    ModelInfo,
    NeutralFace,
    PictureAnswer,
    ProblemError,
    describe,
    describe_every_face,
)
from faceemo.server.readers import Readers
from faceemo.server.session import NeutralFaces, Session
from faceemo.status import Status

MAX_CLIENTS = 8
FRAMES_PER_SECOND = 60  # a client may send; more wait in its socket
BURST = 10
IDLE_SECONDS = 60.0
SEND_SECONDS = 10.0  # to take an answer

MAX_PICTURE_BYTES = 50_000_000
MAX_HELD_BYTES = 200_000_000  # of pictures on their way, over all clients
UPLOAD_SECONDS = 30.0
MAX_UPLOADS = 32
MAX_SLOW = 8  # pictures that take long
BUSY = ProblemError(503, "busy", "too many pictures at once; try again in a moment")

T = TypeVar("T")


class Service:
    """One model and its clients.

    A ProblemError refuses a request: 408 the picture does not come in time, 409 a neutral face is missing or not taken,
    413 too many bytes, 503 too many pictures at once.
    Frames are judged by a thread a core, pictures by one of two threads; each has a process look at them.
    """

    def __init__(self, model: EmotionModel) -> None:
        edges, contours = (np.unique(np.sort(pairs, axis=1), axis=0) for pairs in (mesh_edges(), contour_edges()))
        classes = model.classes_.tolist()
        self.info = ModelInfo(
            classes=classes,
            korean=[IN_KOREAN.get(name, name) for name in classes],
            judges_change=model.judges_change,
            edges=edges.tolist(),
            contours=contours.tolist(),
        )
        self._model = model
        self._neutral_faces = NeutralFaces()
        self._clients = self._held_bytes = 0
        cores = default_workers()
        self._frames = ThreadPoolExecutor(cores, "frames")
        self._pictures = ThreadPoolExecutor(1, "pictures")
        self._slow_pictures = ThreadPoolExecutor(1, "slow pictures")
        self._readers = Readers(cores + 2)
        self._slow = 0  # that wait or are looked at
        self._uploads: deque[asyncio.Timeout] = deque()

    def start(self) -> None:
        """Start the processes that read pictures, so that the first request need not wait for them."""
        self._readers.start(self._model.extract_settings)

    def close(self) -> None:
        """End all threads and processes; what waits is dropped."""
        for executor in (self._frames, self._pictures, self._slow_pictures):
            executor.shutdown(wait=False, cancel_futures=True)
        self._readers.close()

    async def predict(
        self, request: Request, landmarks: bool, neutral: str | None, is_every_face: bool
    ) -> PictureAnswer | EveryFaceAnswer:
        """Judge the largest face, or every face, of the picture in a request's body. Raises ProblemError."""
        try:
            settings = self._model.every_face_settings() if is_every_face else self._model.extract_settings
        except FaceemoError as error:
            raise ProblemError(409, "one_person", str(error)) from None
        if is_every_face and neutral is not None:
            raise ProblemError(409, "one_person", "a neutral face is of one person; leave it or faces=all out")
        baseline = self._baseline(neutral)

        def judge(reading: Reading) -> PictureAnswer | EveryFaceAnswer:
            answers = self._model.answer(reading.each_face(), baseline)
            if is_every_face:
                return describe_every_face(answers, self.info.classes, landmarks)
            return describe(answers[0], self.info.classes, landmarks)

        return await self._with_picture(request, settings, judge)

    async def neutral(self, request: Request) -> NeutralFace:
        """Keep the face of the picture in a request's body as a neutral face. Raises ProblemError."""
        if not self._model.takes_baseline:
            raise ProblemError(409, "no_neutral", NO_NEUTRAL.format("this model"))

        def keep(reading: Reading) -> NeutralFace:
            if reading.status != Status.OK:
                raise ProblemError(400, reading.status, reading.error or "no face found")
            return NeutralFace(neutral=self._neutral_faces.keep(self._model.baseline_from([reading])))

        return await self._with_picture(request, self._model.extract_settings, keep)

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
        if not self._model.takes_baseline:
            raise ProblemError(409, "no_neutral", NO_NEUTRAL.format("this model"))
        baseline = self._neutral_faces.get(neutral)
        if baseline is None:
            raise ProblemError(409, "needs_neutral", "this neutral face is no longer known: POST it again")
        return baseline

    async def _with_picture(self, request: Request, settings: ExtractParams, work: Callable[[Reading], T]) -> T:
        """What `work` makes of the reading of the picture in a request's body. Raises ProblemError.

        Slow pictures wait for each other alone, so that they hold up nobody else's.
        """
        data = bytearray()
        loop = asyncio.get_running_loop()

        def look(only_if_quick: bool) -> T | None:
            reading = self._readers.picture(picture, settings, only_if_quick)
            return None if reading is None else work(reading)

        try:
            await self._read_body(request, data)
            picture = first_file(bytes(data), request.headers.get("content-type", ""))
            result = await loop.run_in_executor(self._pictures, look, True)
            if result is None:
                if self._slow >= MAX_SLOW:
                    raise BUSY
                self._slow += 1
                try:
                    result = await loop.run_in_executor(self._slow_pictures, look, False)
                finally:
                    self._slow -= 1
            return cast(T, result)
        finally:
            self._held_bytes -= len(data)

    async def _read_body(self, request: Request, data: bytearray) -> None:
        """Append a request's body to `data`, counted in self._held_bytes as it comes. Raises ProblemError.

        Where too many come at once, the one that began first is given up.
        """
        too_large = ProblemError(413, "too_large", f"more than {MAX_PICTURE_BYTES} bytes")
        if int(request.headers.get("content-length", 0)) > MAX_PICTURE_BYTES:
            raise too_large
        try:
            async with self._upload_timeout():
                async for chunk in request.stream():
                    if len(data) + len(chunk) > MAX_PICTURE_BYTES:
                        raise too_large
                    if self._held_bytes + len(chunk) > MAX_HELD_BYTES:
                        raise BUSY
                    data += chunk
                    self._held_bytes += len(chunk)
        except TimeoutError:
            raise ProblemError(408, "timeout", f"the picture did not come in {UPLOAD_SECONDS:.0f} seconds") from None
        except ClientDisconnect:
            raise ProblemError(400, Status.DECODE_ERROR, "the connection was lost") from None

    @contextlib.asynccontextmanager
    async def _upload_timeout(self) -> AsyncIterator[None]:
        async with asyncio.timeout(UPLOAD_SECONDS) as timeout:
            self._uploads.append(timeout)
            if len(self._uploads) > MAX_UPLOADS:
                self._uploads.popleft().reschedule(0)
            try:
                yield
            finally:
                if timeout in self._uploads:
                    self._uploads.remove(timeout)


def first_file(body: bytes, content_type: str) -> bytes:
    """The first file of a form as browsers and `curl -F` send it (RFC 7578); any other body as it is.

    Raises ProblemError for a form without a file, and for what `curl -d` makes of one: it leaves out zero bytes, which
    every picture has, and line breaks.
    """
    header = Message()
    header["Content-Type"] = content_type
    boundary = header.get_boundary()
    if header.get_content_type() == "application/x-www-form-urlencoded" and body and b"\0" not in body:
        raise ProblemError(400, Status.DECODE_ERROR, "not a file as it is; curl sends one by --data-binary @face.jpg")
    if header.get_content_type() != "multipart/form-data" or boundary is None:
        return body
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary.encode("latin-1", "replace")):
        head, _, content = part.partition(b"\r\n\r\n")
        if b"; filename" in head:
            return content
    raise ProblemError(400, Status.DECODE_ERROR, "a form without a file; curl sends one by -F file=@face.jpg")


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
