"""A client that sends frames, and the neutral faces that clients have shown."""

import dataclasses
import json
import secrets
import threading
import time

import numpy as np

from faceemo.errors import FaceemoError
from faceemo.plainjson import parse_json
from faceemo.prediction.model import Answer, EmotionModel
from faceemo.server.answers import MODEL_ERROR, by_class, describe
from faceemo.server.readers import Readers
from faceemo.status import Status

NEUTRAL_SECONDS = 2.0
COMMAND_CHARACTERS = 200
NEUTRAL_FACES = 64  # kept at once, over all clients


class NeutralFaces:
    """Neutral faces by a token that only who showed them knows; the oldest is forgotten first."""

    def __init__(self) -> None:
        self._faces: dict[str, np.ndarray] = {}
        self._lock = threading.Lock()

    def keep(self, features: np.ndarray) -> str:
        """Keep a baseline; returns its token."""
        token = secrets.token_urlsafe(12)
        with self._lock:
            self._faces[token] = features
            if len(self._faces) > NEUTRAL_FACES:
                del self._faces[next(iter(self._faces))]
        return token

    def get(self, token: str) -> np.ndarray | None:
        """The baseline kept under a token; None if there is none, or no longer."""
        return self._faces.get(token)


class Session:
    """A client that sends frames: its baseline, and the faces seen while a new one is taken.

    A model that judges change judges nothing until there is one.
    """

    def __init__(self, model: EmotionModel, readers: Readers, neutral_faces: NeutralFaces) -> None:
        self._model = model
        self._readers = readers
        self._neutral_faces = neutral_faces
        self._baseline: np.ndarray | None = None
        self._taken: list[Answer] = []
        self._taken_at: float | None = None  # when the taking ends

    def frame(self, data: bytes) -> list[str]:
        """Judge an encoded frame. Returns messages for the client: its answer, and the neutral face if it is complete.

        Bytes that are no picture, and a face that the model cannot judge, are an answer with a status.
        """
        reading = self._readers.frame(data, self._model.extract_settings)
        try:
            [answer] = self._model.answer([reading], self._baseline)
        except FaceemoError as error:
            answer = Answer(dataclasses.replace(reading, status=MODEL_ERROR, error=str(error)))
        neutral = None
        if self._baseline is not None and self._model.judges_change and answer.status == Status.OK:
            neutral = np.round(self._model.baseline_in_pixels(reading, self._baseline), 1).tolist()
        described = describe(answer, self._model.trained.classes, with_landmarks=True).model_dump()
        messages = [json.dumps({"kind": "frame", **described, "neutral_landmarks": neutral})]
        if self._taken_at is not None:
            if answer.face:
                self._taken.append(answer)
            if time.monotonic() >= self._taken_at:
                messages.append(json.dumps(self._take_neutral_face()))
        return messages

    def command(self, text: str) -> list[str]:
        """Do what a text message says: {"neutral": "take"}, or {"neutral": token} of one that was taken before.

        Returns messages for the client: an error if it says anything else.
        """
        try:
            command = parse_json(text) if len(text) <= COMMAND_CHARACTERS else None
        except ValueError:
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
        """The mean of the faces taken becomes the baseline, if the model takes one; without need of one, it also says
        how it judged them.
        """
        faces, self._taken, self._taken_at = self._taken, [], None
        result: dict[str, object] = {"kind": "neutral", "faces": len(faces), "neutral": None, "probabilities": None}
        if faces:
            if self._model.takes_baseline:
                self._baseline = self._model.baseline_from(answer.reading for answer in faces)
                result["neutral"] = self._neutral_faces.keep(self._baseline)
            if not self._model.judges_change:
                mean = np.mean([answer.probability for answer in faces if answer.probability is not None], axis=0)
                result["probabilities"] = by_class(mean, self._model.trained.classes)
        return result
