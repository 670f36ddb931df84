"""Every face of a picture, also those too small for FaceMesh's one view of the whole."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from faceemo.extraction.facemesh import LANDMARKS, FaceMesh, face_areas
from faceemo.params import ExtractParams

MOST_FACES = 20  # of a picture, that are judged
VIEW_FACES = 2 * MOST_FACES  # that are looked for in one view

# FaceMesh sees a picture as 128 x 128 pixels and finds faces from 0.1 of its longer side on: of 30 faces all at 0.10,
# 21 at 0.09, none at 0.07. So it is shown tiles as well, a half and a quarter of that side long; never shorter than
# LEAST_TILE pixels of the full picture, since a face of 48 pixels is worth no more: mean distance of its points to
# those of a face of 500, in % of the distance between the irises: at 160 pixels 0.8, at 80 1.7, at 50 2.9, at 30 5.1.
TILES = (2, 4, 8)
LEAST_TILE = 480
TILE_STEP = 2 / 3  # of a tile's side from tile to tile: a face of a third of it is whole in one of them
SAME_FACE = 0.5  # of the smaller box that the larger one covers
CLOSER = 3  # sides of a face's box, that a closer look at it shows


@dataclass(frozen=True)
class EveryFaceParams(ExtractParams):
    """Settings under which a reading holds every face of a picture and not the largest alone."""


def every_face(settings: ExtractParams) -> EveryFaceParams:
    """The same settings, for every face."""
    return EveryFaceParams(**vars(settings))


@dataclass(frozen=True)
class EveryFace:
    """Finds faces as a FaceMesh does, in a whole picture and in tiles of it.

    mesh: of VIEW_FACES. width, height: of the full picture; what it is shown may be that reduced.
    """

    mesh: FaceMesh
    width: int
    height: int

    def find(self, rgb: np.ndarray) -> np.ndarray:
        """As FaceMesh.find. A face that the view of the whole shows has the landmarks that this view gives."""
        return self.find_scored(rgb)[0]

    def find_scored(self, rgb: np.ndarray) -> tuple[np.ndarray, float]:
        """As FaceMesh.find_scored; the score is that of the whole picture if a face is found there."""
        in_whole, score = self.mesh.find_scored(rgb)
        faces = list(in_whole)
        for corners in _tiles(self.width, self.height):
            found, tile_score = self._find_within(rgb, corners)
            if not len(in_whole):
                score = max(score, tile_score)
            faces += [face for face in found if not _is_cut(face, corners) and not _is_among(face, faces)]
        return _stacked(faces), score

    def find_again(self, rgb: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """Faces [faces, 478, 3] as `find` gives them, in the same picture at a larger scale: a closer look at each."""
        closer = list(self.mesh.find(rgb))
        for face in faces:
            if not _is_among(face, closer):
                found, _ = self._find_within(rgb, _around(face, self.width, self.height))
                closer.append(next((other for other in found if _is_same(face, other)), face))
        return _stacked(closer)

    def _find_within(self, rgb: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, float]:
        """As FaceMesh.find_scored, in the part of a picture between two corners [2, 2], in sides of the picture."""
        size = np.array([rgb.shape[1], rgb.shape[0]])
        (left, top), (right, bottom) = np.round(corners * size).astype(int)
        part = np.ascontiguousarray(rgb[top:bottom, left:right])
        part.flags.writeable = False  # MediaPipe copies what could still change
        found, score = self.mesh.find_scored(part)
        x_scale, y_scale = (right - left, bottom - top) / size
        shift = np.array([*(left, top) / size, 0], np.float32)
        return found * np.array([x_scale, y_scale, x_scale], np.float32) + shift, score


def largest_first(faces: np.ndarray, width: int, height: int) -> np.ndarray:
    """Of float32 [faces, 478, 3] in a picture of width x height the MOST_FACES largest, the largest first."""
    return faces[np.argsort(-face_areas(faces, width, height), kind="stable")[:MOST_FACES]]


def _tiles(width: int, height: int) -> Iterator[np.ndarray]:
    """float64 [2, 2] each: left and top, right and bottom of a tile, in sides of the picture."""
    size = np.array([width, height])
    for share in TILES:
        side = max(width, height) / share
        if side < LEAST_TILE:
            return
        for top in _starts(height, side):
            for left in _starts(width, side):
                start = np.array([left, top])
                yield np.stack([start, np.minimum(start + side, size)]) / size


def _starts(length: int, side: float) -> np.ndarray:
    """Where tiles of `side` begin that cover `length`."""
    room = max(length - side, 0.0)
    return np.linspace(0, room, math.ceil(room / (TILE_STEP * side)) + 1)


def _around(face: np.ndarray, width: int, height: int) -> np.ndarray:
    """float64 [2, 2]: corners of a square around a face [478, 3], CLOSER times as large, in sides of the picture."""
    size = np.array([width, height])
    low, high = _box(face) * size
    half = CLOSER / 2 * (high - low).max()
    return np.clip([(low + high) / 2 - half, (low + high) / 2 + half], 0, size) / size


def _is_cut(face: np.ndarray, corners: np.ndarray) -> bool:
    """Whether a face [478, 3] is cut by an edge of its tile, not of the picture: another tile has it whole."""
    (low, high), (start, end) = _box(face), corners
    return bool(((low <= start) & (start > 0)).any() or ((high >= end) & (end < 1)).any())


def _is_among(face: np.ndarray, faces: list[np.ndarray]) -> bool:
    return any(_is_same(face, other) for other in faces)


def _is_same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two faces [478, 3] of a picture are one, found twice."""
    (low, high), (other_low, other_high) = _box(one), _box(other)
    shared = np.prod(np.maximum(np.minimum(high, other_high) - np.maximum(low, other_low), 0))
    return bool(shared > SAME_FACE * min(np.prod(high - low), np.prod(other_high - other_low)))


def _box(face: np.ndarray) -> np.ndarray:
    """[2, 2]: left and top, right and bottom of a face [478, 3], in sides of the picture."""
    return np.stack([face[:, :2].min(axis=0), face[:, :2].max(axis=0)])


def _stacked(faces: list[np.ndarray]) -> np.ndarray:
    return np.array(faces, np.float32).reshape(-1, LANDMARKS, 3)
