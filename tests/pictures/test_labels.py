"""The set's label JSON: what three raters saw."""

import json
import unicodedata
from pathlib import Path

import pytest
from made_sources import label_json, rating, record

from faceemo.emotions import KOREAN
from faceemo.errors import FaceemoError
from faceemo.pictures.labels import VOTED, label_key, read_labels


def votes(**counts):
    return [counts.get(name, 0) for name in VOTED]


@pytest.fixture
def archive_of(make_zip):
    """archive_of(records) packs them as the set does and reads them; text stands for itself."""

    def archive_of(*records, encoding="utf-8", member="중립/EMOIMG_중립_TRAIN.json"):
        texts = [one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in records]
        return read_labels(make_zip("[라벨].zip", (member, f"[{', '.join(texts)}]".encode(encoding))))

    return archive_of


@pytest.fixture
def labels_of(archive_of):
    """(votes, professional, box) by key of an archive in which every record can be read."""

    def labels_of(*records, **options):
        labels = archive_of(*records, **options)
        assert not labels.unreadable
        rows = labels.records.to_pylist()
        return {row["key"]: (row["votes"], row["professional"], row["box"]) for row in rows}

    return labels_of


def keys(path):
    return read_labels(path).records["key"].to_pylist()


def refusal(path):
    with pytest.raises(FaceemoError) as error:
        read_labels(path)
    message = str(error.value)
    assert "\n" not in message and str(path) in message
    return message


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949"])
def test_labels_are_read_in_every_encoding_the_set_comes_in(labels_of, encoding):
    labels = labels_of(record("사진_중립.jpg", rating(), rating("불안"), rating()), encoding=encoding)
    assert labels == {"사진_중립.jpg": (votes(neutral=2, anxious=1), False, [1, 2, 3, 4])}


def test_a_name_with_an_ampersand_meets_one_with_an_underscore(labels_of):
    labels = labels_of(record("a_오락&공연시설_1.jpg", rating()), record("b_오락_공연시설_1.jpg", rating()))
    for name in ("a_오락_공연시설_1.jpg", "a_오락&공연시설_1.jpg", "b_오락&공연시설_1.jpg", "b_오락_공연시설_1.jpg"):
        assert label_key(name) in labels
    assert len(labels) == 2


def test_folders_and_unicode_form_of_a_name_do_not_matter(labels_of):
    labels = labels_of(
        record(unicodedata.normalize("NFD", "중립/사진.jpg"), rating()), record("c\\d\\둘.jpg", rating())
    )
    assert list(labels) == [label_key("다른 폴더/사진.jpg"), label_key("둘.jpg")]
    assert label_key("x/" + unicodedata.normalize("NFD", "사진.jpg")) in labels


def test_the_classes_of_votes_are_the_sets_seven_in_the_order_of_emotions():
    assert tuple(KOREAN) == VOTED and len(VOTED) == 7


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (("중립", "중립", "중립"), votes(neutral=3)),
        (("중립", "불안", "중립"), votes(neutral=2, anxious=1)),
        (("기쁨", "당황", "분노"), votes(happy=1, embarrassed=1, angry=1)),
        (("상처", "슬픔", unicodedata.normalize("NFD", "슬픔 ")), votes(hurt=1, sad=2)),
        (("알수없음", "중립", "알수없음"), votes(neutral=1)),
        (("알수없음", "알수없음", "알수없음"), votes()),
    ],
)
def test_votes_count_the_raters_that_chose_each_class(labels_of, answers, expected):
    assert labels_of(record("a.jpg", *map(rating, answers)))["a.jpg"][0] == expected


@pytest.mark.parametrize("missing", [None, {}, rating(None), rating("")])
def test_a_rater_who_gave_no_answer_does_not_count(labels_of, missing):
    assert labels_of(record("a.jpg", rating(), missing, rating()))["a.jpg"][0] == votes(neutral=2)


def test_a_record_without_raters_has_no_votes_and_no_box(labels_of):
    assert labels_of(record("a.jpg")) == {"a.jpg": (None, False, None)}
    assert labels_of(record("a.jpg", rating(None))) == {"a.jpg": (None, False, [1, 2, 3, 4])}


@pytest.mark.parametrize(("word", "expected"), [("전문인", True), ("일반인", False), ("모름", None), (None, None)])
def test_a_record_says_whether_an_actor_was_photographed(labels_of, word, expected):
    assert labels_of(record("a.jpg", rating(), isProf=word))["a.jpg"][1] is expected


@pytest.mark.parametrize("as_list", [False, True])
def test_a_record_as_the_sets_documents_describe_it_is_read_too(labels_of, as_list):
    def documented(emotion):
        box = {"minX": 1, "minY": 2, "maxX": 3, "maxY": 4, "label": emotion}
        return {"boxes": [box] if as_list else box}

    raters = {f"faceBB_{rater}": documented(word) for rater, word in zip("ABC", ("슬픔", "상처", "슬픔"), strict=True)}
    expected = (votes(sad=2, hurt=1), True, [1, 2, 3, 4])
    assert labels_of(record("a.jpg", isProf="전문인", **raters)) == {"a.jpg": expected}


def test_the_box_is_the_mean_of_the_boxes_drawn(labels_of):
    def box_of(*boxes):
        return labels_of(record("a.jpg", *(rating(box=box) for box in boxes)))["a.jpg"][2]

    first, second = (10, 20, 110, 220), (13, 23, 113, 223)
    assert box_of(first, second, (16.5, 26, 116, 226)) == pytest.approx((39.5 / 3, 23, 113, 223))
    assert box_of(first, None, second) == [11.5, 21.5, 111.5, 221.5]
    assert box_of(("1", "2", "3.5", "4")) == [1, 2, 3.5, 4]
    for flat in ((5, 2, 5, 9), (1, 2, 9, 2), (9, 2, 1, 4), (0, 0, 0, 0)):
        assert box_of(flat) is None
        assert box_of(flat, (1, 2, 3, 4)) == [1, 2, 3, 4]


def test_every_json_member_counts_but_what_macos_adds(make_zip):
    one, two = (label_json(record(name, rating())) for name in ("1.jpg", "2.jpg"))
    others = [(name, b"\0\5\x16\7\xff") for name in ("__MACOSX/._a.json", "._a.json", "readme.txt", "c/")]
    path = make_zip("a.zip", ("a.json", one), ("b/B.JSON", two), *others)
    assert sorted(keys(path)) == ["1.jpg", "2.jpg"]
    assert keys(make_zip("a.zip", ("readme.txt", b"1"))) == []


NESTED = "[" * 100_000 + "]" * 100_000


def with_side(digits):
    """A record whose box has a side of these digits, which json.dumps would refuse to write."""
    return json.dumps(record("a.jpg", rating(box=(1, 2, 3, "side")))).replace('"side"', digits)


BROKEN = {
    "no name": {"annot_A": rating()},
    "null for a name": {"filename": None},
    "a number for a name": {"filename": 3},
    "half a character in a name": '{"filename": "\\ud800.jpg"}',
    "text": "a.jpg".join('""'),
    "null": "null",
    "a list": ["a.jpg"],
    "text for a rating": record("a.jpg", "중립"),
    "a number for an answer": record("a.jpg", rating(3)),
    "a side missing": record("a.jpg", {"boxes": {"minX": 1, "minY": 2, "maxX": 3}}),
    "a word for a side": record("a.jpg", rating(box=("left", 2, 3, 4))),
    "sides in a list": record("a.jpg", {"boxes": [1, 2, 3, 4]}),
    "an integer above 10^308": with_side("1" + "0" * 309),
    "an integer of 5,000 digits": with_side("9" * 5000),
    "a side beyond float32": record("a.jpg", rating(box=(1, 2, 3, 1e39))),
    "infinity for a side": record("a.jpg", rating(box=(1, 2, 3, float("inf")))),
    "NaN for a side": record("a.jpg", rating(box=(1, 2, 3, float("nan")))),
    "nested lists": with_side("[" * 400 + "]" * 400),
    "nested lists beyond what a parser takes": with_side(NESTED).replace("a.jpg", "],["),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_record_that_cannot_be_read_is_passed_over_and_counted(archive_of, broken):
    labels = archive_of(record("0.jpg", rating()), broken, record("2.jpg", rating()), member="a.json")
    assert labels.records["key"].to_pylist() == ["0.jpg", "2.jpg"]
    assert labels.unreadable == ["record 1 of a.json"]


NOT_A_LIST = "not a list of records as the set's label files are"
NO_RECORD = "no record has the fields of the set's label files"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        *((content, "broken JSON") for content in (b"", b'[{"filename": "a.jpg"', b"no json", b"[" * 100_000)),
        *((content, NOT_A_LIST) for content in (b"{}", b"3", b"null", b'"text"')),
        (label_json({"image": "a.jpg"}, "b.jpg"), NO_RECORD),
        (label_json({"filename": "a.jpg", "label": "happy"}), NO_RECORD),
        (b'["\xff\xff\x80"]', "neither UTF-8 nor CP949"),
    ],
)
def test_json_that_is_none_of_the_sets_is_one_line_that_names_the_member(make_zip, content, words):
    path = make_zip("a.zip", ("good.json", label_json(record("0.jpg", rating()))), ("중립.json", content))
    assert f"중립.json: {words}" in refusal(path)


def test_a_damaged_member_or_archive_is_one_line(make_zip):
    path = make_zip("a.zip", ("a.json", b'[{"filename": "whole.jpg"}]'))
    path.write_bytes(path.read_bytes().replace(b"whole", b"wrong", 1))
    assert "a.json: Bad CRC-32" in refusal(path)
    path.write_bytes(b"no archive")
    refusal(path)
    path.unlink()
    refusal(path)


def test_an_archive_is_read_once_and_again_when_it_changes(make_zip):
    path = make_zip("a.zip", ("a.json", label_json(record("1.jpg", rating()))))
    assert read_labels(path) is read_labels(Path("a.zip").resolve())
    make_zip("a.zip", ("a.json", label_json(record("1.jpg", rating()), record("2.jpg", rating()))))
    assert len(read_labels(path).records) == 2
