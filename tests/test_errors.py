"""A file that may not be opened, or lies too deep, is not called damaged or missing, whatever reads it."""

import os
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from systems import needs_linux, needs_posix

from faceemo.console import run
from faceemo.errors import FaceemoError
from faceemo.pictures.archive import Archive
from faceemo.pictures.labels import read_labels
from faceemo.pictures.scan import scan
from faceemo.pictures.tables import read_table
from faceemo.plainyaml import read_yaml
from faceemo.prediction.frames import VideoFrames
from faceemo.prediction.inputs import find_inputs
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


@needs_posix("on Windows itself such a path has to be made")
def test_what_lies_too_deep_for_windows_is_said_with_the_remedy(tmp_path, monkeypatch):
    """Where long paths are off, Windows lists a file in a folder and then says that it is not there."""
    monkeypatch.chdir(tmp_path)
    deep, scandir = Path("faces/sad/" + "/".join(["깊은 폴더"] * 50)), os.scandir
    (deep / "deeper").mkdir(parents=True)
    for path in (Path("faces/happy/1.jpg"), Path("faces/sad/2.jpg")):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"1")
    lines = [f"{path},happy" for path in ("faces/happy/1.jpg", deep / "3.jpg", "faces/gone.jpg")]
    Path("faces.csv").write_text("\n".join(["path,emotion", *lines]), encoding="utf-8")

    def off(folder):
        if len(str(Path(folder).absolute())) > 259:
            raise FileNotFoundError(2, "지정된 경로를 찾을 수 없습니다", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", off)
    monkeypatch.setattr("faceemo.errors.sys.platform", "win32")
    remedy = (
        r"its path has \d{3} characters, and Windows takes 259 where long paths are off; move it nearer .*, or switch"
    )
    tree, table = scan([Path("faces")]).found["faces"], scan([Path("faces.csv")]).found["faces"]
    ((_, reason),) = tree.passed_over
    assert tree.source.images == 2 and re.match(f"cannot be read: {remedy}", reason)
    assert [bool(re.match(remedy, one.error)) for one in table.unread] == [False, True]
    for path in (deep, deep / "a.zip", deep / "a.jpg"):
        with pytest.raises(FaceemoError, match=remedy):
            scan([path / "none"])
        with pytest.raises(FaceemoError, match=remedy):
            find_inputs([path / "none"])
    with pytest.raises(FaceemoError, match=remedy):
        Archive(deep / "a.zip")


@pytest.mark.parametrize("number", [5, 19, 116])  # a bad sector, a drive or share that has gone
def test_an_archive_on_a_drive_that_fails_is_not_called_damaged(make_zip, monkeypatch, number):
    path = make_zip("a.zip", ("a.jpg", b"1"))

    def failing(*_, **__):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr("zipfile.ZipFile", failing)
    with pytest.raises(FaceemoError) as error:
        Archive(path)
    assert str(error.value) == f"{path}: cannot be opened ({os.strerror(number)})"
