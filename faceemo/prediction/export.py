"""A trained model as one ONNX file, from what is measured in a picture to probabilities.

import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("models/emotion.onnx")
inputs = {
    "landmarks": face.landmarks.reshape(1, 478, 3),  # of face = EmotionModel.find_face(picture), or any FaceMesh's
    "size": np.array([[face.width, face.height]], np.float32),
    "crop": face.crop[None],  # docs/give.md shows how to make it
}
names = [one.name for one in session.get_inputs()]  # a network takes landmarks and size, crop, or all three
(probabilities,) = session.run(["probabilities"], {name: inputs[name] for name in names})

A model trained with a `normalize.baseline` has one input more, the baseline, which cannot be forgotten, and a
second output, features, whose mean over pictures of the same person's neutral face is the baseline:

zeros = np.zeros((1, 1434), np.float32)
(features,) = session.run(["features"], {**neutral_inputs, "baseline": zeros})
baseline = features.mean(axis=0, keepdims=True)
"""

import importlib.metadata
import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from faceemo.errors import FaceemoError
from faceemo.extraction.crop import SIDE
from faceemo.extraction.facemesh import COORDINATES, LANDMARKS
from faceemo.features.geometry import normalize
from faceemo.outputs import check_out, said_to, written_to
from faceemo.prediction.model import EmotionModel
from faceemo.training.recipe import CROP, MESH

if TYPE_CHECKING:
    from onnx import ValueInfoProto

FORMAT = 3  # of the inputs, outputs and metadata
OPSET = 17  # ONNX Runtime 1.12 and later

MEANINGS = {
    "landmarks": "float32 [N, 478, 3]: FaceMesh's, x and z in picture widths, y in picture heights",
    "size": "float32 [N, 2]: width and height in pixels of the upright picture of each",
    "crop": f"uint8 [N, {SIDE}, {SIDE}]: the face in grey, laid onto the mean mesh (docs/give.md)",
    "baseline": "float32 [1, 1434] for one person's faces or [N, 1434]: the mean of the output features over pictures "
    "of the same person's neutral face; zeros to ask for features alone",
}


def export_onnx(model_path: Path, out: Path) -> None:
    """Write a trained model as ONNX, whole or not at all, or to stdout for `-`, and say what it takes and gives.

    Inputs: those of MEANINGS that the network takes. Outputs, float32: probabilities [N, classes]; for a model that
    judges change also features [N, 1434], of which neutral faces make a baseline. Metadata: classes and settings as
    JSON, faceemo's version, the format of all this and what the inputs mean.
    Raises FaceemoError if the model cannot be read or the package onnx is missing.
    """
    try:
        import onnx
    except ImportError:
        raise FaceemoError('export needs ONNX: python -m pip install -c constraints.txt -e ".[export]"') from None
    check_out(out, [model_path])
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


class ExportedModel(nn.Module):
    """All that EmotionModel does to what was measured in pictures, in torch."""

    def __init__(self, model: EmotionModel) -> None:
        super().__init__()
        self.settings = model.normalize_settings
        self.columns = model.trained.columns
        self.network = model.trained.predictor()
        self.temperature = model.trained.temperature
        neutral = model.trained.neutral
        self.register_buffer("neutral", torch.zeros(COORDINATES) if neutral is None else neutral)

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Probabilities [N, classes]; with a baseline also the faces [N, 1434] as baselines.

        inputs: those of input_names, in their order.
        """
        given = list(inputs)
        columns: dict[str, Tensor] = {}
        if MESH in self.columns:
            landmarks, size = given.pop(0), given.pop(0)
            width, height = size.unbind(dim=1)
            columns[MESH] = features = normalize(landmarks, width, height, self.settings)
        if CROP in self.columns:
            columns[CROP] = given.pop(0)
        if given:
            columns[MESH] = features - given[0]
        logits = self.network(*(columns[name] for name in self.columns))
        probabilities = (logits / self.temperature).softmax(dim=1)
        return (probabilities, features - self.neutral) if given else probabilities


def input_names(model: EmotionModel) -> list[str]:
    """The inputs of a model's ONNX file, in their order."""
    names = ["landmarks", "size"] if MESH in model.trained.columns else []
    names += ["crop"] if CROP in model.trained.columns else []
    return names + (["baseline"] if model.judges_change else [])


def _trace(model: EmotionModel, path: Path) -> None:
    examples = {
        "landmarks": torch.rand(2, LANDMARKS, 3),
        "size": torch.ones(2, 2),
        "crop": torch.zeros(2, SIDE, SIDE, dtype=torch.uint8),
        "baseline": torch.ones(1, COORDINATES),
    }
    names = input_names(model)
    axes = {name: "one_or_N" if name == "baseline" else "N" for name in names}
    outputs = {"probabilities": "N", **({"features": "N"} if model.judges_change else {})}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Tracing, not torch.export: it is the one exporter that every torch since 2.4 has, lets the baseline's one row
        # meet N faces, and leaves no paths of this machine in the file.
        torch.onnx.export(
            ExportedModel(model).eval(),
            tuple(examples[name] for name in names),
            path,
            input_names=names,
            output_names=list(outputs),
            dynamic_axes={name: {0: axis} for name, axis in (axes | outputs).items()},
            opset_version=OPSET,
            dynamo=False,
        )


def _metadata(model: EmotionModel) -> dict[str, str]:
    return {
        "classes": json.dumps(model.classes_.tolist()),
        "settings": json.dumps(model.trained.settings, sort_keys=True),
        "format": str(FORMAT),
        "faceemo": importlib.metadata.version("faceemo"),
        "inputs": "; ".join(f"{name} {MEANINGS[name]}" for name in input_names(model)),
    }


def _described(value: "ValueInfoProto") -> str:
    sides = (side.dim_param or str(side.dim_value) for side in value.type.tensor_type.shape.dim)
    return f"{value.name} [{', '.join(sides)}]"
