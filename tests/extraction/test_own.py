"""Sources of one's own: what a scan makes of folders, ZIP archives and tables, and what it refuses."""

import os
import shutil
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_archives import ANXIOUS, SAMPLE, SETTINGS, encoded

from faceemo.errors import FaceemoError
from faceemo.extraction import extract
from faceemo.extraction.archive import Archive
from faceemo.extraction.opening import open_pictures
from faceemo.extraction.own import OwnOptions
from faceemo.extraction.pictures import read_seen, write_seen
from faceemo.extraction.scan import scan
from faceemo.extraction.sources import Labels, read_sources, write_sources
from faceemo.extraction.worker import read_task

MAX_BYTES = 10**9
SUBJECT = "a" * 64


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def add(tmp_path):
    """add("faces/happy/1.jpg", ...) writes files, each with bytes of its own."""

    def add(*names, content=None):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content or name.encode())

    return add


@pytest.fixture
def table(tmp_path):
    def table(text, name="faces.csv", encoding="utf-8"):
        (tmp_path / name).write_bytes(text.encode(encoding))
        return tmp_path / name

    return table


def scan_one(place, **options):
    (one,) = scan([Path(place)], options=OwnOptions(**options)).own.values()
    return one


def refusal(*places, **options):
    with pytest.raises(FaceemoError) as error:
        scan([Path(place) for place in places], options=OwnOptions(**options))
    message = str(error.value)
    assert "\n" not in message
    return message


def names(one):
    return [picture.name for picture in one.pictures]


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
        (["Training/[원천]EMOIMG_기쁨_TRAIN_01/1.jpg", "Validation/EMOIMG_슬픔_VALID/1.jpg"], 2,
         {"happy": 1, "sad": 1}),
        ([f"{SUBJECT}_여_20_{word}_실내_20210126133507-001-00{n}.jpg" for n, word in enumerate(["기쁨", "슬픔"])], 0,
         {"happy": 1, "sad": 1}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_the_folders_that_name_classes_are_found_in_every_layout(add, project, files, level, classes, form, kind):
    add(*(unicodedata.normalize(form, f"faces/{name}") for name in files))
    if kind == "zip":
        shutil.make_archive("faces", "zip", "faces")
        shutil.rmtree("faces")
    one = scan_one("faces" if kind == "folder" else "faces.zip")
    assert (one.source.level, dict(one.classes)) == (level, classes)
    assert one.source.classes == tuple(sorted(classes))
    assert sorted(names(one)) == sorted(files)
    assert one.source.emotion is None


def test_a_tree_is_one_source_with_every_key_written_and_read_back(add, project):
    add("faces/happy/kim_1.jpg", "faces/surprise/lee_1.jpg")
    result = scan([Path("faces")], options=OwnOptions(subject=r"/([a-z]+)_", rename={"surprise": "embarrassed"}))
    write_sources(result.sources)
    assert read_sources() == result.sources
    source = read_sources()["faces"]
    assert (source.tree, source.zip, source.table, source.images) == ("faces", None, None, 2)
    assert (source.subject, source.rename) == (r"/([a-z]+)_", {"surprise": "embarrassed"})
    assert source.classes == ("embarrassed", "happy")
    assert result.own["faces"].people == 2


def test_the_unpacked_set_brings_its_label_json(add, project):
    for emotion in ("기쁨", "불안"):
        for archive in (SAMPLE / "Training").glob(f"*{emotion}*.zip"):
            shutil.unpack_archive(archive, project / "set" / archive.stem)
    one = scan_one("set")
    assert one.source.labels is not None and one.source.labels.zip is None
    assert one.people > 10 and one.nobodys == 0
    assert dict(one.classes) == {"anxious": 48, "happy": 48}
    labels = next(path for path in (project / "set").rglob("*.json"))
    labels.write_bytes(labels.read_bytes() + b" ")
    changed = scan_one("set").source
    assert changed.digest == one.source.digest and changed.labels != one.source.labels
    assert isinstance(changed.labels, Labels)


@pytest.mark.parametrize("place", ["가족 사진", "2024", "..."])
def test_a_name_without_ascii_letters_gives_a_numbered_id(add, project, place):
    add(f"x/{place}/happy/1.jpg", f"x/{place}/sad/1.jpg")
    assert list(scan([Path("x") / place]).sources) == ["folder-01"]


def test_ids_have_no_dot_and_no_space(add, project):
    add("My faces v1.2/happy/1.jpg", "My faces v1.2/sad/1.jpg")
    assert list(scan([Path("My faces v1.2")]).sources) == ["my-faces-v1-2"]


def digest(place="faces", **options):
    result = scan([Path(place)], options=OwnOptions(**options))
    for key, one in result.own.items():
        write_seen(key, one.looked_at)
    (source,) = result.sources.values()
    return source.digest


def test_a_folder_that_is_copied_moved_or_touched_keeps_its_digest(add, project):
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


def test_a_changed_added_or_renamed_picture_changes_the_digest(add, project):
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


def test_a_scan_reads_only_pictures_whose_size_or_time_it_has_not_seen(add, project):
    add("faces/happy/1.jpg", "faces/sad/1.jpg")
    before = digest()
    path = Path("faces/sad/1.jpg")
    stat = path.stat()
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert digest() == before  # as the disk says that nothing changed, it is not read
    assert digest(read_all=True) != before  # --hash


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"happy/1.jpg": 1}', b"\xff"])
def test_a_damaged_memory_of_what_was_seen_costs_reading_and_nothing_else(add, project, damage):
    add("faces/happy/1.jpg", "faces/sad/1.jpg")
    before = digest()
    assert set(read_seen("faces")) == {"happy/1.jpg", "sad/1.jpg"}
    Path("data/.seen/faces.json").write_bytes(damage)
    assert digest() == before


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_a_link_that_leads_back_is_passed_over_and_other_links_are_followed(add, project):
    add("faces/happy/1.jpg", "more/2.jpg")
    (project / "faces/sad").symlink_to(project / "more", target_is_directory=True)
    (project / "faces/sad/loop").symlink_to(project / "faces", target_is_directory=True)
    (project / "faces/happy/self.jpg").symlink_to("self.jpg")
    one = scan_one("faces")
    assert names(one) == ["happy/1.jpg", "happy/self.jpg", "sad/2.jpg"]
    assert [reason for _, reason in one.passed_over] == ["a link to a folder that it lies in"]
    assert [picture.name for picture in one.unread] == ["happy/self.jpg"]


@pytest.mark.skipif(sys.platform != "linux", reason="only there names may be any bytes")
def test_names_that_are_not_utf8_are_read_as_cp949_or_escaped(add, project):
    add("faces/happy/1.jpg")
    for raw in ("중립/사진.jpg".encode("cp949"), b"sad/\xff.jpg"):
        path = project / "faces" / os.fsdecode(raw)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(raw)
    result = scan([Path("faces")])
    assert names(result.own["faces"]) == ["happy/1.jpg", "sad/\\xff.jpg", "중립/사진.jpg"]
    with open_pictures("faces", result.sources["faces"]) as pictures:
        assert pictures.read(2, MAX_BYTES) == "중립/사진.jpg".encode("cp949")


@pytest.mark.skipif(sys.platform != "linux", reason="only there names may be any bytes")
def test_a_folder_whose_own_name_is_not_utf8_is_one_line(add, project):
    place = Path(os.fsdecode(b"\xff"))
    add(f"{place}/happy/1.jpg", f"{place}/sad/1.jpg", content=b"1")
    assert "not UTF-8; rename it" in refusal(place)


def test_pictures_beside_the_folders_of_classes_are_passed_over_and_counted(add, project):
    add("faces/happy/1.jpg", "faces/sad/1.jpg", "faces/loose.jpg", "faces/readme.txt", "faces/extra.csv")
    one = scan_one("faces")
    assert (one.loose, one.others, names(one)) == (1, 2, ["happy/1.jpg", "sad/1.jpg"])
    assert [path.name for path, _ in one.passed_over] == ["extra.csv"]


def test_members_that_lead_out_of_an_archive_are_no_pictures(make_zip):
    path = make_zip(
        "faces.zip", ("happy/1.jpg", b"1"), ("sad/1.jpg", b"2"), ("../sad/2.jpg", b"3"), ("/sad/3.jpg", b"")
    )
    one = scan_one(path)
    assert names(one) == ["happy/1.jpg", "sad/1.jpg"]
    assert {reason for _, reason in one.passed_over} == {"its name leads out of the archive"}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([], ["no pictures", "faces"]),
        (["notes.txt"], ["no pictures", "faces"]),
        (["1.jpg", "2.jpg"], ["faces: no folders that name a class"]),
        (["happy/1.jpg"], ["faces: only one class, happy"]),
        (["happy/1.jpg", "1/2.jpg"], ["'1' cannot be the name of a class", "--rename '1=CLASS'"]),
        (["happy/1.jpg", "지루함!/2.jpg"], ["'지루함!' cannot be the name of a class", "--rename '지루함!=CLASS'"]),
        (["happy/1.jpg", "label/2.jpg"], ["'label' cannot be the name of a class"]),
    ],
)
def test_a_folder_that_cannot_be_trained_on_is_one_line(add, project, files, words):
    (project / "faces").mkdir()
    add(*(f"faces/{name}" for name in files))
    message = refusal("faces")
    assert all(word in message for word in words)


def test_a_place_that_is_no_source_is_one_line(add, project):
    add("a.txt", "empty.zip")
    assert "a.txt: neither a folder, a ZIP archive nor a table" in refusal("a.txt")
    assert "missing: no such folder" in refusal("missing")
    assert "not a readable ZIP archive" in refusal("empty.zip")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"subject": "(x+)_"}, "--subject '(x+)_' matches no picture of faces, such as happy/1.jpg"),
        ({"rename": {"surprise": "embarrassed"}}, "no class is called 'surprise'; the words are happy, sad"),
        ({"rename": {"sad": "happy"}}, "only one class"),
    ],
)
def test_options_that_fit_nothing_are_one_line(add, project, options, words):
    add("faces/happy/1.jpg", "faces/sad/1.jpg")
    assert words in refusal("faces", **options)


def test_what_the_last_scan_was_told_stays_for_the_same_place_until_it_is_told_otherwise(add, project):
    add("faces/happy/kim_1.jpg", "faces/surprise/lee_1.jpg", "other/happy/a.jpg", "other/sad/a.jpg")
    told = OwnOptions(subject=r"/([a-z]+)_", rename={"surprise": "embarrassed"})
    earlier = scan([Path("faces")], options=told).sources

    def again(place, **options):
        (source,) = scan([Path(place)], options=OwnOptions(**options), earlier=earlier).sources.values()
        return source.subject, dict(source.rename)

    assert again("faces") == (told.subject, told.rename)
    assert again("faces", subject="each") == ("each", told.rename)
    assert again("faces", subject="", rename={}) == (None, {})
    assert again("other") == (None, {})
    Path("new").mkdir()
    Path("faces").rename("new/faces")
    assert again("new/faces") == (told.subject, told.rename)


def test_options_for_ones_own_pictures_are_refused_for_archives_of_the_set():
    assert "--subject is for folders" in refusal(ANXIOUS, subject="each")
    assert "--rename is for folders" in refusal(ANXIOUS, rename={"a": "b"})


def test_emotions_of_ones_own_pictures_are_not_chosen_by_scan(add, project):
    add("faces/happy/1.jpg", "faces/sad/1.jpg")
    with pytest.raises(FaceemoError, match="--emotions is for archives of the set only"):
        scan([Path("faces")], emotions=("happy",))


def test_sources_with_one_id_or_the_same_pictures_are_one_line(add, table, project):
    add("a/faces/happy/1.jpg", "a/faces/sad/1.jpg", "b/Faces/happy/2.jpg", "b/Faces/sad/2.jpg")
    assert "would both be faces; rename one of them" in refusal("a/faces", "b/Faces")
    shutil.copytree("a/faces", "copy")
    assert "hold the same pictures" in refusal("a/faces", "copy")
    assert "hold the same pictures" in refusal("a", "a/faces")
    path = table("path,emotion\nhappy/2.jpg,happy\nsad/2.jpg,sad\n", "b/Faces/list.csv")
    assert "hold the same pictures" in refusal("b/Faces", path)


def test_archives_of_the_set_and_ones_own_pictures_are_scanned_together(add, project):
    add("faces/happy/1.jpg", "faces/sad/1.jpg")
    assert list(scan([ANXIOUS, Path("faces")]).sources) == ["anxious-training-01", "faces"]


def test_a_picture_that_changes_after_the_scan_is_not_taken_for_the_one_scanned(add, project):
    add("faces/happy/1.jpg", "faces/sad/1.jpg")
    source = scan([Path("faces")]).sources["faces"]
    with open_pictures("faces", source) as pictures:
        assert pictures.digest == source.digest
        Path("faces/sad/1.jpg").write_bytes(b"others")
        with pytest.raises(Exception, match="changed since the last scan"):
            pictures.read(1, MAX_BYTES)
        Path("faces/happy/1.jpg").unlink()
        with pytest.raises(Exception, match="No such file"):
            pictures.read(0, MAX_BYTES)
        shutil.rmtree("faces")
        with pytest.raises(FaceemoError, match="not there any more"):
            pictures.read(0, MAX_BYTES)
    with pytest.raises(FaceemoError, match="faces is not there"), open_pictures("faces", source):
        pass


FACES = ("1.jpg", "2.jpg", "3.jpg")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_is_read_in_every_encoding_and_with_every_delimiter(add, table, project, encoding, delimiter):
    add(*FACES)
    rows = [
        ["Path", "emotion", "subject", "sex", "age"],
        ["1.jpg", "기쁨", "김", "남", "31"],
        ["2.jpg", "Sad", "", "f", ""],
    ]
    one = scan_one(table("\r\n".join(map(delimiter.join, rows)), encoding=encoding))
    assert dict(one.classes) == {"happy": 1, "sad": 1}
    assert (one.people, one.nobodys, one.source.images) == (1, 1, 2)


def test_a_parquet_table_is_read_too(add, project):
    add(*FACES)
    columns = {"path": FACES, "emotion": ["happy", "bored", "bored"], "age": [30.0, None, 41.0], "bored": [0, 2, None]}
    pq.write_table(pa.table(columns), "faces.parquet")
    one = scan_one("faces.parquet")
    assert dict(one.classes) == {"happy": 1, "bored": 2}


def test_a_tables_pictures_lie_beside_it_above_it_or_in_archives(add, table, make_zip, project):
    add("tables/1.jpg", "above.jpg", "tables/Kim/2.jpg")
    make_zip("tables/more.zip", ("in/3.jpg", b"3"), ("4.jpg", b"4"))
    paths = ["1.jpg", "../above.jpg", "Kim\\2.jpg", "more.zip/in/3.jpg", "more.zip/4.jpg"]
    text = "path,emotion\n" + "".join(f"{path},{'sad' if 'zip' in path else 'happy'}\n" for path in paths)
    source = scan([table(text, "tables/faces.csv")]).sources["faces"]
    with open_pictures("faces", source) as pictures:
        read = {one.name: pictures.read(index, MAX_BYTES) for index, one in enumerate(pictures.members)}
    assert read == {
        "../above.jpg": b"above.jpg",
        "1.jpg": b"tables/1.jpg",
        "Kim/2.jpg": b"tables/Kim/2.jpg",
        "more.zip/4.jpg": b"4",
        "more.zip/in/3.jpg": b"3",
    }


def test_correcting_or_sorting_a_table_leaves_the_digest_of_its_pictures(add, table, project):
    add(*FACES)
    before = scan_one(table("path,emotion\n1.jpg,happy\n2.jpg,sad\n")).source
    after = scan_one(table("path,emotion,subject\n2.jpg,bored,kim\n1.jpg,happy,lee\n")).source
    assert before.digest == after.digest
    assert before.table.digest != after.table.digest
    (project / "moved").mkdir()
    for name in (*FACES, "faces.csv"):
        Path(name).rename(Path("moved") / name)
    assert scan_one("moved/faces.csv").source.digest == before.digest


def test_a_path_too_long_for_any_disk_is_a_picture_that_cannot_be_read(add, table, project):
    add("1.jpg")
    one = scan_one(table(f"path,emotion\n1.jpg,happy\n{'x' * 5000}.jpg,sad\n{'y' * 5000}.zip/1.jpg,sad\n"))
    assert len(one.pictures) == 3 and len(one.unread) == 2


def test_a_picture_that_a_table_names_and_is_missing_is_kept_with_its_reason(add, table, make_zip, project):
    add("1.jpg")
    make_zip("a.zip", ("2.jpg", b"2"))
    lines = ["1.jpg,happy", "gone.jpg,happy", "a.zip/gone.jpg,sad", "a.zip/2.jpg,sad", "b.zip/3.jpg,sad"]
    one = scan_one(table("path,emotion\n" + "\n".join(lines)))
    assert len(one.pictures) == 5
    assert {picture.name for picture in one.unread} == {"gone.jpg", "a.zip/gone.jpg", "b.zip/3.jpg"}
    assert "not in a.zip" in {picture.error for picture in one.unread}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: no column 'path'; its columns are none"),
        ("file,emotion\n1.jpg,happy\n", "line 1: no column 'path'; its columns are file, emotion"),
        ("path,emotion\n", "names no pictures"),
        ("path,emotion,mood\n1.jpg,happy,3\n", "line 1: unknown column 'mood'"),
        ("path,emotion,emotion\n1.jpg,happy,sad\n", "line 1: two columns 'emotion'"),
        ("path,emotion\n1.jpg,happy\n\n1.jpg,Happy\n", "line 4: 1.jpg is in line 2 already"),
        ("path,emotion\n1.jpg,happy\n./1.jpg,sad\n", "line 3: two emotions for 1.jpg: happy in line 2, sad here"),
        ("path,emotion\n1.jpg,happy\n2.jpg, \n", "line 3: the emotion is empty"),
        ("path,emotion\n1.jpg,happy\n ,sad\n", "line 3: the path is empty"),
        ("path,emotion\n1.jpg\n", "line 2: 1 values for 2 columns"),
        ("path,emotion\n1.jpg,happy\n2.jpg,sad,3\n", "line 3: 3 values for 2 columns"),
        ('path,emotion\n1.jpg,happy\n\n2.jpg,"sad\n3.jpg,sad\n4.jpg,sad', "line 4: a value with a line break"),
        ('path,emotion\n1.jpg,"happy\n2.jpg,"sad"\n3.jpg,sad,3\n', "line 2: a value with a line break"),
        ('path,emotion\n1.jpg,happy,3\n2.jpg,"happy\n', "line 2: 3 values for 2 columns"),
        ('path,"emotion\n1.jpg,happy\n', "line 1: a quotation mark is not closed"),
        ("path,emotion", "names no pictures"),
        ('path,emotion\n"1.jpg,happy\n2.jpg,sad\n', "line 2: a value with a line break"),
        ("path,emotion\n \n,,,\n\n1.jpg,happy\n;\n", "line 6: 1 values for 2 columns"),
        ("path,emotion\r1.jpg,happy\r2.jpg,sad,3\r", "line 3: 3 values for 2 columns"),
        ("path,emotion,sex\n1.jpg,happy,x\n", "line 2: the sex is 'x'"),
        ("path,emotion,age\n1.jpg,happy,thirty\n", "line 2: the age is 'thirty'"),
        ("path,emotion,happy\n1.jpg,happy,-1\n", "line 2: the number of votes for happy is '-1'"),
        ("path,emotion,happy\n1.jpg,happy,128\n", "line 2: the number of votes for happy is '128'"),
        ("path,emotion\na.zip/../1.jpg,happy\n", "line 2: a.zip/../1.jpg leads out of an archive"),
        ("path,emotion\n1.jpg,happy\n2.jpg,happy\n", "only one class, happy"),
        ("path,emotion\n8.jpg,happy\n9.jpg,sad\n", "none of its 2 pictures can be read; the first is 8.jpg"),
    ],
)
def test_a_table_that_is_wrong_is_one_line_that_names_the_line(add, table, project, text, words):
    add(*FACES)
    message = refusal(table(text))
    assert "faces.csv" in message and words in message


@pytest.mark.parametrize("data", [b"\xff\xfe\x00\x80\x80", b"PAR1"])
def test_a_table_of_other_bytes_is_one_line(add, project, data):
    name = "faces.parquet" if data == b"PAR1" else "faces.csv"
    Path(name).write_bytes(data)
    assert ("not a readable Parquet file" if data == b"PAR1" else "neither UTF-8 nor CP949") in refusal(name)


def test_a_broken_archive_that_a_table_names_is_one_line(add, table, project):
    add("1.jpg", "a.zip")
    assert "a.zip: not a readable ZIP archive" in refusal(table("path,emotion\n1.jpg,happy\na.zip/2.jpg,sad\n"))


def test_an_unpacked_archive_holds_the_same_bytes_as_the_archive(project):
    shutil.unpack_archive(ANXIOUS, project / "set" / "불안")
    add_neutral = encoded(np.zeros((8, 8, 3), np.uint8))
    (project / "set/중립").mkdir()
    (project / "set/중립/1.jpg").write_bytes(add_neutral)
    source = scan([Path("set")]).sources["set"]
    with open_pictures("set", source) as pictures, Archive(ANXIOUS) as archive:
        by_name = {one.name.rpartition("/")[2]: index for index, one in enumerate(pictures.members)}
        for member in archive.pictures:
            index = by_name[member.name.rpartition("/")[2]]
            assert pictures.members[index].crc == member.info.CRC


@pytest.fixture
def faces(project):
    """Six pictures of the sample in two folders; their bytes by name."""
    with Archive(ANXIOUS) as archive:
        data = [archive.read(member, MAX_BYTES) for member in archive.pictures[:6]]
    made = {f"{('bored', 'happy')[number % 2]}/p{number}.jpg": one for number, one in enumerate(data)}
    for name, one in made.items():
        path = project / "faces" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one)
    return made


def rows_of(folder):
    return pa.concat_tables(pq.read_table(path) for path in sorted(folder.glob("*.parquet"))).to_pylist()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_folder_gives_the_landmarks_that_its_archive_gives_and_goes_on_from_finished_shards(
    faces, project, monkeypatch, capsys, workers
):
    monkeypatch.setattr(extract, "SHARD_ROWS", 2)
    monkeypatch.setattr(extract, "CHUNK_PICTURES", 1)
    shutil.make_archive("packed", "zip", "faces")
    result = scan([Path("faces")], options=OwnOptions(subject="(p[0-9]+)"))
    packed = scan([Path("packed.zip")], options=OwnOptions(subject="(p[0-9]+)"))
    folder = extract.extract("faces", result.sources["faces"], SETTINGS, None, workers)
    rows = rows_of(folder)
    assert [row["image"] for row in rows] == sorted(faces)
    assert {row["status"] for row in rows} == {"ok"}
    assert {row["emotion"] for row in rows} == {row["subject"] for row in rows} == {None}
    of_archive = rows_of(extract.extract("packed", packed.sources["packed"], SETTINGS, None, 1))
    assert sorted(of_archive, key=lambda row: row["image"]) == rows

    (partial,) = Path("data/.partial").glob("faces-*")
    for path in (partial / "complete", partial / "part-00001.parquet"):
        path.unlink()
    shutil.rmtree(folder)
    capsys.readouterr()
    extract.extract("faces", result.sources["faces"], SETTINGS, None, workers)
    assert "faces: 2 of 3 shards kept from an earlier run" in capsys.readouterr().out
    assert rows_of(folder) == rows


def test_a_picture_that_vanishes_or_changes_while_others_are_extracted_is_a_row(faces, project):
    source = scan([Path("faces")]).sources["faces"]
    with open_pictures("faces", source) as pictures:
        chunk = pictures.chunk(list(range(len(faces))), SETTINGS)
    first, second, *_ = sorted(faces)
    (project / "faces" / first).unlink()
    (project / "faces" / second).write_bytes(faces[first])
    readings = read_task(chunk)
    assert [reading.status for reading in readings] == ["read_error", "read_error", "ok", "ok", "ok", "ok"]
    assert "No such file" in readings[0].error
    assert readings[1].error == "changed since the last scan; run 'faceemo scan'"


def test_pictures_that_changed_between_scan_and_extract_stop_it_with_one_line(faces, project):
    source = scan([Path("faces")], options=OwnOptions(subject="each")).sources["faces"]
    (project / "faces" / min(faces)).unlink()
    with pytest.raises(FaceemoError, match="faces: pictures changed since the last scan; run 'faceemo scan'"):
        extract.extract("faces", source, SETTINGS, None, 1)


def test_without_who_is_who_nothing_is_extracted(faces, project):
    source = scan([Path("faces")]).sources["faces"]
    with pytest.raises(FaceemoError, match=r"it is not known who is in which picture.*--subject each"):
        extract.extract("faces", source, SETTINGS, None, 1)
    assert not Path("data/landmarks").exists()
