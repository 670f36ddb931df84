"""What the rows of a source depend on: noted in each of its shards, and the name of unfinished work."""

import hashlib
import importlib.metadata
import json
from dataclasses import asdict

from faceemo.extraction.engines.choice import choose_engine
from faceemo.extraction.partial import FINGERPRINT_LENGTH
from faceemo.extraction.schema import FORMAT
from faceemo.extraction.sources import Source
from faceemo.params import ExtractParams

EXTRACT_METADATA = b"faceemo.extract"
ARCHIVE_METADATA = b"faceemo.archive"


def shard_metadata(source: Source, settings: ExtractParams, limit: int | None) -> dict[bytes, bytes]:
    """Everything that the rows depend on, as each shard has it in its Parquet metadata.

    `faceemo.extract` is the engine, the other settings that change rows and the versions of what makes them;
    `faceemo.archive` is what they are made from. Raises FaceemoError if the engine is not installed.
    """
    values = asdict(settings)
    del values["scheduler"]
    engine = choose_engine(values.pop("engine"))
    extraction = {"engine": engine, "settings": values, "versions": _versions(engine), "format": FORMAT}
    archive = {"digest": source.digest, "emotion": source.emotion, "limit": limit}
    return {
        EXTRACT_METADATA: json.dumps(extraction, sort_keys=True).encode(),
        ARCHIVE_METADATA: json.dumps(archive, sort_keys=True).encode(),
    }


def _versions(engine: str) -> dict[str, str]:
    package = {"mediapipe": "mediapipe", "litert": "ai-edge-litert"}[engine]
    versions = {name: importlib.metadata.version(name) for name in (package, "simplejpeg", "pillow")}
    if engine == "litert":
        import cv2  # it comes in packages of several names, so it is asked itself

        versions["opencv"] = cv2.__version__
    return versions


def fingerprint(metadata: dict[bytes, bytes]) -> str:
    """Names the work of this metadata, so that shards of other work are never mixed in."""
    return hashlib.sha256(b"\0".join(metadata.values())).hexdigest()[:FINGERPRINT_LENGTH]
