"""What tests of geometry share: a made-up face, and the landmarks that FaceMesh would give of a photo of it."""

import dataclasses
from pathlib import Path

import numpy as np

from faceemo.features.geometry import FOREHEAD, FRONTAL_LEAN, LEFT_EYE, NOSE_BRIDGE, RIGHT_EYE, normalize
from faceemo.params import NormalizeParams, load_params

DEFAULTS = load_params(Path(__file__).parents[1] / "params.yaml").normalize
PORTRAIT, LANDSCAPE = (900, 1200), (1200, 900)
CENTERS, SCALES, ALIGNS, UNITS = (
    ("centroid", "nose_tip"),
    ("rms", "max_abs"),
    ("none", "roll", "pose"),
    ("equal", "image"),
)


def settings(**changes) -> NormalizeParams:
    plain = {"units": "equal", "center": "centroid", "scale": "rms", "align": "none", "baseline": "none"}
    return dataclasses.replace(DEFAULTS, **{**plain, "baseline_min": 1, **changes})


def frontal_face(seed: int = 0) -> np.ndarray:
    """[478, 3], about 2 units tall, around the origin: random points, but eyes, forehead and nose of a frontal head."""
    points = np.random.default_rng(seed).uniform(-1, 1, (478, 3)) * (0.7, 1, 0.4)
    points[list(LEFT_EYE)] = [(-0.5, -0.2, 0), (-0.2, -0.2, 0.1)]
    points[list(RIGHT_EYE)] = [(0.2, -0.2, 0.1), (0.5, -0.2, 0)]
    down_the_middle = np.array([0, np.cos(FRONTAL_LEAN), -np.sin(FRONTAL_LEAN)])
    for distance, point in enumerate(FOREHEAD + NOSE_BRIDGE):
        points[point] = (0, -0.9, 0) + 0.1 * distance * down_the_middle
    points[1] = (0, 0.25, -0.7)
    return points


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """[3, 3] for column vectors, Rz(roll) Ry(yaw) Rx(pitch), degrees."""
    (cy, cp, cr), (sy, sp, sr) = (np.cos(np.radians([yaw, pitch, roll])), np.sin(np.radians([yaw, pitch, roll])))
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    return about_z @ about_y @ about_x


def photo(points: np.ndarray, picture=PORTRAIT, size=200.0, at=(430.0, 510.0)) -> np.ndarray:
    """FaceMesh's landmarks float32 [478, 3] of a face `size` pixels a unit large around a pixel of a picture."""
    width, height = picture
    return ((points * size + (*at, 0)) / (width, height, width)).astype(np.float32)


def normalized(landmarks: np.ndarray, picture=PORTRAIT, **changes) -> tuple[np.ndarray, np.ndarray]:
    """Features [1434] and angles [3] of one face."""
    width, height = np.array([picture]).T
    features, angles = normalize(landmarks[None], width, height, settings(**changes))
    return features[0], angles[0]
