"""Rows that are there are not read again, whatever became of their source: the store, and what stays in it."""

import json
import os
import shutil
import subprocess
import sys
import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_archives import SETTINGS, encoded, make_zip, on_a_full_disk, shard_rows, source_of
from made_landmarks import WRONG_LANDMARKS, with_metadata, with_value
from PIL import Image
from skimage.data import astronaut
from systems import needs_posix

import faceemo.extraction.extract as extraction
from faceemo.cli import main
from faceemo.errors import FaceemoError
from faceemo.extraction import store, tidy, worker
from faceemo.extraction.fingerprint import how_made
from faceemo.extraction.schema import SCHEMA
from faceemo.extraction.store import Store
from faceemo.extraction.tidy import find_unused
from faceemo.pictures.reader import SMALL, Picture
from faceemo.pictures.sources import read_sources
from faceemo.rows import read_parquet

ROOT = Path(__file__).parents[2]
KEY = "faces"
SHARDS = Path("data/landmarks") / KEY
ROWS = Path("data/.rows")
FACE = encoded(np.asarray(Image.fromarray(astronaut()[:300, 80:380])), "PNG")
NOISE = np.random.default_rng(0).integers(0, 256, (160, 160, 3), np.uint8)
PICTURES = {
    f"{word}/p{number}_1.png": encoded(np.full((40, 40, 3), 10 * number + len(word), np.uint8), "PNG")
    for word in ("happy", "sad")
    for number in range(5)
} | {"happy/p7_1.png": FACE, "sad/p8_1.png": b"no picture"}
CHANGED = {
    **{name: data for name, data in PICTURES.items() if name != "happy/p3_1.png"},  # removed
    "happy/p0_2.png": encoded(np.full((40, 40, 3), 200, np.uint8), "PNG"),  # added
    "sad/p2_1.png": encoded(np.full((40, 40, 3), 210, np.uint8), "PNG"),  # changed
}


class Work:
    """An empty project, and which pictures were read by the last extraction in it."""

    def __init__(self, monkeypatch, place="faces"):
        self.place = place
        self.read = []
        read_task = extraction.read_task

        def recorded(task):
            self.read += [picture.name for picture in task.pictures]
            return read_task(task)

        monkeypatch.setattr(extraction, "read_task", recorded)
        Path("params.yaml").write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")

    def write(self, pictures):
        if self.place == "faces.zip":
            make_zip(Path(self.place), pictures)
            return
        folder = Path("faces" if self.place == "faces" else ".")
        for word in ("happy", "sad"):
            shutil.rmtree(folder / word, ignore_errors=True)
        for name, data in pictures.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        if self.place == "faces.csv":
            lines = [f"{name},{name.split('/')[0]}" for name in pictures]
            Path(self.place).write_text("\n".join(["path,emotion", *lines]), encoding="utf-8")

    def scan(self):
        assert main(["scan", self.place, "--subject", r"/(p\d+)_"]) == 0

    def extract(self, source=None, limit=None, key=KEY, **settings):
        """Extract as dvc does, to shards of four rows; the pictures that were read."""
        shutil.rmtree(Path("data/landmarks") / key, ignore_errors=True)
        self.read.clear()
        settings = replace(SETTINGS, **settings)
        extraction.extract(key, source or read_sources()[key], settings, limit, 1, shard_rows=4, task_pictures=1000)
        worker._worker.reader.close()  # as when the stage ends: Windows renames nothing that is open
        return set(self.read)

    def extract_and_stop(self, monkeypatch, **options):
        """Extract all shards, and stop before they become the source's landmarks."""
        with monkeypatch.context() as stopped, pytest.raises(pytest.fail.Exception):
            stopped.setattr(Store, "publish", lambda *_: pytest.fail("stopped"))
            self.extract(**options)


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Work(monkeypatch)


@pytest.fixture(params=["tree", "zip", "table"])
def scanned(request, tmp_path, monkeypatch):
    """Twelve pictures in a source of this kind, extracted."""
    monkeypatch.chdir(tmp_path)
    work = Work(monkeypatch, {"tree": "faces", "zip": "faces.zip", "table": "faces.csv"}[request.param])
    work.write(PICTURES)
    work.scan()
    assert work.extract() == set(PICTURES)
    return work


in_a_tree = pytest.mark.parametrize("scanned", ["tree"], indirect=True)


def shard_bytes(key=KEY):
    return [path.read_bytes() for path in sorted((Path("data/landmarks") / key).iterdir())]


def statuses():
    return shard_rows(SHARDS)["status"].to_pylist()


def afresh(work, **options):
    """The shards of an extraction that finds nothing done."""
    shutil.rmtree(ROWS)
    work.extract(**options)
    return shard_bytes()


def as_dvc_stores(key=KEY):
    """dvc moves the shards to its cache and puts a copy in their place; normalize then tidies."""
    for path in (Path("data/landmarks") / key).iterdir():
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)


# What is read


@pytest.mark.slow
def test_only_pictures_that_changed_are_read_and_the_shards_are_those_of_a_new_extraction(scanned):
    scanned.write(CHANGED)
    scanned.scan()
    assert scanned.extract() == {"happy/p0_2.png", "sad/p2_1.png"}
    kept = shard_bytes()
    assert Counter(statuses()) == {"ok": 1, "no_face": 10, "decode_error": 1}
    assert kept == afresh(scanned)


@pytest.mark.slow
def test_pictures_in_another_order_are_not_read_nor_are_photos_with_other_names(scanned):
    photos = {f"sad/p{number}_2.jpg": encoded(NOISE + number, quality=95) for number in range(3)}
    scanned.write(PICTURES | photos)
    scanned.scan()
    assert scanned.extract() == set(photos)
    renamed = {f"happy/p{number}_9.jpg": data for number, data in enumerate(photos.values())}
    scanned.write(dict(reversed(PICTURES.items())) | renamed)
    scanned.scan()
    assert scanned.extract() == set()
    kept = shard_bytes()
    assert set(shard_rows(SHARDS)["image"].to_pylist()) == {*PICTURES, *renamed}
    assert kept == afresh(scanned)


@in_a_tree
def test_a_larger_limit_reads_the_pictures_that_are_new_in_it(scanned, capsys):
    everything = shard_bytes()
    shutil.rmtree(ROWS)
    few = scanned.extract(limit=5)
    more = scanned.extract(limit=9)
    assert (len(few), len(more), few & more) == (5, 4, set())
    assert "faces: 5 of 9 pictures were read before\n" in capsys.readouterr().out
    assert len(scanned.extract()) == 3
    assert shard_bytes() == everything
    assert scanned.extract(limit=7) == set()
    assert scanned.extract() == set()
    assert shard_bytes() == everything


@pytest.mark.slow
def test_an_archive_that_was_renamed_moved_or_packed_anew_is_not_read(work):
    path = make_zip(Path("a.zip"), PICTURES)
    assert work.extract(source_of(path), key="a") == set(PICTURES)
    moved = path.rename("b.zip")
    assert work.extract(source_of(moved), key="b") == set()
    assert shard_bytes("b") == shard_bytes("a")
    packed = make_zip(Path("c.zip"), dict(reversed(PICTURES.items())))
    assert work.extract(source_of(packed), key="b") == set()
    again = shard_bytes("b")
    shutil.rmtree(ROWS)
    work.extract(source_of(packed), key="b")
    assert shard_bytes("b") == again


@pytest.mark.slow
def test_a_picture_twice_in_two_sources_is_read_once_in_each_run(work):
    photo = encoded(NOISE, quality=95)
    twice = {"one.jpg": photo, "two.jpg": photo}
    assert work.extract(source_of(make_zip(Path("a.zip"), twice)), key="a") == {"one.jpg", "two.jpg"}
    assert work.extract(source_of(make_zip(Path("b.zip"), {"three.jpg": photo})), key="b") == set()


@in_a_tree
def test_work_that_was_stopped_is_used_after_another_change(scanned, monkeypatch):
    scanned.write(PICTURES | {"happy/p0_2.png": FACE[:-1]})
    scanned.scan()
    scanned.extract_and_stop(monkeypatch)
    scanned.write(PICTURES | {"happy/p0_2.png": FACE[:-1], "sad/p1_2.png": FACE[:-2]})
    scanned.scan()
    assert scanned.extract() == {"sad/p1_2.png"}


@in_a_tree
def test_rows_outlive_a_stage_that_failed_since_pictures_had_changed_again(scanned):
    scanned.write(CHANGED)
    scanned.scan()
    scanned.write(CHANGED | {"sad/p1_2.png": FACE[:-1]})
    with pytest.raises(FaceemoError, match="changed since the last scan"):
        scanned.extract()
    scanned.scan()
    assert scanned.extract() == {"happy/p0_2.png", "sad/p2_1.png", "sad/p1_2.png"}


@pytest.mark.parametrize("scanned", ["table"], indirect=True)
def test_a_picture_that_could_not_be_read_is_tried_again_alone(scanned):
    lines = Path("faces.csv").read_text(encoding="utf-8")
    Path("faces.csv").write_text(f"{lines}\nsad/p9_1.png,sad", encoding="utf-8")
    scanned.scan()
    assert scanned.extract() == {"sad/p9_1.png"}
    assert scanned.extract() == {"sad/p9_1.png"}
    Path("sad/p9_1.png").write_bytes(FACE[:-1])
    scanned.scan()
    assert scanned.extract() == {"sad/p9_1.png"}
    assert scanned.extract() == set()
    assert "read_error" not in statuses()


@pytest.mark.slow
@in_a_tree
def test_rows_of_other_settings_are_not_taken(scanned):
    assert scanned.extract(crops=False) == set(PICTURES)
    assert shard_rows(SHARDS)["crop"].null_count == len(PICTURES)
    assert scanned.extract() == set()
    assert shard_rows(SHARDS)["crop"].null_count == len(PICTURES) - 1


# Broken files


def flip_a_bit(path):
    """Where only the checksum of its page tells: the file can be read, with wrong landmarks."""
    content, before = path.read_bytes(), read_parquet(path)
    path.unlink()  # it has other names
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        try:
            if read_parquet(path, ["landmarks"])["landmarks"] != before["landmarks"]:
                return
        except (OSError, ValueError):
            continue
    pytest.fail("no bit of this file goes unnoticed")


def file_with_a_face():
    (path,) = (one for one in ROWS.glob("*/*/*") if one.suffix and read_parquet(one)["crop"].null_count < 4)
    return path


@pytest.mark.slow
@in_a_tree
@pytest.mark.parametrize("pictures", [PICTURES, CHANGED])
def test_rows_with_a_wrong_bit_are_read_from_their_pictures(scanned, pictures):
    path = file_with_a_face()
    lost = set(read_parquet(path)["image"].to_pylist())
    flip_a_bit(path)
    scanned.write(pictures)
    scanned.scan()
    unknown = {name for name, data in pictures.items() if name in lost or PICTURES.get(name) != data}
    assert scanned.extract() == unknown
    kept = shard_bytes()
    assert kept == afresh(scanned)


@in_a_tree
@pytest.mark.parametrize("content", [b"", b"PAR1 no parquet", None, ["image", "landmarks"]])
def test_a_file_that_holds_no_rows_of_ours_stops_nothing(scanned, content):
    everything = shard_bytes()
    path = file_with_a_face()
    table = read_parquet(path)
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is None:
        pq.write_table(table.replace_schema_metadata(None), path)
    else:
        pq.write_table(table.select(content), path)
    scanned.scan()
    assert scanned.extract() == set(table["image"].to_pylist())
    assert shard_bytes() == everything


@in_a_tree
@pytest.mark.parametrize(
    ("wrong", "change"),
    [
        *((wrong, several[0]) for wrong, several in WRONG_LANDMARKS.items()),
        ("names", lambda rows: with_value(rows, "image", "happy/other.png")),
        ("sizes", lambda rows: with_value(rows, "size", 5)),
        ("no rows", lambda rows: rows.slice(0, 0)),
        ("rows", lambda rows: rows.slice(0, 2)),
        ("no keys", lambda rows: with_metadata(rows, "extract", "{}")),
    ],
)
def test_rows_that_extraction_did_not_write_are_read_from_their_pictures(scanned, wrong, change):
    """Whole by their checksums, in the store and, by another name of the same file, in data/landmarks."""
    everything = shard_bytes()
    path = file_with_a_face()
    table = read_parquet(path)  # which closes it
    face = table["crop"].is_valid().to_pylist().index(True)
    rows = change(table.take([face, *(one for one in range(len(table)) if one != face)]))
    for place in (path, *SHARDS.iterdir()):
        if place.read_bytes() == path.read_bytes():
            place.unlink()
            pq.write_table(rows, place, write_page_checksum=True)
    scanned.scan()  # it looks for pictures to repair, and tidies
    assert set(table["image"].to_pylist()) >= scanned.extract()
    assert shard_bytes() == everything


@in_a_tree
def test_a_source_that_another_process_extracts_is_one_line_and_its_work_goes_on(scanned):
    everything = shard_bytes()
    lock = (ROWS / f"{KEY}.lock").resolve()
    lines = ("import sys; from pathlib import Path", "from faceemo.durable import locked")
    code = "\n".join([*lines, f"with locked(Path({str(lock)!r})): print(flush=True), sys.stdin.read()"])
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as process:
        process.stdout.readline()
        with pytest.raises(FaceemoError, match="faces: another process is extracting it; wait until it has ended, or"):
            scanned.extract()
        process.stdin.close()
    assert scanned.extract() == set() and shard_bytes() == everything


def test_what_tidies_leaves_a_source_that_is_being_extracted(work):
    desk, other = ROWS / "0123" / KEY, ROWS / "4567" / "other"
    with store.alone(KEY):
        for folder in (desk, other):
            folder.mkdir(parents=True)  # no shard is finished yet
        tidy.tidy([])
        assert desk.exists() and not other.exists()
        with pytest.raises(FaceemoError, match="faces: another process is extracting it"), store.alone(KEY):
            pass
        (desk / "1.parquet").touch()
        (unused,) = find_unused([])
        with pytest.raises(FaceemoError, match="faces: another process is extracting it"):
            unused.remove()
        assert (desk / "1.parquet").exists()
    unused.remove()
    assert not desk.exists()


@in_a_tree
def test_whole_rows_of_other_settings_stay_while_they_are_extracted(scanned):
    scanned.extract(crops=False)
    as_dvc_stores()
    with store.alone(KEY):
        tidy.tidy([KEY])
    assert len(list(ROWS.glob("*/*"))) == 2
    tidy.tidy([KEY])
    assert len(list(ROWS.glob("*/*"))) == 1


def test_what_the_work_itself_is_refused_keeps_its_own_words(work):
    with pytest.raises(BlockingIOError, match="a pipe that is full"), store.alone(KEY):
        raise BlockingIOError("a pipe that is full")


@in_a_tree
def test_rows_that_vanish_while_they_are_used_are_one_line(scanned, monkeypatch):
    scanned.write(CHANGED)
    scanned.scan()
    find = Store.find

    def find_and_lose(*args):
        known = find(*args)
        for folder in filter(Path.is_dir, ROWS.iterdir()):  # the lock is held
            shutil.rmtree(folder)
        return known

    monkeypatch.setattr(Store, "find", find_and_lose)
    with pytest.raises(FaceemoError, match=r"\.parquet: changed or removed meanwhile; run 'dvc repro' again"):
        scanned.extract()


@needs_posix("bounds the size of files")
def test_a_full_disk_is_one_line_that_names_the_file(work):
    code = (
        "import os; import pyarrow as pa; from faceemo.extraction.schema import SCHEMA;"
        "from faceemo.extraction.store import Store; from faceemo.pictures.reader import Picture;"
        "rows = {name: [None] * 100 for name in SCHEMA.names} | {'crop': [os.urandom(4096)] * 100};"
        "rows['image'] = [os.urandom(4096).hex() for _ in range(100)];"
        "Store('a', b'{}').write([Picture('a', 'a')], pa.table(rows, schema=SCHEMA))"
    )
    exit_code, _, errors = on_a_full_disk(code)
    assert exit_code == 1
    assert "File too large" in errors and ".parquet" in errors and errors.count("\n") == 1
    assert not [path for path in ROWS.rglob("*") if path.is_file()]


# What stays


def on_disk():
    """Bytes of all rows below data, each file counted once however many names it has."""
    files = {path.stat().st_ino: path for path in Path("data").rglob("*.parquet")}
    return sum(path.stat().st_size for path in files.values())


@in_a_tree
def test_a_whole_sources_rows_are_on_disk_once_beside_dvcs_cache_and_outlive_its_landmarks(scanned):
    as_dvc_stores()
    size = sum(map(len, shard_bytes()))
    assert on_disk() == 2 * size
    tidy.tidy([KEY])
    assert on_disk() == size
    before = shard_bytes()
    assert find_unused([KEY]) == []
    assert scanned.extract() == set()
    assert shard_bytes() == before


@in_a_tree
def test_landmarks_that_came_from_elsewhere_are_not_read_again(scanned):
    """As after `dvc pull` in a clone."""
    as_dvc_stores()
    shutil.rmtree(ROWS)
    scanned.write(CHANGED)
    scanned.scan()
    assert scanned.extract() == {"happy/p0_2.png", "sad/p2_1.png"}


@in_a_tree
def test_without_hard_links_rows_are_copied(scanned, monkeypatch):
    def refuse(*_):
        raise OSError("no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    before = shard_bytes()
    as_dvc_stores()
    tidy.tidy([KEY])
    assert scanned.extract() == set()
    assert shard_bytes() == before


@in_a_tree
def test_rows_that_the_new_ones_hold_go(scanned):
    scanned.write(CHANGED)
    scanned.scan()
    scanned.extract()
    as_dvc_stores()
    tidy.tidy([KEY])
    assert on_disk() == sum(map(len, shard_bytes()))


@pytest.mark.slow
def test_rows_of_an_archive_that_has_another_name_now_go(work):
    source = source_of(make_zip(Path("a.zip"), PICTURES))
    work.extract(source, key="a")
    shutil.rmtree("data/landmarks/a")
    work.extract(source, key="b")
    tidy.tidy(["b"])
    assert {path.parent.name for path in ROWS.glob("*/*/*")} == {"b"}


@in_a_tree
def test_rows_beyond_a_smaller_limit_stay(scanned):
    scanned.extract(limit=5)
    tidy.tidy([KEY])
    assert scanned.extract() == set()


@in_a_tree
def test_whole_rows_of_other_settings_go_and_unfinished_ones_stay(scanned, monkeypatch):
    """`dvc exp run -S extract.crops=false` in between must not cost the hours of an unfinished extraction."""
    scanned.extract(crops=False)
    as_dvc_stores()
    tidy.tidy([KEY])
    assert len(list(ROWS.glob("*/*"))) == 1
    scanned.extract_and_stop(monkeypatch, limit=5)
    scanned.extract(crops=False)
    as_dvc_stores()
    tidy.tidy([KEY])
    assert len(list(ROWS.glob("*/*"))) == 2
    assert len(scanned.extract()) == len(PICTURES) - 5


@in_a_tree
def test_the_work_of_a_copy_of_the_project_is_the_projects(scanned, monkeypatch):
    """`dvc exp run --temp` works in a copy below .dvc/tmp, without what git ignores."""
    project = Path.cwd()
    copy = Path(".dvc/tmp/exps/abc")
    copy.mkdir(parents=True)
    shutil.copytree("data", copy / "data", ignore=shutil.ignore_patterns(".rows", ".seen", "landmarks"))
    expected = shard_bytes()
    monkeypatch.chdir(copy)
    source = replace(read_sources()[KEY], tree=str(project / "faces"))
    assert scanned.extract(source) == set()
    assert shard_bytes() == expected
    assert scanned.extract(source, limit=5, crops=False)
    tidy.tidy([KEY])  # leaves the project's own rows alone
    monkeypatch.chdir(project)
    shutil.rmtree(".dvc")
    assert len(scanned.extract(crops=False)) == len(PICTURES) - 5
    assert scanned.extract() == set()


# faceemo clean


@in_a_tree
def test_clean_lists_and_removes_what_no_source_uses(scanned, monkeypatch, capsys):
    scanned.extract_and_stop(monkeypatch, crops=False)
    earlier = Path("data/.partial/faces-0123456789abcdef")
    earlier.mkdir(parents=True)
    shutil.copy(next(ROWS.glob("*/*/*.parquet")), earlier)
    scanned.extract(limit=5)
    used = set(map(str, ROWS.glob("*/*/*.parquet")))
    capsys.readouterr()
    assert main(["clean"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and "faceemo clean --remove" in lines[-1]
    assert sum(line.startswith("faces: rows of 12 pictures, 0.0 MB (data") for line in lines) == 2
    assert set(map(str, ROWS.glob("*/*/*.parquet"))) == used
    assert main(["clean", "--remove"]) == 0
    assert capsys.readouterr().out.endswith("removed 3\n")
    assert not Path("data/.partial").exists()
    assert sum(len(read_parquet(path)) for path in ROWS.glob("*/*/*.parquet")) == 5
    assert main(["clean"]) == 0
    assert capsys.readouterr().out == "no rows that are not in use\n"
    assert len(scanned.extract()) == len(PICTURES) - 5


# The look-up


def test_a_file_is_named_after_its_pictures_and_says_how_its_rows_were_made(work):
    work.write({"happy/p1_1.png": b"1", "sad/p1_1.png": b"22"})
    work.scan()
    work.extract()
    (path,) = ROWS.glob("*/*/*.parquet")
    metadata = pq.read_schema(path).metadata
    assert metadata[b"faceemo.pictures"].decode() == path.stem
    assert json.loads(metadata[b"faceemo.extract"]) == json.loads(how_made(SETTINGS))
    rows = read_parquet(path, ["size", "crc32"]).to_pylist()
    assert [(row["size"], row["crc32"]) for row in rows] == [(1, 2212294583), (2, 1685985038)]


def test_pngs_of_one_size_and_crc_are_told_apart_by_their_names(work):
    """As they come: 22 pairs of these 1,500 have both alike, since a PNG ends in a CRC of its own."""
    random = np.random.default_rng(0)
    noise = [encoded(random.integers(0, 256, (24, 24, 3), np.uint8), "PNG") for _ in range(1500)]
    crcs = [zlib.crc32(data) for data in noise]
    first = next(number for number, crc in enumerate(crcs) if crcs.count(crc) > 1)
    second = crcs.index(crcs[first], first + 1)
    assert len(noise[first]) == len(noise[second]) and noise[first] != noise[second]
    work.extract(source_of(make_zip(Path("a.zip"), {"a/1.png": noise[first]})), key="a")
    assert work.extract(source_of(make_zip(Path("b.zip"), {"b/2.png": noise[second]})), key="b") == {"b/2.png"}
    assert work.extract(source_of(make_zip(Path("b.zip"), {"b/c/1.png": noise[first]})), key="b") == set()


@pytest.mark.parametrize("name", ["a/b.jpg", "b.JPEG", "b.png", "a/b/b.png", "중립/사진.webp", "a\\b.png", "b"])
@pytest.mark.parametrize("size", [0, SMALL - 1, SMALL, 10**10])
def test_a_picture_and_its_row_have_the_same_key(tmp_path, name, size):
    rows = pa.table(
        {
            **{column: [None] for column in SCHEMA.names},
            "image": [name],
            "size": [size],
            "crc32": [7],
            "status": ["ok"],
        },
        schema=SCHEMA,
    )
    pq.write_table(rows, tmp_path / "a.parquet")
    keys, which = store.lasting_keys(tmp_path / "a.parquet")
    assert keys.to_pylist() == store.keys_of([Picture(name, "", size=size, crc=7)]).to_pylist()
    assert which.tolist() == [0]
    assert store.keys_of([Picture(name, "")]).to_pylist() == [None]
