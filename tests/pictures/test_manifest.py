"""What is known of a source's pictures, of every kind of source."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from made_archives import SAMPLE
from made_sources import label_json, of_set, person, rating, record, scan_one

from faceemo.errors import FaceemoError
from faceemo.pictures import labels, tables
from faceemo.pictures.labels import VOTED
from faceemo.pictures.manifest import Raters, describe, read_manifest
from faceemo.pictures.scan import scan

KNOWN = ["emotion", "subject", "sex", "age", "folder"]


def known(place, *images, **options):
    """What is known of pictures of a source."""
    one = scan_one(place, **options)
    manifest = describe("faces", one.source, list(images))
    assert manifest.table["image"].to_pylist() == list(images)
    return manifest.table.select(KNOWN).to_pylist()


def test_folders_tell_class_and_folder_and_names_tell_people(add):
    images = ["train/Happy/kim_1.jpg", "test/지루함/lee_2.jpg", "train/지루함/3.jpg"]
    add(*(f"faces/{name}" for name in images))
    found = known("faces", *images, subject="([a-z]+)_", rename={"지루함": "bored"})
    nothing = {"sex": None, "age": None}
    assert found == [
        {"emotion": "happy", "subject": "kim", **nothing, "folder": "training"},
        {"emotion": "bored", "subject": "lee", **nothing, "folder": "validation"},
        {"emotion": "bored", "subject": None, **nothing, "folder": "training"},
    ]


def test_the_names_of_the_unpacked_set_tell_person_sex_and_age(add):
    happy, sad = of_set("kim", "기쁨"), of_set("kim", "슬픔")
    add(f"faces/{happy}", "faces/sad.jpg", f"faces/{sad}")
    (row,) = known("faces", happy)
    assert row == {"emotion": "happy", "subject": person("kim"), "sex": "female", "age": 20, "folder": "training"}


def test_an_archives_name_says_the_emotion_and_folder_of_all_its_pictures(make_zip):
    odd = "Validation/no name.jpg"
    names = [of_set(number) for number in range(2, 20)]
    make_zip(
        "Training/[원천]EMOIMG_중립_TRAIN_01.zip", *((name, name.encode()) for name in (of_set(1, "기쁨"), odd, *names))
    )
    first, second = known("Training", of_set(1, "기쁨"), odd)
    assert (first["emotion"], first["subject"], first["folder"]) == ("neutral", person(1), "training")
    assert (second["emotion"], second["subject"], second["folder"]) == ("neutral", None, "training")


def test_an_archive_of_ones_own_that_is_named_after_an_emotion_gives_it_to_all(make_zip):
    make_zip("기쁨.zip", ("kim_1.jpg", b"1"), ("test/lee_1.jpg", b"2"))
    found = known(".", "kim_1.jpg", "test/lee_1.jpg", subject="([a-z]+)_", rename={"happy": "glad"})
    assert [(row["emotion"], row["subject"], row["folder"]) for row in found] == [
        ("glad", "kim", "training"),
        ("glad", "lee", "validation"),
    ]


def test_each_makes_every_picture_a_person_but_where_the_table_knows_better(add, table):
    add("1.jpg", "2.jpg")
    path = table("path,emotion,subject\n1.jpg,happy,kim\n2.jpg,sad,\n")
    found = known(path, "1.jpg", "2.jpg", subject="each")
    assert [row["subject"] for row in found] == ["kim", "faces/2.jpg"]


def test_a_table_gives_words_people_and_votes(add, table):
    images = ["1.jpg", "2.jpg", "3.jpg"]
    add(*images)
    path = table(
        "path,emotion,subject,sex,age,기쁨,bored\n1.jpg,HAPPY,kim,여,31,4,1\n2.jpg,bored,,,,,\n3.jpg,bored,lee,m,8,0,\n"
    )
    source = scan_one(path, rename={"bored": "tired"}).source
    manifest = describe("faces", source, images)
    assert manifest.table.select(KNOWN).to_pylist() == [
        {"emotion": "happy", "subject": "kim", "sex": "female", "age": 31, "folder": "training"},
        {"emotion": "tired", "subject": None, "sex": None, "age": None, "folder": "training"},
        {"emotion": "tired", "subject": "lee", "sex": "male", "age": 8, "folder": "training"},
    ]
    assert manifest.raters == Raters(("happy", "tired"), at_least=0)
    assert manifest.table["votes"].to_pylist() == [[4, 1], None, [0, 0]]
    assert manifest.knows_people


def test_a_table_that_is_gone_or_not_the_one_scanned_is_one_line(add, table):
    add("1.jpg", "2.jpg")
    path = table("path,emotion\n1.jpg,happy\n2.jpg,sad\n")
    source = scan_one(path).source
    with pytest.raises(FaceemoError, match=r"faces: .*no line for 3.jpg; run 'dvc repro'"):
        describe("faces", source, ["1.jpg", "3.jpg"])
    table("path,emotion\n1.jpg,sad\n2.jpg,sad\n")
    with pytest.raises(FaceemoError, match=r"faces: .*faces.csv changed since the last scan; run 'faceemo scan'"):
        describe("faces", source, ["1.jpg"])
    path.unlink()
    with pytest.raises(FaceemoError, match=r"faces: .*faces.csv is not there; connect it again"):
        describe("faces", source, ["1.jpg"])


def test_label_json_beside_the_pictures_is_joined_and_renamed_with_them(add):
    add("set/기쁨/1.jpg", "set/상처/2.jpg")
    add("set/labels.json", content=b"{}")  # not the set's
    records = [record(name, rating("상처"), rating("슬픔")) for name in ("1.jpg", "2.jpg")]
    add("set/label/a.json", content=label_json(*records))
    source = scan_one("set", rename={"hurt": "sad"}).source
    manifest = describe("set", source, ["상처/2.jpg"])
    assert manifest.raters == Raters(tuple("sad" if name == "hurt" else name for name in VOTED), at_least=3)
    assert manifest.raters.chose(manifest.table["votes"], ["sad"]).tolist() == [2]  # one for each of the two words
    assert manifest.unused == 1
    assert describe("set", source, ["상처/2.jpg"], with_votes=False).table["votes"].null_count == 1
    add("set/label/a.json", content=label_json(*records[:1]))
    with pytest.raises(FaceemoError, match="set: label files changed since the last scan"):
        describe("set", source, ["상처/2.jpg"])


def test_a_label_archive_is_joined_by_name_and_its_change_is_one_line(make_zip):
    images = [f"사진/{of_set(number)}" for number in (1, 2, 3)]
    make_zip("[원천]중립.zip", *((name, name.encode()) for name in images))

    def label(*emotions):
        records = (record(of_set(number), *map(rating, emotions), isProf="전문인") for number in (1, 2, 9))
        make_zip("[라벨]중립.zip", ("a.json", label_json(*records, {})))

    label("중립", "슬픔", "알수없음")
    source = scan_one(".").source
    manifest = describe("neutral", source, images)
    votes = [int(name in ("neutral", "sad")) for name in VOTED]
    assert manifest.table["votes"].to_pylist() == [votes, votes, None]
    assert manifest.table["professional"].to_pylist() == [True, True, None]
    assert manifest.table["box"].to_pylist() == [[1, 2, 3, 4], [1, 2, 3, 4], None]
    assert (manifest.unused, manifest.unreadable) == (1, ("record 3 of a.json",))
    label("중립", "중립", "중립")
    with pytest.raises(FaceemoError, match="neutral: label archive changed since the last scan; run 'faceemo scan'"):
        describe("neutral", source, images)


def test_a_limit_takes_the_pictures_that_extraction_reads(add):
    add(*(f"faces/{word}/{number}.jpg" for word in ("happy", "sad") for number in range(20)))
    source = scan_one("faces").source
    taken = {limit: read_manifest("faces", source, limit) for limit in (10, 20, None)}
    for limit, (pictures, manifest) in taken.items():
        assert [picture.name for picture in pictures] == manifest.table["image"].to_pylist()
        assert len(pictures) == (limit or 40)
    few, more, every = ([picture.name for picture in pictures] for pictures, _ in taken.values())
    assert set(few) < set(more) < set(every) and few == [name for name in every if name in few]


def votes_of(*counts):
    return pa.chunked_array([pa.array(counts, pa.list_(pa.int8()))])


def test_raters_choose_and_dispute_an_emotion():
    counts = ((3, 0, 0), (1, 2, 0), (0, 1, 0), (0, 0, 0), None, (0, 2, 1))
    votes, emotions = votes_of(*counts), ["happy", "happy", "happy", "happy", "happy", None]
    raters = Raters(("happy", "sad", "neutral"), at_least=3)
    assert raters.chose(votes, emotions).tolist() == [3, 1, 0, 0, 0, 0]
    assert raters.dispute(votes, "happy").tolist() == [False, True, False, False, False, True]
    few = Raters(("happy", "sad", "neutral"))  # who answered is among the votes
    assert few.dispute(votes, "happy").tolist() == [False, True, True, False, False, True]
    nobody = Raters()
    assert not nobody.chose(votes_of(None, None), ["happy", "sad"]).any()
    assert not nobody.dispute(votes_of(None, None), "happy").any()
    assert raters.chose(votes, emotions).dtype == np.int16


def test_tables_and_label_files_are_parsed_once_by_scan_and_manifest_together(project, add, table, monkeypatch):
    shutil.copytree(SAMPLE / "Training", project / "Training")
    add("1.jpg", "2.jpg", "set/기쁨/1.jpg", "set/상처/2.jpg")
    add("set/label/a.json", content=label_json(record("1.jpg", rating())))
    path = table("path,emotion\n1.jpg,happy\n2.jpg,sad\n")
    parsed = []
    for module in (labels, tables):
        parse = module._parse
        monkeypatch.setattr(module, "_parse", lambda *given, parse=parse: parsed.append(given[0]) or parse(*given))
    sources = scan([Path("Training"), path, Path("set")]).sources
    for key, source in sources.items():
        for _ in range(2):
            read_manifest(key, source)
    assert len(sources) == 5 and len(parsed) == len(set(parsed)) == 5
