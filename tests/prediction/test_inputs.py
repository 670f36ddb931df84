import os
import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_archives import ANXIOUS, NEUTRAL, SETTINGS, encoded
from systems import needs_posix
from video import video_file

from faceemo.errors import FaceemoError
from faceemo.extraction.worker import read_task
from faceemo.pictures.reader import MAX_BYTES
from faceemo.prediction import inputs
from faceemo.prediction.inputs import DRAWN_MARK, count_inputs, find_inputs, read_inputs


@pytest.fixture(scope="module")
def faces():
    """Two sample pictures as (name, encoded bytes)."""
    with zipfile.ZipFile(ANXIOUS) as archive:
        return [(info.filename, archive.read(info)) for info in archive.infolist()[:2]]


@pytest.fixture
def face_file(tmp_path, faces):
    path = tmp_path / "사진 1.jpg"
    path.write_bytes(faces[0][1])
    return path


def pixels_of(data):
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def read(*paths, workers=1, settings=SETTINGS):
    return list(read_inputs(find_inputs(list(paths)), settings, workers))


class TestFindInputs:
    def test_a_folder_gives_what_is_below_it_by_name_and_nothing_else(self, tmp_path):
        for name in ("b.JPG", "a/z.mp4", "a/1.zip", "notes.txt", "__MACOSX/b.jpg", "a/._z.mp4"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(b"x")
        found = [path.relative_to(tmp_path).as_posix() for path in find_inputs([tmp_path])]
        assert found == ["a/1.zip", "a/z.mp4", "b.JPG"]

    def test_what_faceemo_drew_below_a_folder_is_passed_over_and_told(self, tmp_path):
        for name in ("a.jpg", "drawn/a.jpg", "drawn/talk.webm", f"drawn/{DRAWN_MARK}", "more/drawn/b.jpg"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        notes = []
        found = find_inputs([tmp_path], notes.append)
        assert found == [tmp_path / "a.jpg", tmp_path / "more" / "drawn" / "b.jpg"]
        assert notes == [
            f"note: passed over what faceemo drew in {tmp_path / 'drawn'} (2); name that folder itself to judge it"
        ]
        drawn = [tmp_path / "drawn" / "a.jpg", tmp_path / "drawn" / "talk.webm"]
        assert find_inputs([tmp_path / "drawn"]) == find_inputs(drawn) == drawn

    def test_pictures_of_other_kinds_are_passed_over_and_told(self, tmp_path):
        for name in ("a.jpg", "scan.TIF", "b/move.gif", "notes.txt", "b/0001", ".DS_Store"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        notes = []
        assert find_inputs([tmp_path], notes.append) == [tmp_path / "a.jpg"]
        assert notes == [
            f"note: not read in {tmp_path}: 1 without a suffix, 1 .gif, 1 .tif; save pictures as .jpg or .png"
        ]

    def test_other_kinds_in_an_archive_are_counted(self, make_zip):
        archive = make_zip(
            "a.zip", ("a.jpg", b"x"), ("b.gif", b"x"), ("c/d.GIF", b"x"), ("talk.mp4", b"x"), ("t.txt", b"x")
        )
        notes = []
        assert count_inputs([archive], notes.append) == 1
        assert notes == [f"note: not read in {archive}: 2 .gif, 1 .mp4; save pictures as .jpg or .png"]

    def test_pictures_are_to_be_saved_and_archives_to_be_unpacked_where_there_are_such(self, tmp_path):
        (tmp_path / "a.jpg").touch()
        said = f"note: not read in {tmp_path}: "
        for name, line in (
            ("LICENSE", "1 without a suffix"),
            ("a.tar", "1 without a suffix, 1 .tar; unpack what is packed"),
            ("a.gif", "1 without a suffix, 1 .gif, 1 .tar; save pictures as .jpg or .png; unpack what is packed"),
        ):
            (tmp_path / name).touch()
            notes = []
            find_inputs([tmp_path], notes.append)
            assert notes == [said + line]

    def test_an_archive_without_pictures_says_what_it_holds_and_any_what_is_passed_over(self, make_zip):
        nested = make_zip("nested.zip", ("a.zip", b"x"), ("__MACOSX/._a.jpg", b"x"))
        odd = make_zip("odd.zip", ("/a.jpg", b"x"), ("../b.jpg", b"x"), (".trash/c.jpg", b"x"))
        notes = []
        assert count_inputs([nested, odd], notes.append) == 1
        assert notes == [
            f"note: {nested}: no pictures in it, but 1 .zip; unpack the archive in it",
            f"note: passed over in {odd}: 1 (its name leads out of the archive by '..'; pack it anew)",
            f"note: passed over in {odd}: 1 (a hidden or system folder)",
        ]

    def test_copies_in_hidden_folders_and_those_of_systems_are_passed_over(self, tmp_path):
        for name in ("a.jpg", ".ipynb_checkpoints/a.jpg", "@eaDir/a.jpg"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        notes = []
        assert find_inputs([tmp_path], notes.append) == [tmp_path / "a.jpg"]
        assert notes == [f"note: passed over in {tmp_path}: 2 (a hidden or system folder)"]

    @needs_posix("Windows has no FIFO")
    def test_a_pipe_is_never_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / "p.jpg")
        with pytest.raises(FaceemoError, match=r"p\.jpg: neither a file nor a folder"):
            find_inputs([tmp_path / "p.jpg"])
        with pytest.raises(FaceemoError, match="no pictures, archives or videos below"):
            find_inputs([tmp_path])

    def test_paths_keep_their_order(self, tmp_path):
        paths = [tmp_path / name for name in ("b.jpg", "a.jpg", "odd.name")]
        for path in paths:
            path.touch()
        assert find_inputs(paths) == paths

    def test_a_missing_path_is_named(self, tmp_path):
        with pytest.raises(FaceemoError, match=r"none\.jpg: no such file or folder$"):
            find_inputs([tmp_path / "none.jpg"])

    @pytest.mark.parametrize("name", ["faces.csv", "faces.parquet", "faces.xlsx"])
    def test_a_table_is_no_picture(self, tmp_path, name):
        (tmp_path / name).touch()
        with pytest.raises(FaceemoError, match=r"a table, not a picture; .* with 'faceemo evaluate'"):
            find_inputs([tmp_path / name])

    def test_a_pattern_that_the_shell_left_becomes_the_files_that_match(self, tmp_path, monkeypatch):
        for name in ("b.jpg", "a.jpg", "notes.txt", "c/d.jpg", "[x].jpg"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        paths = [tmp_path / name for name in ("[x].jpg", "a.jpg", "b.jpg")]
        assert find_inputs([tmp_path / "*.jpg"]) == paths
        assert find_inputs([paths[0]]) == [paths[0]]  # a file of that name comes first
        monkeypatch.chdir(tmp_path)
        assert find_inputs([Path("c/*.jpg"), Path("?.jpg")]) == [Path("c/d.jpg"), Path("a.jpg"), Path("b.jpg")]
        with pytest.raises(FaceemoError, match=r"\*\.png: no file matches this$"):
            find_inputs([Path("*.png")])

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ("0", "0: no such file or folder; faceemo serve judges the picture of a camera"),
            (
                "rtsp://a/1",
                "rtsp://a/1: pictures and videos are read from files; faceemo serve judges the picture of a camera",
            ),
            ("https://a.b/c.jpg", "https://a.b/c.jpg: pictures and videos are read from files; download it first"),
        ],
    )
    def test_a_camera_and_an_address_are_told_what_to_do(self, given, said):
        with pytest.raises(FaceemoError) as error:
            find_inputs([Path(given)])
        assert str(error.value) == said

    def test_a_folder_without_any_is_named(self, tmp_path):
        with pytest.raises(FaceemoError, match="no pictures, archives or videos below"):
            find_inputs([tmp_path])


def test_pictures_and_archives_are_counted_and_videos_are_not(face_file, tmp_path):
    assert count_inputs([face_file, NEUTRAL]) == 51
    assert count_inputs([face_file, tmp_path / "a.mp4"]) is None


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_files_and_archives_come_in_their_order_whatever_the_workers(face_file, make_zip, faces, workers, tmp_path):
    pictures = [make_zip("one.zip", *faces), face_file, make_zip("two.zip", faces[1])]
    for number in range(10):
        pictures.append(shutil.copy(face_file, tmp_path / f"{number}.jpg"))
    found = read(*pictures, workers=workers)
    assert [entry.path for entry in found] == [
        f"{tmp_path / 'one.zip'}/{faces[0][0]}",
        f"{tmp_path / 'one.zip'}/{faces[1][0]}",
        str(face_file),
        f"{tmp_path / 'two.zip'}/{faces[1][0]}",
        *(str(tmp_path / f"{number}.jpg") for number in range(10)),
    ]
    assert {entry.reading.status for entry in found} == {"ok"}
    assert np.array_equal(found[1].reading.landmarks, found[3].reading.landmarks)
    assert np.array_equal(found[0].reading.landmarks, found[2].reading.landmarks)
    assert found[0].subject == faces[0][0].split("_")[0] and found[2].subject is None


def test_pixels_are_those_of_the_picture_upright_and_at_full_size(face_file, make_zip, faces):
    for entry in read(face_file, make_zip("one.zip", faces[1], faces[0]))[::2]:
        assert np.abs(entry.pixels().astype(int) - pixels_of(faces[0][1])).max() <= 3  # decoders differ by rounding


@pytest.mark.slow
def test_pixels_of_a_picture_that_stands_upside_down_are_turned_as_its_reading(tmp_path, make_zip, faces):
    upright = pixels_of(faces[0][1])
    lies = tmp_path / "lies.png"
    lies.write_bytes(encoded(np.ascontiguousarray(upright[::-1, ::-1]), "PNG"))
    for found in read(lies, make_zip("one.zip", ("lies.png", lies.read_bytes()))):
        assert (found.reading.status, found.reading.turned) == ("ok", 180)
        np.testing.assert_array_equal(found.pixels(), upright)


@pytest.mark.slow
def test_a_bad_picture_is_an_input_with_a_status(tmp_path, face_file, make_zip):
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(face_file.read_bytes()[:5000])
    text = tmp_path / "text.txt"
    text.write_text("no picture", encoding="utf-8")
    blank = tmp_path / "blank.png"
    blank.write_bytes(encoded(np.zeros((300, 300, 3), np.uint8), "PNG"))
    found = read(cut, text, blank, make_zip("bad.zip", ("a.jpg", b"")))
    assert [entry.reading.status for entry in found] == ["decode_error", "decode_error", "no_face", "decode_error"]


@pytest.mark.slow
@pytest.mark.parametrize("brand", [b"heic", b"mif1", b"avif"])
def test_a_heic_picture_is_a_row_that_says_what_to_do_wherever_it_lies(tmp_path, face_file, make_zip, brand):
    """Its first bytes, as ISO/IEC 23008-12 lays them out; none of the rest is looked at."""
    heic = b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1heic" + bytes(100)
    (tmp_path / "IMG_1.HEIC").write_bytes(heic)
    (tmp_path / "IMG_2.jpg").write_bytes(heic)  # as some programs rename it
    make_zip("z.zip", ("in/IMG_3.heif", heic), ("__MACOSX/._IMG_3.heif", heic), ("a.jpg", face_file.read_bytes()))
    found = {Path(entry.path).name: entry.reading for entry in read(tmp_path)}
    assert {name: reading.status for name, reading in found.items()} == {
        "IMG_1.HEIC": "decode_error",
        "IMG_2.jpg": "decode_error",
        "IMG_3.heif": "decode_error",
        "a.jpg": "ok",
        face_file.name: "ok",
    }
    errors = {reading.error for reading in found.values() if reading.error}
    assert errors == {
        "a HEIC or AVIF picture, which is not read; save it as JPEG (iPhone: Camera, Formats, Most Compatible)"
    }
    assert count_inputs(find_inputs([tmp_path])) == 5


def read_or_die(task):
    if any(Path(picture.path).name == "kills.jpg" for picture in task.pictures):
        os.abort()
    return read_task(task)


@pytest.mark.slow
def test_a_picture_that_kills_its_worker_is_an_input_with_a_status(tmp_path, face_file, monkeypatch):
    monkeypatch.setattr(inputs, "read_task", read_or_die)
    monkeypatch.setattr(inputs, "TASK_PICTURES", 2)
    paths = [shutil.copy(face_file, tmp_path / name) for name in ("a.jpg", "kills.jpg", "b.jpg")]
    found = read(*paths, workers=2)
    assert [entry.path for entry in found] == list(map(str, paths))
    assert [entry.reading.status for entry in found] == ["ok", "decode_error", "ok"]
    assert found[1].reading.error == "the decoder died on it"


def test_a_file_above_the_bound_of_bytes_is_never_read(tmp_path):
    with (tmp_path / "large.jpg").open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # takes no room on the disk
    [entry] = read(tmp_path / "large.jpg")
    assert entry.reading.status == "read_error" and f"above the bound of {MAX_BYTES}" in entry.reading.error


@pytest.mark.parametrize("workers", [1, 2])
def test_an_archive_that_cannot_be_opened_is_a_row_among_the_others(tmp_path, face_file, workers):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "broken.zip").write_bytes(b"PK\x03\x04 no archive")
    for name in ("a.jpg", "z.jpg"):
        shutil.copy(face_file, folder / name)
    files = find_inputs([folder])
    found = list(read_inputs(files, SETTINGS, workers))
    assert [(Path(entry.path).name, entry.reading.status) for entry in found] == [
        ("a.jpg", "ok"),
        ("broken.zip", "read_error"),
        ("z.jpg", "ok"),
    ]
    assert found[1].reading.error.startswith("not a readable ZIP archive (") and count_inputs(files) == 3


@pytest.mark.parametrize("workers", [1, 3])
def test_every_frame_of_a_video_comes_with_its_time(tmp_path, faces, workers):
    rgb = pixels_of(faces[0][1])
    path = video_file(tmp_path / "영상.mp4", [rgb] * 5 + [np.zeros_like(rgb)] * 6)
    found = read(path, workers=workers)
    assert [entry.path for entry in found] == [str(path)] * 11
    assert [entry.seconds for entry in found] == pytest.approx(np.arange(11) / 10, abs=0.01)
    assert [entry.reading.status for entry in found] == ["ok"] * 5 + ["no_face"] * 6
    assert np.abs(found[0].pixels().astype(int) - rgb).mean() < 6  # the video lost a little


def test_a_video_without_a_clock_counts_its_frames(tmp_path, faces):
    rgb = pixels_of(faces[0][1])
    path = video_file(tmp_path / "a.avi", [rgb] * 4, rate=4, code="MJPG")
    assert [entry.seconds for entry in read(path)] == pytest.approx([0, 0.25, 0.5, 0.75])


def test_pictures_and_videos_in_turn_keep_their_order(tmp_path, face_file, faces):
    videos = [video_file(tmp_path / f"{n}.mp4", [pixels_of(faces[0][1])] * 2) for n in range(2)]
    found = read(videos[0], face_file, videos[1], face_file, videos[0], workers=2)
    assert [Path(entry.path).name for entry in found] == [
        *["0.mp4"] * 2,
        face_file.name,
        *["1.mp4"] * 2,
        face_file.name,
        *["0.mp4"] * 2,
    ]
    assert [entry.video for entry in found] == [0, 0, None, 1, 1, None, 2, 2]
    assert all(entry.reading.status == "ok" for entry in found)


def test_what_is_no_video_is_a_row_with_a_status(tmp_path, capfd):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"not at all")
    [entry] = read(path)
    assert (entry.reading.status, entry.reading.error) == ("decode_error", "no video in a known format")


def test_a_video_that_ends_early_says_so_after_its_frames(tmp_path, faces):
    rgb = pixels_of(faces[0][1])
    path = video_file(tmp_path / "a.avi", [rgb] * 20, code="MJPG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = read(path)
    assert 5 <= len(found) - 1 < 15
    assert found[-1].reading.status == "decode_error" and "of 2.0 seconds" in found[-1].reading.error
