"""Which engine finds landmarks here. Imports none of them."""

import functools
import importlib.util
from pathlib import Path

from faceemo.errors import FaceemoError

LANDMARKS = 478  # of a face, by every engine: 468 of the mesh and 5 for each iris

# The engines, the preferred one first, with the package that each needs and a file of it: mediapipe above 0.10.21 has
# no FaceMesh graph any more.
ENGINES = {
    "mediapipe": ("mediapipe", "modules/face_landmark/face_landmark_front_cpu.binarypb"),
    "litert": ("ai_edge_litert", "interpreter.py"),
}
# How far the landmarks of the engines lie apart, in % of the distance between the irises: mean over 204 faces. A photo
# shifted by one pixel moves MediaPipe's own by 0.56 %.
ENGINE_DISTANCE = 0.0015


@functools.cache
def installed_engines() -> tuple[str, ...]:
    """The engines that work here, the preferred one first."""
    return tuple(engine for engine, (package, file) in ENGINES.items() if _has_file(package, file))


def _has_file(package: str, file: str) -> bool:
    found = importlib.util.find_spec(package)
    folders = found.submodule_search_locations if found else None
    return any((Path(folder) / file).is_file() for folder in folders or [])


def choose_engine(engine: str) -> str:
    """The engine that `extract.engine` asks for: auto takes the preferred one of those installed.

    Raises FaceemoError if it is not installed.
    """
    installed = installed_engines()
    if not installed:
        raise FaceemoError("neither mediapipe up to 0.10.21 nor ai-edge-litert is installed; install faceemo again")
    if engine == "auto":
        return installed[0]
    if engine not in installed:
        extra = ", or run: python -m pip install -e '.[litert]'" if engine == "litert" else ""
        raise FaceemoError(f"extract.engine: {engine} is not installed here; set it to auto{extra}")
    return engine
