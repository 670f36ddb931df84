"""Pictures of one's own that changed, in a source whose others did not: `faceemo scan`, then extract."""

import json
import shutil
from collections import Counter
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
from faceemo.errors import FaceemoError
from faceemo.extraction.partial import find_partials, remove_published
from faceemo.extraction.sources import read_sources
from faceemo.params import load_params

ROOT = Path(__file__).parents[2]
KEY = "faces"
SHARDS = Path("data/landmarks") / KEY
FACE = encoded(np.asarray(Image.fromarray(astronaut()[:300, 80:380])), "PNG")
PICTURES = {
    f"{word}/p{number}_1.png": encoded(np.full((40, 40, 3), 10 * number + len(word), np.uint8), "PNG")
    for word in ("happy", "sad")
    for number in range(5)
} | {"happy/p7_1.png": FACE, "sad/p8_1.png": b"no picture"}


@pytest.fixture(params=["tree", "zip", "table"])
def project(request, tmp_path, monkeypatch):
    """A project with twelve pictures of one's own in a source of this kind, extracted to shards of four rows."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(extraction, "SHARD_ROWS", 4)
    text = (ROOT / "params.yaml").read_text(encoding="utf-8").replace("workers: ", "workers: 1 ")
    Path("params.yaml").write_text(text, encoding="utf-8")
    made = Made(request.param, tmp_path, monkeypatch)
    made.write(PICTURES)
    made.scan()
    assert made.extract() == set(PICTURES)
    return made


class Made:
    """A source of this kind, and which of its pictures were read last."""

    def __init__(self, kind, folder, monkeypatch):
        self.place = {"tree": "faces", "zip": "faces.zip", "table": "faces.csv"}[kind]
        self.folder = folder
        self.record(monkeypatch)

    def record(self, monkeypatch):
        self.tasks = []
        read_in_order = extraction.read_in_order

        def recorded(opened, read, tasks):
            self.tasks += tasks
            return read_in_order(opened, read, tasks)

        monkeypatch.setattr(extraction, "read_in_order", recorded)

    def write(self, pictures):
        if self.place == "faces.zip":
            write_zip(Path(self.place), pictures)
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

    def extract(self):
        """Extract as dvc does; the names of the pictures that were read."""
        remove_published()
        shutil.rmtree(SHARDS, ignore_errors=True)
        self.tasks.clear()
        params = load_params()
        extraction.extract(KEY, read_sources()[KEY], params.extract, params.limit, params.workers)
        return {picture.name for task in self.tasks for picture in task.pictures}

    def extract_and_stop(self, monkeypatch):
        """Extract all shards, and stop before they become the source's landmarks."""
        with monkeypatch.context() as stopped, pytest.raises(pytest.fail.Exception):
            stopped.setattr(extraction, "publish", lambda *_: pytest.fail("stopped"))
            self.extract()


def has_a_face(path):
    return "ok" in pq.read_table(path, columns=["status"])["status"].to_pylist()


def flip_a_bit(path):
    """Where only the checksum of its page tells: the file can be read, with wrong landmarks."""
    content, before = path.read_bytes(), pq.read_table(path)
    path.unlink()  # perhaps a link
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        try:
            if pq.read_table(path, columns=["landmarks"])["landmarks"] != before["landmarks"]:
                return
        except (OSError, ValueError):
            continue
    pytest.fail("no bit of this file goes unnoticed")


def statuses():
    return pq.read_table(SHARDS, columns=["status"])["status"].to_pylist()


def shard_bytes():
    return [path.read_bytes() for path in sorted(SHARDS.iterdir())]


CHANGED = {
    **{name: data for name, data in PICTURES.items() if name != "happy/p3_1.png"},  # removed
    "happy/p0_2.png": encoded(np.full((40, 40, 3), 200, np.uint8), "PNG"),  # added
    "sad/p2_1.png": encoded(np.full((40, 40, 3), 210, np.uint8), "PNG"),  # changed
}


@pytest.mark.slow
def test_only_pictures_that_changed_are_read_and_the_shards_are_those_of_a_new_extraction(project, capsys):
    project.write(CHANGED)
    project.scan()
    assert f"{KEY}: the landmarks of 10 pictures stay; dvc repro reads only others\n" in capsys.readouterr().out
    assert project.extract() == {"happy/p0_2.png", "sad/p2_1.png"}
    assert f"{KEY}: landmarks of 10 of 12 pictures kept from an earlier run\n" in capsys.readouterr().out
    kept = shard_bytes()
    assert Counter(statuses()) == {"ok": 1, "no_face": 10, "decode_error": 1}
    assert project.extract() == set(CHANGED)
    assert shard_bytes() == kept


@pytest.mark.slow
def test_pictures_in_another_order_are_found_by_their_names(project):
    project.write(dict(reversed(CHANGED.items())))
    project.scan()
    assert project.extract() == {"happy/p0_2.png", "sad/p2_1.png"}
    kept = shard_bytes()
    project.extract()
    assert shard_bytes() == kept


@pytest.mark.slow
def test_a_scan_between_leaves_nothing_behind_and_loses_nothing(project):
    project.write(PICTURES | {"sad/p1_2.png": FACE})
    project.scan()
    project.write(CHANGED)
    project.scan()
    assert project.extract() == {"happy/p0_2.png", "sad/p2_1.png"}
    project.scan()
    assert [partial.is_complete for partial in find_partials()] == [True]
    remove_published()
    assert find_partials() == []


@pytest.mark.slow
def test_other_settings_keep_nothing(project, capsys):
    project.write(CHANGED)
    text = Path("params.yaml").read_text(encoding="utf-8")
    assert "max_faces: 1" in text
    Path("params.yaml").write_text(text.replace("max_faces: 1", "max_faces: 2"), encoding="utf-8")
    project.scan()
    assert "stay" not in capsys.readouterr().out
    assert project.extract() == set(CHANGED)


@pytest.mark.slow
@pytest.mark.parametrize("project", ["tree"], indirect=True)
def test_a_shard_with_a_wrong_bit_is_made_again(project):
    remove_published()
    project.write(CHANGED)
    first = next(path for path in sorted(SHARDS.iterdir()) if has_a_face(path))
    names = set(pq.read_table(first, columns=["image"])["image"].to_pylist())
    flip_a_bit(first)
    project.scan()
    assert project.extract() == {"happy/p0_2.png", "sad/p2_1.png"} | (names & set(CHANGED))


@pytest.mark.slow
@pytest.mark.parametrize("project", ["tree"], indirect=True)
def test_kept_rows_with_a_wrong_bit_are_read_from_their_pictures(project):
    project.write(CHANGED)
    project.scan()
    flip_a_bit(next(path for path in sorted(Path("data/.partial").glob("*/earlier-*")) if has_a_face(path)))
    assert project.extract() > {"happy/p0_2.png", "sad/p2_1.png"}
    kept = shard_bytes()
    project.extract()
    assert shard_bytes() == kept


@pytest.mark.slow
@pytest.mark.parametrize("project", ["tree"], indirect=True)
def test_rows_outlive_a_stage_that_failed_since_pictures_had_changed_again(project):
    project.write(CHANGED)
    project.scan()
    project.write(CHANGED | {"sad/p1_2.png": FACE})
    with pytest.raises(FaceemoError, match="changed since the last scan"):
        project.extract()
    project.scan()
    project.scan()
    assert project.extract() == {"happy/p0_2.png", "sad/p2_1.png", "sad/p1_2.png"}
    remove_published()
    assert find_partials() == []


@pytest.mark.slow
@pytest.mark.parametrize("project", ["tree"], indirect=True)
def test_finished_shards_of_an_extraction_that_was_stopped_are_used_after_another_change(project, monkeypatch):
    project.write(PICTURES | {"happy/p0_2.png": FACE})
    project.scan()
    for path in Path("data/.partial").glob("*/earlier-*"):
        path.unlink()
    project.extract_and_stop(monkeypatch)
    project.write(PICTURES | {"happy/p0_2.png": FACE, "sad/p1_2.png": FACE})
    project.scan()
    assert project.extract() == {"sad/p1_2.png"}


@pytest.mark.slow
@pytest.mark.parametrize("project", ["tree"], indirect=True)
def test_rows_outlive_scans_with_other_settings_and_without_some_pictures(project):
    """While the landmarks are gone, as in a stage that was stopped."""
    project.write(PICTURES | {"sad/p1_2.png": FACE})
    project.scan()
    shutil.rmtree(SHARDS)
    text = Path("params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(text.replace("max_faces: 1", "max_faces: 2"), encoding="utf-8")
    project.scan()
    Path("params.yaml").write_text(text, encoding="utf-8")
    project.write({name: data for name, data in PICTURES.items() if "p1" in name or "p2" in name})
    project.scan()
    project.write(PICTURES | {"sad/p1_2.png": FACE})
    project.scan()
    assert project.extract() == {"sad/p1_2.png"}
    project.scan()
    remove_published()
    assert find_partials() == []


@pytest.mark.slow
@pytest.mark.parametrize("project", ["tree"], indirect=True)
def test_files_without_metadata_or_columns_stop_neither_scan_nor_extract(project):
    remove_published()
    project.write(CHANGED)
    shards = sorted(SHARDS.iterdir())
    for path, columns in zip(shards[:2], (None, ["image", "landmarks"]), strict=True):
        table = pq.read_table(path, columns=columns)
        path.unlink()
        pq.write_table(table.replace_schema_metadata(None) if columns is None else table, path)
    project.scan()
    kept = min(Path("data/.partial").glob("*/earlier-*"))
    pq.write_table(pq.read_table(kept).replace_schema_metadata(None), kept)
    assert project.extract() == set(CHANGED)


@pytest.mark.slow
@pytest.mark.parametrize("project", ["tree"], indirect=True)
def test_no_more_rows_than_the_limit_are_kept(project, capsys):
    text = Path("params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(text.replace("limit: ", "limit: 3 "), encoding="utf-8")
    capsys.readouterr()
    project.scan()
    assert f"{KEY}: the landmarks of 3 pictures stay" in capsys.readouterr().out
    assert project.extract() == set()
    assert len(statuses()) == 3


@pytest.mark.slow
@pytest.mark.parametrize("project", ["tree"], indirect=True)
def test_a_scan_while_pictures_are_extracted_is_one_line(project, monkeypatch):
    project.write(CHANGED)
    project.scan()
    joined = extraction.EarlierRows.joined

    def scanned_first(*args):
        for path in Path("data/.partial").glob("*/earlier-*"):
            path.unlink()
        return joined(*args)

    monkeypatch.setattr(extraction.EarlierRows, "joined", scanned_first)
    with pytest.raises(FaceemoError, match="run 'dvc repro' again"):
        project.extract()


@pytest.mark.slow
@pytest.mark.parametrize("project", ["tree"], indirect=True)
def test_what_a_scan_put_aside_goes_when_the_landmarks_hold_again(project):
    remove_published()
    project.write(CHANGED)
    project.scan()
    assert [partial.shards for partial in find_partials()] == [0]
    project.write(PICTURES)
    project.scan()
    assert find_partials() == []


@pytest.mark.slow
@pytest.mark.parametrize("project", ["tree"], indirect=True)
def test_unfinished_work_of_another_limit_stays_when_the_landmarks_hold(project, monkeypatch):
    text = Path("params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(text.replace("limit: ", "limit: 3 "), encoding="utf-8")
    project.extract_and_stop(monkeypatch)
    (unfinished,) = find_partials()
    Path("params.yaml").write_text(text, encoding="utf-8")
    project.extract()
    remove_published()
    project.scan()
    assert find_partials() == [unfinished]


@pytest.mark.parametrize("project", ["tree"], indirect=True)
def test_a_scan_without_the_engine_or_without_room_goes_on(project, capsys, monkeypatch):
    project.write(CHANGED)
    for error in (FaceemoError("extract.engine: not here"), OSError(28, "No space left on device")):
        monkeypatch.setattr("faceemo.extraction.reuse.shard_metadata", raising(error))
        project.scan()
        out = capsys.readouterr().out
        assert f"{KEY}: landmarks cannot be kept" in out and str(error) in out and "wrote data/sources.yaml" in out


def raising(error):
    def function(*_):
        raise error

    return function


@pytest.mark.slow
def test_a_picture_less_reads_none(project):
    project.write({name: data for name, data in PICTURES.items() if name != "happy/p3_1.png"})
    project.scan()
    assert project.extract() == set()
    assert len(statuses()) == len(PICTURES) - 1


@pytest.mark.slow
@pytest.mark.parametrize("project", ["table"], indirect=True)
def test_a_picture_that_could_not_be_read_is_read_again(project):
    lines = Path("faces.csv").read_text(encoding="utf-8")
    Path("faces.csv").write_text(f"{lines}\nsad/p9_1.png,sad", encoding="utf-8")
    project.scan()
    assert project.extract() == {"sad/p9_1.png"}
    Path("sad/p9_1.png").write_bytes(FACE)
    project.scan()
    assert project.extract() == {"sad/p9_1.png"}
    assert statuses().count("ok") == 2


def test_a_shard_says_what_its_rows_were_made_of(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "params.yaml").read_text(encoding="utf-8").replace("workers: ", "workers: 1 ")
    Path("params.yaml").write_text(text, encoding="utf-8")
    made = Made("tree", tmp_path, monkeypatch)
    made.write({"happy/p1_1.png": b"1", "sad/p1_1.png": b"22"})
    made.scan()
    made.extract()
    metadata = pq.read_schema(SHARDS / "part-00000.parquet").metadata
    assert json.loads(metadata[b"faceemo.pictures"]) == [[1, 2212294583], [2, 1685985038]]
