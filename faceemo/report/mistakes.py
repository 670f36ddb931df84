"""The faces on which the model was surest of a wrong emotion, as outlines without their photos."""

from dataclasses import dataclass

import numpy as np

from faceemo.errors import FaceemoError
from faceemo.extraction.facemesh import COORDINATES, LANDMARKS, contour_edges, mesh_edges
from faceemo.extraction.landmarks import open_landmarks
from faceemo.features.geometry import equal_units
from faceemo.paths import EVALUATION_FILE, LANDMARKS_FOLDER
from faceemo.rows import image_hash, present_rows

FACE_WIDTH, FACE_HEIGHT, FACE_MARGIN = 480, 540, 12


def read_face(mistake: dict) -> np.ndarray:
    """float64 [478, 2], x and y in picture widths: the landmarks behind one of evaluation.json's mistakes.

    Raises FaceemoError where data/landmarks has no face or another picture in that row.
    """
    folder, row = LANDMARKS_FOLDER / mistake["source"], mistake["row"]
    for shard in sorted(folder.glob("part-*.parquet")):
        file = open_landmarks(shard)
        count = sum(file.group_sizes)
        if row < count:
            table = file.read(["image", "width", "height", "landmarks"]).slice(row, 1)
            landmarks = present_rows(table["landmarks"], COORDINATES).reshape(-1, LANDMARKS, 3)
            if len(landmarks) and image_hash(table["image"][0].as_py()) == mistake["image"]:
                return equal_units(landmarks, table["width"].to_numpy(), table["height"].to_numpy())[0, :, :2]
            break
        row -= count
    raise FaceemoError(f"{folder.as_posix()} is not what {EVALUATION_FILE} was made from; run 'dvc repro'")


@dataclass(frozen=True)
class FaceDrawing:
    """SVG paths in a view of width x height."""

    mesh: str
    """All but the contours."""
    contours: str
    """Of face, eyes, brows and lips."""
    width: int = FACE_WIDTH
    height: int = FACE_HEIGHT


def draw_face(face: np.ndarray) -> FaceDrawing:
    """face: [478, 2], x to the right and y down, in one unit; it is scaled to fill the view."""
    low, high = face.min(axis=0), face.max(axis=0)
    view = np.array([FACE_WIDTH, FACE_HEIGHT])
    scale = ((view - 2 * FACE_MARGIN) / (high - low)).min()
    points = np.round((face - (low + high) / 2) * scale + view / 2).astype(int)
    contours = {tuple(sorted(edge)) for edge in contour_edges().tolist()}
    mesh = {tuple(sorted(edge)) for edge in mesh_edges().tolist()} - contours
    return FaceDrawing(_path(points, sorted(mesh)), _path(points, sorted(contours)))


def _path(points: np.ndarray, edges: list[tuple[int, int]]) -> str:
    return "".join(
        f"M{points[a, 0]} {points[a, 1]}l{points[b, 0] - points[a, 0]} {points[b, 1] - points[a, 1]}" for a, b in edges
    )
