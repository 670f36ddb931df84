"""How rows are made: what they depend on besides their picture, as each file of rows has it in its metadata."""

import hashlib
import importlib.metadata
import json
from dataclasses import asdict
from typing import Any

from faceemo.extraction.engines.choice import choose_engine
from faceemo.extraction.schema import FORMAT
from faceemo.params import ExtractParams
from faceemo.rows import mapping

EXTRACT_METADATA = b"faceemo.extract"
FINGERPRINT_LENGTH = 16


def how_made(settings: ExtractParams) -> bytes:
    """JSON: the engine, the other settings that change rows, the versions of what makes them and the rows' format.

    Raises FaceemoError if the engine is not installed.
    """
    values = asdict(settings)
    del values["scheduler"]
    engine = choose_engine(values.pop("engine"))
    made = {"engine": engine, "settings": values, "versions": _versions(engine), "format": FORMAT}
    return json.dumps(made, sort_keys=True).encode()


def check_made(value: Any) -> dict:
    """What how_made gave, as JSON has it. Raises ValueError, TypeError or LookupError for anything else."""
    made = mapping(value)
    versions = mapping(made.get("versions", {}))
    words = [made.get("engine", ""), *versions, *versions.values()]
    if not isinstance(made["settings"]["crops"], bool) or not all(isinstance(word, str) for word in words):
        raise TypeError("other settings or versions")
    return made


def fingerprint(made: bytes) -> str:
    """Names rows that were made in one way, so that others are never mixed in."""
    return hashlib.sha256(made).hexdigest()[:FINGERPRINT_LENGTH]


def packages_of(engine: str) -> tuple[str, ...]:
    """The installed packages that rows by an engine depend on, by their names on PyPI; of OpenCV there are several."""
    return {"mediapipe": "mediapipe", "litert": "ai-edge-litert"}[engine], "simplejpeg", "pillow"


def _versions(engine: str) -> dict[str, str]:
    versions = {name: importlib.metadata.version(name) for name in packages_of(engine)}
    if engine == "litert":
        import cv2  # it comes in packages of several names, so it is asked itself

        versions["opencv"] = cv2.__version__
    return versions
