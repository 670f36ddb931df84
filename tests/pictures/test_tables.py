"""Tables of pictures: how they are read, where their pictures lie, and what is refused by its line."""

import datetime
import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_sources import names, scan_one
from systems import WINDOWS

from faceemo.errors import FaceemoError
from faceemo.pictures import tables
from faceemo.pictures.reader import PictureReader
from faceemo.pictures.scan import scan
from faceemo.pictures.tables import read_table

FACES = ("1.jpg", "2.jpg", "3.jpg")
MAX_BYTES = 10**9


@pytest.fixture(autouse=True)
def faces(add):
    add(*FACES)


def rows(path):
    return read_table(path).rows.to_pylist()


def refusal(path):
    with pytest.raises(FaceemoError) as error:
        scan([path])
    message = str(error.value)
    assert "\n" not in message and str(path) in message
    return message


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp949"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("head", ["", "sep={}\r\n", '"sep={}"\r\n', "\r\n \r\n"])
def test_is_read_in_every_encoding_with_every_delimiter_and_as_excel_writes_it(table, encoding, delimiter, head):
    lines = [
        ["Path", "emotion", "subject", "sex", "age"],
        ["1.jpg", "기쁨", "김", "남", "31"],
        ["2.jpg", "Sad", "", "f", ""],
        ["", "", "", "", ""],
    ]
    text = head.format(delimiter) + "\r\n".join(map(delimiter.join, lines))
    assert rows(table(text, encoding=encoding)) == [
        {"path": "1.jpg", "emotion": "기쁨", "subject": "김", "sex": "male", "age": 31, "votes": None},
        {"path": "2.jpg", "emotion": "Sad", "subject": None, "sex": "female", "age": None, "votes": None},
    ]


def test_what_pandas_and_databases_write_for_nothing_is_nothing(table):
    text = (
        ",Unnamed: 0.1,Unnamed: 0,index,path,emotion,subject,sex,age,happy,,\n"
        "0,0,0,7,1.jpg,happy,NaN,nan,,,,\n1,1,1,9,2.jpg,sad,None,NULL,30.0,2.0,,\n"  # two empty columns of Excel's last
    )
    nothing = {"subject": None, "sex": None}
    assert rows(table(text)) == [
        {"path": "1.jpg", "emotion": "happy", **nothing, "age": None, "votes": None},
        {"path": "2.jpg", "emotion": "sad", **nothing, "age": 30, "votes": [2]},
    ]


def test_parquet_is_read_too(project):
    columns = {"path": FACES, "emotion": ["happy", "bored", "bored"], "age": [30.0, None, 41.0], "bored": [0, 2, None]}
    index = pa.array([datetime.datetime(1, 1, 1)] * 3, pa.timestamp("us")).cast(pa.timestamp("s"))
    pq.write_table(pa.table({**columns, "__index_level_0__": index}), "faces.parquet")
    assert dict(scan_one("faces.parquet").classes) == {"happy": 1, "bored": 2}
    pq.write_table(pa.table({**columns, "path": [name.encode() for name in FACES]}), "bytes.parquet")
    assert names(scan_one("bytes.parquet")) == list(FACES)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (pa.array([1, 2, 3], pa.timestamp("ns")), "a value cannot be read (Nanosecond"),
        (pa.array([2**31 - 1] * 3, pa.int32()).cast(pa.date32()), "a value cannot be read"),
        (pa.array([b"\xff"] * 3).cast(pa.string(), safe=False), "a value cannot be read ('utf-8' codec"),
        (pa.array([b"\xff"] * 3), "a value cannot be read ('utf-8' codec"),
    ],
)
def test_parquet_whose_values_python_cannot_hold_is_one_line(project, values, words):
    if pa.types.is_string(values.type):
        values = pa.Array.from_buffers(pa.string(), 3, pa.array([b"\xff"] * 3).buffers())
    pq.write_table(pa.table({"path": FACES, "emotion": ["sad"] * 3, "subject": values}), "faces.parquet")
    assert f"column subject: {words}" in refusal(Path("faces.parquet"))


@pytest.mark.parametrize(
    ("text", "voted", "votes"),
    [
        ("happy,sad\n1.jpg,happy,3,1\n2.jpg,sad,,\n", ("happy", "sad"), [[3, 1], None]),
        ("기쁨,sad,contempt,unknown\n1.jpg,happy,3,1,1,2\n2.jpg,sad,,,0,\n", ("기쁨", "sad", "contempt", "unknown"),
         [[3, 1, 1, 2], [0, 0, 0, 0]]),
        ("bored\n1.jpg,bored,1\n2.jpg,sad,2\n", ("bored",), [[1], [2]]),
    ],
)  # fmt: skip
def test_votes_are_columns_named_after_classes_and_numbers_beside_these(table, text, voted, votes):
    found = read_table(table(f"path,emotion,{text}"))
    assert found.voted == voted and found.rows["votes"].to_pylist() == votes


def test_scan_says_which_votes_a_table_has_and_a_class_of_votes_alone_may_be_named_in_emotions(table):
    path = table("path,emotion,happy,sad,contempt\n1.jpg,happy,3,0,0\n2.jpg,sad,0,1,2\n")
    source = scan_one(path, rename={"contempt": "angry"}).source
    assert source.classes == ("happy", "sad") and source.voted == ("angry", "happy", "sad")
    assert dict(source.rename) == {"contempt": "angry"}


def test_its_pictures_lie_beside_it_above_it_or_in_archives(add, table, make_zip, project):
    add("tables/1.jpg", "above.jpg", "tables/Kim/2.jpg")
    make_zip("tables/more.zip", ("in/3.jpg", b"3"), ("4.jpg", b"4"), ("a\\5.jpg", b"5"))
    absolute = f"{project}/2.jpg"
    paths = [
        "1.jpg",
        "../above.jpg",
        "Kim\\2.jpg",
        "more.zip/in/3.jpg",
        "more.zip/4.jpg",
        "more.zip\\a\\5.jpg",
        absolute,
    ]
    text = "path,emotion\n" + "".join(f"{path},{'sad' if 'zip' in path else 'happy'}\n" for path in paths)
    one = scan_one(table(text, "tables/faces.csv"))
    with PictureReader() as reader:
        read = {picture.name: reader.read(picture, MAX_BYTES) for picture in one.pictures}
    assert read == {
        "../above.jpg": b"above.jpg",
        "1.jpg": b"tables/1.jpg",
        "Kim/2.jpg": b"tables/Kim/2.jpg",
        "more.zip/4.jpg": b"4",
        "more.zip/a/5.jpg": b"5",
        "more.zip/in/3.jpg": b"3",
        absolute: b"2.jpg",
    }
    assert names(one) == sorted(read)


def test_correcting_or_sorting_it_leaves_the_digest_of_its_pictures(table):
    before = scan_one(table("path,emotion\n1.jpg,happy\n2.jpg,sad\n")).source
    after = scan_one(table("path,emotion,subject\n2.jpg,bored,kim\n1.jpg,happy,lee\n")).source
    assert before.digest == after.digest
    assert before.table.digest != after.table.digest
    Path("moved").mkdir()
    for name in (*FACES, "faces.csv"):
        shutil.move(name, "moved")
    assert scan_one("moved/faces.csv").source.digest == before.digest


def test_who_is_known_is_counted(table):
    path = table("path,emotion,subject\n1.jpg,happy,kim\n2.jpg,sad,\n3.jpg,sad,kim\n")
    assert (scan_one(path).people, scan_one(path).without_person) == ({"kim"}, 1)
    assert scan_one(path, subject="each").people == {"kim", "faces/2.jpg"}
    each = scan_one(table("path,emotion\n1.jpg,happy\n2.jpg,sad\n"), subject="each")
    assert (each.people, each.without_person, each.is_each) == (set(), 0, True)


def test_a_picture_that_is_missing_is_kept_with_its_reason(table, make_zip):
    make_zip("a.zip", ("2.jpg", b"2"))
    lines = ["1.jpg,happy", "gone.jpg,happy", "a.zip/gone.jpg,sad", "a.zip/2.jpg,sad", "b.zip/3.jpg,sad"]
    if not WINDOWS:
        os.mkfifo("pipe.jpg")
        Path("zero.jpg").symlink_to("/dev/zero")
        lines += ["pipe.jpg,sad", "zero.jpg,sad"]
    lines += [f"{'x' * 5000}.jpg,sad", f"{'y' * 5000}.zip/1.jpg,sad", r"C:\faces\1.jpg,sad"]
    one = scan_one(table("path,emotion\n" + "\n".join(lines)))
    assert len(one.pictures) == len(lines)
    errors = {picture.name[:20]: picture.error for picture in one.unread}
    assert errors["a.zip/gone.jpg"] == "not in a.zip"
    on_windows_alone = "a path of Windows; write it relative to the table"
    assert errors["C:/faces/1.jpg"] == on_windows_alone or os.name == "nt"  # where it is only missing
    assert {errors.pop(name, "not a regular file") for name in ("pipe.jpg", "zero.jpg")} == {"not a regular file"}
    assert errors.keys() - {"x" * 20, "y" * 20} == {"gone.jpg", "a.zip/gone.jpg", "b.zip/3.jpg", "C:/faces/1.jpg"}


@pytest.mark.parametrize("column", ["index", "Unnamed: 0", "Unnamed: 0.1", "level_0", "__index_level_0__", ""])
def test_an_index_of_pandas_is_no_column(table, column):
    rows = read_table(table(f"{column},path,emotion,subject\n7,1.jpg,happy,<NA>\n8,2.jpg,sad,Na\n")).rows
    assert rows["path"].to_pylist() == ["1.jpg", "2.jpg"] and rows["subject"].to_pylist() == [None, "Na"]


@pytest.mark.parametrize(
    ("encoding", "word"), [("cp932", "笑顔"), ("gbk", "高兴"), ("big5", "快樂"), ("cp1252", "fâché")]
)
def test_words_in_another_encoding_never_become_hangul(table, encoding, word):
    text = "path,emotion\n" + "".join(f"{number}.jpg,{word}\n" for number in range(5))
    assert "neither UTF-8 nor, as far as can be told, Korean in CP949; save it as CSV in UTF-8" in refusal(
        table(text, encoding=encoding)
    )


@pytest.mark.parametrize(
    "lines", [["0.jpg,happy,李"], [*(f"{number}.jpg,기쁨,김" for number in range(9)), "9.jpg,기쁨,똠방"]]
)
def test_chinese_characters_and_a_rare_syllable_are_korean_too(add, table, lines):
    add(*(f"{number}.jpg" for number in range(10)))
    found = rows(table("\n".join(["path,emotion,subject", *lines]), encoding="cp949"))
    assert found[-1]["subject"] == lines[-1].split(",")[-1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: no column 'path' and no 'emotion'; its columns are none"),
        ("file,emotion\n1.jpg,happy\n", "line 1: no column 'path'; rename 'file' to 'path'"),
        (
            "file,label,person\n1.jpg,happy,p\n",
            "line 1: no column 'path' and no 'emotion'; rename 'file' to 'path', 'label' to 'emotion', 'person' to "
            "'subject'",
        ),
        (
            "pth,emotion_label,user_id\n1.jpg,happy,p\n",  # misspelt, and a known name among its words
            "no column 'path' and no 'emotion'; rename 'pth' to 'path', 'emotion_label' to 'emotion', 'user_id' to "
            "'subject'",
        ),
        ("file,image,emotion\n1.jpg,1,happy\n", "line 1: no column 'path'; rename 'file' or 'image' to 'path'"),
        ("a,label\n1.jpg,happy\n", "; its columns are a, label; rename 'label' to 'emotion'"),
        (
            "path,emotion,user,width,note\n1.jpg,happy,p,3,x\n",
            "rename 'user' to 'subject' and take 'width', 'note' out;",
        ),
        ("path,label\n1.jpg,happy\n", "line 1: no column 'emotion'; rename 'label' to 'emotion'"),
        ("path,emotion,person\n1.jpg,happy,p\n", "unknown column 'person'; rename 'person' to 'subject'; known are"),
        (
            "sep=;\npath,emotion\n1.jpg,happy\n",
            "line 1: 'path,emotion' is taken for one column; part them by comma, semicolon or tab, or name what parts",
        ),
        ("path|emotion\n1.jpg|happy\n", "line 1: 'path|emotion' is taken for one column; part them by comma"),
        ("# my faces\npath,emotion\n1.jpg,happy\n", "line 2: 2 values for the only column, '# my faces'"),
        (",".join(map("c{}".format, range(100_000))), "line 1: 100000 columns; keep path, emotion, subject, sex, age"),
        (
            f"path,emotion,{','.join(map('x{}'.format, range(99)))}\n",
            "'x9' and 89 more; take 'x0', 'x1', 'x2', 'x3', 'x4', 'x5', 'x6', 'x7', 'x8', 'x9' and 89 more out",
        ),
        ("path,emotion\n", "names no pictures"),
        ("path,emotion", "names no pictures"),
        ("path,emotion,mood\n1.jpg,happy,3\n", "line 1: unknown column 'mood'"),
        ("path,emotion,happy,mood\n1.jpg,happy,3,1\n", "line 1: unknown column 'mood'"),
        ("path,emotion,happy,sad,mood\n1.jpg,happy,3,1,good\n", "line 1: unknown column 'mood'"),
        ("path,emotion,emotion\n1.jpg,happy,sad\n", "line 1: two columns 'emotion'"),
        ("path,emotion\n1.jpg,happy\n\n1.jpg,Happy\n", "line 4: 1.jpg is in line 2 already"),
        ("path,emotion\n1.jpg,happy\n./1.jpg,sad\n", "line 3: two emotions for 1.jpg: happy in line 2, sad here"),
        ("path,emotion\n1.jpg,happy\n2.jpg, \n", "line 3: the emotion is empty"),
        ("sep=,\n\npath,emotion\n1.jpg,happy\n2.jpg,NaN\n", "line 5: the emotion is empty"),
        *(
            (f"path,emotion\n1.jpg,happy\n2.jpg,{gap}\n", "line 3: the emotion is empty")
            for gap in ("<NA>", "#N/A", "n/a")
        ),
        ("path,emotion\n1.jpg,happy\n ,sad\n", "line 3: the path is empty"),
        ("path,emotion\nhttps://a.b/1.jpg,happy\n", "line 2: https://a.b/1.jpg is an address; download the pictures"),
        ("path,emotion\nhttps:/a.b/1.jpg,happy\n", "line 2: https:/a.b/1.jpg is an address"),
        ("path,emotion\n1\0.jpg,happy\n", "line 2: the path holds a zero byte"),
        ("path,emotion\n1.jpg\n", "line 2: 1 values for 2 columns"),
        ("path,emotion\n1.jpg,happy\n2.jpg,sad,3\n", "line 3: 3 values for 2 columns"),
        ('path,emotion\n1.jpg,happy\n\n2.jpg,"sad\n3.jpg,sad\n4.jpg,sad', "line 4: a quotation mark is not closed"),
        ('path,emotion\n1.jpg,"happy\n2.jpg,"sad"\n3.jpg,sad,3\n', "line 2: a quotation mark is not closed"),
        ('path,emotion\n1.jpg,"happy\n2.jpg",sad\n', "line 2: a value with a line break"),
        ('path,emotion\n1.jpg,happy,3\n2.jpg,"happy\n', "line 2: 3 values for 2 columns"),
        ('path,"emotion\n1.jpg,happy\n', "line 1: a quotation mark is not closed"),
        ('path,emotion\n"1.jpg,happy\n2.jpg,sad\n', "line 2: a quotation mark is not closed"),
        ("path,emotion\n \n,,,\n\n1.jpg,happy\n;\n", "line 6: 1 values for 2 columns"),
        ("path,emotion\r1.jpg,happy\r2.jpg,sad,3\r", "line 3: 3 values for 2 columns"),
        ("path,emotion,sex\n1.jpg,happy,x\n", "line 2: the sex is 'x'"),
        ("path,emotion,age\n1.jpg,happy,thirty\n", "line 2: the age is 'thirty'"),
        ("path,emotion,age\n1.jpg,happy,1e999\n", "line 2: the age is '1e999'"),
        ("path,emotion,happy\n1.jpg,happy,-1\n", "line 2: the number of votes for happy is '-1'"),
        ("path,emotion,happy\n1.jpg,happy,128\n", "line 2: the number of votes for happy is '128'"),
        ("path,emotion\na.zip/../1.jpg,happy\n", "line 2: a.zip/../1.jpg leads out of an archive"),
        ("path,emotion\n8.jpg,happy\n9.jpg,sad\n", "none of its 2 pictures can be read; the first is 8.jpg"),
        ("path,emotion\nC:\\faces\\8.jpg,happy\n", "(a path of Windows; write it relative to the table)"),
    ],
)
def test_what_is_wrong_is_one_line_that_names_the_line(table, text, words):
    assert words in refusal(table(text))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff\xfe\x00\x80\x80", "neither UTF-8 nor, as far as can be told, Korean in CP949"),
        (b"path,emotion\n" + b"x" * 200_000 + b",sad\n", "line 2: a value has more than 131072 characters"),
        (
            b"PK\3\4\x14",
            "a spreadsheet or a ZIP archive, not text; open it in its program and save it as CSV (in Excel",
        ),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "a spreadsheet, not text; open it"),
        (b"PAR1\x15\4", "a Parquet file; name it .parquet"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS; run 'git lfs pull'"),
        (b"\x1f\x8b\x08", "a gzip archive, not a table; unpack it"),
        (b"\n<!DOCTYPE html>", "a web page or XML, not a table"),
        (b'\xef\xbb\xbf[{"path": "1.jpg", "emotion": "happy"}]', "JSON, not a table; write it as CSV"),
    ],
)
def test_other_bytes_are_one_line_that_says_what_they_are(project, data, words):
    path = Path("faces.csv")
    path.write_bytes(data)
    assert words in refusal(path)
    if not data.startswith((b"\xff", b"path", b"PAR1")):
        path.rename("faces.parquet")
        assert words in refusal(Path("faces.parquet"))


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"path": [{"bytes": b"\xff", "path": None}]}, "column path: holds struct<"),
        (
            {"image": [{"bytes": b"\xff", "path": "1.jpg"}]},
            "not text; write text (for pictures, save them as files and write their paths), or take it out",
        ),
        ({"emotion": [["happy"]]}, "column emotion: holds list<element: string>, not text; write text"),
    ],
)
def test_parquet_that_holds_more_than_text_is_one_line(project, columns, words):
    pq.write_table(pa.table(columns), "faces.parquet")
    assert words in refusal(Path("faces.parquet"))
    double = pa.table([pa.array(["1.jpg"])] * 2, names=["path", "path"])
    pq.write_table(double, "faces.parquet")
    assert refusal(Path("faces.parquet")) == "faces.parquet: line 1: two columns 'path'"
    Path("faces.parquet").write_bytes(b"PAR1")
    assert "not a readable Parquet file" in refusal(Path("faces.parquet"))


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32", "utf-8"])
def test_text_without_its_mark_or_with_two_is_read(table, encoding):
    mark = "\ufeff\ufeff" if encoding == "utf-8" else ""
    rows = read_table(table(f"{mark}path,emotion\n1.jpg,기쁨\n", encoding=encoding)).rows.to_pylist()
    assert [(row["path"], row["emotion"]) for row in rows] == [("1.jpg", "기쁨")]


def test_a_broken_archive_that_it_names_is_one_line(add, table):
    add("a.zip")
    with pytest.raises(FaceemoError, match=r"a.zip: not a readable ZIP archive"):
        scan([table("path,emotion\n1.jpg,happy\na.zip/2.jpg,sad\n")])


def test_it_is_parsed_once_however_its_path_is_written_and_again_when_it_changes(table, project, monkeypatch):
    parsed, parse = [], tables._parse
    monkeypatch.setattr(tables, "_parse", lambda path: parsed.append(path) or parse(path))
    path = table("path,emotion\n1.jpg,happy\n")
    for written in (path, Path("faces.csv"), project / "x/../faces.csv"):
        (project / "x").mkdir(exist_ok=True)
        assert len(read_table(written).rows) == 1
    assert len(parsed) == 1
    table("path,emotion\n1.jpg,happy\n2.jpg,sad\n")
    assert len(read_table(path).rows) == 2 and len(parsed) == 2
