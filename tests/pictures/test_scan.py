"""What a scan makes of places: archives of the set, trees and tables of one's own, and what it refuses."""

import json
import os
import re
import shutil
import unicodedata
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from made_archives import ANXIOUS, SAMPLE
from made_sources import label_json, names, of_set, rating, record, scan_one
from systems import needs_linux, needs_posix

from faceemo.errors import FaceemoError
from faceemo.pictures.reader import PictureReader, read_seen, write_seen
from faceemo.pictures.scan import scan
from faceemo.pictures.scan_source import ScanOptions
from faceemo.pictures.sources import read_sources, write_sources
from faceemo.pictures.summary import scan_lines


def refusal(*places, emotions=None, **options):
    with pytest.raises(FaceemoError) as error:
        scan([Path(place) for place in places], emotions, options=ScanOptions(**options))
    message = str(error.value)
    assert "\n" not in message
    return message


def passed_over(result):
    """What a scan passed over, by the name of the place."""
    return {path.name: reason for path, reason in result.passed_over}


class TestArchivesOfTheSet:
    @pytest.mark.parametrize("form", ["NFC", "NFD"])
    @pytest.mark.parametrize(
        ("path", "expected"),
        [
            ("Training/[원천]EMOIMG_중립_TRAIN_01.zip", "neutral-training-01"),
            ("Training/[원천]EMOIMG_중립_TRAIN_04.ZIP", "neutral-training-04"),
            ("Training/[원천]EMOIMG_중립_TRAIN_02 (3).zip", "neutral-training-02"),
            ("Validation/[원천]EMOIMG_불안_VALID.zip", "anxious-validation-01"),
            ("1.Training/원천데이터/EMOIMG_중립_TRAIN_02.zip", "neutral-training-02"),
            ("2.Validation/원천데이터/EMOIMG_기쁨_VALID_03.zip", "happy-validation-03"),
            ("Sample/[원천]EMOIMG_상처_SAMPLE.zip", "hurt-sample-01"),
            ("EMOIMG_분노_TRAIN_01.zip", "angry-training-01"),
            ("EMOIMG_분노_VALID.zip", "angry-validation-01"),
            ("video/Validation/슬픔.zip", "sad-validation-01"),
            ("video/당황.zip", "embarrassed-training-01"),
            ("Validation/EMOIMG_중립_TRAIN_01.zip", "neutral-training-01"),
            ("학습/[원천]중립.zip", "neutral-training-01"),
            ("검증/[원천]중립 02.zip", "neutral-validation-02"),
            ("Training/중립/TS_중립_3.zip", "neutral-training-03"),
            ("validation/data/Training/[원천]중립.zip", "neutral-training-01"),
        ],
    )
    def test_are_known_in_every_layout(self, add_archive, project, path, expected, form):
        add_archive(unicodedata.normalize(form, f"data/{path}"), pictures=3)
        ((key, source),) = scan([Path("data")]).sources.items()
        emotion, folder, _ = expected.split("-")
        assert (key, source.emotion) == (expected, emotion) and source.is_of_set
        assert source.folder == ("validation" if folder == "validation" else "training")
        assert source.images == 3 and len(source.digest) == 64 and source.labels is None
        assert (project / source.zip).is_file()

    def test_parts_and_folders_are_sources_of_their_own_in_order(self, add_archive, project):
        for part in (4, 2, 1, 3):
            add_archive(f"Training/[원천]EMOIMG_중립_TRAIN_{part:02d}.zip", pictures=part)
        add_archive("Validation/[원천]EMOIMG_중립_VALID.zip", pictures=7)
        add_archive("Training/[원천]EMOIMG_불안_TRAIN_01.zip", pictures=9)
        result = scan([project])
        assert {key: source.images for key, source in result.sources.items()} == {
            "anxious-training-01": 9,
            **{f"neutral-training-{part:02d}": part for part in (1, 2, 3, 4)},
            "neutral-validation-01": 7,
        }
        assert list(result.sources) == sorted(result.sources)
        first = result.found["anxious-training-01"]
        assert first.size == Path(first.source.zip).stat().st_size

    def test_a_project_that_itself_lies_below_a_folder_of_that_name_does_not_decide(self, add_archive, project):
        add_archive("validation/a/project/Training/[원천]중립.zip")
        assert list(scan([Path("validation/a/project")]).sources) == ["neutral-training-01"]

    @pytest.mark.parametrize("form", ["NFC", "NFD"])
    @pytest.mark.parametrize(
        ("source", "labels"),
        [
            ("Training/[원천]EMOIMG_중립_TRAIN_01.zip", "Training/[라벨]EMOIMG_중립_TRAIN.zip"),
            ("1.Training/원천데이터/EMOIMG_중립_TRAIN_01.zip", "1.Training/라벨링데이터/EMOIMG_중립_TRAIN.zip"),
            ("2.Validation/원천데이터/EMOIMG_중립_VALID.zip", "2.Validation/라벨링데이터/EMOIMG_중립_VALID.zip"),
            ("Training/TS_중립.zip", "Training/TL_중립.zip"),
            ("Sample/[원천]EMOIMG_중립_SAMPLE.zip", "Sample/[라벨]EMOIMG_중립_SAMPLE.zip"),
            ("EMOIMG_중립_TRAIN_01.zip", "EMOIMG_중립_TRAIN.zip"),  # what is in it tells
        ],
    )
    def test_labels_are_paired_by_emotion_and_folder_and_never_taken_for_pictures(
        self, add_archive, add_labels, project, source, labels, form
    ):
        source, labels = (unicodedata.normalize(form, path) for path in (source, labels))
        add_archive(source)
        add_labels(labels)
        add_labels(labels.replace(unicodedata.normalize(form, "중립"), unicodedata.normalize(form, "불안")))
        result = scan([project])
        (found,) = result.sources.values()
        assert (found.zip, found.labels.zip) == (source, labels)
        assert found.digest != found.labels.digest
        assert [reason for _, reason in result.passed_over] == ["labels without a source archive"]

    def test_one_label_archive_serves_all_parts_of_its_folder_alone(self, add_archive, add_labels, project):
        for path in (
            "Training/[원천]EMOIMG_중립_TRAIN_01",
            "Training/[원천]EMOIMG_중립_TRAIN_02",
            "Validation/[원천]중립",
        ):
            add_archive(f"{path}.zip")
        add_labels("Training/[라벨]EMOIMG_중립_TRAIN.zip")
        sources = scan([project]).sources
        assert sources["neutral-training-01"].labels == sources["neutral-training-02"].labels
        assert sources["neutral-training-01"].labels.zip == "Training/[라벨]EMOIMG_중립_TRAIN.zip"
        assert sources["neutral-validation-01"].labels is None

    def test_two_different_label_archives_for_one_source_are_one_line(self, add_archive, add_labels, project):
        add_archive("Training/[원천]EMOIMG_중립_TRAIN_01.zip")
        for folder in "ab":
            add_labels(f"{folder}/Training/[라벨]EMOIMG_중립_TRAIN.zip")
        message = refusal(project)
        assert "labels of neutral-training-01" in message
        assert all(str(Path(folder) / "Training") in message for folder in "ab")

    def test_only_the_emotions_asked_for_are_scanned_and_the_others_not_even_opened(self, add_archive, add, project):
        add_archive("중립.zip")
        add_archive("불안.zip")
        add("기쁨.zip")
        result = scan([project], emotions=("neutral", "anxious"))
        assert list(result.sources) == ["anxious-training-01", "neutral-training-01"]
        assert passed_over(result) == {"기쁨.zip": "happy, not asked for"}

    def test_an_emotion_asked_for_is_missed_unless_its_download_has_begun(self, add_archive, add, project):
        add_archive("[원천]EMOIMG_중립_TRAIN_01.zip")
        add_archive("[원천]EMOIMG_기쁨_TRAIN_01.zip")
        assert "no archive of sad (슬픔) with pictures below" in (message := refusal("", emotions=("neutral", "sad")))
        assert "there are archives of happy, neutral; name its folder too" in message
        add("[원천]EMOIMG_슬픔_TRAIN_01.zip.crdownload")
        result = scan([project], emotions=("neutral", "sad"))
        assert list(result.sources) == ["neutral-training-01"]
        assert "unfinished download" in passed_over(result)["[원천]EMOIMG_슬픔_TRAIN_01.zip.crdownload"]

    def test_what_is_passed_over_is_said_with_its_reason(self, add_archive, add, make_zip, table, project):
        add_archive("[원천]중립.zip")
        add_archive("[원천]기쁨.zip").write_bytes(b"no archive")
        add_archive("holiday.zip")
        make_zip("[원천]불안.zip", ("readme.txt", b"1"))
        make_zip("슬픔.zip", ("a.json", b'[{"filename": "1.jpg", "label": "sad"}]'))
        make_zip("기쁨 당황.zip", ("기쁨/1.jpg", b"1"), ("당황/1.jpg", b"2"))
        add("중립.txt", "a.jpg", ".git/b.jpg", "b.zip.irx603", "c.zip.part", "d.zip.part0", "e.zip.002", "f.z01")
        add("g.zip.!ut", "h.tar", "i.tar.gz", "j.EGG")
        table("path,emotion\n")
        result = scan([project])
        assert list(result.sources) == ["neutral-training-01"]
        said = passed_over(result)
        whole = "; download or copy it again"
        assert said.pop("[원천]기쁨.zip") == f"not a readable ZIP archive (File is not a zip file){whole}"
        unfinished = "looks like an unfinished download; wait for it, or download it again"
        other = "an archive of a kind that is not read; unpack it, or pack it anew as .zip"
        part = "one part of an archive; join all its parts into one .zip"
        assert said == {
            "[원천]불안.zip": "no pictures in it, but 1 .txt",
            "슬픔.zip": "no pictures in it, but 1 .json",
            "holiday.zip": "no archive of the set; name it itself to scan it",
            "기쁨 당황.zip": "no archive of the set; name it itself to scan it",
            "faces.csv": "a table in a folder; name it itself to scan it",
            ".git": "a hidden or system folder",
            **dict.fromkeys(("b.zip.irx603", "c.zip.part", "g.zip.!ut"), unfinished),
            **dict.fromkeys(("h.tar", "i.tar.gz", "j.EGG"), other),
            **dict.fromkeys(("d.zip.part0", "e.zip.002", "f.z01"), part),
            project.name: "1 picture beside archives of the set; name their folder itself",
        }

    def test_files_that_are_no_pictures_are_counted_by_suffix(self, make_zip, project):
        members = ("a.jpg", "b.jpq", "c.HEIC", "Thumbs.db", "__MACOSX/._a.jpg", "__MACOSX/c.txt", "d.JFIF", "none")
        make_zip("[원천]중립.zip", *((name, name.encode()) for name in members))
        one = scan_one(project)
        assert one.others == {".jpq": 1, ".heic": 1, ".db": 1, "": 1}
        assert names(one) == ["a.jpg", "d.JFIF"]

    def test_an_archive_itself_may_be_named_and_one_found_twice_is_one_source(self, add_archive, project):
        path = add_archive("data/[원천]중립_02.zip")
        assert list(scan([path]).sources) == ["neutral-training-02"]
        places = [Path("data"), project / "data", path, Path("data/[원천]중립_02.zip")]
        assert len(scan(places).sources) == 1

    def test_two_with_one_id_or_the_same_pictures_are_one_line_that_names_both(self, add_archive, project):
        for other, what in (
            ("b/[원천]중립.zip", "both be neutral-training-01"),
            ("[원천]중립_02.zip", "same pictures"),
        ):
            pair = [add_archive(path, content=what) for path in ("a/[원천]중립_01.zip", other)]
            message = refusal(project)
            assert all(str(path) in message for path in pair) and what in message
            pair[1].unlink()

    def test_names_of_the_set_do_not_take_options_for_ones_own(self):
        assert "--subject is for folders" in refusal(ANXIOUS, subject="each")
        assert "--rename is for folders" in refusal(ANXIOUS, rename={"a": "b"})

    def test_a_path_below_the_project_is_written_relative_and_another_absolute(self, add_archive, project, monkeypatch):
        add_archive("project/data/[원천] 100%/[원천]중립.zip")
        outside = add_archive("elsewhere/[원천]불안.zip")
        (project / "project/sub").mkdir()
        monkeypatch.chdir(project / "project/sub")
        sources = scan([Path("../data"), Path("../../elsewhere")], root=Path("..")).sources
        assert sources["neutral-training-01"].zip == "data/[원천] 100%/[원천]중립.zip"
        assert sources["anxious-training-01"].zip == outside.resolve().as_posix()

    def test_a_moved_archive_keeps_all_but_its_path(self, add_archive):
        path = add_archive("a/[원천]중립.zip", pictures=3)
        before = scan([Path("a")]).sources["neutral-training-01"]
        shutil.move(path.parent, "b")
        after = scan([Path("b")]).sources["neutral-training-01"]
        assert before.zip != after.zip
        assert (before.digest, before.images, before.folder) == (after.digest, after.images, after.folder)


def damaged(path):
    path.write_bytes(path.read_bytes()[:-100])


def encrypted(path):
    mark(path, flags=1)


def by_deflate64(path):
    mark(path, method=9)


def by_aes(path):
    mark(path, flags=1, method=99)


def split(path):
    mark(path, disk=1)


def mark(path, flags=0, method=0, disk=0):
    """Write into a ZIP archive's directory how its members are packed."""
    data = bytearray(path.read_bytes())
    for found in re.finditer(rb"PK\x01\x02", bytes(data)):
        at = found.start()
        data[at + 8] |= flags
        data[at + 10] = method
        data[at + 34] = disk
    path.write_bytes(data)


class TestArchivesThatCannotBeRead:
    FAULTS = (
        (damaged, "not a readable ZIP archive"),
        (encrypted, "none of its 50 pictures can be read; the first is .*encrypted; unpack the archive with its pass"),
        (by_aes, "encrypted; unpack"),
        (by_deflate64, r"packed by Deflate64; unpack the archive, or pack it anew by Deflate\)"),
        (split, "the last part of an archive that was split into .z01 and on; join them with 7-Zip"),
    )

    @pytest.mark.parametrize(("harm", "words"), FAULTS)
    def test_are_passed_over_among_good_ones_and_refused_alone_or_named(self, add_archive, project, harm, words):
        bad = add_archive("[원천]중립.zip", pictures=50)
        harm(bad)
        for place in (project, bad):
            assert re.search(f"{re.escape(str(bad))}: .*{words}", refusal(place))
        add_archive("[원천]불안.zip")
        result = scan([project])
        assert list(result.sources) == ["anxious-training-01"]
        assert re.search(words, passed_over(result)[bad.name])
        assert str(bad) in refusal(project, bad)

    def test_an_unreadable_label_archive_leaves_its_source_without_labels(self, add_archive, add, project):
        add_archive("[원천]중립.zip")
        add("[라벨]중립.zip")
        result = scan([project])
        assert result.sources["neutral-training-01"].labels is None
        assert "not a readable ZIP archive" in passed_over(result)["[라벨]중립.zip"]

    def test_some_members_that_cannot_be_read_are_kept_with_their_reason(self, make_zip, project):
        path = make_zip("faces.zip", ("happy/1.jpg", b"1"), ("sad/1.jpg", b"2"))
        by_deflate64(path)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("sad/2.jpg", b"3")
        one = scan_one(path)
        assert [bool(picture.error) for picture in one.pictures] == [True, True, False]
        assert len(one.unread) == 2 and one.source.images == 3


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("nothing", "no pictures and no source archive like .* found below {folder}; name a folder or"),
        ("labels", "no source archive like .* found below {folder}; .*라벨.*: labels without a source archive; name"),
        ("label archive of pictures", r"{folder}.*/\[라벨\]EMOIMG_중립_TRAIN.zip: no label files in it, but 1 .jpg$"),
        ("empty", r"{folder}/\[원천\]불안.zip: no pictures in it; 1 more cannot be read$"),
        ("other archive", "{folder}/a.tar: an archive of a kind that is not read; unpack it, or pack it anew as .zip$"),
        ("telephone", "{folder}: no pictures of a kind that is read, but 2 .heic, 1 .tif; save pictures as"),
        ("download", "{folder}/a.zip.part: looks like an unfinished download; wait for it, or download it again$"),
    ],
)
def test_a_scan_that_finds_no_pictures_is_one_line_that_says_why(
    add, add_archive, add_labels, make_zip, project, content, words
):
    if content == "labels":
        add_labels("[라벨]중립.zip")
    elif content == "label archive of pictures":
        add_archive("Training/[라벨]EMOIMG_중립_TRAIN.zip")
    elif content == "empty":
        make_zip("[원천]중립.zip")
        make_zip("[원천]불안.zip")
    elif content == "other archive":
        add("a.tar")
        assert "an archive of a kind that is not read" in refusal("a.tar")
    elif content == "telephone":
        add("happy/IMG_1.HEIC", "sad/IMG_2.heic", "sad/3.tif", "sad/notes.txt")
    elif content == "download":
        add("a.zip.part")
    assert re.search(words.format(folder=re.escape(project.as_posix())), refusal(project).replace("\\", "/"))


def test_a_pattern_that_the_shell_left_becomes_the_places_that_match(add, make_zip, project):
    """As cmd.exe and PowerShell leave it."""
    for folder in ("a", "b"):
        add(f"set {folder}/happy/{folder}.jpg", f"set {folder}/sad/{folder}2.jpg")
    add("set.txt")
    assert sorted(scan([Path("set ?")]).sources) == ["set-a", "set-b"]
    assert [refusal(name) for name in ("set*.zip", "**.png")] == [
        f"{name}: no file matches this" for name in ("set*.zip", "**.png")
    ]
    for name in ("data[1", "[원천]불안.zip"):  # a name with brackets is rather a name
        assert refusal(name) == f"{name}: no such folder, archive or table"
    assert list(scan([Path("set [b]")]).sources) == ["set-b"]
    assert (
        refusal("https://a.b/c.zip") == "https://a.b/c.zip: pictures and videos are read from files; download it first"
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        *((name, "one part of an archive; join all") for name in ("a.zip.001", "a.z01", "a.7z.002", "a.part1.rar")),
        *((name, "looks like an unfinished download") for name in ("a.zip.part", "a.zip.irx603", "a.crdownload")),
        *((name, "of a kind that is not read; unpack it, or pack it anew as .zip") for name in ("a.TAR", "a.zip.gz")),
    ],
)
def test_what_is_no_archive_yet_says_so_named_itself_and_in_a_folder(add, project, name, words):
    add(name)
    for place in (name, project):
        assert re.search(f"{re.escape(name)}: .*{words}", refusal(place))


@pytest.mark.parametrize(
    ("content", "remedy"),
    [
        (b"Rar!\x1a\x07\0", "it is a RAR archive: unpack it, or pack it anew as .zip"),
        (b"\x1f\x8b\x08\0", "it is a gzip archive: unpack"),
        (b"EGGA\0\1", "it is an EGG archive: unpack"),
        (b"\n<!DOCTYPE html><title>AI-Hub</title>", "it is a web page, as of a download without logging in; log in"),
        (b"version https://git-lfs.github.com/spec/v1\n", "it is a pointer of Git LFS: run 'git lfs pull'"),
        (b"PK\3\4", "download or copy it again"),
        (bytes(3000), "download or copy it again"),
    ],
)
def test_another_file_that_is_called_zip_says_what_it_is(add, content, remedy):
    add("a.zip", content=content)
    assert f"a.zip: not a readable ZIP archive (File is not a zip file); {remedy}" in refusal("a.zip")


def test_a_place_that_is_no_source_is_one_line(add, project):
    add("faces.xlsx")
    assert refusal("faces.xlsx") == "faces.xlsx: a spreadsheet; save it as CSV (in Excel: CSV UTF-8) and name that"
    add("a.txt")
    assert "a.txt: neither a folder, a ZIP archive nor a table" in refusal("a.txt")
    assert f"{project / '없음'}: no such folder, archive or table" in refusal(project / "없음")


@needs_posix("Windows has no FIFO")
@pytest.mark.parametrize("name", ["p.jpg", "[원천]중립.zip", "faces.csv", "faces"])
def test_a_special_file_is_never_waited_for(add, project, name):
    add("set/happy/1.jpg", "set/sad/1.jpg")
    os.mkfifo(f"set/{name}")
    Path(f"set/happy/{name}").symlink_to("/dev/zero")
    Path("set/happy/loop.jpg").symlink_to("loop.jpg")
    result = scan([Path("set")])
    assert names(result.found["set"]) == ["happy/1.jpg", "sad/1.jpg"]
    assert any("a link to nothing" in line for line in scan_lines(result, ScanOptions(), result.sources))
    for place in (f"set/{name}", f"set/happy/{name}"):
        assert "neither a folder nor a regular file" in refusal(place)


@needs_linux("has such files in /proc")
def test_no_more_is_read_of_a_file_than_it_says_to_hold(add):
    """/proc/kmsg is a regular file of no bytes that never ends."""
    add("set/happy/1.jpg", "set/sad/1.jpg")
    Path("set/happy/log.jpg").symlink_to("/proc/self/environ")
    with PictureReader(Path("set")) as reader:
        (found,) = [one for one in scan_one("set").pictures if one.name == "happy/log.jpg"]
        assert (found.size, found.crc) == (0, 0) and reader.read(found) == b""


def test_a_folder_is_read_as_often_for_many_archives_as_for_few(make_zip, project, monkeypatch):
    read, counts, scandir = [], [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: read.append(folder) or scandir(folder))
    for number in range(3):
        make_zip(f"{number}.zip", *((f"{word}/{number}.jpg", f"{word} {number}".encode()) for word in ("happy", "sad")))
        read.clear()
        scan([project])
        counts.append(len(read))
    assert counts == [1, 1, 1]


class TestArchivesNamedAfterAnEmotion:
    @pytest.mark.parametrize("name", ["표정_기쁨_중립.zip", "[원천]EMOIMG_기쁨_TRAIN_01.zip", "기쁨.zip"])
    @pytest.mark.parametrize(
        "pictures", [("기쁨/1.jpg", "중립/1.jpg"), (of_set(1, "기쁨"), of_set(1, "중립"))], ids=["own", "the set's"]
    )
    def test_with_other_pictures_than_the_sets_are_trees_of_ones_own(self, make_zip, project, name, pictures):
        """Also where the names of the pictures are the set's, and say two emotions in an archive named after one."""
        make_zip(name, *((picture, picture.encode()) for picture in pictures))
        one = scan_one(project)
        assert dict(one.classes) == {"happy": 1, "neutral": 1} and not one.source.is_of_set

    @pytest.mark.parametrize("name", ["[원천]EMOIMG_중립_TRAIN_01.zip", "중립.zip"])
    def test_with_the_sets_pictures_of_another_emotion_are_refused_and_others_go_on(self, add_archive, make_zip, name):
        bad = make_zip(f"set/{name}", *((of_set(one, "기쁨"), b"%d" % one) for one in range(3)))
        words = "its name says neutral (중립), but its pictures say happy (기쁨); give it the name that is right"
        assert f"{bad}: {words}" in refusal(bad)
        add_archive("set/[원천]불안.zip")
        result = scan([Path("set")])
        assert list(result.sources) == ["anxious-training-01"] and words in passed_over(result)[name]

    def test_without_folders_hold_that_emotion_and_take_options(self, make_zip, project):
        make_zip("기쁨.zip", ("kim_1.jpg", b"1"), ("test/lee_1.jpg", b"2"))
        make_zip("중립.zip", ("중립/kim_2.jpg", b"3"))
        result = scan([project], options=ScanOptions(subject="([a-z]+)_", rename={"neutral": "calm"}))
        assert {key: (one.source.emotion, one.source.level) for key, one in result.found.items()} == {
            "happy": ("happy", -1),
            "neutral": (None, 1),
        }
        assert [dict(one.classes) for one in result.found.values()] == [{"happy": 2}, {"calm": 1}]
        assert [one.people for one in result.found.values()] == [{"kim", "lee"}, {"kim"}]
        write_sources(result.sources)
        assert read_sources() == result.sources
        assert list(scan([project], earlier=result.sources).sources.values()) == list(result.sources.values())

    @pytest.mark.parametrize("pictures", [("kim_1.jpg", "lee_1.jpg"), ("내 사진/kim_1.jpg", "내 사진/2/lee_1.jpg")])
    @pytest.mark.parametrize(
        "word", ["[원천]EMOIMG_{}_TRAIN_01", "EMOIMG {}", "원천 {}", "[라벨]{}", "labels_{}", "{}"]
    )
    def test_called_like_the_sets_whose_pictures_tell_nobody_are_trees_that_take_options(
        self, make_zip, project, word, pictures
    ):
        """What they are taken for is said, and two of them have ids of their own."""
        for emotion in ("기쁨", "중립"):
            make_zip(f"{word.format(emotion)}.zip", *((name, (emotion + name).encode()) for name in pictures))
        options = ScanOptions(subject="([a-z]+)_", rename={"neutral": "calm"})
        result = scan([project], options=options)
        assert [dict(one.classes) for one in result.found.values()] == [{"happy": 2}, {"calm": 2}]
        assert all(one.people == {"kim", "lee"} and not one.source.is_of_set for one in result.found.values())
        lines = list(scan_lines(result, options, {}))
        for key in result.found:
            assert (
                f"{key}: taken for pictures of your own, not for an archive of the AI-Hub set: most names of its "
                "pictures do not begin with the 64 digits of a person and _"
            ) in lines
        cause = "--emotions is for archives of the set only, and .*기쁨.*zip is none: most names of its pictures do not"
        assert re.search(cause, refusal(project, emotions=("happy", "neutral")))

    def test_are_the_sets_by_most_names_whatever_follows_the_digits(self, make_zip, project):
        damaged = [f"중립/{of_set(number).replace('여', '¿©').replace('중립', 'Á߸³')}" for number in range(3)]
        make_zip(
            "중립_01.zip", *((name, name.encode()) for name in (*damaged, "a.jpg", "b.jpg", "__MACOSX/중립/c.jpg"))
        )
        one = scan_one(project)
        assert one.source.is_of_set and len(one.people) == 3 and one.without_person == 2
        make_zip("중립_01.zip", *((name, name.encode()) for name in (*damaged, "a.jpg", "b.jpg", "c.jpg")))
        assert not scan_one(project).source.is_of_set

    def test_beside_the_sets_are_passed_over_with_the_cause(self, add_archive, add_labels, make_zip, project):
        add_archive("[원천]EMOIMG_중립_TRAIN_01.zip")
        add_labels("[라벨]EMOIMG_중립_TRAIN.zip")
        make_zip("[원천]EMOIMG_중립_TRAIN_02.zip", ("1.jpg", b"1"))
        make_zip("[원천]EMOIMG_기쁨_TRAIN_01.zip", ("1.jpg", b"2"))
        result = scan([project])
        assert list(result.sources) == ["neutral-training-01"] and result.sources["neutral-training-01"].labels
        cause = "no archive of the set: most names of its pictures do not begin with the 64 digits of a person and _"
        assert passed_over(result) == dict.fromkeys(
            ("[원천]EMOIMG_중립_TRAIN_02.zip", "[원천]EMOIMG_기쁨_TRAIN_01.zip"),
            f"{cause}; name it itself to scan it",
        )
        message = refusal(project, emotions=("neutral", "happy"))
        assert "no archive of happy (기쁨) with pictures below" in message and cause in message

    def test_a_source_that_has_another_id_than_in_the_last_scan_is_not_said_to_be_gone(self, make_zip, project):
        make_zip("기쁨.zip", ("1.jpg", b"1"))
        result = scan([project])
        earlier = {"zip-01": result.sources["happy"]}
        assert not [line for line in scan_lines(result, ScanOptions(), earlier) if "no longer" in line]

    def test_a_folder_of_that_name_too(self, add, project):
        add("happy/kim_1.jpg", "happy/2/lee.jpg", "bored/1.jpg")
        assert dict(scan_one("happy").classes) == {"happy": 2}
        assert "bored: no folders that name a class" in refusal("bored")


def test_a_tree_is_one_source_with_every_key_written_and_read_back(add):
    add("faces/happy/kim_1.jpg", "faces/surprise/lee_1.jpg")
    result = scan([Path("faces")], options=ScanOptions(subject=r"/([a-z]+)_", rename={"surprise": "embarrassed"}))
    write_sources(result.sources)
    assert read_sources() == result.sources
    source = read_sources()["faces"]
    assert (source.tree, source.zip, source.table, source.images) == ("faces", None, None, 2)
    assert (source.subject, source.rename) == (r"/([a-z]+)_", {"surprise": "embarrassed"})
    assert source.classes == ("embarrassed", "happy") and source.emotion is None and not source.is_of_set
    assert result.found["faces"].people == {"kim", "lee"}


def test_the_unpacked_set_brings_its_label_json(project):
    for emotion in ("기쁨", "불안"):
        for archive in (SAMPLE / "Training").glob(f"*{emotion}*.zip"):
            shutil.unpack_archive(archive, project / "set" / archive.stem)
    one = scan_one("set")
    assert one.source.labels is not None and one.source.labels.zip is None
    assert len(one.people) > 10 and one.without_person == 0
    assert dict(one.classes) == {"anxious": 48, "happy": 48}
    labels = next(path for path in (project / "set").rglob("*.json"))
    labels.write_bytes(labels.read_bytes() + b" ")
    changed = scan_one("set").source
    assert changed.digest == one.source.digest and changed.labels != one.source.labels


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"images": []}', "not a list of records as the set's label files are"),
        (b'[{"filename": "1.jpg", "label": "happy"}]', "no record has the fields of the set's label files"),
        (b'[{"filename": "1.jpg"', "broken JSON"),
        (b"\xff\xff\x80", "neither UTF-8 nor CP949"),
        (b"[]", "a list without records"),
    ],
)
def test_json_beside_ones_own_pictures_is_passed_over_unless_it_is_the_sets(add, project, content, reason):
    add("faces/happy/1.jpg", "faces/sad/2.jpg")
    add("faces/labels.json", "faces/my_labels/a.json", content=content)
    result = scan([Path("faces")])
    assert result.sources["faces"].labels is None
    assert all(reason in passed_over(result)[name] for name in ("labels.json", "a.json"))
    assert not result.found["faces"].others  # each is told once
    add("faces/my_labels/b.json", content=label_json(record("1.jpg", rating())))
    result = scan([Path("faces")])
    assert [file.name for file in result.found["faces"].labels] == ["my_labels/b.json"]
    assert result.sources["faces"].labels.zip is None


def test_archives_and_tables_among_pictures_are_passed_over_with_what_to_do(add, add_labels, make_zip, project):
    add("faces/happy/1.jpg", "faces/sad/1.jpg", "faces/loose.jpg", "faces/readme.txt", "faces/extra.csv")
    add_labels("faces/[라벨]EMOIMG_기쁨_TRAIN.zip")
    make_zip("faces/more.zip", ("happy/2.jpg", b"2"))
    result = scan([Path("faces")])
    one = result.found["faces"]
    assert (one.without_class, one.others.total(), names(one)) == (1, 1, ["happy/1.jpg", "sad/1.jpg"])
    assert passed_over(result) == {
        "extra.csv": "a table in a folder; name it itself to scan it",
        "more.zip": "an archive among pictures; name it itself to scan it",
        "[라벨]EMOIMG_기쁨_TRAIN.zip": "an archive among pictures; unpack it to use its labels",
    }


def test_a_class_whose_pictures_are_all_of_kinds_that_are_not_read_is_named(add, project):
    add("faces/happy/1.jfif", "faces/sad/1.jpe", "faces/angry/1.heic", "faces/hurt/1.MP4", "faces/hurt/2.jpg")
    add("faces/neutral/1.PJPEG", "faces/bored/1.mpo", "faces/calm/1.apng", "faces/fear/0001", "faces/tired/1.ppm")
    add("faces/labels/a.json", "faces/notes/.DS_Store", "faces/drawn/1.SVG")
    one = scan_one("faces")
    assert one.lost == ("angry", "drawn", "fear", "tired")
    assert one.others == Counter([".heic", ".mp4", "", ".ppm", ".ds_store", ".svg"])
    assert dict(one.classes) == dict.fromkeys(("happy", "hurt", "sad", "neutral", "bored", "calm"), 1)


@pytest.mark.parametrize("place", ["가족 사진", "2024", "---"])
def test_a_name_without_ascii_letters_gives_a_numbered_id(add, place):
    add(f"x/{place}/happy/1.jpg", f"x/{place}/sad/1.jpg")
    assert list(scan([Path("x") / place]).sources) == ["folder-01"]


def test_ids_have_no_dot_and_no_space(add):
    add("My faces v1.2/happy/1.jpg", "My faces v1.2/sad/1.jpg")
    assert list(scan([Path("My faces v1.2")]).sources) == ["my-faces-v1-2"]


def digest(place="faces", **options):
    result = scan([Path(place)], options=ScanOptions(**options))
    for key, one in result.found.items():
        write_seen(key, [*one.pictures, *one.labels])
    (source,) = result.sources.values()
    return source.digest


def test_a_folder_that_is_copied_moved_or_touched_keeps_its_digest(add):
    add("faces/happy/1.jpg", "faces/sad/1.jpg", "faces/notes.txt")
    before = digest()
    shutil.copytree("faces", "copy")
    Path("elsewhere").mkdir()
    assert digest("copy") == before
    for path in Path("faces").rglob("*.jpg"):
        os.utime(path, ns=(1, 1))
    Path("faces/notes.txt").write_text("other", encoding="utf-8")
    assert digest() == before
    Path("faces").rename("elsewhere/faces")
    assert digest("elsewhere/faces") == before


def test_a_changed_added_or_renamed_picture_changes_the_digest(add):
    add("faces/happy/1.jpg", "faces/sad/1.jpg", "faces/sad/2.jpg")
    seen = [digest()]
    path = Path("faces/sad/2.jpg")
    path.write_bytes(path.read_bytes()[::-1])
    seen.append(digest())
    path.rename("faces/sad/3.jpg")
    seen.append(digest())
    add("faces/happy/2.jpg")
    seen.append(digest())
    assert len(set(seen)) == 4


def test_an_archive_in_a_folder_in_which_nothing_names_a_class_does_not_stop_the_others(make_zip, project):
    make_zip("own/happy.zip.zip", ("happy/1.jpg", b"1"), ("sad/1.jpg", b"2"))
    bad = make_zip("own/holiday.zip", ("1.jpg", b"3"))
    words = "no folders that name a class; sort its pictures into folders such as happy and sad"
    result = scan([Path("own")])
    assert list(result.sources) == ["happy-zip"] and words in passed_over(result)["holiday.zip"]
    assert words in refusal("own/happy.zip.zip", bad)
    Path("own/happy.zip.zip").unlink()
    assert words in refusal("own")


def test_a_scan_reads_only_pictures_whose_size_or_time_it_has_not_seen(add):
    add("faces/happy/1.jpg", "faces/sad/1.jpg")
    before = digest()
    path = Path("faces/sad/1.jpg")
    stat = path.stat()
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert digest() == before  # as the disk says that nothing changed, it is not read
    assert digest(read_all=True) != before  # --hash


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"happy/1.jpg": 1}', b"\xff", b"[" * 99_999,
     b'{"happy/1.jpg": [1, 2, Infinity]}'])  # fmt: skip
def test_a_damaged_memory_of_what_was_seen_costs_reading_and_nothing_else(add, damage):
    add("faces/happy/1.jpg", "faces/sad/1.jpg")
    before = digest()
    assert set(read_seen("faces")) == {"happy/1.jpg", "sad/1.jpg"}
    Path("data/.seen/faces.json").write_bytes(damage)
    assert digest() == before


@pytest.mark.parametrize("crc", [-1, 2**32, 2**70, "12", 1.5, True, None, [], {}])
def test_a_memory_that_knows_no_checksum_costs_reading_and_nothing_else(add, crc):
    add("faces/happy/1.jpg", "faces/sad/1.jpg")
    before = digest()
    seen = Path("data/.seen/faces.json")
    known = json.loads(seen.read_text(encoding="utf-8"))
    known["sad/1.jpg"][2] = crc
    seen.write_text(json.dumps(known), encoding="utf-8")
    assert digest() == before and set(read_seen("faces")) == set(known)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["notes.txt"], "no pictures .* found below faces"),
        (["a.jpg", "b.jpg"], "faces: no folders that name a class"),
        (["happy/1.jpg", "1/2.jpg"], "'1' cannot be the name of a class.*--rename '1=CLASS'"),
        (["happy/1.jpg", "지루함!/2.jpg"], "'지루함!' cannot be the name of a class.*--rename '지루함!=CLASS'"),
        (["happy/1.jpg", "label/2.jpg"], "'label' cannot be the name of a class"),
    ],
)
def test_a_folder_that_cannot_be_trained_on_is_one_line(add, project, files, words):
    (project / "faces").mkdir()
    add(*(f"faces/{name}" for name in files))
    assert re.search(words, refusal("faces"))


def test_a_single_class_is_scanned_for_others_may_follow(add):
    add("faces/happy/1.jpg", "more/sad/1.jpg")
    assert scan_one("faces").source.classes == ("happy",)
    assert len(scan([Path("faces"), Path("more")]).sources) == 2


def test_a_class_whose_letters_are_not_known_says_how_to_name_their_encoding(make_zip):
    path = make_zip("faces.zip", ("@@@@/1.jpg", b"1"), ("happy/2.jpg", b"2"))
    path.write_bytes(path.read_bytes().replace(b"@@@@", "笑顔".encode("cp932")))
    message = refusal(path)
    assert "cannot be the name of a class" in message and "--rename" in message
    assert "the archive does not say how names are encoded (1 in doubt" in message and "in UTF-8" in message


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (["a.zip", "b.zip", "c.txt"], "no pictures in it, but 2 .zip, 1 .txt; unpack the archive in it"),
        (["a/../1.jpg", "../2.jpg", "x"], r"but 1 without a suffix, 2 passed over \(its name leads out of the archive"),
        ([".git/1.jpg"], r"no pictures in it, but 1 passed over \(a hidden or system folder\)"),
        (["happy/IMG_1.HEIC"], "no pictures in it, but 1 .heic; save pictures as .jpg or .png$"),
        ([], "no pictures in it$"),
    ],
)
def test_an_archive_without_pictures_says_what_it_holds(make_zip, members, words):
    assert re.search(words, refusal(make_zip("faces.zip", *((name, name.encode()) for name in members))))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"subject": "(x+)_"}, "--subject '(x+)_' matches no picture of faces, such as happy/1.jpg"),
        ({"rename": {"surprise": "embarrassed"}}, "no class is called 'surprise'; the words are happy, sad"),
    ],
)
def test_options_that_fit_nothing_are_one_line(add, options, words):
    add("faces/happy/1.jpg", "faces/sad/1.jpg")
    assert words in refusal("faces", **options)


def test_what_the_last_scan_was_given_stays_for_the_same_place_until_something_else_is(add):
    add("faces/happy/kim_1.jpg", "faces/surprise/lee_1.jpg", "other/happy/a.jpg", "other/sad/a.jpg")
    given = ScanOptions(subject=r"/([a-z]+)_", rename={"surprise": "embarrassed"})
    earlier = scan([Path("faces")], options=given).sources

    def again(place, **options):
        (source,) = scan([Path(place)], options=ScanOptions(**options), earlier=earlier).sources.values()
        return source.subject, dict(source.rename)

    assert again("faces") == (given.subject, given.rename)
    assert again("faces", subject="each") == ("each", given.rename)
    assert again("faces", subject="", rename={}) == (None, {})
    assert again("other") == (None, {})
    Path("new").mkdir()
    Path("faces").rename("new/faces")
    assert again("new/faces") == (given.subject, given.rename)


def test_emotions_of_ones_own_pictures_are_not_chosen_by_scan(add):
    add("faces/happy/1.jpg", "faces/sad/1.jpg")
    assert "--emotions is for archives of the set only" in refusal("faces", emotions=("happy",))


def test_sources_with_one_id_or_the_same_pictures_are_one_line(add, table):
    add("a/faces/happy/1.jpg", "a/faces/sad/1.jpg", "b/Faces/happy/2.jpg", "b/Faces/sad/2.jpg")
    assert "would both be faces; rename one of them" in refusal("a/faces", "b/Faces")
    shutil.copytree("a/faces", "copy")
    assert "hold the same pictures" in refusal("a/faces", "copy")
    assert "hold the same pictures" in refusal("a", "a/faces")
    path = table("path,emotion\nhappy/2.jpg,happy\nsad/2.jpg,sad\n", "b/Faces/list.csv")
    assert "hold the same pictures" in refusal("b/Faces", path)


def test_archives_of_the_set_and_ones_own_pictures_are_scanned_together(add):
    add("faces/happy/1.jpg", "faces/sad/1.jpg")
    assert list(scan([ANXIOUS, Path("faces")]).sources) == ["anxious-training-01", "faces"]


@needs_linux("only there names may be any bytes")
def test_a_folder_whose_own_name_is_not_utf8_is_one_line(add):
    place = Path(os.fsdecode(b"\xff"))
    add(f"{place}/happy/1.jpg", f"{place}/sad/1.jpg", content=b"1")
    assert "not UTF-8; rename it" in refusal(place)
