"""Landmarks to features: what is left of a face when place, size and, if asked, tilt are taken away.

Pure functions on arrays.
"""

import numpy as np

from faceemo.extraction.facemesh import COORDINATES
from faceemo.params import NormalizeParams

NOSE_TIP = 1

# Points that expressions hardly move. Left and right are the picture's.
LEFT_EYE = (33, 133)
RIGHT_EYE = (362, 263)
FOREHEAD = (10, 151, 9, 8)
NOSE_BRIDGE = (168, 6, 197, 195)
# The plane through eye line, forehead and bridge leans forward on a head that faces the camera: 13 degrees on average
# over 1,016 frontal pictures of 121 people (FaceMesh, mediapipe 0.10.21).
FRONTAL_LEAN = np.radians(13.0)


def normalize(
    landmarks: np.ndarray, width: np.ndarray, height: np.ndarray, settings: NormalizeParams
) -> tuple[np.ndarray, np.ndarray]:
    """Features and pose angles of faces, without a person's baseline.

    landmarks: float32 [N, 478, 3], x and z in picture widths, y in picture heights, as FaceMesh gives them.
    width, height: [N], pixels of the upright pictures.
    Returns features float32 [N, 1434] (x0 y0 z0 x1 ...) and degrees float32 [N, 3] (yaw, pitch, roll).
    """
    equal = equal_units(landmarks, width, height)
    frames = head_frames(equal)
    points = equal - centers(equal, settings.center)
    if settings.align == "roll":
        points = points @ roll_rotations(equal)
    elif settings.align == "pose":
        points = points @ frames
    if settings.units == "image":  # only now: a squeezed face cannot be turned
        points = equal_units(points, height, width)
    points = points / scales(points, settings.scale)
    return points.reshape(len(points), COORDINATES).astype(np.float32), pose_angles(frames)


def equal_units(landmarks: np.ndarray, width: np.ndarray, height: np.ndarray) -> np.ndarray:
    """[N, 478, 3] with x, y and z all in picture widths: FaceMesh gives y in heights, which squeezes a portrait."""
    points = landmarks.astype(np.float64)
    points[:, :, 1] *= (np.asarray(height, np.float64) / np.asarray(width, np.float64))[:, None]
    return points


def centers(points: np.ndarray, center: str) -> np.ndarray:
    """[N, 1, 3]: the point of each face that becomes the origin."""
    return points.mean(axis=1, keepdims=True) if center == "centroid" else points[:, NOSE_TIP : NOSE_TIP + 1]


def scales(points: np.ndarray, scale: str) -> np.ndarray:
    """[N, 1, 1]: the size of each centred face, its root mean square distance or its largest absolute coordinate."""
    if scale == "rms":
        return np.sqrt((points**2).sum(axis=2).mean(axis=1))[:, None, None]
    return np.abs(points).max(axis=(1, 2))[:, None, None]


def roll_rotations(points: np.ndarray) -> np.ndarray:
    """[N, 3, 3]: `points @ rotation` makes the line through the eyes level in the picture plane."""
    across = points[:, RIGHT_EYE].mean(axis=1) - points[:, LEFT_EYE].mean(axis=1)
    across[:, 2] = 0
    cos, sin, _ = _unit(across).T
    zero, one = np.zeros_like(cos), np.ones_like(cos)
    return np.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], axis=1).reshape(-1, 3, 3)


def head_frames(points: np.ndarray) -> np.ndarray:
    """[N, 3, 3]: in its columns the head's own axes right, down and back; `points @ frame` faces the camera.

    From cross products of points that expressions hardly move (forehead, bridge of the nose, corners of the eyes).
    points: [N, 478, 3] in equal units.
    """
    right = _unit(points[:, RIGHT_EYE].mean(axis=1) - points[:, LEFT_EYE].mean(axis=1))
    along = points[:, NOSE_BRIDGE].mean(axis=1) - points[:, FOREHEAD].mean(axis=1)
    back = _unit(np.cross(right, along))
    down = np.cross(back, right)
    cos, sin = np.cos(FRONTAL_LEAN), np.sin(FRONTAL_LEAN)
    return np.stack([right, cos * down + sin * back, cos * back - sin * down], axis=2)


def pose_angles(frames: np.ndarray) -> np.ndarray:
    """float32 [N, 3]: yaw, pitch, roll in degrees of frames [N, 3, 3], as R = Rz(roll) Ry(yaw) Rx(pitch).

    x is right, y down, z away from the camera: positive yaw turns the face to the picture's left, positive pitch lowers
    it, positive roll tilts it clockwise.
    """
    right, down, back = frames[:, :, 0], frames[:, :, 1], frames[:, :, 2]
    yaw = np.arctan2(-right[:, 2], np.hypot(right[:, 0], right[:, 1]))
    pitch = np.arctan2(down[:, 2], back[:, 2])
    roll = np.arctan2(right[:, 1], right[:, 0])
    return np.degrees(np.stack([yaw, pitch, roll], axis=1)).astype(np.float32)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
