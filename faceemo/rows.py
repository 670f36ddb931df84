"""The pipeline's Parquet files, and their columns that hold one vector a row, or null.

Those are written as list<float32>, though every list has the same length: pyarrow before 26 cannot read a
fixed_size_list column back that has nulls (https://github.com/apache/arrow/issues/35692), and 26 does not work with
the numpy 1 that mediapipe needs.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from faceemo.errors import FaceemoError, cannot_open


class RowsFile:
    """A Parquet file of the pipeline, open for reading.

    Everything here raises FaceemoError, with the file's name, if the file is broken or of another version of faceemo.
    """

    def __init__(self, path: Path, schema: pa.Schema, widths: Mapping[str, int]) -> None:
        """schema: the columns that it must have; widths: of those that hold vectors, how many numbers a row has."""
        self.path = path
        self._widths = widths
        with self._named():
            # pre_buffer would keep the bytes of the last row group for as long as the file is open
            self._file = pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False)
            found = self._file.schema_arrow
        for field in schema:
            index = found.get_field_index(field.name)
            if index < 0 or found.field(index).type != field.type:
                raise self.other_version(f"no column {field.name} of {field.type}")

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

    def metadata(self, name: str) -> Any:
        """The JSON that stands under faceemo.<name> in the file's metadata."""
        try:
            return json.loads((self._file.metadata.metadata or {})[f"faceemo.{name}".encode()])
        except (KeyError, ValueError):
            raise self.other_version(f"no metadata faceemo.{name}") from None

    def other_version(self, difference: str) -> FaceemoError:
        """The error for a file that differs so from what this version writes."""
        return FaceemoError(f"{self.path.as_posix()} is of another version of faceemo ({difference}); run 'dvc repro'")

    def _checked(self, table: pa.Table) -> pa.Table:
        for name in self._widths.keys() & set(table.column_names):
            is_binary = pa.types.is_binary(table[name].type)
            lengths = (pc.binary_length if is_binary else pc.list_value_length)(table[name])  # null for null
            if not pc.all(pc.equal(lengths, self._widths[name]), min_count=0).as_py():
                raise self.other_version(f"{name} of other lengths than {self._widths[name]}")
        return table

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            raise cannot_open(self.path.as_posix(), error) from None
        except (pa.ArrowException, OSError) as error:
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
