"""What is known of a source's pictures, joined to the rows of their landmarks by name."""

import hashlib
from pathlib import Path

import pyarrow as pa
import pytest

from faceemo.errors import FaceemoError
from faceemo.extraction.own import OwnOptions
from faceemo.extraction.scan import scan
from faceemo.extraction.schema import SCHEMA
from faceemo.features.annotations import describer, read_annotations
from faceemo.features.labels import VOTED, Raters


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def add(*names):
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(name.encode())


def rows_of(*images):
    nothing = pa.nulls(len(images))
    columns = {field.name: nothing.cast(field.type) for field in SCHEMA}
    return pa.table({**columns, "image": pa.array(images)}, schema=SCHEMA)


def described(key, source, *images):
    table = describer(key, source)(rows_of(*images))
    return table.select(["emotion", "subject", "sex", "age", "folder"]).to_pylist()


def test_folders_tell_class_and_folder_and_names_tell_people():
    names = ["train/Happy/kim_1.jpg", "test/지루함/lee_2.jpg", "train/지루함/3.jpg"]
    add(*(f"faces/{name}" for name in names))
    options = OwnOptions(subject="([a-z]+)_", rename={"지루함": "bored"})
    found = described("faces", scan([Path("faces")], options=options).sources["faces"], *names)
    assert [(row["emotion"], row["subject"], row["folder"]) for row in found] == [
        ("happy", "kim", "training"),
        ("bored", "lee", "validation"),
        ("bored", None, "training"),
    ]


def test_the_names_of_the_unpacked_set_tell_person_sex_and_age():
    name = f"{'a' * 64}_여_30_기쁨_실내_20210126133507-001-002.jpg"
    add(f"faces/{name}", "faces/sad.jpg", f"faces/{name.replace('기쁨', '슬픔')}")
    (row,) = described("faces", scan([Path("faces")]).sources["faces"], name)
    assert row == {"emotion": "happy", "subject": "a" * 64, "sex": "female", "age": 30, "folder": "training"}


def test_each_makes_every_picture_a_person_but_where_the_table_knows_better():
    add("1.jpg", "2.jpg")
    Path("faces.csv").write_text("path,emotion,subject\n1.jpg,happy,kim\n2.jpg,sad,\n", encoding="utf-8")
    source = scan([Path("faces.csv")], options=OwnOptions(subject="each")).sources["faces"]
    assert [row["subject"] for row in described("faces", source, "1.jpg", "2.jpg")] == ["kim", "faces/2.jpg"]


def test_a_table_gives_words_people_and_votes():
    add("1.jpg", "2.jpg", "3.jpg")
    text = (
        "path,emotion,subject,sex,age,기쁨,bored\n1.jpg,HAPPY,kim,여,31,4,1\n2.jpg,bored,,,,,\n3.jpg,bored,lee,m,8,0,\n"
    )
    Path("faces.csv").write_text(text, encoding="utf-8")
    source = scan([Path("faces.csv")], options=OwnOptions(rename={"bored": "tired"})).sources["faces"]
    assert source.classes == ("happy", "tired")
    assert described("faces", source, "1.jpg", "2.jpg", "3.jpg") == [
        {"emotion": "happy", "subject": "kim", "sex": "female", "age": 31, "folder": "training"},
        {"emotion": "tired", "subject": None, "sex": None, "age": None, "folder": "training"},
        {"emotion": "tired", "subject": "lee", "sex": "male", "age": 8, "folder": "training"},
    ]
    annotations = read_annotations("faces", source)
    assert annotations.raters == Raters(("happy", "tired"), at_least=0)
    first, second, third = annotations.find(["1.jpg", "2.jpg", "3.jpg"])
    assert (first.votes, second, third.votes) == ((4, 1), None, (0, 0))
    assert annotations.agreement(first, "happy") is None  # four of nobody knows how many


def test_a_table_that_is_not_the_one_scanned_is_one_line():
    add("1.jpg", "2.jpg")
    Path("faces.csv").write_text("path,emotion\n1.jpg,happy\n2.jpg,sad\n", encoding="utf-8")
    source = scan([Path("faces.csv")]).sources["faces"]
    Path("faces.csv").write_text("path,emotion\n1.jpg,sad\n2.jpg,sad\n", encoding="utf-8")
    assert hashlib.sha256(Path("faces.csv").read_bytes()).hexdigest() != source.table.digest
    with pytest.raises(FaceemoError, match=r"faces: faces.csv changed since the last scan; run 'faceemo scan'"):
        read_annotations("faces", source)


def test_rows_of_pictures_that_a_table_does_not_name_are_one_line():
    add("1.jpg", "2.jpg")
    Path("faces.csv").write_text("path,emotion\n1.jpg,happy\n2.jpg,sad\n", encoding="utf-8")
    source = scan([Path("faces.csv")]).sources["faces"]
    with pytest.raises(FaceemoError, match=r"this one has no line for 3.jpg; run 'dvc repro'"):
        described("faces", source, "3.jpg")


def test_label_json_beside_the_pictures_is_joined_and_renamed_with_them():
    add("set/기쁨/1.jpg", "set/상처/2.jpg")
    records = [
        f'{{"filename": "{name}", "annot_A": {{"faceExp": "상처"}}, "annot_B": {{"faceExp": "슬픔"}}}}'
        for name in ("1.jpg", "2.jpg")
    ]
    Path("set/label").mkdir()
    Path("set/label/a.json").write_text(f"[{', '.join(records)}]", encoding="utf-8")
    source = scan([Path("set")], options=OwnOptions(rename={"hurt": "sad"})).sources["set"]
    annotations = read_annotations("set", source)
    assert annotations.raters.classes == tuple("sad" if name == "hurt" else name for name in VOTED)
    (label,) = annotations.find(["상처/2.jpg"])
    assert annotations.agreement(label, "sad") == 2
    Path("set/label/a.json").write_text("[]", encoding="utf-8")
    with pytest.raises(FaceemoError, match="set: label files changed since the last scan"):
        read_annotations("set", source)
