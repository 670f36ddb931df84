"""Parquet columns that hold one vector a row, or null.

They are written as list<float32>, though every list has the same length: pyarrow before 26 cannot read a
fixed_size_list column back that has nulls (https://github.com/apache/arrow/issues/35692), and 26 does not work with
the numpy 1 that MediaPipe's FaceMesh needs.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def rows_or_null(vectors: Sequence[np.ndarray | None]) -> pa.ListArray:
    """list<float32> with a row for each vector [width], null for None."""
    present = [vector for vector in vectors if vector is not None]
    lengths = [0 if vector is None else len(vector) for vector in vectors]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    values = np.concatenate(present).astype(np.float32, copy=False) if present else np.zeros(0, np.float32)
    absent = pa.array([vector is None for vector in vectors], pa.bool_())
    return pa.ListArray.from_arrays(offsets, values, mask=absent)


def present_rows(column: pa.ChunkedArray, width: int) -> np.ndarray:
    """float32 [rows that are not null, width]."""
    return pc.drop_null(column).combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
