"""Landmarks to features: what is left of a face when place and size are taken away; and how its head is turned.

Pure functions. `normalize` takes numpy arrays or torch tensors, so that stage, prediction and ONNX file share it.
"""

import sys
from typing import Any

import numpy as np

from faceemo.extraction.facemesh import COORDINATES
from faceemo.params import NormalizeParams

Array = Any  # a numpy array or a torch tensor, whose functions have the same names

NOSE_TIP = 1

# Points that expressions hardly move. Left and right are the picture's.
LEFT_EYE = (33, 133)
RIGHT_EYE = (362, 263)
FOREHEAD = (10, 151, 9, 8)
NOSE_BRIDGE = (168, 6, 197, 195)
# The plane through eye line, forehead and bridge leans forward on a head that faces the camera: 13 degrees on average
# over 1,016 frontal pictures of 121 people (FaceMesh, mediapipe 0.10.21).
FRONTAL_LEAN = np.radians(13.0)


def normalize(landmarks: Array, width: Array, height: Array, settings: NormalizeParams) -> Array:
    """Features float32 [N, 1434] (x0 y0 z0 x1 ...) of faces, without a person's baseline; float64 in between.

    landmarks: float32 [N, 478, 3], x and z in picture widths, y in picture heights, as FaceMesh gives them.
    width, height: [N], pixels of the upright pictures.
    All three are numpy arrays, or all torch tensors, and so are the features.
    """
    library = _library_of(landmarks)
    points = equal_units(landmarks, width, height)
    if settings.center == "centroid":
        points = points - points.mean(axis=1, keepdims=True)
    else:
        points = points - points[:, NOSE_TIP : NOSE_TIP + 1]
    if settings.scale == "rms":
        size = library.sqrt((points**2).sum(axis=2).mean(axis=1))[:, None, None]
    else:
        size = library.amax(abs(points), axis=(1, 2), keepdims=True)
    return library.asarray((points / size).reshape(points.shape[0], COORDINATES), dtype=library.float32)


def equal_units(landmarks: Array, width: Array, height: Array) -> Array:
    """float64 [N, 478, 3] with x, y and z in picture widths: FaceMesh gives y in heights, which squeezes a portrait.

    landmarks, width, height: as for `normalize`.
    """
    library = _library_of(landmarks)
    landmarks, width, height = (library.asarray(one, dtype=library.float64) for one in (landmarks, width, height))
    one = library.ones_like(width)
    return landmarks * library.stack([one, height / width, one], axis=1)[:, None]


def pose_angles(landmarks: np.ndarray, width: np.ndarray, height: np.ndarray) -> np.ndarray:
    """How heads are turned: float32 [N, 3], yaw, pitch and roll in degrees, as R = Rz(roll) Ry(yaw) Rx(pitch).

    x is right, y down, z away from the camera: positive yaw turns the face to the picture's left, positive pitch lowers
    it, positive roll tilts it clockwise.
    landmarks, width, height: numpy arrays as for `normalize`.
    """
    right, down, back = _head_axes(equal_units(landmarks, width, height))
    yaw = np.arctan2(-right[:, 2], np.hypot(right[:, 0], right[:, 1]))
    pitch = np.arctan2(down[:, 2], back[:, 2])
    roll = np.arctan2(right[:, 1], right[:, 0])
    return np.degrees(np.stack([yaw, pitch, roll], axis=1)).astype(np.float32)


def _head_axes(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The head's own axes right, down and back, unit vectors float64 [N, 3] each, of points [N, 478, 3] in equal units.

    From cross products of points that expressions hardly move (forehead, bridge of the nose, corners of the eyes).
    """
    right = _unit(points[:, RIGHT_EYE].mean(axis=1) - points[:, LEFT_EYE].mean(axis=1))
    along = points[:, NOSE_BRIDGE].mean(axis=1) - points[:, FOREHEAD].mean(axis=1)
    back = _unit(np.cross(right, along))
    down = np.cross(back, right)
    cos, sin = np.cos(FRONTAL_LEAN), np.sin(FRONTAL_LEAN)
    return right, cos * down + sin * back, cos * back - sin * down


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _library_of(array: Array) -> Any:
    """numpy, or torch, which nobody who has no tensor needs to import."""
    return np if isinstance(array, np.ndarray) else sys.modules["torch"]
