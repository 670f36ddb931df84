"""The test faces on which the model was surest of a wrong emotion, as outlines without their photos."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faceemo.errors import FaceemoError
from faceemo.extraction.facemesh import COORDINATES, LANDMARKS, contour_edges, mesh_edges
from faceemo.features.geometry import equal_units
from faceemo.features.normalize import open_landmarks
from faceemo.rows import present_rows
from faceemo.training.dataset import Dataset

FACE_WIDTH, FACE_HEIGHT, FACE_MARGIN = 480, 540, 12


@dataclass(frozen=True)
class Mistake:
    """One face.

    row: its index among the landmarks of `source`. agreement: of so many raters those who saw `actual`, None without
    any. face: float64 [478, 2], x and y in picture widths.
    """

    actual: str
    predicted: str
    confidence: float
    source: str
    row: int
    subject: str
    sex: str | None
    age: int | None
    agreement: int | None
    raters: int
    face: np.ndarray


def strongest_mistakes(
    dataset: Dataset, probability: np.ndarray, landmarks_folder: Path, at_most: int
) -> list[Mistake]:
    """Those with the highest probability of a wrong class, highest first.

    dataset: as LastRun has it; probability: float32 [T, classes] of the T faces dataset.test.
    Raises FaceemoError if their landmarks are missing or are of other pictures.
    """
    test, targets = dataset.test, dataset.targets
    predicted, confidence = probability.argmax(axis=1), probability.max(axis=1)
    wrong = np.flatnonzero(predicted != targets.learnt[test])
    mistakes = []
    for index in wrong[np.argsort(-confidence[wrong], kind="stable")][:at_most]:
        row = dataset.rows.slice(dataset.row_of[test[index]], 1).to_pylist()[0]
        learnt = targets.learnt[test[index]]
        mistakes.append(
            Mistake(
                actual=dataset.classes[learnt],
                predicted=dataset.classes[predicted[index]],
                confidence=float(confidence[index]),
                **{name: row[name] for name in ("source", "row", "subject", "sex", "age")},
                agreement=int(targets.votes[test[index], learnt]) if targets.raters[test[index]] else None,
                raters=int(targets.raters[test[index]]),
                face=_face(landmarks_folder / row["source"], row["row"], row["image"]),
            )
        )
    return mistakes


def _face(folder: Path, row: int, image: str) -> np.ndarray:
    """float64 [478, 2]: the face in a row of a source's landmarks, counted over its shards."""
    for shard in sorted(folder.glob("part-*.parquet")):
        file = open_landmarks(shard)
        count = sum(file.group_sizes)
        if row < count:
            table = file.read(["image", "width", "height", "landmarks"]).slice(row, 1)
            landmarks = present_rows(table["landmarks"], COORDINATES).reshape(-1, LANDMARKS, 3)
            if table["image"].to_pylist() == [image] and len(landmarks):
                return equal_units(landmarks, table["width"].to_numpy(), table["height"].to_numpy())[0, :, :2]
            break
        row -= count
    raise FaceemoError(f"{folder.as_posix()} is not what data/features was made from; run 'dvc repro'")


@dataclass(frozen=True)
class FaceDrawing:
    """SVG paths in a view of width x height: the outlines of face, eyes, brows and lips, and the rest of the mesh."""

    mesh: str
    contours: str
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
