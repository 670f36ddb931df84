"""Datasets and their targets that several test files need, made up or written as files of data/features."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from faceemo.extraction.crop import SIDE
from faceemo.features.normalize import SCHEMA
from faceemo.params import LabelParams
from faceemo.pictures.manifest import Raters
from faceemo.rows import rows_or_null
from faceemo.training.dataset import Dataset
from faceemo.training.targets import Targets, make_targets

ARCHIVE = LabelParams("archive")
NORMALIZE = {"center": "centroid", "scale": "rms", "baseline": "none"}
SETTINGS = {"normalize": NORMALIZE, "extract": {"settings": {"crops": False}}}
ENGINE = {"engine": "mediapipe", "versions": {}}
PLAIN = {"image": "a.jpg", "folder": "training", "source": "a", "row": 0, "status": "ok", "split": ""}
TYPES = {
    "row": pa.int64(),
    "age": pa.int16(),
    "agreement": pa.int8(),
    "professional": pa.bool_(),
    "votes": pa.list_(pa.int8()),
}


def person(number: int) -> str:
    """A subject."""
    return hashlib.sha256(f"person {number}".encode()).hexdigest()


def single(*names: str) -> dict[str, tuple[str, ...]]:
    """Classes of one emotion each, as params.emotions has them."""
    return {name: (name,) for name in names}


def targets_of(
    emotions: list[str],
    classes: dict[str, tuple[str, ...]],
    votes: list[list[int] | None] | None = None,
    voted: tuple[str, ...] = (),
    settings: LabelParams = ARCHIVE,
) -> Targets:
    """Of pictures that are named so; without votes nobody was asked."""
    column = pa.chunked_array([pa.array([None] * len(emotions) if votes is None else votes, pa.list_(pa.int8()))])
    return make_targets(emotions, column, Raters(voted, 3 if voted else 0), classes, settings)


def dataset_of(
    rows: list[dict], classes: tuple[str, ...], voted: tuple[str, ...] = (), target: str = "archive", **settings: object
) -> Dataset:
    """Rows with emotion and subject, and the columns of PLAIN and TYPES where they are not the plain case.

    voted: what the votes count; target: labels.target; settings: of Dataset, over SETTINGS.
    """
    rows = [{**PLAIN, **dict.fromkeys(("sex", *TYPES)), **row} for row in rows]
    rows = [{**row, "row": index} for index, row in enumerate(rows)]
    ok = np.array([row["status"] == "ok" for row in rows])
    emotions, votes = ([row[name] for row in rows] for name in ("emotion", "votes"))
    targets = targets_of(emotions, single(*classes), votes, voted, LabelParams(target))
    names = [name for name in rows[0] if name != "split"]
    sources = dict.fromkeys(row["source"] for row in rows)
    return Dataset(
        single(*classes),
        pa.table({name: pa.array([row[name] for row in rows], TYPES.get(name, pa.string())) for name in names}),
        np.array([row["split"] for row in rows], object),
        named=targets.named,
        targets=targets.take(ok),
        row_of=np.flatnonzero(ok),
        settings={**SETTINGS, "sources": dict.fromkeys(sources, ENGINE), **settings},
        face=np.zeros((478, 3)),
        raters=dict.fromkeys(sources, Raters(voted, 3 if voted else 0)),
    )


def write_features(
    folder: Path,
    key: str,
    rows: list[dict],
    face: float = 0.0,
    voted: tuple[str, ...] = (),
    classes: tuple[str, ...] = (),
    **settings: object,
) -> None:
    """A file of data/features: rows with mark, emotion, subject, status, folder and perhaps votes.

    All features of a row are its mark, and all pixels of its crop. voted: what votes count; classes: those of the
    source beside the emotions of the rows; settings: over SETTINGS.
    """
    folder.mkdir(parents=True, exist_ok=True)
    metadata = {f"faceemo.{name}": json.dumps(value) for name, value in {**SETTINGS, **settings}.items()}
    metadata["faceemo.face"] = json.dumps([face] * 1434)
    metadata["faceemo.raters"] = json.dumps({"classes": voted, "at_least": 3 if voted else 0})
    metadata["faceemo.classes"] = json.dumps(classes)
    marks = [one["mark"] if one["status"] == "ok" else None for one in rows]
    columns = {
        **dict.fromkeys(SCHEMA.names, [None] * len(rows)),
        **{name: [one[name] for one in rows] for name in ("emotion", "subject", "status", "folder")},
        "votes": [one.get("votes") for one in rows],
        "image": [f"{one['mark']:g}.jpg" for one in rows],
        "sex": ["female"] * len(rows),
        "age": [30] * len(rows),
        "features": rows_or_null([None if mark is None else np.full(1434, mark, np.float32) for mark in marks]),
        "crop": [None if mark is None else bytes([int(mark) % 256]) * SIDE**2 for mark in marks],
    }
    table = pa.table({name: columns[name] for name in SCHEMA.names}, schema=SCHEMA.with_metadata(metadata))
    pq.write_table(table, folder / f"{key}.parquet", compression="zstd")
