"""FaceMesh by MediaPipe's own graph."""

import functools
import importlib
import importlib.util
import sys
import types
import warnings
from pathlib import Path

import numpy as np

from faceemo.extraction.engines.choice import ENGINES, LANDMARKS

# Thresholds; the names are those of nodes of the graph.
DETECTION_SCORE = (
    "facedetectionshortrangecpu__facedetectionshortrange__facedetection__TensorsToDetectionsCalculator.min_score_thresh"
)
PRESENCE = "facelandmarkcpu__ThresholdingCalculator.threshold"

# Options of the graph that Python has not registered get lost on their way to the native code, without a word, and
# face_mesh does not import these two. Without the first the sigmoid before the threshold for "this is a face" is
# missing: 0.5 acts as 0.62, and faces near it are lost. `import mediapipe` as a whole brings them along by chance.
GRAPH_OPTIONS = (
    "mediapipe.calculators.tensor.tensors_to_floats_calculator_pb2",
    "mediapipe.framework.tool.switch_container_pb2",
)

warnings.filterwarnings("ignore", message="SymbolDatabase.GetPrototype", category=UserWarning)  # mediapipe 0.10.14


class MediaPipeEngine:
    """https://github.com/google-ai-edge/mediapipe/blob/v0.10.21/mediapipe/python/solutions/face_mesh.py"""

    def __init__(self, max_faces: int) -> None:
        # As solutions.face_mesh.FaceMesh builds it, but run by the thread that asks: to hand each of some thirty nodes
        # to a pool of threads costs a sixth of the time, and worker processes use all cores anyway.
        base = _solution_base()
        _, graph_file = ENGINES["mediapipe"]
        assert base.__file__ is not None, "it is a file of the package"
        file = Path(base.__file__).parents[1] / graph_file
        graph = base.calculator_pb2.CalculatorGraphConfig.FromString(file.read_bytes())
        graph.executor.add(type="ApplicationThreadExecutor")
        self._mesh = base.SolutionBase(
            graph_config=graph,
            side_inputs={"num_faces": max_faces, "with_attention": True, "use_prev_landmarks": False},
            calculator_params={DETECTION_SCORE: 0.5, PRESENCE: 0.5},
            outputs=["multi_face_landmarks", "face_detections"],
        )

    def find_scored(self, rgb: np.ndarray) -> tuple[np.ndarray, float]:
        """As FaceMesh.find_scored."""
        found = self._mesh.process({"image": rgb})
        faces = [_points(face.SerializeToString()) for face in found.multi_face_landmarks or []]
        score = max((face.score[0] for face in found.face_detections or []), default=0.0)
        return np.array(faces, np.float32).reshape(-1, LANDMARKS, 3), score

    def close(self) -> None:
        """Free the graph, which MediaPipe does not do by itself."""
        self._mesh.close()


def _points(message: bytes) -> np.ndarray:
    """float32 [478, 3] from a NormalizedLandmarkList in protobuf's wire format, 20 times as fast as field by field.

    Each landmark is a message of 15 bytes: x, y and z in this order, each a tag byte and a little-endian float32
    (https://protobuf.dev/programming-guides/encoding/; FaceMesh sets neither visibility nor presence).
    """
    landmark = np.dtype({"names": ["x", "y", "z"], "formats": ["<f4"] * 3, "offsets": [3, 8, 13], "itemsize": 17})
    points = np.frombuffer(message, landmark, count=LANDMARKS)
    return np.stack([points["x"], points["y"], points["z"]], axis=1)


@functools.cache
def _solution_base() -> types.ModuleType:
    """The module mediapipe.python.solution_base, imported without the packages around it.

    Those import every solution and task, with matplotlib and more: 1.7 s a worker instead of 0.2 s. So they stand in
    sys.modules as empty packages while this is imported, and are removed again.
    """
    if "mediapipe" in sys.modules:
        return _import_solution_base()
    found = importlib.util.find_spec("mediapipe")
    assert found is not None and found.submodule_search_locations, "choose_engine has seen it"
    folder = Path(found.submodule_search_locations[0])
    for name in ("mediapipe", "mediapipe.python", "mediapipe.python.solutions"):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [str(folder.joinpath(*name.split(".")[1:]))]
    try:
        return _import_solution_base()
    finally:  # whoever imports mediapipe later gets the real packages
        for name in [name for name in sys.modules if name.partition(".")[0] == "mediapipe"]:
            if not name.endswith("_pb2") and "._framework_bindings" not in name:  # these must not be loaded twice
                del sys.modules[name]


def _import_solution_base() -> types.ModuleType:
    for name in GRAPH_OPTIONS:
        importlib.import_module(name)
    # face_mesh itself is not used, but registers the other options of the graph.
    importlib.import_module("mediapipe.python.solutions.face_mesh")
    return importlib.import_module("mediapipe.python.solution_base")
