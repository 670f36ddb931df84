"""Trees of pictures: the folders that name classes, and which files lie there."""

import os
import shutil
import tempfile
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from made_archives import ANXIOUS, encoded, pictures_in
from made_sources import names, of_set, scan_one
from systems import needs_linux, needs_posix

from faceemo.errors import FaceemoError
from faceemo.pictures.archive import Archive, ReadError
from faceemo.pictures.opening import pictures_of
from faceemo.pictures.reader import PictureReader
from faceemo.pictures.trees import files_below, folder_of

MAX_BYTES = 10**9
ON_LINUX = needs_linux("only there names may be any bytes and of any length, and users are changed")
WITH_LINKS = needs_posix("links need rights on Windows")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize(
    ("files", "level", "classes"),
    [
        (["happy/1.jpg", "sad/1.png"], 1, {"happy": 1, "sad": 1}),
        (["Happy/1.jpg", "SAD/1.jpg", "중립/1.jpg"], 1, {"happy": 1, "sad": 1, "neutral": 1}),
        (["train/happy/1.jpg", "test/sad/1.jpg", "test/disgust/1.jpg"], 2, {"happy": 1, "sad": 1, "disgust": 1}),
        (["kim/happy/1.jpg", "lee/surprise/1.jpg"], 2, {"happy": 1, "surprise": 1}),
        (["happy/kim/1.jpg", "bored/lee/1.jpg"], 1, {"happy": 1, "bored": 1}),
        (["all/Bored/1.jpg", "all/Wide awake/1.jpg"], 2, {"bored": 1, "wide-awake": 1}),
        (["train/bored/1.jpg", "test/alert/1.jpg"], 2, {"bored": 1, "alert": 1}),
        (
            ["Training/[원천]EMOIMG_기쁨_TRAIN_01/1.jpg", "Validation/EMOIMG_슬픔_VALID/1.jpg"],
            2,
            {"happy": 1, "sad": 1},
        ),
        (["기쁨 슬픔/a/1.jpg", "기쁨 슬픔/b/1.jpg"], 2, {"a": 1, "b": 1}),
        ([of_set(1, "기쁨"), of_set(2, "슬픔")], 0, {"happy": 1, "sad": 1}),
    ],
)
def test_the_folders_that_name_classes_are_found_in_every_layout(add, files, level, classes, form, kind):
    add(*(unicodedata.normalize(form, f"faces/{name}") for name in files))
    if kind == "zip":
        shutil.make_archive("faces", "zip", "faces")
        shutil.rmtree("faces")
    one = scan_one("faces" if kind == "folder" else "faces.zip")
    assert (one.source.level, dict(one.classes)) == (level, classes)
    assert one.source.classes == tuple(sorted(classes)) and one.source.emotion is None
    assert sorted(names(one)) == sorted(files)


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("Training/기쁨/1.jpg", "training"),
        ("a/validation/happy/1.jpg", "validation"),
        ("train/val/1.jpg", "validation"),
        ("test/kim/1.jpg", "validation"),
        ("학습/1.jpg", "training"),
        ("interval/contest/1.jpg", None),
        ("val.jpg", None),
    ],
)
def test_a_folder_above_a_picture_says_training_or_validation_the_nearest_first(name, folder):
    assert folder_of(name) == folder


def found_below(place):
    found, passed_over, _ = files_below(Path(place))
    return [file.name for file in found], {path.relative_to(place).as_posix(): why for path, why in passed_over}


@WITH_LINKS
def test_links_are_followed_and_each_folder_is_read_once(add, project):
    add("faces/happy/1.jpg", "more/2.jpg")
    Path("faces/sad").symlink_to(project / "more", target_is_directory=True)
    Path("faces/sad/loop").symlink_to(project / "faces", target_is_directory=True)
    Path("faces/all").symlink_to(project, target_is_directory=True)
    Path("faces/again").symlink_to(project / "faces/happy", target_is_directory=True)
    for name, target in (("self", "self"), ("nothing", "gone")):
        Path(f"faces/happy/{name}.jpg").symlink_to(f"{target}.jpg")
    read = "a link to a folder that is read already or that it lies in"
    nothing = "not a regular file, or a link to nothing"
    assert found_below("faces") == (
        ["happy/1.jpg", "sad/2.jpg"],
        {
            **dict.fromkeys(("again", "all", "sad/loop"), read),
            **dict.fromkeys(("happy/nothing.jpg", "happy/self.jpg"), nothing),
        },
    )


@WITH_LINKS
def test_folders_with_two_links_each_to_the_next_are_no_more_than_they_are(add, project):
    for number in range(30):
        add(f"{number}/{number}.jpg")
        for link in ("a", "b"):
            Path(f"{number}/{link}").symlink_to(project / f"{number + 1}", target_is_directory=True)
    found, passed_over = found_below("0")
    assert len(found) == 30 and len(passed_over) == 29


HIDDEN = (
    *(".ipynb_checkpoints", "@eaDir", "$RECYCLE.BIN", "System Volume Information", ".trash", "lost+found"),
    *("RECYCLER", "FOUND.000", "@Recycle", "@Recently-Snapshot", "#recycle", "#snapshot", "~snapshot"),
)


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_hidden_files_and_folders_and_those_of_systems_are_passed_over_and_counted(add, make_zip, kind):
    kept = ["happy/1.jpg", "happy/kim/2.jpg"]
    hidden = [f"happy/{name}/1.jpg" for name in HIDDEN]
    files = [*kept, *hidden, "happy/.trashed-1.jpg", "happy/._1.jpg", "happy/.DS_Store"]
    if kind == "folder":
        add(*(f"faces/{name}" for name in files))
        one = scan_one("faces")
    else:
        one = scan_one(make_zip("faces.zip", ("__MACOSX/happy/1.jpg", b""), *((name, name.encode()) for name in files)))
    assert names(one) == kept
    reasons = {path.name: why for path, why in one.passed_over}
    assert reasons == {**dict.fromkeys(HIDDEN, "a hidden or system folder"), ".trashed-1.jpg": "a hidden file"}
    assert one.others == {".ds_store": 1}


@ON_LINUX
def test_a_folder_whose_path_is_too_long_is_passed_over_with_what_to_do(add, project):
    add("faces/happy/1.jpg")
    Path("faces/sad").mkdir()
    os.chdir("faces/sad")
    for _ in range(20):
        Path("x" * 250).mkdir()
        os.chdir("x" * 250)
    Path("lost.jpg").touch()
    os.chdir(project)
    found, passed_over, _ = files_below(project / "faces")
    ((path, reason),) = passed_over
    assert [file.name for file in found] == ["happy/1.jpg"]
    assert reason == f"cannot be read: its path has {len(str(path))} characters; move it nearer to the top of the drive"
    shutil.rmtree("faces/sad")


@pytest.fixture
def open_to_all():
    """A folder that every user of the machine may enter, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@ON_LINUX
def test_a_folder_that_may_not_be_entered_is_passed_over_with_what_to_do(add, open_to_all):
    closed = open_to_all / "closed"
    locked = open_to_all / "a.zip"
    add(open_to_all / "happy/1.jpg", closed / "2.jpg", locked, content=b"1")
    closed.chmod(0)
    locked.chmod(0)
    was_root = os.geteuid() == 0
    try:
        if was_root:
            os.seteuid(65534)  # root may enter every folder
        found, passed_over, _ = files_below(open_to_all)
        with pytest.raises(FaceemoError, match=r"closed: this folder cannot be read: .*; give yourself the right"):
            files_below(closed)
        with pytest.raises(FaceemoError, match=r"a.zip: cannot be opened \(.*\); close the program") as archive:
            Archive(locked)
    finally:
        if was_root:
            os.seteuid(0)
        closed.chmod(0o755)
    assert [file.name for file in found] == ["a.zip", "happy/1.jpg"]
    ((path, reason),) = passed_over
    assert "download" not in str(archive.value)  # permission is no damage
    assert path == closed and reason.endswith("; give yourself the right to read it")


@ON_LINUX
def test_names_that_are_not_utf8_are_read_as_cp949_or_escaped(add, project):
    add("faces/happy/1.jpg")
    for raw in ("중립/사진.jpg".encode("cp949"), b"sad/\xff.jpg"):
        path = project / "faces" / os.fsdecode(raw)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(raw)
    one = scan_one("faces")
    assert names(one) == ["happy/1.jpg", "sad/\\xff.jpg", "중립/사진.jpg"]
    with PictureReader(Path("faces")) as reader:
        assert reader.read(one.pictures[2], MAX_BYTES) == "중립/사진.jpg".encode("cp949")


def test_members_whose_names_lead_out_of_an_archive_are_no_pictures(make_zip):
    members = ("happy/1.jpg", "sad/1.jpg", "../sad/2.jpg", "/../3.jpg", "a\\..\\4.jpg")
    one = scan_one(make_zip("faces.zip", *((name, name.encode()) for name in members)))
    assert names(one) == ["happy/1.jpg", "sad/1.jpg"]
    assert [reason for _, reason in one.passed_over] == ["its name leads out of the archive by '..'; pack it anew"] * 3


def test_an_unpacked_archive_holds_the_same_bytes_as_the_archive(project):
    shutil.unpack_archive(ANXIOUS, project / "set" / "불안")
    (project / "set/중립").mkdir()
    (project / "set/중립/1.jpg").write_bytes(encoded(np.zeros((8, 8, 3), np.uint8)))
    one = scan_one("set")
    crcs = {picture.name.rpartition("/")[2]: picture.crc for picture in one.pictures}
    assert all(crcs[picture.name.rpartition("/")[2]] == picture.crc for picture in pictures_in(ANXIOUS))


@needs_posix("Windows has no FIFO")
def test_a_picture_in_whose_place_a_pipe_or_device_comes_is_not_waited_for(add):
    add("faces/happy/1.jpg", "faces/sad/1.jpg")
    happy, sad = scan_one("faces").pictures
    for picture in (happy, sad):
        Path(picture.path).unlink()
    os.mkfifo(happy.path)
    Path(sad.path).symlink_to("/dev/zero")
    with pytest.raises(FaceemoError, match="not a regular file"):
        Archive(Path(happy.path))
    with PictureReader(Path("faces")) as reader:
        for picture in (happy, sad):
            with pytest.raises(ReadError, match="not a regular file"):
                reader.read(picture, MAX_BYTES)


def test_a_picture_that_changes_after_the_scan_is_not_taken_for_the_one_scanned(add):
    add("faces/happy/1.jpg", "faces/sad/1.jpg")
    one = scan_one("faces")
    happy, sad = one.pictures
    assert pictures_of("faces", one.source) == one.pictures
    with PictureReader(Path("faces")) as reader:
        Path("faces/sad/1.jpg").write_bytes(b"others")
        with pytest.raises(Exception, match="changed since the last scan"):
            reader.read(sad, MAX_BYTES)
        Path("faces/happy/1.jpg").unlink()
        with pytest.raises(ReadError):  # the system says why, in its language
            reader.read(happy, MAX_BYTES)
        shutil.rmtree("faces")
        with pytest.raises(FaceemoError, match="not there any more"):
            reader.read(happy, MAX_BYTES)
    with pytest.raises(FaceemoError, match="faces is not there"):
        pictures_of("faces", one.source)
