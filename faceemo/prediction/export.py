"""A trained model as one ONNX file, from FaceMesh's landmarks and the picture's size to probabilities.

import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("models/emotion.onnx")
landmarks = face.landmarks.reshape(1, 478, 3)  # of face = EmotionModel.find_face(picture), or any FaceMesh's
size = np.array([[face.width, face.height]], np.float32)
(probabilities,) = session.run(["probabilities"], {"landmarks": landmarks, "size": size})

A model trained with a `normalize.baseline` has a third input, the baseline, which cannot be forgotten, and a
second output, features, whose mean over pictures of the same person's neutral face is the baseline:

zeros = np.zeros((1, 1434), np.float32)
(features,) = session.run(["features"], {"landmarks": neutral, "size": neutral_size, "baseline": zeros})
baseline = features.mean(axis=0, keepdims=True)
"""

import importlib.metadata
import json
import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from faceemo.errors import FaceemoError
from faceemo.extraction.facemesh import COORDINATES, LANDMARKS
from faceemo.features.geometry import FOREHEAD, FRONTAL_LEAN, LEFT_EYE, NOSE_BRIDGE, NOSE_TIP, RIGHT_EYE
from faceemo.outputs import check_apart, said_to, written_to
from faceemo.params import NormalizeParams
from faceemo.prediction.predict import EmotionModel

if TYPE_CHECKING:
    from onnx import ValueInfoProto

FORMAT = 2  # of the inputs, outputs and metadata
OPSET = 17  # ONNX Runtime 1.12 and later

INPUTS = (
    "landmarks [N, 478, 3]: FaceMesh's, x and z in picture widths, y in picture heights; "
    "size [N, 2]: width and height in pixels of the upright picture of each"
)
BASELINE_INPUT = (
    "; baseline [1, 1434] for one person's faces or [N, 1434]: the mean of the output features over pictures of the "
    "same person's neutral face; zeros to ask for features alone"
)


def export_onnx(model_path: Path, out: Path) -> None:
    """Write a trained model as ONNX, whole or not at all, or to stdout for `-`, and say what it takes and gives.

    Inputs, float32: landmarks [N, 478, 3]; size [N, 2], width and height in pixels; for a model that judges change also
    baseline [1 or N, 1434]. Outputs, float32: probabilities [N, classes]; for a model that judges change also features
    [N, 1434], of which neutral faces make a baseline. Metadata: classes and settings as JSON, faceemo's version, the
    format of all this and what the inputs mean.
    Raises FaceemoError if the model cannot be read or the package onnx is missing.
    """
    try:
        import onnx
    except ImportError:
        raise FaceemoError('export needs ONNX: python -m pip install -c constraints.txt -e ".[export]"') from None
    check_apart(out, [model_path])
    model = EmotionModel.load(model_path)
    with written_to(out) as temporary:
        _trace(model, temporary)
        graph = onnx.load(temporary)
        onnx.helper.set_model_props(graph, _metadata(model))
        onnx.checker.check_model(graph, full_check=True)
        onnx.save(graph, temporary)
        size = temporary.stat().st_size / 1e6
    inputs, outputs = (", ".join(map(_described, values)) for values in (graph.graph.input, graph.graph.output))
    classes = ", ".join(model.classes_)
    print(f"wrote {out}: {inputs} to {outputs}; classes {classes}; {size:.1f} MB", file=said_to(out))


class LandmarkModel(nn.Module):
    """All that EmotionModel does to landmarks, in torch."""

    def __init__(self, model: EmotionModel) -> None:
        super().__init__()
        self.normalization = Normalization(model.normalize_settings)
        self.network = model.trained.build()
        self.temperature = model.trained.temperature
        self.register_buffer("mean", model.trained.mean)
        self.register_buffer("std", model.trained.std)
        neutral = model.trained.neutral
        self.register_buffer("neutral", torch.zeros(COORDINATES) if neutral is None else neutral)

    def forward(self, landmarks: Tensor, size: Tensor, baseline: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:
        """Probabilities [N, classes]; with a baseline [1 or N, 1434] also the faces [N, 1434] as baselines."""
        features = self.normalization(landmarks, size)
        judged = features if baseline is None else features - baseline
        logits = self.network((judged - self.mean) / self.std)
        probabilities = (logits / self.temperature).softmax(dim=1)
        return probabilities if baseline is None else (probabilities, features - self.neutral)


class Normalization(nn.Module):
    """faceemo.features.geometry.normalize in torch; the functions below are those of that module.

    In float64 as there: in float32 the probabilities of a sharp network come out up to 3e-5 off.
    """

    def __init__(self, settings: NormalizeParams) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, landmarks: Tensor, size: Tensor) -> Tensor:
        """Features [N, 1434] of landmarks [N, 478, 3] in pictures of size [N, 2], width and height."""
        width, height = size.double().unbind(dim=1)
        equal = equal_units(landmarks.double(), width, height)
        points = equal - centers(equal, self.settings.center)
        if self.settings.align == "roll":
            points = points @ roll_rotations(equal)
        elif self.settings.align == "pose":
            points = points @ head_frames(equal)
        if self.settings.units == "image":
            points = equal_units(points, height, width)
        return (points / scales(points, self.settings.scale)).flatten(1).float()


def equal_units(landmarks: Tensor, width: Tensor, height: Tensor) -> Tensor:
    one = torch.ones_like(width)
    return landmarks * torch.stack([one, height / width, one], dim=1)[:, None]


def centers(points: Tensor, center: str) -> Tensor:
    return points.mean(dim=1, keepdim=True) if center == "centroid" else points[:, NOSE_TIP : NOSE_TIP + 1]


def scales(points: Tensor, scale: str) -> Tensor:
    if scale == "rms":
        return points.square().sum(dim=2).mean(dim=1).sqrt()[:, None, None]
    return points.abs().amax(dim=(1, 2), keepdim=True)


def roll_rotations(points: Tensor) -> Tensor:
    across = points[:, RIGHT_EYE].mean(dim=1) - points[:, LEFT_EYE].mean(dim=1)
    cos, sin = _unit(across[:, :2]).unbind(dim=1)
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    return torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], dim=1).reshape(-1, 3, 3)


def head_frames(points: Tensor) -> Tensor:
    right = _unit(points[:, RIGHT_EYE].mean(dim=1) - points[:, LEFT_EYE].mean(dim=1))
    along = points[:, NOSE_BRIDGE].mean(dim=1) - points[:, FOREHEAD].mean(dim=1)
    back = _unit(torch.linalg.cross(right, along))
    down = torch.linalg.cross(back, right)
    cos, sin = math.cos(FRONTAL_LEAN), math.sin(FRONTAL_LEAN)
    return torch.stack([right, cos * down + sin * back, cos * back - sin * down], dim=2)


def _unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.square().sum(dim=-1, keepdim=True).sqrt()


def _trace(model: EmotionModel, path: Path) -> None:
    faces: tuple[Tensor, ...] = torch.ones(2, LANDMARKS, 3), torch.ones(2, 2)
    inputs = {"landmarks": "N", "size": "N"}
    outputs = {"probabilities": "N"}
    if model.judges_change:
        faces += (torch.ones(1, COORDINATES),)
        inputs["baseline"] = "one_or_N"
        outputs["features"] = "N"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Tracing, not torch.export: it is the one exporter that every torch since 2.4 has, lets the baseline's one row
        # meet N faces, and leaves no paths of this machine in the file.
        torch.onnx.export(
            LandmarkModel(model).eval(),
            faces,
            path,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={name: {0: axis} for name, axis in (inputs | outputs).items()},
            opset_version=OPSET,
            dynamo=False,
        )


def _metadata(model: EmotionModel) -> dict[str, str]:
    return {
        "classes": json.dumps(model.classes_.tolist()),
        "settings": json.dumps(model.trained.settings, sort_keys=True),
        "format": str(FORMAT),
        "faceemo": importlib.metadata.version("faceemo"),
        "inputs": INPUTS + BASELINE_INPUT if model.judges_change else INPUTS,
    }


def _described(value: "ValueInfoProto") -> str:
    sides = (side.dim_param or str(side.dim_value) for side in value.type.tensor_type.shape.dim)
    return f"{value.name} [{', '.join(sides)}]"
