"""The attention network cut where LiteRT cannot follow: three of its operators are MediaPipe's own."""

from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import Builder, flexbuffers

FILE_IDENTIFIER = b"TFL3"


@dataclass(frozen=True)
class Region:
    """Options of an operator Landmarks2TransformMatrix: which landmarks frame a part of the face.

    The box around `landmarks` lies turned as the line from landmark `left` to `right` does, but for `angle` (radians),
    and is `scale` (float32 [2]) times as large.
    """

    landmarks: np.ndarray
    left: int
    right: int
    angle: float
    scale: np.ndarray


def cut(model: bytes, inputs: list[int], outputs: list[int]) -> bytes:
    """The part of a .tflite that computes the tensors `outputs` from `inputs`, both by their index in the file."""
    whole = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
    [graph] = whole.subgraphs
    graph.operators = _operators_between(graph, inputs, outputs)
    graph.inputs, graph.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
    used = {int(tensor) for operator in graph.operators for tensor in (*operator.inputs, *operator.outputs)}
    for index, tensor in enumerate(graph.tensors):
        if index not in used and index not in inputs:  # stays, so that the others keep their index, but empty
            tensor.shape, tensor.buffer, tensor.type = np.array([1], np.int32), 0, schema.TensorType.FLOAT32
    whole.signatureDefs = whole.metadata = None
    builder = Builder(len(model))
    builder.Finish(whole.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())


def _operators_between(graph: schema.SubGraphT, inputs: list[int], outputs: list[int]) -> list[schema.OperatorT]:
    """Those of a graph's operators that the outputs need, in its order."""
    maker = {int(tensor): index for index, operator in enumerate(graph.operators) for tensor in operator.outputs}
    needed: set[int] = set()
    wanted = list(outputs)
    while wanted:
        tensor = wanted.pop()
        if tensor not in inputs and tensor in maker and maker[tensor] not in needed:
            needed.add(maker[tensor])
            wanted += map(int, graph.operators[maker[tensor]].inputs)
    return [graph.operators[index] for index in sorted(needed)]


def regions(model: bytes) -> list[Region]:
    """The regions of the attention network's .tflite: lips, left eye, right eye."""
    file = schema.Model.GetRootAs(model, 0)
    graph = file.Subgraphs(0)
    operators = [graph.Operators(index) for index in range(graph.OperatorsLength())]
    return [
        _region(operator.CustomOptionsAsNumpy().tobytes())
        for operator in operators
        if file.OperatorCodes(operator.OpcodeIndex()).CustomCode() == b"Landmarks2TransformMatrix"
    ]


def _region(options: bytes) -> Region:
    values = flexbuffers.GetRoot(bytearray(options)).Value
    return Region(
        landmarks=np.array(values["subset_idxs"]).reshape(-1),
        left=values["left_rotation_idx"],
        right=values["right_rotation_idx"],
        angle=values["target_rotation_radians"],
        scale=np.array([values["scale_x"], values["scale_y"]], np.float32),
    )
