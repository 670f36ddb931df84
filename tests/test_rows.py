import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from faceemo.rows import present_rows, rows_or_null

VECTORS = [np.arange(4) + 10.5, None, np.arange(4) - 0.25, None, None, np.full(4, np.nan)]
PRESENT = np.array([vector for vector in VECTORS if vector is not None], np.float32)


def through_parquet(path, column, row_group_size=None):
    pq.write_table(pa.table({"landmarks": column}), path, row_group_size=row_group_size)
    return pq.read_table(path)["landmarks"]


def test_rows_and_nulls_survive_a_parquet_file(tmp_path):
    column = rows_or_null(VECTORS)
    assert column.type == pa.list_(pa.float32())
    read = through_parquet(tmp_path / "a.parquet", column, row_group_size=2)
    assert [row is None for row in read.to_pylist()] == [vector is None for vector in VECTORS]
    np.testing.assert_array_equal(present_rows(read, 4), PRESENT)


def test_present_rows_is_float32_and_of_the_width_given():
    rows = present_rows(pa.chunked_array([rows_or_null(VECTORS)]), 4)
    assert rows.dtype == np.float32 and rows.shape == (3, 4)


def test_a_slice_of_a_column_gives_its_own_rows_only():
    column = pa.chunked_array([rows_or_null(VECTORS), rows_or_null(VECTORS)])
    np.testing.assert_array_equal(present_rows(column.slice(2, 5), 4), PRESENT[[1, 2, 0]])


def test_a_column_of_nulls_has_no_rows(tmp_path):
    read = through_parquet(tmp_path / "a.parquet", rows_or_null([None, None]))
    assert read.null_count == 2
    assert present_rows(read, 4).shape == (0, 4)


def test_a_column_without_rows_has_no_rows(tmp_path):
    read = through_parquet(tmp_path / "a.parquet", rows_or_null([]))
    assert len(read) == 0
    assert present_rows(read, 4).shape == (0, 4)


def test_the_same_vectors_are_the_same_bytes(tmp_path):
    for name in ("a.parquet", "b.parquet"):
        through_parquet(tmp_path / name, rows_or_null(VECTORS))
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
