"""One picture to the 478 landmarks of MediaPipe FaceMesh, by whichever of two engines is installed."""

import contextlib
import functools
import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from faceemo.extraction.engines.choice import LANDMARKS, choose_engine

COORDINATES = 3 * LANDMARKS

# What an engine can look at; beyond either MediaPipe ends the process. OpenCV's remap asserts sides below SHRT_MAX
# (https://github.com/opencv/opencv/blob/4.10.0/modules/imgproc/src/imgwarp.cpp), and a picture of 2^31 bytes, each row
# padded to a multiple of 16, is a segmentation fault.
MAX_SIDE = 32_766
MAX_PIXELS = 700_000_000
EDGES_FILE = Path(__file__).with_name("edges.npz")  # those that mediapipe.solutions.face_mesh defines


class FaceMesh:
    """FaceMesh for still pictures, with irises; keep one for the life of a process or thread.

    engine: the one that works here. Raises FaceemoError if it is not installed.
    """

    def __init__(self, max_faces: int = 1, engine: str = "auto") -> None:
        self.engine = choose_engine(engine)
        _add_windows_runtime()
        make_engine = _engine_maker(self.engine)
        with _native_log_held():
            self._engine = make_engine(max_faces)
        self._has_greeted = False

    def find(self, rgb: np.ndarray) -> np.ndarray:
        """Landmarks of the faces in a picture.

        rgb: uint8 [height, width, 3], upright, C-contiguous, at least one pixel; of any size: what is larger than the
            engine can look at is shown to it reduced.
        Returns float32 [faces, 478, 3]: x and z in picture widths, y in picture heights, z smaller towards the camera.
        """
        return self.find_scored(rgb)[0]

    def find_scored(self, rgb: np.ndarray) -> tuple[np.ndarray, float]:
        """As `find`, and how sure the detector is of the face it is surest of: 0.5 to 1, 0 without one."""
        with contextlib.nullcontext() if self._has_greeted else _native_log_held():
            faces, score = self._engine.find_scored(within(rgb, MAX_SIDE, MAX_PIXELS))
        self._has_greeted = self._has_greeted or bool(len(faces))  # the last word comes with the first face
        return faces, score

    def close(self) -> None:
        """Free what the engine holds, which MediaPipe does not do by itself."""
        self._engine.close()


class Engine(Protocol):
    """What finds landmarks; made with the number of faces that it looks for."""

    def find_scored(self, rgb: np.ndarray) -> tuple[np.ndarray, float]:
        """As FaceMesh.find_scored, of a picture that is not too large."""

    def close(self) -> None:
        """Free what the engine holds, which MediaPipe does not do by itself."""


def _engine_maker(name: str) -> Callable[[int], Engine]:
    if name == "mediapipe":
        from faceemo.extraction.engines.mediapipe_engine import MediaPipeEngine

        return MediaPipeEngine
    from faceemo.extraction.engines.litert_engine import LiteRTEngine

    return LiteRTEngine


@functools.cache
def _add_windows_runtime() -> None:
    """On Windows: where the native code of both engines finds the C++ runtime of the package msvc-runtime."""
    if sys.platform == "win32":
        for folder in runtime_folders(Path(sys.prefix)):
            os.add_dll_directory(str(folder))


def runtime_folders(prefix: Path) -> list[Path]:
    """Folders of a Python installation or virtual environment in which msvc-runtime has put its DLLs.

    Python looks beside its python.exe, which in a virtual environment is that of the installation behind it.
    """
    return [folder for folder in (prefix, prefix / "Scripts") if (folder / "msvcp140.dll").is_file()]


def within(rgb: np.ndarray, max_side: int, max_pixels: int) -> np.ndarray:
    """A picture uint8 [height, width, 3] within both bounds: `rgb`, or every second, third ... of its rows and columns.

    Landmarks are relative to the sides, so they hold for `rgb` all the same.
    """

    def fits(step: int) -> bool:
        height, width = (-(-size // step) for size in rgb.shape[:2])
        return max(height, width) <= max_side and height * width <= max_pixels

    step = next(filter(fits, itertools.count(1)))
    return rgb if step == 1 else np.ascontiguousarray(rgb[::step, ::step])


@functools.cache
def mesh_edges() -> np.ndarray:
    """int64 [edges, 2], read-only: pairs of landmarks that MediaPipe's drawing of the mesh joins."""
    return _edges("mesh")


@functools.cache
def contour_edges() -> np.ndarray:
    """int64 [edges, 2], read-only: those that outline the face, its eyes, irises, brows and lips."""
    return _edges("contours")


def _edges(name: str) -> np.ndarray:
    with np.load(EDGES_FILE) as file:
        edges = file[name].astype(np.int64)
    edges.flags.writeable = False
    return edges


def face_areas(faces: np.ndarray, width: int, height: int) -> np.ndarray:
    """[faces]: square pixels of the boxes of [faces, 478, 3] in a picture of width x height."""
    extent = np.ptp(faces[:, :, :2], axis=1) * (width, height)
    return extent.prod(axis=1)


def face_width(landmarks: np.ndarray, width: int) -> float:
    """Pixels from the leftmost to the rightmost of landmarks [478, 3] in a picture `width` pixels wide."""
    return float(np.ptp(landmarks[:, 0]) * width)


_holds_native_log = threading.Lock()


@contextlib.contextmanager
def _native_log_held() -> Iterator[None]:
    """Drop what native code of this process writes to stderr in this block; afterwards all is as it was.

    Both engines greet and warn there when they are built and when they find their first face, nothing of it for users.
    """
    with _holds_native_log:
        try:
            terminal = os.dup(2)
        except OSError:  # a program without a console has no stderr
            yield
            return
        if sys.stderr is not None:
            sys.stderr.flush()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def silence_native_log() -> None:
    """From now on drop what native code of this process writes to stderr, as OpenCV does of videos: for commands.

    Python's own sys.stderr still reaches the terminal. A second call changes nothing.
    """
    sys.stderr.flush()
    try:
        terminal = sys.stderr.fileno()
    except OSError:  # a notebook's
        terminal = 2
    sys.stderr = os.fdopen(os.dup(terminal), "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
