"""Pictures that could not be read, and a good copy of their archive: `faceemo scan`, then extract."""

import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from made_archives import encoded
from made_archives import make_zip as write_zip
from PIL import Image
from skimage.data import astronaut

import faceemo.extraction.extract as extraction
from faceemo.cli import main
from faceemo.extraction.partial import find_partials, remove_published
from faceemo.extraction.sources import read_sources
from faceemo.params import load_params

ROOT = Path(__file__).parents[2]
KEY = "neutral-training-01"
ARCHIVE = Path("photos/[원천]EMOIMG_중립_TRAIN_01.zip")
SHARDS = Path("data/landmarks") / KEY
PICTURES = [
    encoded(np.full((40, 40, 3), 10 * number, np.uint8), "PNG")
    for number in range(9)
] + [encoded(np.asarray(Image.fromarray(astronaut()[:300, 80:380])), "PNG")]  # fmt: skip


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with an archive of ten pictures, three of them damaged, extracted to shards of four rows."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(extraction, "SHARD_ROWS", 4)
    text = (ROOT / "params.yaml").read_text(encoding="utf-8").replace("workers: ", "workers: 1 ")
    Path("params.yaml").write_text(text, encoding="utf-8")
    make_archive()
    damage(4, 6, 9)
    scan_and_extract()
    assert failed_rows() == [4, 6, 9]
    return tmp_path


def make_archive(pictures=PICTURES):
    write_zip(ARCHIVE, {f"{number}.png": picture for number, picture in enumerate(pictures)})


def damage(*numbers):
    """Change a byte in the middle of these pictures: names, sizes and CRC-32 in the directory stay."""
    content = bytearray(ARCHIVE.read_bytes())
    for number in numbers:
        content[content.index(PICTURES[number]) + len(PICTURES[number]) // 2] ^= 0xFF
    ARCHIVE.write_bytes(content)


def scan():
    """Scan and give the attempt that the source is at."""
    assert main(["scan", "photos"]) == 0
    return read_sources()[KEY].attempt


def extract():
    params = load_params()
    extraction.extract(KEY, read_sources()[KEY], params.extract, params.limit, params.workers)


def scan_and_extract():
    attempt = scan()
    shutil.rmtree(SHARDS, ignore_errors=True)  # as dvc does before it runs a stage
    extract()
    return attempt


def failed_rows():
    statuses = pq.read_table(SHARDS, columns=["status"])["status"].to_pylist()
    return [row for row, status in enumerate(statuses) if status == "read_error"]


def shard_bytes():
    return [path.read_bytes() for path in sorted(SHARDS.iterdir())]


@pytest.mark.slow
@pytest.mark.parametrize("normalized", [False, True])
def test_a_good_copy_is_extracted_again_where_a_picture_could_not_be_read(project, capsys, normalized):
    if normalized:
        remove_published()  # as normalize does; else finished shards of the damaged copy are still there
    make_archive()
    capsys.readouterr()
    assert scan() == 2
    assert f"{KEY}: 3 pictures could not be read" in (out := capsys.readouterr().out)
    assert "some can now, so dvc repro extracts 2 of 3 shards again\n" in out
    assert [(partial.shards, partial.is_complete) for partial in find_partials()] == [(1, False)]
    remove_published()
    shutil.rmtree(SHARDS)
    extract()
    assert f"{KEY}: 1 of 3 shards kept from an earlier run\n" in capsys.readouterr().out
    assert failed_rows() == []
    retried = shard_bytes()
    remove_published()
    shutil.rmtree(SHARDS)
    extract()
    assert shard_bytes() == retried  # as from the good copy alone
    assert scan() == 2


@pytest.mark.slow
def test_a_copy_that_mends_a_part_is_taken_for_that_part(project):
    make_archive()
    damage(6, 9)
    before = shard_bytes()
    assert scan_and_extract() == 2
    assert failed_rows() == [6, 9]
    assert (shard_bytes()[0], shard_bytes()[2]) == (before[0], before[2])
    assert scan() == 2
    make_archive()
    assert scan_and_extract() == 3
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


@pytest.mark.slow
@pytest.mark.parametrize("change", [touch, copy, move])
@pytest.mark.parametrize("healthy", [False, True])
def test_an_archive_touched_copied_or_moved_changes_nothing_that_dvc_tracks(project, capsys, healthy, change):
    if healthy:
        make_archive()
        scan_and_extract()
    before = read_sources()[KEY]
    change(ARCHIVE)
    capsys.readouterr()
    assert scan() == before.attempt
    assert read_sources()[KEY].digest == before.digest
    assert (
        "and still cannot be read; if the archive is damaged, download it again" in capsys.readouterr().out
    ) != healthy


@pytest.mark.slow
def test_two_scans_before_the_extraction_put_the_same_shards_aside(project, capsys):
    make_archive()
    scan()
    scan()
    shutil.rmtree(SHARDS)
    capsys.readouterr()
    extract()
    assert "1 of 3 shards kept" in capsys.readouterr().out
    assert failed_rows() == []


@pytest.mark.slow
def test_shards_of_other_settings_are_not_put_aside(project, capsys):
    make_archive()
    text = Path("params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(text.replace("max_faces: 1 ", "max_faces: 2 "), encoding="utf-8")
    capsys.readouterr()
    assert scan() == 2
    assert "dvc repro extracts 3 of 3 shards again" in capsys.readouterr().out
    shutil.rmtree(SHARDS)
    extract()
    assert "kept" not in capsys.readouterr().out
    assert failed_rows() == []


@pytest.mark.slow
def test_with_a_limit_the_rows_are_those_of_the_pictures_chosen(project):
    text = Path("params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(text.replace("limit: ", "limit: 7 "), encoding="utf-8")
    make_archive()
    damage(*range(10))
    scan_and_extract()
    assert failed_rows() == [0, 1, 2, 3, 4, 5, 6]
    mended = int(Path(pq.read_table(SHARDS, columns=["image"])["image"].to_pylist()[5]).stem)
    make_archive()
    damage(*(number for number in range(10) if number != mended))
    assert scan_and_extract() == 2
    assert failed_rows() == [0, 1, 2, 3, 4, 6]


@pytest.mark.slow
def test_another_archive_at_the_same_path_begins_again_at_the_first_attempt(project):
    make_archive()
    assert scan() == 2
    make_archive(PICTURES[:5])
    assert scan() == 1
    make_archive()
    damage(4, 6, 9)
    assert scan() == 1


@pytest.mark.slow
def test_landmarks_of_an_archive_scanned_since_are_not_put_aside(project, capsys):
    """Scanned, then scanned again before dvc repro: the shards are still the old archive's, under the same names."""
    make_archive([PICTURES[0]] * 10)
    assert scan() == 1
    assert scan() == 1
    shutil.rmtree(SHARDS)
    capsys.readouterr()
    extract()
    assert "kept" not in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"PAR1 no parquet"])
def test_a_scan_beside_broken_landmarks_is_a_scan(project, content):
    (SHARDS / "part-00001.parquet").write_bytes(content)
    make_archive()
    assert scan() == 1


@pytest.mark.slow
def test_sources_of_an_earlier_version_are_written_with_every_key(project):
    path = Path("data/sources.yaml")
    path.write_text(path.read_text(encoding="utf-8").replace("    attempt: 1\n", ""), encoding="utf-8")
    assert main(["scan", "photos"]) == 0
    assert "    attempt: 1\n" in path.read_text(encoding="utf-8")
