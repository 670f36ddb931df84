"""What evaluation.json counts of a dataset, of rows small enough to count by hand."""

import hashlib

import numpy as np
from made_datasets import ENGINE, dataset_of, person

from faceemo.params import LabelParams
from faceemo.pictures.labels import VOTED
from faceemo.training.counts import (
    count_baselines,
    count_labels,
    count_people,
    count_raters,
    count_sources,
    strongest_mistakes,
)

TWO = ("neutral", "anxious")


def votes(**counts: int) -> list[int]:
    return [counts.get(name, 0) for name in VOTED]


def picture(number: int, emotion: str = "neutral", **columns: object) -> dict:
    """A row of a person."""
    return {"split": "train", "emotion": emotion, "subject": person(number), **columns}


def test_people_pictures_and_faces_are_counted_by_split_sex_and_age_the_unknown_last():
    rows = [
        picture(0, sex="male", age=20),
        picture(0, "anxious", sex="male", age=20, status="no_face"),
        picture(1, sex="female", age=30, split="test"),
        picture(2, sex="female", split="valid"),
        {"emotion": "anxious", "subject": None},
    ]
    data = dataset_of(rows, TWO)
    found = count_people(data, learnt_valid=False)
    assert found["split"] == [
        {"split": "train", "people": 1, "images": 2, "faces": 1},
        {"split": "valid", "people": 1, "images": 1, "faces": 1},
        {"split": "test", "people": 1, "images": 1, "faces": 1},
        {"split": None, "people": 0, "images": 1, "faces": 1},
    ]
    assert [tuple(one.values()) for one in found["sex"]] == [("female", 2, 2, 2), ("male", 1, 2, 1), (None, 0, 1, 1)]
    assert [tuple(one.values()) for one in found["age"]] == [(20, 1, 2, 1), (30, 1, 1, 1), (None, 1, 2, 2)]
    assert found["learnt"] == {"people": 1, "images": 1}
    assert count_people(data, learnt_valid=True)["learnt"] == {"people": 2, "images": 2}


def test_each_source_has_its_engine_and_its_pictures_by_status_or_none_where_all_are_left_out():
    rows = [
        picture(0, source="a"),
        picture(1, source="a", status="no_face"),
        picture(2, "happy", source="b", votes=votes(neutral=3)),
    ]
    found = count_sources(dataset_of(rows, TWO, VOTED))
    counts = {"ok": 1, "no_face": 1, "decode_error": 0, "read_error": 0, "no_baseline": 0}
    assert found == {"a": {**ENGINE, "statuses": counts}, "b": {**ENGINE, "statuses": None}}


def test_people_without_a_baseline_are_counted_where_one_is_asked_for():
    rows = [
        picture(0),
        picture(0, "anxious", status="no_baseline"),
        picture(1, "anxious", status="no_baseline"),
        picture(2, "anxious", status="no_face"),
    ]
    assert count_baselines(dataset_of(rows, TWO)) is None
    asked = dataset_of(rows, TWO, normalize={"baseline": "neutral"})
    assert count_baselines(asked) == {"people": 2, "without": 1}


def test_what_raters_saw_is_counted_by_emotion_source_and_person():
    saw = [
        ("neutral", votes(neutral=3), 3),
        ("neutral", votes(neutral=2, sad=1), 2),
        ("neutral", votes(sad=2, neutral=1), 1),
        ("neutral", votes(neutral=1), 1),  # the two others named no class
        ("anxious", votes(hurt=3), 0),
        ("anxious", None, None),
        ("happy", votes(anxious=3), 0),
    ]
    rows = [picture(0, name, votes=seen, agreement=agreed) for name, seen, agreed in saw]
    found = count_raters(dataset_of(rows, TWO, VOTED))
    assert found["agreement"] == {"neutral": [1, 1, 2, 0, 0], "anxious": [0, 0, 0, 1, 1]}
    neutral, anxious = found["sources"][::-1]
    others = {"sad": 1}
    assert neutral == {
        **{"source": "a", "emotion": "neutral", "images": 4, "unanimous": 1, "own": 2, "undecided": 1, "others": others}
    }
    assert (anxious["images"], anxious["unanimous"], anxious["own"], anxious["others"]) == (1, 1, 0, {"hurt": 1})
    assert found["disputed"] == [
        {
            "subject": person(0)[:8],
            "images": 5,
            "unanimous": 2,
            "own": 2,
            "undecided": 1,
            "others": {"sad": 1, "hurt": 1},
        }
    ]


def test_the_most_disputed_people_come_first_and_those_with_few_pictures_not_at_all():
    rows = [picture(number, votes=votes(neutral=3)) for number in range(12) for _ in range(4)]
    rows += [picture(number, votes=votes(sad=3)) for number in (3, 5) for _ in range(number)]
    rows += [picture(20, votes=votes(sad=3))] * 3
    found = count_raters(dataset_of(rows, TWO, VOTED))["disputed"]
    assert [one["subject"] for one in found][:2] == [person(5)[:8], person(3)[:8]]
    assert len(found) == 8 and all(one["images"] >= 4 for one in found)


def test_without_raters_there_is_nothing_to_dispute():
    found = count_raters(dataset_of([picture(0)], TWO))
    assert found == {"agreement": {"neutral": [0, 0, 0, 0, 1], "anxious": [0] * 5}, "sources": [], "disputed": []}


def test_the_surest_mistakes_come_first_and_name_nobody():
    rows = [picture(n, TWO[n % 2], split="test", sex="male", age=20, votes=votes(neutral=1, sad=2)) for n in range(40)]
    sure = np.linspace(0.55, 0.95, 40)
    probability = np.stack(
        [np.where(np.arange(40) % 2, sure, 1 - sure), np.where(np.arange(40) % 2, 1 - sure, sure)], 1
    )

    def mistakes(rows: list[dict], probability: np.ndarray, voted: tuple[str, ...] = VOTED) -> list[dict]:
        dataset = dataset_of(rows, TWO, voted)
        return strongest_mistakes(dataset, probability, dataset.targets.named)

    found = mistakes(rows, probability)
    assert [one["row"] for one in found] == list(range(39, 27, -1))
    assert found[1] == {
        **{"source": "a", "row": 38, "sex": "male", "age": 20, "subject": person(38)[:8]},
        "image": hashlib.sha256(b"a.jpg").hexdigest()[:8],
        **{"actual": "neutral", "predicted": "anxious", "agreement": 1, "raters": 3},
        "confidence": sure[38],
    }
    without = mistakes([{**row, "votes": None} for row in rows], probability, ())
    assert without[0]["agreement"] is None and without[0]["raters"] == 0
    right = mistakes(rows, probability[:, ::-1])
    assert right == []


def test_what_became_of_the_training_pictures_is_counted():
    rows = [picture(0, name, votes=votes(**{name: 3})) for name in TWO]
    rows += [picture(5, name, split="test", votes=votes(**{name: 3})) for name in TWO]
    answers = {
        "neutral": [{"neutral": 3}, {"anxious": 2}, {"sad": 3}, None, {"neutral": 1, "anxious": 1}],
        "happy": [{"neutral": 3}, {"happy": 3}],
    }
    rows += [
        picture(0, name, votes=None if seen is None else votes(**seen))
        for name, several in answers.items()
        for seen in several
    ]
    expected = {
        "archive": {"learnt": 7, "by_name": None, "moved": 0, "tied": 0},
        "majority": {"learnt": 5, "by_name": 0, "moved": 2, "tied": 0},
        "votes": {"learnt": 6, "by_name": 0, "moved": 2, "tied": 1},
    }
    for target, counts in expected.items():
        found = count_labels(dataset_of(rows, TWO, VOTED, target), LabelParams(target))
        assert found == {"target": target, **counts, "unrated": 1, "no_majority": 1, "outside": 1}
