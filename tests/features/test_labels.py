import json
import unicodedata

import pytest

from faceemo.errors import FaceemoError
from faceemo.features.labels import Label, label_key, read_labels


def rating(emotion="중립", box=(1, 2, 3, 4)):
    sides = dict(zip(("minX", "minY", "maxX", "maxY"), box, strict=True)) if box else None
    return {"boxes": sides, "faceExp": emotion}


def record(name, *ratings):
    """A record of the set's label files; a rating of None is left out."""
    annotations = {f"annot_{rater}": one for rater, one in zip("ABC", ratings, strict=False) if one is not None}
    return {"filename": name, "gender": "남", "age": 30, "isProf": "일반인", **annotations}


@pytest.fixture
def labels_of(make_zip):
    """labels_of(records) packs them as the set does and reads them for neutral."""

    def labels_of(*records, emotion="neutral", encoding="utf-8", member="중립/EMOIMG_중립_TRAIN.json"):
        content = json.dumps(records, ensure_ascii=False).encode(encoding)
        return read_labels(make_zip("[라벨].zip", (member, content)), emotion)

    return labels_of


def refusal(path):
    with pytest.raises(FaceemoError) as error:
        read_labels(path, "neutral")
    message = str(error.value)
    assert "\n" not in message and str(path) in message
    return message


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949"])
def test_labels_are_read_in_every_encoding_the_set_comes_in(labels_of, encoding):
    labels = labels_of(record("사진_중립.jpg", rating(), rating("불안"), rating()), encoding=encoding)
    assert labels == {"사진_중립.jpg": Label(2, (1, 2, 3, 4))}


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


@pytest.mark.parametrize(
    ("answers", "agreement"),
    [
        (("중립", "중립", "중립"), 3),
        (("중립", "불안", "중립"), 2),
        (("슬픔", "불안", "중립"), 1),
        (("불안", "불안", "불안"), 0),
        (("알수없음", "중립", "알수없음"), 1),
        (("알수없음", "알수없음", "알수없음"), 0),
    ],
)
def test_agreement_counts_the_raters_that_chose_the_archives_emotion(labels_of, answers, agreement):
    (label,) = labels_of(record("a.jpg", *map(rating, answers))).values()
    assert label.agreement == agreement


def test_agreement_is_with_the_archives_emotion_and_not_with_another(labels_of):
    (label,) = labels_of(record("a.jpg", *map(rating, ("불안", "불안", "중립"))), emotion="anxious").values()
    assert label.agreement == 2


@pytest.mark.parametrize("missing", [None, {}])
def test_a_rater_who_gave_no_answer_does_not_count(labels_of, missing):
    assert labels_of(record("a.jpg", rating(), missing, rating())) == {"a.jpg": Label(2, (1, 2, 3, 4))}


def test_a_record_without_raters_has_no_agreement_and_no_box(labels_of):
    assert labels_of(record("a.jpg")) == {"a.jpg": Label(0, None)}


def test_the_box_is_the_mean_of_the_boxes_drawn(labels_of):
    boxes = [(10, 20, 110, 220), (13, 23, 113, 223), (16.5, 26, 116, 226)]
    (label,) = labels_of(record("a.jpg", *(rating(box=box) for box in boxes))).values()
    assert label.box == pytest.approx((39.5 / 3, 23, 113, 223))
    assert all(type(side) is float for side in label.box)
    (label,) = labels_of(record("a.jpg", rating(box=boxes[0]), rating(box=None), rating(box=boxes[1]))).values()
    assert label.box == (11.5, 21.5, 111.5, 221.5)


def test_sides_of_a_box_may_come_as_text(labels_of):
    assert labels_of(record("a.jpg", rating(box=("1", "2", "3.5", "4"))))["a.jpg"].box == (1, 2, 3.5, 4)


def test_every_json_member_counts_and_nothing_else(make_zip):
    one, two = (json.dumps([record(name, rating())]).encode() for name in ("1.jpg", "2.jpg"))
    path = make_zip("a.zip", ("a.json", one), ("b/B.JSON", two), ("readme.txt", b"no json"), ("c/", b""))
    assert sorted(read_labels(path, "neutral")) == ["1.jpg", "2.jpg"]


def test_what_macos_adds_when_it_packs_is_not_taken_for_labels(make_zip):
    content = json.dumps([record("1.jpg", rating())]).encode()
    path = make_zip(
        "a.zip", ("a.json", content), ("__MACOSX/._a.json", b"\0\5\x16\7\xff"), ("._a.json", b"\0\5\x16\7\xff")
    )
    assert list(read_labels(path, "neutral")) == ["1.jpg"]


@pytest.mark.parametrize("content", [b"", b'[{"filename": "a.jpg"', b"no json", b"[" * 100_000])
def test_broken_json_is_one_line_that_names_the_member(make_zip, content):
    assert "중립.json is broken JSON" in refusal(make_zip("a.zip", ("중립.json", content)))


@pytest.mark.parametrize("content", [b"{}", b"3", b"null", b'"text"'])
def test_json_that_is_no_list_is_one_line(make_zip, content):
    assert "a.json is not a list of records" in refusal(make_zip("a.zip", ("a.json", content)))


@pytest.mark.parametrize(
    "broken",
    [
        {"annot_A": rating()},
        {"filename": None},
        {"filename": 3},
        "a.jpg",
        None,
        ["a.jpg"],
        {"filename": "a.jpg", "annot_A": "중립"},
        {"filename": "a.jpg", "annot_A": {"boxes": {"minX": 1, "minY": 2, "maxX": 3}}},
        {"filename": "a.jpg", "annot_B": {"boxes": {"minX": "left", "minY": 2, "maxX": 3, "maxY": 4}}},
        {"filename": "a.jpg", "annot_B": {"boxes": [1, 2, 3, 4]}},
    ],
)
def test_a_record_of_another_shape_is_one_line_that_gives_its_number(make_zip, broken):
    content = json.dumps([record("0.jpg", rating()), broken]).encode()
    assert "a.json: record 1 has not the fields" in refusal(make_zip("a.zip", ("a.json", content)))


def test_text_in_no_known_encoding_is_one_line(make_zip):
    assert "neither UTF-8 nor CP949" in refusal(make_zip("a.zip", ("a.json", b'["\xff\xff\x80"]')))


def test_a_damaged_member_is_one_line(make_zip):
    path = make_zip("a.zip", ("a.json", b'[{"filename": "whole.jpg"}]'))
    path.write_bytes(path.read_bytes().replace(b"whole", b"wrong", 1))
    assert "a.json cannot be read" in refusal(path)


def test_a_label_archive_that_is_none_is_one_line(tmp_path):
    path = tmp_path / "[라벨].zip"
    path.write_bytes(b"no archive")
    refusal(path)
    path.unlink()
    refusal(path)


def test_an_archive_without_json_has_no_labels(make_zip):
    assert read_labels(make_zip("a.zip", ("readme.txt", b"1")), "neutral") == {}
