"""FaceMesh by MediaPipe's two networks in LiteRT, with what its graph does around them in numpy and OpenCV.

The graph: https://github.com/google-ai-edge/mediapipe/tree/v0.10.21/mediapipe/modules/face_landmark
"""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from faceemo.extraction.engines.choice import LANDMARKS
from faceemo.extraction.engines.tflite import Region, cut, regions

NETWORKS = Path(__file__).with_name("networks")
DETECTOR = NETWORKS / "face_detection_short_range.tflite"
ATTENTION = NETWORKS / "face_landmark_with_attention.tflite"

# Tensors of the attention network: where it is cut, in the order of its operators.
PICTURE = [0]
MESH = [186, 710, 35]  # the 468 points, the logit of "this is a face", the features that the refinements look at
CROPS = [199, 200, 201]  # of these features: lips, left eye, right eye
REFINEMENTS = [684, 687, 690, 693, 696]  # lips, left eye, left iris, right eye, right iris

DETECTOR_SIDE, MESH_SIDE, CROP_SIDE = 128, 192, 16  # pixels that a network looks at
MESH_POINTS = 468
MIN_SCORE = 0.5  # to be a face
MAX_OVERLAP = 0.3  # intersection over union, above which two boxes are one face
MARGIN = 1.5  # side of the square that the points are looked for in, in sides of the face's box

# Landmarks that the refinements place, in their order:
# https://github.com/google-ai-edge/mediapipe/blob/v0.10.21/mediapipe/modules/face_landmark/tensors_to_face_landmarks_with_attention.pbtxt
LIPS = [
    *(61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409),
    *(78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415),
    *(76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306, 184, 74, 73, 72, 11, 302, 303, 304, 408),
    *(62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292, 183, 42, 41, 38, 12, 268, 271, 272, 407),
]
LEFT_EYE = [
    *(33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173),
    *(130, 25, 110, 24, 23, 22, 26, 112, 243, 247, 30, 29, 27, 28, 56, 190),
    *(226, 31, 228, 229, 230, 231, 232, 233, 244, 113, 225, 224, 223, 222, 221, 189, 35, 124, 46, 53, 52, 65),
    *(143, 111, 117, 118, 119, 120, 121, 128, 245, 156, 70, 63, 105, 66, 107, 55, 193),
]
RIGHT_EYE = [
    *(263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398),
    *(359, 255, 339, 254, 253, 252, 256, 341, 463, 467, 260, 259, 257, 258, 286, 414),
    *(446, 261, 448, 449, 450, 451, 452, 453, 464, 342, 445, 444, 443, 442, 441, 413, 265, 353, 276, 283, 282, 295),
    *(372, 340, 346, 347, 348, 349, 350, 357, 465, 383, 300, 293, 334, 296, 336, 285, 417),
]
LEFT_IRIS, RIGHT_IRIS = range(468, 473), range(473, 478)
LIDS = 16  # so many landmarks of an eye, its first, are its lids: the iris gets their mean depth


class Square(NamedTuple):
    """A turned square of a picture: centre and side in pixels, angle in radians."""

    x: float
    y: float
    side: float
    angle: float


class LiteRTEngine:
    """The networks are loaded once; `find_scored` gives what MediaPipe gives but for the last bits."""

    def __init__(self, max_faces: int) -> None:
        self._max_faces = max_faces
        self._detect = _Network(DETECTOR.read_bytes())
        whole = ATTENTION.read_bytes()
        self._mesh = _Network(cut(whole, PICTURE, MESH))
        self._refine = _Network(cut(whole, CROPS, REFINEMENTS))
        self._regions = regions(whole)

    def find_scored(self, rgb: np.ndarray) -> tuple[np.ndarray, float]:
        """As FaceMesh.find_scored."""
        height, width = rgb.shape[:2]
        whole = Square(width / 2, height / 2, max(width, height), 0.0)
        view = _view(rgb, whole, DETECTOR_SIDE, cv2.BORDER_CONSTANT)
        boxes, logits = self._detect(view * np.float32(2 / 255) - 1)
        faces = []
        for face in _distinct_faces(boxes[0], logits[0, :, 0], self._max_faces):
            square = _square_of(face, width, height)
            crop = _view(rgb, square, MESH_SIDE, cv2.BORDER_REPLICATE) / np.float32(255)
            points, logit = self._points(crop)
            if logit > 0:
                faces.append(_in_picture(points, square, width, height))
        surest = float(1 / (1 + np.exp(-logits.max())))
        return np.array(faces, np.float32).reshape(-1, LANDMARKS, 3), surest if surest >= MIN_SCORE else 0.0

    def close(self) -> None:
        """Free the three networks."""
        del self._detect, self._mesh, self._refine

    def _points(self, crop: np.ndarray) -> tuple[np.ndarray, float]:
        """float32 [478, 3] in sides of a crop [1, 192, 192, 3] of 0 to 1, and the logit of a face being in it."""
        mesh, logit, features = self._mesh(crop)
        mesh, [features] = mesh.reshape(MESH_POINTS, 3), features
        scale = MESH_SIDE // features.shape[0]
        matrices = [_crop_matrix(mesh / scale, region) for region in self._regions]
        lips, left_eye, left_iris, right_eye, right_iris = self._refine(*(_sample(features, one) for one in matrices))
        of_lips, of_left_eye, of_right_eye = matrices
        points = np.empty((LANDMARKS, 3), np.float32)
        points[:MESH_POINTS] = mesh
        for indices, refined, matrix in (
            (LIPS, lips, of_lips),
            (LEFT_EYE, left_eye, of_left_eye),
            (RIGHT_EYE, right_eye, of_right_eye),
            (LEFT_IRIS, left_iris, of_left_eye),
            (RIGHT_IRIS, right_iris, of_right_eye),
        ):
            points[indices, :2] = refined.reshape(-1, 2) @ matrix[:, :2].T + scale * matrix[:, 2]
        points[LEFT_IRIS, 2] = mesh[LEFT_EYE[:LIDS], 2].mean()
        points[RIGHT_IRIS, 2] = mesh[RIGHT_EYE[:LIDS], 2].mean()
        return points / MESH_SIDE, float(logit.item())


class _Network:
    """A network in LiteRT with its default delegate, on the thread that calls.

    Without XNNPACK some results are wrong: https://github.com/google-ai-edge/LiteRT/issues/8889
    """

    def __init__(self, model: bytes) -> None:
        self._interpreter = Interpreter(model_content=model, num_threads=1)
        self._interpreter.allocate_tensors()
        self._inputs = [tensor["index"] for tensor in self._interpreter.get_input_details()]
        self._outputs = [tensor["index"] for tensor in self._interpreter.get_output_details()]

    def __call__(self, *inputs: np.ndarray) -> list[np.ndarray]:
        for tensor, value in zip(self._inputs, inputs, strict=True):
            self._interpreter.set_tensor(tensor, value)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(tensor) for tensor in self._outputs]


def _view(rgb: np.ndarray, square: Square, side: int, border: int) -> np.ndarray:
    """float32 [1, side, side, 3], 0 to 255: what a square of the picture shows."""
    corners = cv2.boxPoints(((square.x, square.y), (square.side, square.side), float(np.degrees(square.angle))))
    matrix = cv2.getPerspectiveTransform(corners, np.array([[0, side], [0, 0], [side, 0], [side, side]], np.float32))
    view = cv2.warpPerspective(rgb, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=border)
    return view.astype(np.float32)[None]


def _layer_anchors(cells: int, each: int) -> np.ndarray:
    """float32 [cells * cells * each, 2]: the centres of a grid over the view, each so many times."""
    centres = (np.arange(cells, dtype=np.float32) + 0.5) / cells
    y, x = np.meshgrid(centres, centres, indexing="ij")
    return np.repeat(np.stack([x, y], axis=-1).reshape(-1, 2), each, axis=0)


ANCHORS = np.concatenate([_layer_anchors(16, 2), _layer_anchors(8, 6)])  # float32 [896, 2]: what boxes count from


def _distinct_faces(boxes: np.ndarray, logits: np.ndarray, limit: int) -> list[np.ndarray]:
    """Of raw boxes [896, 16] with logits [896] the faces, best first: two corners and six keypoints [8, 2] in views.

    Boxes that overlap are averaged with their scores as weights.
    """
    scores = 1 / (1 + np.exp(-np.clip(logits, -80, 80)))
    kept = np.flatnonzero(scores >= MIN_SCORE)
    raw, scores, anchor = boxes[kept].reshape(-1, 8, 2) / DETECTOR_SIDE, scores[kept], ANCHORS[kept][:, None]
    middle, half = raw[:, :1] + anchor, raw[:, 1:2] / 2
    faces = np.concatenate([middle - half, middle + half, raw[:, 2:] + anchor], axis=1)
    order = np.argsort(-scores, kind="stable")
    order = order[(half[order, 0] > 0).all(axis=-1)]
    faces, scores = faces[order], scores[order]
    found: list[np.ndarray] = []
    while len(faces) and len(found) < limit:
        same = _overlap(faces, faces[0]) > MAX_OVERLAP
        same[0] = True
        found.append(np.average(faces[same], axis=0, weights=scores[same]))
        faces, scores = faces[~same], scores[~same]
    return found


def _overlap(faces: np.ndarray, face: np.ndarray) -> np.ndarray:
    """Intersection over union, [N], of the boxes of faces [N, 8, 2] with that of one [8, 2]."""
    shared = np.prod(np.maximum(np.minimum(faces[:, 1], face[1]) - np.maximum(faces[:, 0], face[0]), 0), axis=1)
    return shared / (np.prod(faces[:, 1] - faces[:, 0], axis=1) + np.prod(face[1] - face[0]) - shared)


def _square_of(face: np.ndarray, width: int, height: int) -> Square:
    """Where in the picture the points of a face [8, 2], in views, are looked for: turned as its eyes lie."""
    side = max(width, height)
    low, high, one_eye, other_eye = (face * side - ((side - width) / 2, (side - height) / 2))[:4]
    x, y = (low + high) / 2
    across, down = other_eye - one_eye
    return Square(float(x), float(y), float(MARGIN * (high - low).max()), float(np.arctan2(down, across)))


def _in_picture(points: np.ndarray, square: Square, width: int, height: int) -> np.ndarray:
    """[478, 3]: x and z in picture widths, y in heights, of points in sides of a square of the picture."""
    cos, sin = np.cos(square.angle), np.sin(square.angle)
    across, down = points[:, 0] - 0.5, points[:, 1] - 0.5
    return np.stack(
        [
            ((cos * across - sin * down) * square.side + square.x) / width,
            ((sin * across + cos * down) * square.side + square.y) / height,
            points[:, 2] * square.side / width,
        ],
        axis=1,
    )


# MediaPipe's own operators: https://github.com/google-ai-edge/mediapipe/tree/v0.10.21/mediapipe/util/tflite/operations

_PIXELS = np.indices((CROP_SIDE, CROP_SIDE), np.float32).reshape(2, -1)[::-1].T + np.float32(0.5)
_CENTRES = np.column_stack([_PIXELS, np.ones(len(_PIXELS), np.float32)])  # [256, 3]: x, y, 1 of a crop's pixels


def _crop_matrix(points: np.ndarray, region: Region) -> np.ndarray:
    """float32 [2, 3], from pixels of a crop to those of the features, in which the points [468, 3] lie."""
    across, down = points[region.right, :2] - points[region.left, :2]
    angle = region.angle - np.arctan2(down, across)
    back = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]], np.float32)
    turned = points[region.landmarks, :2] @ back
    high, low = turned.max(axis=0), turned.min(axis=0)
    scaled = back * (region.scale * (high - low) / CROP_SIDE)
    shift = back @ ((high + low) / 2) - scaled @ np.full(2, CROP_SIDE / 2, np.float32)
    return np.concatenate([scaled, shift[:, None]], axis=1).astype(np.float32)


def _sample(features: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """float32 [1, 16, 16, channels] of features [height, width, channels], bilinear; zero outside."""
    height, width, channels = features.shape
    x, y = (_CENTRES @ matrix.T - np.float32(0.5)).T
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    x, y = np.where(inside, x, 0), np.where(inside, y, 0)
    left, top = x.astype(int), y.astype(int)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    u, v = (x - left)[:, None].astype(np.float32), (y - top)[:, None].astype(np.float32)
    upper = (1 - u) * features[top, left] + u * features[top, right]
    lower = (1 - u) * features[bottom, left] + u * features[bottom, right]
    crop = ((1 - v) * upper + v * lower) * inside[:, None]
    return crop.reshape(1, CROP_SIDE, CROP_SIDE, channels).astype(np.float32)
