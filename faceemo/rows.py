"""The pipeline's Parquet files, and their columns that hold one vector a row, or null.

Those are written as list<float32>, though every list has the same length: pyarrow before 26 cannot read a
fixed_size_list column back that has nulls (https://github.com/apache/arrow/issues/35692), and 26 does not work with
the numpy 1 that mediapipe needs.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from faceemo.errors import FaceemoError, cannot_open
from faceemo.plainjson import parse_json

BROKEN = (pa.ArrowException, OSError, ValueError, KeyError)  # what pyarrow raises for a file that is no Parquet file

Parsed = TypeVar("Parsed")


class RowsFile:
    """A Parquet file of the pipeline, open for reading.

    Everything here raises FaceemoError, with the file's name, if the file is broken, of another version of faceemo, or
    holds what faceemo does not write: checksums tell that no bit has changed, and not who wrote it.
    """

    def __init__(self, path: Path, schema: pa.Schema, widths: Mapping[str, int]) -> None:
        """schema: the columns that it must have; widths: of those that hold vectors, how many numbers a row has."""
        self.path = path
        self._widths = dict(widths)
        self._what_is_wrong: Callable[[pa.Table], str | None] = lambda rows: None
        with self._named():
            # pre_buffer would keep the bytes of the last row group for as long as the file is open
            self._file = pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False)
            found = self._file.schema_arrow
        for field in schema:
            index = found.get_field_index(field.name)
            if index < 0 or found.field(index).type != field.type:
                raise self.other_version(f"no column {field.name} of {field.type}")

    def checked_by(self, what_is_wrong: Callable[[pa.Table], str | None], **widths: int) -> "RowsFile":
        """From now on rows have further columns of vectors, and are looked at whenever they are read; returns the file.

        what_is_wrong: what some columns of some rows hold that they should not; None if nothing.
        """
        self._what_is_wrong = what_is_wrong
        self._widths |= widths
        return self

    @property
    def group_sizes(self) -> list[int]:
        """Rows of each row group."""
        metadata = self._file.metadata
        return [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]

    def read(self, columns: list[str] | None = None) -> pa.Table:
        """These columns, or all, of the whole file; raises FaceemoError if it is damaged or of another version."""
        with self._named():
            table = self._file.read(columns)
        return self._checked(table)

    def read_group(self, number: int, columns: list[str]) -> pa.Table:
        """These columns of one row group; raises as `read`."""
        with self._named():
            table = self._file.read_row_group(number, columns)
        return self._checked(table)

    def metadata(self, name: str, parse: Callable[[Any], Parsed]) -> Parsed:
        """What `parse` makes of the JSON that stands under faceemo.<name> in the file's metadata.

        parse: raises ValueError, TypeError, LookupError, OverflowError or FaceemoError for what is not as it should be.
        """
        text = (self._file.metadata.metadata or {}).get(f"faceemo.{name}".encode())
        try:
            value = parse_json(text or "")
        except ValueError:
            raise self.other_version(f"no metadata faceemo.{name}") from None
        try:
            return parse(value)
        except (ValueError, TypeError, LookupError, OverflowError, FaceemoError):
            raise self.other_version(f"metadata faceemo.{name} of another kind") from None

    def other_version(self, difference: str) -> FaceemoError:
        """The error for a file that differs so from what this version writes."""
        return FaceemoError(f"{self.path.as_posix()} is of another version of faceemo ({difference}); run 'dvc repro'")

    def not_written(self, what: str) -> FaceemoError:
        """The error for a file that holds what faceemo does not write."""
        return FaceemoError(f"{self.path.as_posix()} holds what faceemo does not write ({what}); run 'dvc repro'")

    def _checked(self, table: pa.Table) -> pa.Table:
        if wrong := other_lengths(table, self._widths):
            raise self.other_version(wrong)
        if wrong := no_numbers(table, self._widths) or self._what_is_wrong(table):
            raise self.not_written(wrong)
        return table

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            raise cannot_open(self.path.as_posix(), error) from None
        except BROKEN as error:
            reason = "".join(filter(str.isprintable, " ".join(str(error).split()).partition(". ")[0]))
            raise FaceemoError(f"{self.path.as_posix()} cannot be read ({reason}); run 'dvc repro'") from None


def read_parquet(path: Path, columns: list[str] | None = None) -> pa.Table:
    """These columns, or all, of a Parquet file that is checked, and closed at the end.

    pq.read_table leaves closing to a thread, and Windows neither removes nor replaces a file while it is open.
    Raises ArrowException, OSError or ValueError for a broken file, KeyError for a column that is not there, and
    FaceemoError for a file that may not be opened: it is not broken.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read(columns)
    except PermissionError as error:
        raise cannot_open(path, error) from None
    return table if columns is None else table.select(columns)


def other_lengths(table: pa.Table, widths: Mapping[str, int]) -> str | None:
    """Which of the columns of vectors, or bytes, has others than of these widths; None if none has."""
    for name in widths.keys() & set(table.column_names):
        lengths = pc.binary_length if pa.types.is_binary(table[name].type) else pc.list_value_length  # null for null
        if not pc.all(pc.equal(lengths(table[name]), widths[name]), min_count=0).as_py():
            return f"{name} of other lengths than {widths[name]}"
    return None


def no_numbers(table: pa.Table, columns: Iterable[str]) -> str | None:
    """Which of the columns of vectors holds what is no finite number; None if none does."""
    for name in set(columns) & set(table.column_names):
        if not pa.types.is_binary(table[name].type) and not all(map(_are_numbers, table[name].chunks)):
            return f"{name} that are no numbers"
    return None


def _are_numbers(vectors: pa.ListArray) -> bool:
    """Whether no number in vectors is null, NaN or infinite."""
    values = vectors.flatten()
    return values.null_count == 0 and bool(np.isfinite(values.to_numpy()).all())


def as_mapping(value: Any) -> dict:
    """The value, which JSON metadata holds, if it is a mapping. Raises TypeError for any other."""
    if not isinstance(value, dict):
        raise TypeError("no mapping")
    return value


def wrong_rows(
    rows: pa.Table, statuses: Sequence[str], face: str, known: Sequence[str], of_faces: Sequence[str]
) -> str | None:
    """What is wrong in rows of pictures, None if nothing is; columns that are not there are not looked at.

    statuses: those that a row may have; face: that of a row with a face. known: columns without nulls. of_faces: those
    that rows with a face have, and no others.
    """
    for name in {*known, "status"} & set(rows.column_names):
        if rows[name].null_count:
            return f"a row without {name}"
    if "status" not in rows.column_names:
        return None
    if not pc.all(pc.is_in(rows["status"], pa.array(statuses, pa.string())), min_count=0).as_py():
        return "a status that is none"
    has_face = pc.equal(rows["status"], face)
    for name in {*of_faces} & set(rows.column_names):
        if not pc.all(pc.equal(pc.is_valid(rows[name]), has_face), min_count=0).as_py():
            return f"a face without {name}, or {name} without a face"
    return None


def rows_or_null(vectors: Sequence[np.ndarray | None]) -> pa.ListArray:
    """list<float32> with a row for each vector [width], null for None."""
    present = [vector for vector in vectors if vector is not None]
    lengths = [0 if vector is None else len(vector) for vector in vectors]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    values = np.concatenate(present).astype(np.float32, copy=False) if present else np.zeros(0, np.float32)
    absent = pa.array([vector is None for vector in vectors], pa.bool_())
    return pa.ListArray.from_arrays(offsets, values, mask=absent)


def present_rows(column: pa.ChunkedArray, width: int) -> np.ndarray:
    """The numbers of a column of vectors, or of bytes as uint8: [rows that are not null, width]."""
    present = pc.drop_null(column).combine_chunks()
    if pa.types.is_binary(present.type):
        offsets = np.frombuffer(present.buffers()[1], np.int32)[present.offset : present.offset + len(present) + 1]
        values = np.frombuffer(present.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
        return values.reshape(-1, width)
    return present.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)


def as_objects(column: pa.ChunkedArray) -> np.ndarray:
    """A column of numbers or words as objects, None for null; not a column of vectors.

    Rows with the same value share one object: a subject has 64 characters, and there may be 500,000 rows.
    """
    encoded = column.combine_chunks().dictionary_encode()
    values = np.array([*encoded.dictionary.to_pylist(), None], object)
    return values[pc.fill_null(encoded.indices, len(values) - 1).to_numpy()]


def image_hash(name: str) -> str:
    """Eight characters that tell whether a row is of the same picture, without its name, which says who is in it."""
    return hashlib.sha256(name.encode()).hexdigest()[:8]
