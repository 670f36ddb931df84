"""Files of landmarks, in data/landmarks and in the store: opened, and what they hold checked."""

from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceemo.extraction.crop import SIDE
from faceemo.extraction.facemesh import COORDINATES, LANDMARKS
from faceemo.extraction.fingerprint import EXTRACT_METADATA, check_made
from faceemo.extraction.schema import FORMAT, SCHEMA
from faceemo.plainjson import parse_json
from faceemo.rows import RowsFile, as_mapping, no_numbers, other_lengths, present_rows, wrong_rows
from faceemo.status import Status

WIDTHS = {"landmarks": COORDINATES, "crop": SIDE * SIDE}
FARTHEST = 1e9  # sides of the picture, from its corner and in depth: beyond it, squares may be no numbers
STATUSES = [status for status in Status if status != Status.NO_BASELINE]


def open_landmarks(path: Path) -> RowsFile:
    """A file of landmarks. Raises FaceemoError if it is broken or extraction of another version wrote it."""
    file = RowsFile(path, SCHEMA, WIDTHS)
    number = file.metadata("extract", as_mapping).get("format")
    if number != FORMAT:
        raise file.other_version(f"its rows have format {number}, not {FORMAT}")
    return file.checked_by(partial(_what_is_wrong, made=file.metadata("extract", check_made)))


def are_landmarks(rows: pa.Table) -> bool:
    """Whether extraction may have written rows of SCHEMA, whose metadata say how they were made."""
    try:
        made = check_made(parse_json(rows.schema.metadata[EXTRACT_METADATA]))
    except (ValueError, TypeError, LookupError):
        return False
    return not (other_lengths(rows, WIDTHS) or no_numbers(rows, WIDTHS) or _what_is_wrong(rows, made))


def _what_is_wrong(rows: pa.Table, made: dict) -> str | None:
    """What extraction would not have written in these rows, some columns of SCHEMA, made so; None if nothing."""
    of_faces = ("landmarks", "crop") if made["settings"]["crops"] else ("landmarks",)
    if wrong := wrong_rows(rows, STATUSES, Status.OK, ("image", "turned"), of_faces):
        return wrong
    if "status" in rows.column_names:
        faces = rows.filter(pc.equal(rows["status"], Status.OK))
        for name in {"width", "height", "faces"} & set(rows.column_names):
            if not pc.all(pc.fill_null(pc.greater(faces[name], 0), False), min_count=0).as_py():
                return f"{name} of a face below 1"
    if "turned" in rows.column_names and not set(rows["turned"].unique().to_pylist()) <= {0, 180}:
        return "turned by other than 0 and 180"
    if "landmarks" in rows.column_names:
        points = present_rows(rows["landmarks"], COORDINATES).reshape(-1, LANDMARKS, 3)
        if not (np.abs(points) < FARTHEST).all():
            return "landmarks far from the picture"
        if not (np.ptp(points[:, :, :2], axis=1) > 0).all():
            return "landmarks all in one place"
    return None
