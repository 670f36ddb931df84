import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from systems import needs_linux

from faceemo.errors import FaceemoError
from faceemo.rows import RowsFile, as_mapping, as_objects, present_rows, read_parquet, rows_or_null

VECTORS = [np.arange(4) + 10.5, None, np.arange(4) - 0.25, None, None, np.full(4, -3e38)]
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


SCHEMA = pa.schema([("image", pa.string()), ("width", pa.int32()), ("landmarks", pa.list_(pa.float32()))])


WIDTHS = {"landmarks": 4}


def write_rows(path, schema=SCHEMA, metadata=None):
    columns = {
        "image": [f"{number}.jpg" for number in range(len(VECTORS))],
        "width": list(range(len(VECTORS))),
        "landmarks": rows_or_null(VECTORS),
        "more": [0] * len(VECTORS),
    }
    table = pa.table({name: columns[name] for name in schema.names}, schema=schema.with_metadata(metadata))
    pq.write_table(table, path, row_group_size=4, write_page_checksum=True)
    return path


def error_of(action):
    with pytest.raises(FaceemoError) as error:
        action()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_file_gives_its_rows_groups_and_metadata(tmp_path):
    written = {"faceemo.extract": json.dumps({"format": 3})}
    file = RowsFile(write_rows(tmp_path / "a.parquet", metadata=written), SCHEMA, WIDTHS)
    assert file.group_sizes == [4, 2]
    assert file.read(["width"])["width"].to_pylist() == [0, 1, 2, 3, 4, 5]
    assert file.read_group(1, ["width"])["width"].to_pylist() == [4, 5]
    assert file.read().schema.names == SCHEMA.names
    assert file.metadata("extract", as_mapping) == {"format": 3}


def test_a_column_more_than_asked_for_does_no_harm(tmp_path):
    path = write_rows(tmp_path / "a.parquet", pa.schema([*SCHEMA, pa.field("more", pa.int8())]))
    assert RowsFile(path, SCHEMA, WIDTHS).read(["image"]).num_rows == 6


@pytest.mark.parametrize(
    ("fields", "difference"),
    [
        (SCHEMA.remove(1), "no column width of int32"),
        (SCHEMA.set(1, pa.field("width", pa.string())), "no column width"),
    ],
)
def test_a_column_that_is_missing_or_of_another_type_is_named(tmp_path, fields, difference):
    columns = {"image": ["a"], "width": ["1"], "landmarks": [[1.0]]}
    pq.write_table(pa.table({name: columns[name] for name in fields.names}, schema=fields), tmp_path / "a.parquet")
    message = error_of(lambda: RowsFile(tmp_path / "a.parquet", SCHEMA, WIDTHS))
    assert message.startswith(f"{(tmp_path / 'a.parquet').as_posix()} is of another version of faceemo ({difference}")


def test_a_number_in_metadata_that_no_float_holds_is_named(tmp_path):
    metadata = {"faceemo.extract": json.dumps(10**400)}
    file = RowsFile(write_rows(tmp_path / "a.parquet", metadata=metadata), SCHEMA, WIDTHS)
    assert "(metadata faceemo.extract of another kind)" in error_of(lambda: file.metadata("extract", float))


@pytest.mark.parametrize("metadata", [None, {"faceemo.extract": "{"}, {"faceemo.extract": b"\xff"}, {"other": "{}"}])
def test_metadata_that_is_missing_or_no_json_is_named(tmp_path, metadata):
    file = RowsFile(write_rows(tmp_path / "a.parquet", metadata=metadata), SCHEMA, WIDTHS)
    assert "is of another version of faceemo (no metadata faceemo.extract)" in error_of(
        lambda: file.metadata("extract", as_mapping)
    )


def test_vectors_of_other_lengths_are_no_rows_shifted_into_each_other(tmp_path):
    file = RowsFile(write_rows(tmp_path / "a.parquet"), SCHEMA, {"landmarks": 2})
    for read in (file.read, lambda: file.read_group(0, ["landmarks"])):
        assert "of another version of faceemo (landmarks of other lengths than 2)" in error_of(read)
    assert file.read(["width"]).num_rows == 6


def test_a_damaged_file_is_one_line_that_names_it_or_gives_the_rows_that_were_written(tmp_path):
    path = write_rows(tmp_path / "a.parquet")
    whole, rows = path.read_bytes(), RowsFile(path, SCHEMA, WIDTHS).read()
    chance = random.Random(1)
    refused = 0
    for number in range(300):
        damaged = bytearray(whole)
        at = chance.randrange(len(whole))
        if number % 3 == 0:
            del damaged[at:]
        elif number % 3 == 1:
            damaged[at] ^= 1 << chance.randrange(8)
        else:
            damaged[at : at + 40] = chance.randbytes(len(damaged[at : at + 40]))
        path.write_bytes(damaged)
        try:
            found = RowsFile(path, SCHEMA, WIDTHS).read()
        except FaceemoError as error:
            assert str(path.as_posix()) in str(error) and str(error).isprintable()
            refused += 1
        else:
            assert found.drop_columns(["landmarks"]).equals(rows.drop_columns(["landmarks"])), number
            np.testing.assert_array_equal(present_rows(found["landmarks"], 4), PRESENT)
    assert refused > 150


def test_a_column_as_objects_keeps_order_and_nulls_and_shares_equal_values():
    words = pa.chunked_array([["anna" * 9, None], [], ["anna" * 9, "ben"]], pa.string())
    found = as_objects(words)
    assert found.tolist() == words.to_pylist()
    assert found[0] is found[2]
    for values in ([True, None, False], [3, None, 3], [None, None], []):
        column = pa.chunked_array([pa.array(values, pa.int64() if 3 in values else pa.bool_())])
        assert as_objects(column).tolist() == values


@needs_linux("looks for open files in /proc")
def test_a_file_is_closed_when_it_has_been_read(tmp_path):
    """Windows neither removes nor replaces an open one; pq.read_table leaves one in ten or more open for a moment."""
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"a": list(range(1000)), "b": ["b" * 1000] * 1000}), path)
    for _ in range(100):
        assert read_parquet(path, ["a"]).column_names == ["a"]
        handles = Path("/proc/self/fd").iterdir()
        assert path not in {handle.readlink() for handle in handles if handle.is_file()}
    with pytest.raises(KeyError):
        read_parquet(path, ["c"])
