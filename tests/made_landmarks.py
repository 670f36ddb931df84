"""What tests of features share: a made-up face, and the landmarks and rows that extraction would give of it."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from faceemo.extraction.crop import SIDE
from faceemo.extraction.schema import FORMAT, SCHEMA
from faceemo.features.geometry import (
    FOREHEAD,
    FRONTAL_LEAN,
    LEFT_EYE,
    NOSE_BRIDGE,
    RIGHT_EYE,
    normalize,
    pose_angles,
)
from faceemo.params import NormalizeParams

PORTRAIT, LANDSCAPE = (900, 1200), (1200, 900)
MADE = {"engine": "mediapipe", "format": FORMAT, "settings": {"crops": True}}
CENTERS, SCALES = ("centroid", "nose_tip"), ("rms", "max_abs")


def settings(**changes: str) -> NormalizeParams:
    return NormalizeParams(**{"center": "centroid", "scale": "rms", "baseline": "none", **changes})


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
    face = landmarks[None], *np.array([picture]).T
    return normalize(*face, settings(**changes))[0], pose_angles(*face)[0]


def landmark_row(image: str, number: int, status: str = "ok") -> dict:
    """One picture's row of landmarks; the face of `number` is its own."""
    ok, decoded = status == "ok", status in ("ok", "no_face")
    return {
        "image": image,
        "size": 1000 + number,
        "crc32": number,
        "width": 900 if decoded else None,
        "height": 1200 if decoded else None,
        "faces": int(ok),
        "turned": 0,
        "status": status,
        "error": None if decoded else "why",
        "landmarks": photo(frontal_face(number), size=150 + number).ravel() if ok else None,
        "crop": bytes([number]) * SIDE * SIDE if ok else None,
    }


def write_landmarks(folder: Path, rows: list[dict], shard_rows: int = 1000, **extract: object) -> None:
    """Write a source's shards into a folder, as extraction with these settings would."""
    folder.mkdir(parents=True)
    metadata = {"faceemo.extract": json.dumps({**MADE, **extract})}
    for number, start in enumerate(range(0, len(rows), shard_rows)):
        some = rows[start : start + shard_rows]
        table = pa.Table.from_pylist(some, SCHEMA.with_metadata(metadata))
        pq.write_table(table, folder / f"part-{number:05d}.parquet")


def with_value(rows: pa.Table, column: str, value: object, row: int = 0) -> pa.Table:
    """Rows of Parquet with another value in one of them."""
    index, field = rows.schema.get_field_index(column), rows.schema.field(column)
    values = rows[column].to_pylist()
    values[row] = value
    return rows.set_column(index, field, pa.array(values, field.type))


def with_metadata(rows: pa.Table, name: str, text: str) -> pa.Table:
    """Rows of Parquet with another text under faceemo.<name>."""
    return rows.replace_schema_metadata({**(rows.schema.metadata or {}), f"faceemo.{name}".encode(): text})


def with_number(rows: pa.Table, column: str, number: float | None) -> pa.Table:
    """Rows of Parquet with another number in the first vector of a column."""
    return with_value(rows, column, [number, *rows[column][0].as_py()[1:]])


# What JSON may hold in place of a mapping with the right keys.
OTHER_JSON = ("[]", "{}", "null", "5", '"x"', "[" * 100_000, '{"format": NaN}', "")
# By what is wrong: a change of whole rows of landmarks, whose first one has a face, that no checksum tells.
WRONG_LANDMARKS = {
    "landmarks that are no numbers": [
        lambda rows: with_number(rows, "landmarks", float("nan")),
        lambda rows: with_number(rows, "landmarks", float("-inf")),
        lambda rows: with_number(rows, "landmarks", None),
    ],
    "a face without landmarks, or landmarks without a face": [
        lambda rows: with_value(rows, "landmarks", None),
        lambda rows: with_value(with_value(rows, "status", "no_face"), "crop", None),
    ],
    "a face without crop, or crop without a face": [lambda rows: with_value(rows, "crop", None)],
    "landmarks all in one place": [
        lambda rows: with_value(rows, "landmarks", [0.5] * 1434),
        lambda rows: with_value(rows, "landmarks", [float(number % 3 == 0) * number for number in range(1434)]),
    ],
    "landmarks far from the picture": [
        lambda rows: with_number(rows, "landmarks", 3e38),
        lambda rows: with_value(rows, "landmarks", [0.1, 0.2, 3e38] + [0.5] * 1431),  # in depth
    ],
    "a row without image": [lambda rows: with_value(rows, "image", None)],
    "a row without status": [lambda rows: with_value(rows, "status", None)],
    "a status that is none": [lambda rows: with_value(rows, "status", "no_baseline")],
    "width of a face below 1": [
        lambda rows: with_value(rows, "width", None),
        lambda rows: with_value(rows, "width", -900),
    ],
    "height of a face below 1": [lambda rows: with_value(rows, "height", 0)],
    "faces of a face below 1": [lambda rows: with_value(rows, "faces", None)],
    "turned by other than 0 and 180": [lambda rows: with_value(rows, "turned", 90)],
}
