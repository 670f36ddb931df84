"""One picture to the 478 landmarks of MediaPipe FaceMesh."""

import functools
import importlib
import importlib.util
import itertools
import os
import sys
import types
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

LANDMARKS = 478  # 468 of the mesh and 5 for each iris
COORDINATES = 3 * LANDMARKS

GRAPH = "modules/face_landmark/face_landmark_front_cpu.binarypb"  # in the package's folder
# What the graph can look at; beyond either the process ends. OpenCV's remap asserts sides below SHRT_MAX
# (https://github.com/opencv/opencv/blob/4.10.0/modules/imgproc/src/imgwarp.cpp), and a picture of 2^31 bytes, each row
# padded to a multiple of 16, is a segmentation fault.
MAX_SIDE = 32_766
MAX_PIXELS = 700_000_000
# Thresholds; the names are those of nodes of the graph.
DETECTION_SCORE = (
    "facedetectionshortrangecpu__facedetectionshortrange__facedetection__TensorsToDetectionsCalculator.min_score_thresh"
)
PRESENCE = "facelandmarkcpu__ThresholdingCalculator.threshold"

warnings.filterwarnings("ignore", message="SymbolDatabase.GetPrototype", category=UserWarning)  # mediapipe 0.10.14


class FaceMesh:
    """MediaPipe's FaceMesh graph for still pictures, with irises; keep one for the life of a process or thread.

    https://github.com/google-ai-edge/mediapipe/blob/v0.10.21/mediapipe/python/solutions/face_mesh.py
    """

    def __init__(self, max_faces: int = 1) -> None:
        # As solutions.face_mesh.FaceMesh builds it, but run by the thread that asks: to hand each of some thirty nodes
        # to a pool of threads costs a sixth of the time, and worker processes use all cores anyway.
        base = _solutions().base
        file = Path(base.__file__).parents[1] / GRAPH
        graph = base.calculator_pb2.CalculatorGraphConfig.FromString(file.read_bytes())
        graph.executor.add(type="ApplicationThreadExecutor")
        self._mesh = base.SolutionBase(
            graph_config=graph,
            side_inputs={"num_faces": max_faces, "with_attention": True, "use_prev_landmarks": False},
            calculator_params={DETECTION_SCORE: 0.5, PRESENCE: 0.5},
            outputs=["multi_face_landmarks"],
        )

    def find(self, rgb: np.ndarray) -> np.ndarray:
        """Landmarks of the faces in a picture.

        rgb: uint8 [height, width, 3], upright, C-contiguous, at least one pixel; of any size: what is larger than the
            graph can look at is shown to it reduced.
        Returns float32 [faces, 478, 3]: x and z in picture widths, y in picture heights, z smaller towards the camera.
        """
        faces = self._mesh.process({"image": within(rgb, MAX_SIDE, MAX_PIXELS)}).multi_face_landmarks or []
        return np.array([_points(face.SerializeToString()) for face in faces], np.float32).reshape(-1, LANDMARKS, 3)

    def close(self) -> None:
        self._mesh.close()


def within(rgb: np.ndarray, max_side: int, max_pixels: int) -> np.ndarray:
    """A picture uint8 [height, width, 3] within both bounds: `rgb`, or every second, third ... of its rows and columns.

    Landmarks are relative to the sides, so they hold for `rgb` all the same.
    """
    for step in itertools.count(1):
        height, width = (-(-size // step) for size in rgb.shape[:2])
        if max(height, width) <= max_side and height * width <= max_pixels:
            return rgb if step == 1 else np.ascontiguousarray(rgb[::step, ::step])


@functools.cache
def mesh_edges() -> np.ndarray:
    """int64 [edges, 2], read-only: pairs of landmarks that MediaPipe's drawing of the mesh joins."""
    edges = np.array(sorted(_solutions().face_mesh.FACEMESH_TESSELATION), np.int64)
    edges.flags.writeable = False
    return edges


def contour_edges() -> np.ndarray:
    """int64 [edges, 2]: those that outline the face, its eyes, irises, brows and lips."""
    module = _solutions().face_mesh
    return np.array(sorted(module.FACEMESH_CONTOURS | module.FACEMESH_IRISES), np.int64)


def largest_face(faces: np.ndarray, width: int, height: int) -> np.ndarray:
    """float32 [478, 3]: of [faces, 478, 3] in a picture of width x height the one with the largest box."""
    extent = np.ptp(faces[:, :, :2], axis=1) * (width, height)
    return faces[extent.prod(axis=1).argmax()]


def face_width(landmarks: np.ndarray, width: int) -> float:
    """Pixels from the leftmost to the rightmost of landmarks [478, 3] in a picture `width` pixels wide."""
    return float(np.ptp(landmarks[:, 0]) * width)


def _points(message: bytes) -> np.ndarray:
    """float32 [478, 3] from a NormalizedLandmarkList in protobuf's wire format, 20 times as fast as field by field.

    Each landmark is a message of 15 bytes: x, y and z in this order, each a tag byte and a little-endian float32
    (https://protobuf.dev/programming-guides/encoding/; FaceMesh sets neither visibility nor presence).
    """
    landmark = np.dtype({"names": ["x", "y", "z"], "formats": ["<f4"] * 3, "offsets": [3, 8, 13], "itemsize": 17})
    points = np.frombuffer(message, landmark, count=LANDMARKS)
    return np.stack([points["x"], points["y"], points["z"]], axis=1)


# Options of the graph that Python has not registered get lost on their way to the native code, without a word, and
# face_mesh does not import these two. Without the first the sigmoid before the threshold for "this is a face" is
# missing: 0.5 acts as 0.62, and faces near it are lost. `import mediapipe` as a whole brings them along by chance.
GRAPH_OPTIONS = (
    "mediapipe.calculators.tensor.tensors_to_floats_calculator_pb2",
    "mediapipe.framework.tool.switch_container_pb2",
)


class _Solutions(NamedTuple):
    base: types.ModuleType  # mediapipe.python.solution_base
    face_mesh: types.ModuleType  # mediapipe.python.solutions.face_mesh


@functools.cache
def _solutions() -> _Solutions:
    """MediaPipe's modules, imported without the packages around them.

    Those import every solution and task, with matplotlib and more: 1.7 s a worker instead of 0.2 s. So they stand in
    sys.modules as empty packages while these are imported, and are removed again.
    """
    if "mediapipe" in sys.modules:
        return _import_solutions()
    folder = Path(importlib.util.find_spec("mediapipe").submodule_search_locations[0])
    for name in ("mediapipe", "mediapipe.python", "mediapipe.python.solutions"):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [str(folder.joinpath(*name.split(".")[1:]))]
    try:
        return _import_solutions()
    finally:  # whoever imports mediapipe later gets the real packages
        for name in [name for name in sys.modules if name.partition(".")[0] == "mediapipe"]:
            if not name.endswith("_pb2") and "._framework_bindings" not in name:  # these must not be loaded twice
                del sys.modules[name]


def _import_solutions() -> _Solutions:
    for name in GRAPH_OPTIONS:
        importlib.import_module(name)
    return _Solutions(
        importlib.import_module("mediapipe.python.solution_base"),
        importlib.import_module("mediapipe.python.solutions.face_mesh"),
    )


def silence_native_log() -> None:
    """From now on drop what native code of this process writes to stderr: MediaPipe greets and warns there at will.

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
