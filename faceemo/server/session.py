"""What the server does with pictures: one by one, or frame after frame of a client with a neutral face of its own."""

import dataclasses
import json
import secrets
import threading
import time
from concurrent.futures import BrokenExecutor

import numpy as np

from faceemo.errors import FaceemoError
from faceemo.extraction.executors import ProcessesExecutor
from faceemo.extraction.rescue import DIED
from faceemo.extraction.worker import Reading, measure
from faceemo.params import ExtractParams
from faceemo.prediction.predict import EmotionModel, baseline_in_pixels
from faceemo.server.answers import MODEL_ERROR, by_class, describe
from faceemo.status import Status

NEUTRAL_SECONDS = 2.0
FRAME_PIXELS = 4_000_000  # of a frame; a camera's 1920 x 1080 has half as many
COMMAND_CHARACTERS = 200
NEUTRAL_FACES = 64  # kept at once, over all clients


class NeutralFaces:
    """Neutral faces by a token that only who showed them knows; the oldest is forgotten first."""

    def __init__(self) -> None:
        self._faces: dict[str, np.ndarray] = {}
        self._lock = threading.Lock()

    def keep(self, features: np.ndarray) -> str:
        """Keep a baseline [1434]; returns its token."""
        token = secrets.token_urlsafe(12)
        with self._lock:
            self._faces[token] = features
            if len(self._faces) > NEUTRAL_FACES:
                del self._faces[next(iter(self._faces))]
        return token

    def get(self, token: str) -> np.ndarray | None:
        return self._faces.get(token)


class Readers:
    """Processes that look at pictures, so that a picture that kills its process ends nothing else."""

    def __init__(self, count: int) -> None:
        """count: pictures at once, at most; a process is started when it is needed."""
        self._processes = ProcessesExecutor(count, tries=2)

    def start(self, settings: ExtractParams) -> None:
        """Have a process ready for the first picture."""
        self._processes.submit(measure, b"", settings)

    def read(self, data: bytes, settings: ExtractParams) -> Reading:
        """The face or faces in an encoded picture, as the settings ask."""
        try:
            return self._processes.submit(measure, data, settings).result()
        except BrokenExecutor:
            return DIED

    def close(self) -> None:
        self._processes.shutdown()


class Session:
    """A client that sends frames: its baseline, and the faces seen while a new one is taken.

    A model that judges change judges nothing until there is one.
    """

    def __init__(self, model: EmotionModel, readers: Readers, neutral_faces: NeutralFaces) -> None:
        self._model = model
        self._readers = readers
        self._neutral_faces = neutral_faces
        bound = min(FRAME_PIXELS, model.extract_settings.max_pixels)
        self._settings = dataclasses.replace(model.extract_settings, max_pixels=bound)
        self._baseline: np.ndarray | None = None
        self._taken: list[np.ndarray] = []
        self._taken_at: float | None = None  # when the taking ends

    def frame(self, data: bytes) -> list[str]:
        """Judge an encoded frame. Returns messages for the client: its answer, and the neutral face if it is complete.

        Bytes that are no picture, and a face that the model cannot judge, are an answer with a status.
        """
        reading = self._readers.read(data, self._settings)
        try:
            return self._judge(reading)
        except FaceemoError as error:
            failed = dataclasses.replace(reading, status=MODEL_ERROR, error=str(error))
            answer = describe(self._model, failed, None, with_landmarks=False).model_dump()
            return [json.dumps({"kind": "frame", **answer, "neutral_landmarks": None})]

    def _judge(self, reading: Reading) -> list[str]:
        """The messages for a reading. Raises FaceemoError for a model whose probabilities are not finite."""
        probability = neutral = None
        if reading.status == Status.OK:
            features = self._model.features(reading)
            if self._baseline is not None or not self._model.judges_change:
                probability = self._model.judge(features, self._baseline)[0]
            if self._baseline is not None:
                neutral = np.round(baseline_in_pixels(reading, features[0], self._baseline), 1).tolist()
            if self._taken_at is not None:
                self._taken.append(features[0])
        answer = describe(self._model, reading, probability, with_landmarks=True).model_dump()
        messages = [json.dumps({"kind": "frame", **answer, "neutral_landmarks": neutral})]
        if self._taken_at is not None and time.monotonic() >= self._taken_at:
            messages.append(json.dumps(self._take_neutral_face()))
        return messages

    def command(self, text: str) -> list[str]:
        """Do what a text message says: {"neutral": "take"}, or {"neutral": token} of one that was taken before.

        Returns messages for the client: an error if it says anything else.
        """
        try:
            command = json.loads(text) if len(text) <= COMMAND_CHARACTERS else None
        except (ValueError, RecursionError):
            command = None
        if not isinstance(command, dict) or list(command) != ["neutral"] or not isinstance(command["neutral"], str):
            return [json.dumps({"kind": "error", "error": 'not a command; known: {"neutral": "take"}'})]
        if command["neutral"] == "take":
            self._taken = []
            self._taken_at = time.monotonic() + NEUTRAL_SECONDS
            return []
        known = self._neutral_faces.get(command["neutral"])
        if known is None:
            return [json.dumps({"kind": "error", "error": "this neutral face is no longer known; take it again"})]
        self._baseline = known
        return []

    def _take_neutral_face(self) -> dict[str, object]:
        """The mean of the faces taken becomes the baseline of a model that has one; others tell how they judge it."""
        faces, self._taken, self._taken_at = self._taken, [], None
        result: dict[str, object] = {"kind": "neutral", "faces": len(faces), "neutral": None, "probabilities": None}
        if faces:
            mean = np.mean(faces, axis=0)
            if self._model.judges_change:
                self._baseline = self._model.neutral_baseline(mean)
                result["neutral"] = self._neutral_faces.keep(self._baseline)
            else:
                result["probabilities"] = by_class(self._model, self._model.judge(mean[None])[0])
        return result
