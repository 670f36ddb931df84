"""A file that may not be opened is not called damaged, whatever reads it."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from systems import needs_linux

from faceemo.console import run
from faceemo.errors import FaceemoError
from faceemo.pictures.archive import Archive
from faceemo.pictures.labels import read_labels
from faceemo.pictures.tables import read_table
from faceemo.plainyaml import read_yaml
from faceemo.prediction.frames import VideoFrames
from faceemo.rows import RowsFile, read_parquet
from faceemo.training.model import load_model

READERS = {
    "archive": Archive,
    "label archive": read_labels,
    "rows": read_parquet,
    "features": lambda path: RowsFile(path, pa.schema([]), {}),
    "model": load_model,
    "table": read_table,
    "parameters": read_yaml,
}
DAMAGE = ("download", "copy", "damaged", "again", "not a ", "dvc repro", "known format")


@pytest.fixture
def closed(tmp_path):
    """A file that nobody may open, root neither."""
    path = tmp_path / "중립.parquet"
    pq.write_table(pa.table({"a": [1]}), path)
    path.chmod(0)
    was_root = os.geteuid() == 0
    if was_root:
        os.seteuid(65534)
    yield path
    if was_root:
        os.seteuid(0)


@needs_linux("changes the user")
@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_file_that_may_not_be_opened_is_not_called_damaged(closed, capsys, read):
    assert run("extract", lambda: read(closed)) == 1
    said = capsys.readouterr().err
    assert "Permission denied" in said and str(closed) in said and said.count("\n") == 1
    assert not any(word in said for word in DAMAGE)


@needs_linux("changes the user")
def test_a_video_that_may_not_be_opened_is_not_of_an_unknown_format(closed):
    frames = VideoFrames(Path(closed))
    assert list(frames) == [] and frames.error == "cannot be opened (Permission denied)"


@pytest.mark.parametrize("number", [5, 19, 116])  # a bad sector, a drive or share that has gone
def test_an_archive_on_a_drive_that_fails_is_not_called_damaged(make_zip, monkeypatch, number):
    path = make_zip("a.zip", ("a.jpg", b"1"))

    def failing(*_, **__):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr("zipfile.ZipFile", failing)
    with pytest.raises(FaceemoError) as error:
        Archive(path)
    assert str(error.value) == f"{path}: cannot be opened ({os.strerror(number)})"
