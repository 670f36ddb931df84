import hashlib
import json
import os
import pickle
import re
import signal
import subprocess
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_archives import (
    ANXIOUS,
    NEUTRAL,
    SETTINGS,
    alive,
    children_of,
    driver,
    encoded,
    heed_ctrl_c,
    make_zip,
    pictures_in,
    run_driver,
    shard_bytes,
    shard_rows,
    source_of,
)
from made_faces import needs_litert, needs_mediapipe
from PIL import Image
from skimage.data import astronaut
from systems import needs_posix

from faceemo.errors import FaceemoError
from faceemo.extraction import worker
from faceemo.extraction.decode import EncodedPicture
from faceemo.extraction.engines import choice
from faceemo.extraction.engines.choice import choose_engine, installed_engines
from faceemo.extraction.extract import extract
from faceemo.extraction.facemesh import FaceMesh, face_width
from faceemo.extraction.worker import FACE_WIDTH, Task, measure, measure_pixels, read_task
from faceemo.pictures.reader import first_by_hash

needs_signals = needs_posix("sends signals")


@pytest.fixture(scope="module")
def mesh():
    return FaceMesh()


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def rows_of(folder):
    return shard_rows(folder).to_pylist()


def extracted(path, limit=None, **settings):
    values = type(SETTINGS)(**{**vars(SETTINGS), **settings})
    return rows_of(extract("a-training-01", source_of(path), values, limit, workers=1))


# Rows


@pytest.mark.slow
def test_every_picture_is_a_row_in_the_archives_order_with_its_status():
    rows = extracted(NEUTRAL)
    pictures = pictures_in(NEUTRAL)
    identity = [(row["image"], row["size"], row["crc32"]) for row in rows]
    assert identity == [(picture.name, picture.size, picture.crc) for picture in pictures]
    statuses = [row["status"] for row in rows]
    assert (statuses.count("ok"), statuses.count("no_face"), statuses.count("decode_error")) == (48, 1, 1)
    for row in rows:
        assert (row["landmarks"] is not None) == (row["crop"] is not None) == (row["status"] == "ok")
        assert (row["error"] is not None) == (row["status"] == "decode_error")
        assert row["faces"] == {"ok": 1, "no_face": 0, "decode_error": None}[row["status"]]


@pytest.mark.slow
def test_sizes_and_landmarks_are_those_of_the_upright_picture_whatever_its_exif_orientation(tmp_path):
    upright = astronaut()[:400, 60:360]
    stored = {  # how a picture of each EXIF orientation lies
        0: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        6: np.rot90(upright),
        8: np.rot90(upright, -1),
    }
    members = {"plain.png": encoded(upright, "PNG")}
    for orientation, pixels in stored.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        members[f"{orientation}.png"] = encoded(np.ascontiguousarray(pixels), "PNG", exif=exif)
    plain, *others = extracted(make_zip(tmp_path / "a.zip", members))
    assert plain["status"] == "ok"
    for row in others:
        assert (row["width"], row["height"], row["turned"]) == (300, 400, 0), row["image"]
        assert (row["landmarks"], row["crop"]) == (plain["landmarks"], plain["crop"]), row["image"]


def test_a_smaller_limit_is_a_subset_in_the_same_order():
    few, more = extracted(ANXIOUS, limit=3), extracted(ANXIOUS, limit=6)
    names = [row["image"] for row in more]
    assert [row["image"] for row in few] == [name for name in names if name in {row["image"] for row in few}]
    ranked = sorted(pictures_in(ANXIOUS), key=lambda picture: hashlib.sha256(picture.name.encode()).digest())
    assert set(names) == {picture.name for picture in ranked[:6]}


def test_an_archive_that_changed_since_the_scan_is_refused():
    source = source_of(ANXIOUS)
    with pytest.raises(FaceemoError, match=r"changed since the last scan; run 'faceemo scan'"):
        extract("a-training-01", type(source)(**{**vars(source), "digest": "0" * 64}), SETTINGS, None, 1)


def provenance_of(folder) -> dict:
    return json.loads(pq.read_schema(folder / "part-00000.parquet").metadata[b"faceemo.extract"])


@pytest.mark.parametrize("engine", installed_engines())
def test_rows_say_which_engine_made_them_and_the_versions_they_depend_on(tmp_path, engine):
    settings = replace(SETTINGS, engine=engine)
    found = provenance_of(extract("a-training-01", source_of(NEUTRAL), settings, 2, workers=1))
    libraries = {"mediapipe": {"mediapipe"}, "litert": {"ai-edge-litert", "opencv"}}[engine]
    assert found["engine"] == engine
    assert found["versions"].keys() == {"simplejpeg", "pillow", *libraries}
    assert found["settings"].keys() == vars(SETTINGS).keys() - {"engine", "scheduler"}


def test_auto_is_the_work_of_the_engine_that_it_takes(tmp_path):
    made = {}
    for engine in ("auto", choose_engine("auto")):
        folder = extract("a-training-01", source_of(NEUTRAL), replace(SETTINGS, engine=engine), 2, workers=1)
        made[engine] = (folder / "part-00000.parquet").read_bytes()
        assert len([one for one in (tmp_path / "data/.rows").iterdir() if one.is_dir()]) == 1
    assert len(set(made.values())) == 1


@needs_mediapipe
@needs_litert
def test_rows_of_one_engine_are_not_taken_for_the_others(tmp_path, capfd):
    for engine in ("mediapipe", "litert"):
        folder = extract("a-training-01", source_of(NEUTRAL), replace(SETTINGS, engine=engine), 2, workers=1)
        assert provenance_of(folder)["engine"] == engine
    assert "read before" not in capfd.readouterr().out


def test_an_engine_that_is_not_installed_is_one_clear_line_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "installed_engines", lambda: ("litert",))
    with pytest.raises(FaceemoError, match=r"extract\.engine: mediapipe is not installed here; set it to auto"):
        extract("a-training-01", source_of(NEUTRAL), replace(SETTINGS, engine="mediapipe"), 2, workers=2)
    assert not (tmp_path / "data").exists()


# Faces upside down, as in a copy that lost its EXIF orientation


@pytest.mark.slow
def test_a_face_upside_down_is_measured_in_the_turned_picture_and_its_row_says_180(tmp_path, mesh, capfd):
    upright = astronaut()[:, :400]
    lies = np.ascontiguousarray(upright[::-1, ::-1])
    assert len(mesh.find(lies))  # by itself FaceMesh lays an upright mesh on it
    mirrored = np.ascontiguousarray(upright[:, ::-1])
    pictures = {"a": upright, "b": lies, "c": mirrored, "d": np.ascontiguousarray(upright[::-1])}
    archive = make_zip(tmp_path / "a.zip", {f"{name}.png": encoded(rgb, "PNG") for name, rgb in pictures.items()})
    plain, turned, mirror, mirror_turned = extracted(archive)
    assert [row["turned"] for row in (plain, turned, mirror, mirror_turned)] == [0, 180, 0, 180]
    assert (turned["width"], turned["height"], turned["faces"]) == (400, 512, 1)
    assert (turned["landmarks"], turned["crop"]) == (plain["landmarks"], plain["crop"])
    assert (mirror_turned["landmarks"], mirror_turned["crop"]) == (mirror["landmarks"], mirror["crop"])
    assert "4 pictures: 4 ok (2 upside down, turned); " in capfd.readouterr().out


def test_a_small_face_upside_down_is_decoded_again_larger_and_turned():
    picture = np.full((2000, 2000, 3), 180, np.uint8)
    picture[600:1300, 600:1300] = enlarged(700)
    upright = read_alone(encoded(picture, quality=92))
    turned = read_alone(encoded(np.ascontiguousarray(picture[::-1, ::-1]), quality=92))
    assert (upright.turned, turned.turned) == (0, 180)
    assert distance_percent(turned, upright) < 1.0


def test_a_face_that_the_detector_is_unsure_of_is_turned_only_if_it_is_surer_then(mesh):
    grain = np.random.default_rng(0).normal(0, 40, (600, 600, 1))
    unsure = np.clip(enlarged(600) + grain, 0, 255).astype(np.uint8)
    faces, score = mesh.find_scored(unsure)
    assert len(faces) == 1 and score < worker.UNSURE_SCORE
    found = read_alone(encoded(unsure, "PNG"))
    assert (found.status, found.turned) == ("ok", 0)
    np.testing.assert_array_equal(found.landmarks, faces[0].reshape(-1))


def test_a_picture_without_a_face_is_not_turned():
    found = read_alone(encoded(np.full((480, 640, 3), 128, np.uint8)))
    assert (found.status, found.turned) == ("no_face", 0)


def test_frames_are_taken_as_they_lie(mesh):
    lies = np.ascontiguousarray(astronaut()[::-1, ::-1])
    for found in (measure_pixels(lies, SETTINGS), measure(encoded(lies, "PNG"), SETTINGS)):
        assert (found.status, found.turned) == ("ok", 0)
        np.testing.assert_array_equal(found.landmarks, mesh.find(lies)[0].reshape(-1))


# A face that fills its picture


def test_a_face_that_fills_the_picture_is_found_with_a_border_and_has_its_place_without(mesh):
    whole = read_alone(encoded(astronaut(), "PNG"))
    left, top = 185, 100  # 80 x 80 pixels, from brow to chin
    filled = np.ascontiguousarray(astronaut()[top : top + 80, left : left + 80])
    assert not len(mesh.find(filled))
    found = read_alone(encoded(filled, "PNG"))
    assert (found.status, found.width, found.height, found.faces, found.turned) == ("ok", 80, 80, 1, 0)
    there = found.points + np.array([left, top])
    assert np.linalg.norm(there - whole.points, axis=1).mean() < 1.5
    assert found.box[1] < -20  # the forehead lies above the picture
    turned = read_alone(encoded(np.ascontiguousarray(filled[::-1, ::-1]), "PNG"))
    assert turned.turned == 180
    for other in (measure(encoded(filled, "PNG"), SETTINGS), measure_pixels(filled, SETTINGS), turned):
        np.testing.assert_array_equal(other.landmarks, found.landmarks)
        np.testing.assert_array_equal(other.crop, found.crop)


def test_a_large_face_that_fills_a_jpeg_is_found_at_a_reduced_scale():
    filled = np.asarray(Image.fromarray(astronaut()[100:180, 185:265]).resize((2400, 2400), Image.BICUBIC))
    small, large = read_alone(encoded(filled[::30, ::30], "PNG")), read_alone(encoded(filled, quality=92))
    assert (large.status, large.width) == ("ok", 2400)
    assert distance_percent(large, small) < 8


def test_a_picture_with_a_face_is_not_looked_at_with_a_border(monkeypatch):
    monkeypatch.setattr(worker, "_find_with_border", lambda *_: pytest.fail("looked"))
    assert read_alone(encoded(astronaut(), "PNG")).status == "ok"


# Hostile input


def patched(path: Path, old: bytes, new: bytes, count: int = -1) -> Path:
    path.write_bytes(path.read_bytes().replace(old, new, count))
    return path


@pytest.mark.slow
def test_broken_members_are_rows_that_say_why(tmp_path):
    picture = encoded(astronaut())
    cmyk = Image.fromarray(astronaut()).convert("CMYK")
    cmyk.save(tmp_path / "cmyk.jpg")
    inner = make_zip(tmp_path / "inner.zip", {"x.jpg": picture}).read_bytes()
    members = {
        "good.jpg": picture,
        "empty.jpg": b"",
        "cut.jpg": picture[: len(picture) // 2],
        "text.png": b"no picture at all",
        "huge.png": _png_header(60_000, 60_000),
        "crc.jpg": b"ABCDEFGH" + picture,
        "locked.jpg": picture,
        "giant.jpg": picture,
        "cmyk.jpg": (tmp_path / "cmyk.jpg").read_bytes(),
        "archive.zip": inner,
        "zip-as.jpg": inner,
        "Thumbs.db": b"x",
    }
    path = make_zip(tmp_path / "a.zip", members)
    patched(path, b"ABCDEFGH", b"ABCDEFGX")
    _patch_directory(path, "locked.jpg", flags=1)
    _patch_directory(path, "giant.jpg", size=4_000_000_000)
    rows = {row["image"]: row for row in extracted(path)}
    assert list(rows) == [name for name in members if name.endswith((".jpg", ".png"))]
    assert {name: row["status"] for name, row in rows.items()} == {
        "good.jpg": "ok",
        "empty.jpg": "decode_error",
        "cut.jpg": "decode_error",
        "text.png": "decode_error",
        "huge.png": "decode_error",
        "crc.jpg": "read_error",
        "locked.jpg": "read_error",
        "giant.jpg": "read_error",
        "cmyk.jpg": "ok",
        "zip-as.jpg": "decode_error",
    }
    for name, word in {
        "huge.png": "above the bound",
        "crc.jpg": "CRC",
        "locked.jpg": "encrypted",
        "cut.jpg": "end",
    }.items():
        assert word in rows[name]["error"]


def _png_header(width: int, height: int) -> bytes:
    data = bytearray(encoded(np.zeros((2, 2, 3), np.uint8), "PNG"))
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    import zlib

    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    return bytes(data)


def _patch_directory(path: Path, name: str, flags: int | None = None, size: int | None = None) -> None:
    """Change one member's entry in the central directory (APPNOTE 4.3.12)."""
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    while data[entry + 46 : entry + 46 + len(name)] != name.encode():
        entry = data.index(b"PK\x01\x02", entry + 4)
    if flags is not None:
        data[entry + 8 : entry + 10] = flags.to_bytes(2, "little")
    if size is not None:
        data[entry + 24 : entry + 28] = size.to_bytes(4, "little")
    path.write_bytes(data)


def test_members_of_one_name_are_rows_of_their_own(tmp_path):
    path = tmp_path / "twice.zip"
    with zipfile.ZipFile(path, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a.jpg", encoded(astronaut()))
        archive.writestr("a.jpg", encoded(np.zeros((64, 64, 3), np.uint8)))
    assert [(row["image"], row["status"]) for row in extracted(path)] == [("a.jpg", "ok"), ("a.jpg", "no_face")]


def test_an_archive_at_an_odd_path_is_read(tmp_path):
    path = make_zip(tmp_path / "100% [원천] a b" / "[원천] 50%.zip", {"a.jpg": encoded(astronaut())})
    assert [row["status"] for row in extracted(path)] == ["ok"]


# The scale that a JPEG is decoded at


def enlarged(side: int) -> np.ndarray:
    """The astronaut's head, half as wide as the picture."""
    return np.asarray(Image.fromarray(astronaut()[30:250, 115:335]).resize((side, side), Image.BICUBIC))


def distance_percent(found, exact):
    """Mean distance of points [478, 3] in the picture plane, in % of the distance between the irises."""
    found, exact = (np.reshape(reading.landmarks, (478, 3))[:, :2] for reading in (found, exact))
    return 100 * np.linalg.norm(found - exact, axis=1).mean() / np.linalg.norm(exact[468] - exact[473])


def read_alone(data):
    """The reading of a picture that is no frame."""
    return measure(data, SETTINGS, check_upside_down=True)


def test_a_large_face_is_found_at_a_reduced_scale_within_a_percent():
    data = encoded(enlarged(2400), quality=92)
    exact = measure_pixels(EncodedPicture(data).pixels(), SETTINGS)
    found = measure(data, SETTINGS)
    assert 0 < distance_percent(found, exact) < 1.0
    assert (found.width, found.height) == (2400, 2400)


def test_a_face_too_small_at_a_reduced_scale_is_decoded_again_larger():
    picture = np.full((2000, 2000, 3), 180, np.uint8)
    picture[600:1300, 600:1300] = enlarged(700)
    data = encoded(picture, quality=92)
    exact = measure_pixels(EncodedPicture(data).pixels(), SETTINGS)
    assert face_width(np.reshape(exact.landmarks, (478, 3)), 2000) / 4 < FACE_WIDTH / 2
    assert distance_percent(measure(data, SETTINGS), exact) < 1.0


def test_no_face_is_lost_to_speed(mesh, monkeypatch):
    monkeypatch.setattr(worker, "FIRST_SIDE", 900)  # a picture of 2000 x 2000 is first tried at 1/2
    picture = np.full((2000, 2000, 3), 60, np.uint8)
    picture[300:790, 300:790] = enlarged(490)  # at the limit of what is detected
    data = encoded(picture, quality=92)
    assert not len(mesh.find(EncodedPicture(data).pixels(2)))
    assert measure(data, SETTINGS).status == "ok"


# Same bytes, whatever happens


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Shards of eight rows of 24 pictures, by an undisturbed run in one process."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = run_driver(folder, ANXIOUS, workers=1, limit=24)
    assert done.returncode == 0, done.stderr
    shards = shard_bytes(folder)
    assert list(shards) == ["part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]
    return shards


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 3])
def test_any_number_of_workers_gives_the_same_bytes(tmp_path, undisturbed, workers):
    done = run_driver(tmp_path, ANXIOUS, workers=workers, limit=24)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert shard_bytes(tmp_path) == undisturbed


SLOW = (
    "import time\nreal = Store.write\ndef slowly(*shard):\n    real(*shard)\n    time.sleep(60)\nStore.write = slowly"
)
KILL = "import os, signal\ndef kill(*_): os.kill(os.getpid(), signal.SIGKILL)\n"
AFTER_TWO = "calls = []\nreal = Store.write\ndef third(*shard):\n    calls.append(1)\n"
MOMENTS = {
    "inside a shard": (
        KILL + AFTER_TWO + "    kill() if len(calls) == 3 else real(*shard)\nStore.write = third",
        16,
    ),
    "between a shard's write and its rename": (
        KILL
        + "import faceemo.durable as durable\ncalls = []\nreal = durable.rename\n"
        + "def second(old, new):\n    calls.append(1)\n    kill() if len(calls) == 2 else real(old, new)\n"
        + "durable.rename = second",
        8,
    ),
    "between the last shard and the folder's rename": (
        KILL + "import faceemo.extraction.store as store\nstore.rename = kill",
        24,
    ),
    "after the folder's rename": (KILL + "Store.drop_unused = kill", 24),
}


@pytest.mark.slow
@needs_signals
@pytest.mark.parametrize("moment", MOMENTS)
def test_kill_9_loses_at_most_the_shard_in_flight(tmp_path, undisturbed, moment):
    hook, kept = MOMENTS[moment]
    killed = run_driver(tmp_path, ANXIOUS, workers=1, limit=24, hook=hook)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    again = run_driver(tmp_path, ANXIOUS, workers=1, limit=24)
    assert again.returncode == 0, again.stderr
    assert f"{kept} of 24 pictures were read before" in again.stdout
    assert shard_bytes(tmp_path) == undisturbed
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_picture_that_kills_its_worker_is_a_row_and_the_others_are_as_ever(tmp_path, undisturbed, workers):
    pictures = pictures_in(ANXIOUS)
    name = pictures[first_by_hash(pictures, 24)[9]].name  # in the second of three shards
    hook = f"extract.read_task = ReadOrDie({{{name!r}}})"
    done = run_driver(tmp_path, ANXIOUS, workers=workers, limit=24, hook=hook)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    shards = shard_bytes(tmp_path)
    assert [name for name in shards if shards[name] != undisturbed[name]] == ["part-00001.parquet"]
    rows = rows_of(tmp_path / "data/landmarks/a-training-01")
    [died] = [row for row in rows if row["status"] != "ok"]
    assert (died["image"], died["status"], died["error"]) == (name, "decode_error", "the decoder died on it")
    whole = pq.read_table(pa.BufferReader(undisturbed["part-00001.parquet"])).to_pylist()
    assert [row for row in rows[8:16] if row != died] == [row for row in whole if row["image"] != name]
    if workers == 2:  # it is tried again, it alone
        again = run_driver(tmp_path, ANXIOUS, workers=1, limit=24)
        assert "23 of 24 pictures were read before" in again.stdout
        assert shard_bytes(tmp_path) == undisturbed


@pytest.mark.slow
def test_a_worker_that_is_killed_from_outside_changes_nothing(tmp_path, undisturbed):
    hook = (
        "import multiprocessing\nreal = Store.write\ncalls = []\n"
        "def write(*shard):\n    real(*shard)\n    calls.append(1)\n"
        "    if len(calls) == 1: multiprocessing.active_children()[0].kill()\n"
        "Store.write = write"
    )
    done = run_driver(tmp_path, ANXIOUS, workers=2, limit=24, hook=hook)
    assert (done.returncode, done.stderr) == (0, "")
    assert shard_bytes(tmp_path) == undisturbed


@pytest.mark.slow
def test_workers_that_die_over_every_picture_are_one_clear_line_and_the_next_run_goes_on(tmp_path, undisturbed):
    pictures = pictures_in(ANXIOUS)
    lethal = {pictures[index].name for index in first_by_hash(pictures, 24)[16:]}
    hook = f"import faceemo.extraction.rescue as rescue\nrescue.MANY = 2\nextract.read_task = ReadOrDie({lethal})"
    died = run_driver(tmp_path, ANXIOUS, workers=2, limit=24, hook=hook)
    assert died.returncode == 1
    assert died.stderr.startswith("extract: error: a-training-01: workers died, most often because memory ran out")
    assert died.stderr.count("\n") == 1
    again = run_driver(tmp_path, ANXIOUS, workers=2, limit=24)
    assert again.returncode == 0, again.stderr
    assert "16 of 24 pictures were read before" in again.stdout
    assert shard_bytes(tmp_path) == undisturbed


@pytest.mark.slow
@needs_signals
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])  # Windows has no SIGKILL
def test_workers_end_when_their_parent_does(tmp_path, name):
    command = driver(tmp_path, ANXIOUS, workers=2, hook=SLOW)
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _wait_for(lambda: list(tmp_path.rglob("*.parquet")))
        workers = children_of(process.pid)
        assert len(workers) >= 2
        process.send_signal(getattr(signal, name))
        process.wait(10)
    _wait_for(lambda: not any(alive(pid) for pid in workers))


@pytest.mark.slow
@needs_signals
def test_ctrl_c_is_one_line_and_keeps_finished_shards(tmp_path, undisturbed):
    command = driver(tmp_path, ANXIOUS, workers=2, limit=24, hook=SLOW)
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=True,
        preexec_fn=heed_ctrl_c,
    ) as process:
        _wait_for(lambda: list(tmp_path.rglob("*.parquet")))
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors.count("\n") == 1
    assert "interrupted" in errors
    again = run_driver(tmp_path, ANXIOUS, workers=2, limit=24)
    assert "8 of 24 pictures were read before" in again.stdout
    assert shard_bytes(tmp_path) == undisturbed


@pytest.mark.slow
@needs_signals
def test_ctrl_c_while_workers_start_is_not_lost_and_none_prints_a_traceback(tmp_path):
    with subprocess.Popen(
        driver(tmp_path, ANXIOUS, workers=8),
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
        preexec_fn=heed_ctrl_c,
    ) as process:
        _wait_for(lambda: len(children_of(process.pid)) > 1)  # the first is multiprocessing's resource tracker
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert re.fullmatch(r"extract: interrupted; a-training-01: \d of 6 shards are kept, run again to go on\n", errors)


def statuses(path, pictures):
    return [reading.status for reading in read_task(Task(pictures, SETTINGS, str(path)))]


def test_a_worker_reads_an_archive_anew_that_changed_at_its_path(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a.png": encoded(enlarged(300), "PNG")})
    assert statuses(path, pictures_in(path)) == ["ok"]
    make_zip(path, {"b.png": encoded(np.zeros((300, 300, 3), np.uint8), "PNG")})
    assert statuses(path, pictures_in(path)) == ["no_face"]


@needs_posix("an open file cannot be replaced on Windows")
def test_a_worker_reads_a_good_copy_in_place_of_a_damaged_one(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a.png": encoded(enlarged(300), "PNG")})
    good, pictures = path.read_bytes(), pictures_in(path)
    path.write_bytes(good.replace(b"IDAT", b"IDAX"))
    assert statuses(path, pictures) == ["read_error"]
    path.with_name("b.zip").write_bytes(good)
    path.with_name("b.zip").replace(path)
    assert statuses(path, pictures) == ["ok"]


@pytest.mark.parametrize("members", [1, 3])
def test_another_copy_of_an_archive_is_one_clear_line(tmp_path, members):
    """A machine of a cluster has a shorter archive at the path, or one with other pictures."""
    path = make_zip(tmp_path / "a.zip", {f"{name}.png": encoded(enlarged(300), "PNG") for name in "abc"})
    pictures = pictures_in(path)
    make_zip(path, {f"{name}.png": encoded(enlarged(310), "PNG") for name in "abc"[:members]})
    with pytest.raises(FaceemoError, match=r"a\.zip is not the archive that was scanned"):
        statuses(path, pictures[2:])


def test_a_task_is_small():
    """Workers are sent one every few hundred milliseconds, each with the names of eight pictures."""
    assert len(pickle.dumps(Task(pictures_in(ANXIOUS)[:8], SETTINGS, str(ANXIOUS)))) < 3000


@pytest.mark.slow
def test_summary_counts_what_became_of_the_pictures(capfd):
    extract("a-training-01", source_of(NEUTRAL), SETTINGS, None, workers=1)
    assert "a-training-01: 50 pictures: 48 ok, 1 no_face, 1 decode_error; " in capfd.readouterr().out


def _wait_for(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
