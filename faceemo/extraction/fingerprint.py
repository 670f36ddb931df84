"""How rows are made: what they depend on besides their picture, as each file of rows has it in its metadata."""

import hashlib
import importlib.metadata
import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

from faceemo.extraction.engines.choice import choose_engine
from faceemo.extraction.schema import FORMAT
from faceemo.params import ExtractParams
from faceemo.rows import as_mapping

EXTRACT_METADATA = b"faceemo.extract"
FINGERPRINT_LENGTH = 16


def how_made(settings: ExtractParams) -> bytes:
    """JSON: the engine, the other settings that change rows, the versions of what makes them and the rows' format.

    Raises FaceemoError if the engine is not installed.
    """
    values = asdict(settings)
    del values["scheduler"]
    engine = choose_engine(values.pop("engine"))
    versions = {name: ask() for name, ask in versions_of(engine).items()}
    made = {"engine": engine, "settings": values, "versions": versions, "format": FORMAT}
    return json.dumps(made, sort_keys=True).encode()


def check_made(value: Any) -> dict:
    """What how_made gave, as JSON has it. Raises ValueError, TypeError or LookupError for anything else."""
    made = as_mapping(value)
    versions = as_mapping(made.get("versions", {}))
    words = [made.get("engine", ""), *versions, *versions.values()]
    if not isinstance(made["settings"]["crops"], bool) or not all(isinstance(word, str) for word in words):
        raise TypeError("other settings or versions")
    return made


def fingerprint(made: bytes) -> str:
    """Names rows that were made in one way, so that others are never mixed in."""
    return hashlib.sha256(made).hexdigest()[:FINGERPRINT_LENGTH]


def versions_of(engine: str) -> dict[str, Callable[[], str]]:
    """Of the packages that rows by an engine depend on: how each is asked for its version, here or on another machine.

    By their names on PyPI; OpenCV comes in packages of several names, so it is asked itself.
    """
    names = ({"mediapipe": "mediapipe", "litert": "ai-edge-litert"}[engine], "simplejpeg", "pillow")
    asked: dict[str, Callable[[], str]] = {name: partial(importlib.metadata.version, name) for name in names}
    return asked | {"opencv": _opencv} if engine == "litert" else asked


def _opencv() -> str:
    import cv2  # it takes a while

    return cv2.__version__
