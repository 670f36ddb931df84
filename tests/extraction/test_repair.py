"""Pictures that could not be read, and a good copy of their archive: `faceemo scan`, then extract."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from made_archives import SETTINGS, encoded, shard_rows
from made_archives import make_zip as write_zip
from made_sources import of_set
from PIL import Image
from skimage.data import astronaut

import faceemo.extraction.extract as extraction
from faceemo.cli import main
from faceemo.extraction import worker
from faceemo.pictures.sources import read_sources

ROOT = Path(__file__).parents[2]
KEY = "neutral-training-01"
ARCHIVE = Path("photos/[원천]EMOIMG_중립_TRAIN_01.zip")
SHARDS = Path("data/landmarks") / KEY
PICTURES = [
    encoded(np.full((40, 40, 3), 10 * number, np.uint8), "PNG")
    for number in range(9)
] + [encoded(np.asarray(Image.fromarray(astronaut()[:300, 80:380])), "PNG")]  # fmt: skip
NAMES = [of_set(number, suffix=".png") for number in range(10)]


@pytest.fixture
def damaged(tmp_path, monkeypatch):
    """An archive of ten pictures, three of them damaged, extracted to shards of four rows."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    make_archive()
    damage(4, 6, 9)
    assert scan() == 0
    extract()
    assert failed_rows() == [4, 6, 9]


def make_archive(pictures=PICTURES):
    write_zip(ARCHIVE, dict(zip(NAMES, pictures, strict=False)))


def damage(*numbers):
    """Change a byte in the middle of these pictures: names, sizes and CRC-32 in the directory stay."""
    content = bytearray(ARCHIVE.read_bytes())
    for number in numbers:
        content[content.index(PICTURES[number]) + len(PICTURES[number]) // 2] ^= 0xFF
    ARCHIVE.write_bytes(content)


def scan():
    """Scan, and give what the stage tracks beside the digest."""
    assert main(["scan", "photos"]) == 0
    return read_sources()[KEY].repaired


def extract(limit=None):
    shutil.rmtree(SHARDS, ignore_errors=True)  # as dvc does before it runs a stage
    source = read_sources()[KEY]
    extraction.extract(KEY, source, SETTINGS, limit, workers=1, shard_rows=4, task_pictures=1000)
    worker._worker.reader.close()  # as when the stage ends: Windows renames nothing that is open


def failed_rows():
    statuses = shard_rows(SHARDS)["status"].to_pylist()
    return [row for row, status in enumerate(statuses) if status == "read_error"]


def shard_bytes():
    return [path.read_bytes() for path in sorted(SHARDS.iterdir())]


def test_a_good_copy_is_read_where_a_picture_could_not_be(damaged, capsys):
    make_archive()
    capsys.readouterr()
    assert scan() == 1
    assert f"{KEY}: 3 pictures could not be read when it was extracted; 3 can be now" in capsys.readouterr().out
    extract()
    assert f"{KEY}: 7 of 10 pictures were read before\n" in capsys.readouterr().out
    assert failed_rows() == []
    repaired = shard_bytes()
    shutil.rmtree("data/.rows")
    extract()
    assert shard_bytes() == repaired  # as from the good copy alone
    assert scan() == 1
    assert "could not be read" not in capsys.readouterr().out


def test_a_copy_that_mends_a_part_is_taken_for_that_part(damaged, capsys):
    make_archive()
    damage(6, 9)
    assert scan() == 1
    assert "3 pictures could not be read when it was extracted; 1 can be now" in capsys.readouterr().out
    extract()
    assert failed_rows() == [6, 9]
    assert scan() == 1
    make_archive()
    assert scan() == 2
    extract()
    assert failed_rows() == []


def touch(path):
    os.utime(path, (1, 1))


def copy(path):
    path.rename(path.with_name("old"))
    shutil.copyfile(path.with_name("old"), path)


def move(path):
    path.parent.rename("elsewhere")
    Path("photos").mkdir()
    Path("elsewhere").rename("photos/2026")


@pytest.mark.parametrize("change", [touch, copy, move])
@pytest.mark.parametrize("healthy", [False, True])
def test_an_archive_touched_copied_or_moved_changes_nothing_that_dvc_tracks(damaged, capsys, healthy, change):
    if healthy:
        make_archive()
        scan()
        extract()
    before = read_sources()[KEY]
    change(ARCHIVE)
    capsys.readouterr()
    assert scan() == before.repaired
    assert read_sources()[KEY].digest == before.digest
    assert ("and still cannot be; if the archive is damaged, download it again" in capsys.readouterr().out) != healthy


def test_two_scans_before_the_extraction_change_what_is_tracked_in_any_case(damaged):
    make_archive()
    assert (scan(), scan()) == (1, 2)
    extract()
    assert failed_rows() == []


def test_with_a_limit_the_pictures_tried_are_those_chosen(damaged):
    make_archive()
    damage(*range(10))
    shutil.rmtree("data/.rows")
    extract(limit=7)
    assert failed_rows() == [0, 1, 2, 3, 4, 5, 6]
    mended = NAMES.index(shard_rows(SHARDS)["image"][5].as_py())
    make_archive()
    damage(*(number for number in range(10) if number != mended))
    assert scan() == 1
    extract(limit=7)
    assert failed_rows() == [0, 1, 2, 3, 4, 6]


def test_another_archive_at_the_same_path_begins_again(damaged):
    make_archive()
    assert scan() == 1
    make_archive(PICTURES[:5])
    assert scan() == 0


@pytest.mark.parametrize("content", [b"", b"PAR1 no parquet"])
def test_a_scan_beside_broken_landmarks_is_a_scan(damaged, content):
    for path in SHARDS.iterdir():
        path.unlink()
        path.write_bytes(content)
    make_archive()
    assert scan() == 0
