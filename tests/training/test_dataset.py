import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_datasets import ARCHIVE, NORMALIZE, SETTINGS, person, single, write_features
from made_landmarks import OTHER_JSON, with_metadata, with_number, with_value

from faceemo.errors import FaceemoError
from faceemo.extraction.crop import SIDE
from faceemo.params import LabelParams, SplitParams
from faceemo.pictures.labels import VOTED
from faceemo.rows import read_parquet
from faceemo.training.counts import count_coverage, count_subjects
from faceemo.training.dataset import Dataset, load_dataset, load_inputs
from faceemo.training.split import share_of, split_of_rows

BY_PERSON = SplitParams(by="person", valid=0.2, test=0.2)
BY_FOLDER = SplitParams(by="folder", valid=0.2, test=0.2)
CLASSES = single("neutral", "anxious")
NEUTRAL_VOTES, ANXIOUS_VOTES = ([3 * (name == seen) for name in VOTED] for seen in ("neutral", "anxious"))


def people_of(split: str, count: int) -> list[str]:
    """Subjects whose hash puts them in one split of BY_PERSON."""
    chosen = [person(n) for n in range(400)]
    return [
        s
        for s, found in zip(chosen, split_of_rows(chosen, ["training"] * 400, BY_PERSON), strict=True)
        if found == split
    ][:count]


def row(mark: float, emotion: str, subject: str | None, status: str = "ok", folder: str = "training") -> dict:
    """A feature row; its features are all `mark`."""
    return {"mark": mark, "emotion": emotion, "subject": subject, "status": status, "folder": folder}


def marks_of(folder: Path, dataset: Dataset) -> np.ndarray:
    """The mark of each face."""
    return load_inputs(folder, dataset, ["features"])["features"][:, 0]


def everybody(emotion: str, count: int = 2, start: float = 0.0, folder: str = "training") -> list[dict]:
    """A row of each of `count` people of each split."""
    subjects = [subject for split in ("train", "valid", "test") for subject in people_of(split, count)]
    return [row(start + number, emotion, subject, folder=folder) for number, subject in enumerate(subjects)]


@pytest.mark.parametrize(
    "kind, emptied, says",
    [
        (
            "neutral",
            ("train", "valid", "test"),
            r"no face of 'neutral' in data/features has a baseline: .* 6 no_baseline \(normalize.base",
        ),
        (
            "neutral",
            ("valid",),
            r"no face of 'neutral' in the valid split .* 2 no_baseline .* scan all neutral archives or raise 'limit'",
        ),
        ("person", ("valid",), r"\(normalize.baseline: person\); scan more archives of the"),
    ],
)
def test_a_class_emptied_for_want_of_baselines_says_so(tmp_path, kind, emptied, says):
    gone = [subject for split in emptied for subject in people_of(split, 2)]
    rows = [{**one, "status": "no_baseline"} if one["subject"] in gone else one for one in everybody("neutral")]
    write_features(tmp_path, "neutral-training-01", rows, normalize={**NORMALIZE, "baseline": kind})
    write_features(tmp_path, "anxious-training-01", everybody("anxious"), normalize={**NORMALIZE, "baseline": kind})
    with pytest.raises(FaceemoError, match=says) as error:
        load_dataset(tmp_path, CLASSES, BY_PERSON, ARCHIVE)
    assert "\n" not in str(error.value)


def test_nobody_is_in_two_parts_whatever_the_emotion_and_the_folder():
    subjects = [person(n % 300) for n in range(1500)]
    folders = ["training" if n % 7 else "validation" for n in range(1500)]
    splits = split_of_rows(subjects, folders, BY_PERSON)
    assert set(splits) == {"train", "valid", "test"}
    for subject in set(subjects):
        assert len({split for split, other in zip(splits, subjects, strict=True) if other == subject}) == 1


def test_a_persons_part_depends_on_nobody_else_and_on_no_order():
    subjects = [person(n) for n in range(200)]
    folders = ["training"] * 200
    splits = split_of_rows(subjects, folders, BY_PERSON)
    np.testing.assert_array_equal(split_of_rows(subjects[::-1], folders, BY_PERSON), splits[::-1])
    np.testing.assert_array_equal(split_of_rows(subjects[50:80], folders[50:80], BY_PERSON), splits[50:80])
    more = [person(n) for n in range(1000, 1500)] + subjects
    np.testing.assert_array_equal(split_of_rows(more, ["training"] * 700, BY_PERSON)[500:], splits)
    assert share_of(person(1)) == share_of(person(1)) != share_of(person(2))


@pytest.mark.parametrize(("valid", "test"), [(0.2, 0.2), (0.1, 0.3)])
def test_shares_of_2000_people_are_near_the_asked_ones(valid, test):
    splits = split_of_rows([person(n) for n in range(2000)], ["training"] * 2000, SplitParams("person", valid, test))
    assert np.mean(splits == "valid") == pytest.approx(valid, abs=0.03)
    assert np.mean(splits == "test") == pytest.approx(test, abs=0.03)
    assert np.mean(splits == "train") == pytest.approx(1 - valid - test, abs=0.03)


def test_a_row_without_a_subject_is_for_training_only():
    splits = split_of_rows([None] * 3, ["training", "validation", "training"], BY_PERSON)
    assert list(splits) == ["train"] * 3


def test_by_folder_the_validation_folder_is_the_test_part_and_the_rest_is_split_by_person():
    subjects = [person(n) for n in range(1000)] * 2
    folders = ["training"] * 1000 + ["validation"] * 1000
    splits = split_of_rows(subjects, folders, BY_FOLDER)
    assert set(splits[1000:]) == {"test"}
    assert set(splits[:1000]) == {"train", "valid"}
    assert np.mean(splits[:1000] == "valid") == pytest.approx(0.2, abs=0.04)


def test_by_folder_a_validation_row_of_nobody_known_is_in_no_part():
    assert list(split_of_rows([None, None], ["validation", "training"], BY_FOLDER)) == ["", "train"]


def test_columns_land_at_their_rows_with_failed_rows_between_over_files_and_row_groups(tmp_path):
    statuses = ("ok", "no_face", "ok", "ok", "decode_error", "no_baseline")
    subjects = [person(n) for n in range(60)]
    files = {
        "anxious-training-01": [row(i, "anxious", subjects[i % 60], statuses[i % 6]) for i in range(90)],
        "happy-training-01": [row(200 + i, "happy", subjects[i % 60]) for i in range(10)],
        "neutral-training-01": [row(100 + i, "neutral", subjects[i % 60], statuses[-i % 6]) for i in range(70)],
    }
    for key, rows in files.items():
        write_features(tmp_path, key, rows)
        table, metadata = (
            pq.read_table(tmp_path / f"{key}.parquet"),
            pq.read_schema(tmp_path / f"{key}.parquet").metadata,
        )
        pq.write_table(table.replace_schema_metadata(metadata), tmp_path / f"{key}.parquet", row_group_size=16)
    dataset = load_dataset(tmp_path, CLASSES, BY_PERSON, ARCHIVE)
    expected = [one for key, rows in files.items() if "happy" not in key for one in rows]
    assert dataset.rows["image"].to_pylist() == [f"{one['mark']:g}.jpg" for one in expected]
    found = [one for one in expected if one["status"] == "ok"]
    inputs = load_inputs(tmp_path, dataset, ["features", "crop"])
    marks = np.array([one["mark"] for one in found])
    for name, shape, kind in (("features", (1434,), np.float32), ("crop", (SIDE, SIDE), np.uint8)):
        assert inputs[name].shape == (len(found), *shape) and inputs[name].dtype == kind
        assert (inputs[name].reshape(len(found), -1) == marks[:, None]).all()
    assert list(dataset.column("image")) == [f"{one['mark']:g}.jpg" for one in found]
    assert list(dataset.column("subject")) == [one["subject"] for one in found]
    assert [dataset.classes[number] for number in dataset.targets.learnt] == [one["emotion"] for one in found]


def test_places_of_the_parts_are_all_faces_once(tmp_path):
    write_features(
        tmp_path, "a", [*everybody("neutral"), row(90, "neutral", None), row(91, "neutral", None, "no_face")]
    )
    write_features(tmp_path, "b", everybody("anxious"))
    dataset = load_dataset(tmp_path, CLASSES, BY_PERSON, ARCHIVE)
    indices = [dataset.train, dataset.valid, dataset.test]
    assert [len(some) for some in indices] == [5, 4, 4]
    assert sorted(np.concatenate(indices)) == list(range(13))
    people = [set(dataset.column("subject")[some]) - {None} for some in indices]
    assert people == [set(people_of(split, 2)) for split in ("train", "valid", "test")]


def test_the_order_of_the_classes_is_the_asked_one(tmp_path):
    write_features(tmp_path, "a", everybody("neutral"))
    write_features(tmp_path, "b", everybody("anxious", start=50))
    dataset = load_dataset(tmp_path, single("anxious", "neutral"), BY_PERSON, ARCHIVE)
    np.testing.assert_array_equal(dataset.targets.learnt, np.where(marks_of(tmp_path, dataset) < 50, 1, 0))


def test_settings_and_the_mean_face_come_with_the_features(tmp_path):
    write_features(tmp_path, "a", everybody("neutral"), face=1.0)
    write_features(tmp_path, "b", everybody("anxious"), face=3.0)
    dataset = load_dataset(tmp_path, CLASSES, BY_PERSON, ARCHIVE)
    of_source = {"engine": "mediapipe", "versions": {}}  # what is not written down
    assert dataset.settings == {**SETTINGS, "sources": {"a": of_source, "b": of_source}}
    np.testing.assert_allclose(dataset.face, np.full((478, 3), 2.0))


def test_the_engine_and_versions_behind_each_source_come_with_the_features(tmp_path):
    for key, emotion, engine, version in (
        ("a", "neutral", "mediapipe", "0.10.21"),
        ("b", "anxious", "litert", "2.3.0"),
    ):
        extract = {"engine": engine, "versions": {engine: version}, "settings": {"crops": False}, "format": 5}
        write_features(tmp_path, key, everybody(emotion), extract=extract)
    assert load_dataset(tmp_path, CLASSES, BY_PERSON, ARCHIVE).settings["sources"] == {
        "a": {"engine": "mediapipe", "versions": {"mediapipe": "0.10.21"}},
        "b": {"engine": "litert", "versions": {"litert": "2.3.0"}},
    }


def test_classes_that_nobody_chose_are_those_found_neutral_first_then_the_sets_then_words_of_ones_own(tmp_path):
    for number, name in enumerate(("sad", "bored", "neutral", "awed", "angry")):
        write_features(tmp_path, f"source-{number}", everybody(name, start=10 * number))
    dataset = load_dataset(tmp_path, None, BY_PERSON, ARCHIVE)
    assert dataset.members == single("neutral", "angry", "sad", "awed", "bored")
    assert dataset.left_out == {}
    marks = marks_of(tmp_path, dataset)
    assert set(dataset.targets.learnt[marks >= 40]) == {dataset.classes.index("angry")}


@pytest.mark.parametrize("target", ["archive", "votes"])
def test_a_class_that_a_table_has_votes_for_is_one_where_votes_are_learnt(tmp_path, target):
    voted = ("neutral", "sad", "contempt")
    rows = [
        {**one, "votes": votes}
        for name, votes in (("neutral", [3, 0, 0]), ("sad", [0, 3, 0]), ("sad", [0, 1, 2]))
        for one in everybody(name)
    ]
    write_features(tmp_path, "faces", rows, voted=voted, classes=voted)
    classes = load_dataset(tmp_path, None, BY_PERSON, LabelParams(target)).classes
    assert classes == (voted if target == "votes" else ("neutral", "sad"))


def test_raters_who_could_choose_among_seven_emotions_make_no_classes(tmp_path):
    for name, votes in (("neutral", NEUTRAL_VOTES), ("anxious", ANXIOUS_VOTES)):
        write_features(
            tmp_path, name, [{**one, "votes": votes} for one in everybody(name)], voted=VOTED, classes=(name,)
        )
    assert load_dataset(tmp_path, None, BY_PERSON, LabelParams("votes")).classes == ("neutral", "anxious")


def test_what_the_chosen_emotions_leave_out_is_counted(tmp_path):
    for name in ("neutral", "anxious", "happy", "bored"):
        write_features(tmp_path, name, everybody(name, 1 if name == "happy" else 2))
    assert load_dataset(tmp_path, CLASSES, BY_PERSON, ARCHIVE).left_out == {"bored": 6, "happy": 3}


def test_one_class_alone_is_one_clear_line(tmp_path):
    write_features(tmp_path, "neutral", everybody("neutral"))
    with pytest.raises(FaceemoError, match="holds neutral alone, and a model needs two classes; scan others too"):
        load_dataset(tmp_path, None, BY_PERSON, ARCHIVE)


def test_people_are_counted_and_none_overlap_by_person(tmp_path):
    write_features(
        tmp_path, "a", [*everybody("neutral", 3), row(90, "neutral", None), row(91, "neutral", None, "no_face")]
    )
    write_features(tmp_path, "b", everybody("anxious", 2, folder="validation"))
    assert count_subjects(load_dataset(tmp_path, CLASSES, BY_PERSON, ARCHIVE)) == {
        "train": 3,
        "valid": 3,
        "test": 3,
        "overlap": 0,
        "unknown": 2,
        "each": 0,
    }


def test_pictures_that_are_taken_for_a_person_each_are_counted(tmp_path):
    write_features(tmp_path, "a", [row(n, name, f"a/{n}.jpg") for n in range(60) for name in CLASSES])
    assert count_subjects(load_dataset(tmp_path, CLASSES, BY_PERSON, ARCHIVE))["each"] == 120


def test_people_that_training_or_validation_has_seen_are_counted_by_folder(tmp_path):
    by_hash = [person(n) for n in range(400)]
    splits = split_of_rows(by_hash, ["training"] * 400, BY_FOLDER)
    train, valid = (
        [s for s, found in zip(by_hash, splits, strict=True) if found == split] for split in ("train", "valid")
    )
    training = [*train[:5], *valid[:4]]
    validation = [*train[3:8], valid[0]]  # two of train and one of valid again, three new
    for emotion in CLASSES:
        rows = [row(n, emotion, subject) for n, subject in enumerate(training)]
        write_features(tmp_path, emotion, rows + [row(50, emotion, s, folder="validation") for s in validation])
    counts = count_subjects(load_dataset(tmp_path, CLASSES, BY_FOLDER, ARCHIVE))
    assert counts == {"train": 5, "valid": 4, "test": 6, "overlap": 3, "unknown": 0, "each": 0}


def test_coverage_counts_every_picture_of_the_chosen_emotions(tmp_path):
    failed = ["no_face", "no_face", "decode_error", "read_error", "no_baseline", "no_face"]
    write_features(tmp_path, "a", everybody("neutral") + [row(90, "neutral", person(0), status) for status in failed])
    write_features(tmp_path, "b", everybody("anxious") + [row(90, "anxious", person(0), "no_face")] * 2)
    write_features(tmp_path, "c", everybody("happy"))
    assert count_coverage(load_dataset(tmp_path, CLASSES, BY_PERSON, ARCHIVE)) == {
        "images": 20,
        "ok": 12,
        "no_face": 5,
        "decode_error": 1,
        "read_error": 1,
        "no_baseline": 1,
        "per_emotion": {"neutral": 6 / 12, "anxious": 6 / 8},
    }


def error_of(folder: Path, settings: SplitParams = BY_PERSON, labels: LabelParams = ARCHIVE) -> str:
    with pytest.raises(FaceemoError) as error:
        load_dataset(folder, CLASSES, settings, labels)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_no_features_at_all_is_one_clear_line(tmp_path):
    assert "holds no features" in error_of(tmp_path)


def test_a_class_without_rows_is_one_clear_line(tmp_path):
    write_features(tmp_path, "a", everybody("neutral"))
    assert "no faces of 'anxious'" in error_of(tmp_path)


def test_a_class_whose_pictures_all_failed_is_one_clear_line(tmp_path):
    write_features(tmp_path, "a", everybody("neutral"))
    write_features(tmp_path, "b", [row(1, "anxious", person(0), "no_face")])
    assert "no faces of 'anxious' in data/features: its pictures there are 1 no_face" in error_of(tmp_path)


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_a_split_with_nobody_of_a_class_is_one_clear_line(tmp_path, split):
    write_features(tmp_path, "a", everybody("neutral"))
    gone = set(people_of(split, 2))
    write_features(tmp_path, "b", [one for one in everybody("anxious") if one["subject"] not in gone])
    message = error_of(tmp_path)
    assert f"the {split} split has nobody with anxious" in message
    assert "4 people are too few" in message  # with anxious, of 6


def test_a_test_folder_of_nobody_known_is_one_clear_line(tmp_path):
    for emotion in CLASSES:
        unknown = [row(99, emotion, None, folder="validation")] * 3
        write_features(tmp_path, emotion, everybody(emotion, 4) + unknown)
    assert "the test split has nobody with neutral or anxious" in error_of(tmp_path, BY_FOLDER)


def test_where_no_name_tells_who_is_who_that_is_the_cause(tmp_path):
    for emotion in CLASSES:
        write_features(tmp_path, emotion, [row(1, emotion, None)] * 5)
    assert "it is not known who is in the pictures" in error_of(tmp_path)


def test_a_class_that_raters_deny_in_a_split_names_the_target(tmp_path):
    test = people_of("test", 2)
    rows = [
        {**one, "votes": NEUTRAL_VOTES if one["subject"] in test else ANXIOUS_VOTES} for one in everybody("anxious")
    ]
    write_features(tmp_path, "a", [{**one, "votes": NEUTRAL_VOTES} for one in everybody("neutral")], voted=VOTED)
    write_features(tmp_path, "b", rows, voted=VOTED)
    message = error_of(tmp_path, labels=LabelParams("majority"))
    assert "labels.target: majority: raters saw 'anxious' in none of its 2 faces in the test split" in message


def test_features_of_another_version_are_one_clear_line(tmp_path):
    write_features(tmp_path, "neutral-training-01", everybody("neutral"))
    write_features(tmp_path, "anxious-training-01", everybody("anxious"))
    path = tmp_path / "anxious-training-01.parquet"
    table, metadata = read_parquet(path), pq.read_metadata(path).metadata
    changes = {
        **{f"no column {name} of": table.drop_columns([name]) for name in ("agreement", "features", "emotion")},
        "features of other lengths than 1434": table.set_column(
            table.schema.get_field_index("features"),
            "features",
            pa.array([vector and vector[:717] for vector in table["features"].to_pylist()], pa.list_(pa.float32())),
        ).replace_schema_metadata(metadata),
        "no metadata faceemo.face": table.replace_schema_metadata(
            {name: value for name, value in metadata.items() if name != b"faceemo.face"}
        ),
    }
    for difference, changed in changes.items():
        pq.write_table(changed, path)
        with pytest.raises(FaceemoError, match=rf"anxious-training-01\.parquet is of another version .*{difference}"):
            load_inputs(tmp_path, load_dataset(tmp_path, CLASSES, BY_PERSON, ARCHIVE), ["features"])


def test_a_broken_features_file_is_one_clear_line(tmp_path):
    write_features(tmp_path, "neutral-training-01", everybody("neutral"))
    path = tmp_path / "neutral-training-01.parquet"
    whole = path.read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2], whole[:-1]):
        path.write_bytes(content)
        with pytest.raises(FaceemoError, match=r"neutral-training-01\.parquet cannot be read .*; run 'dvc repro'$"):
            load_inputs(tmp_path, load_dataset(tmp_path, CLASSES, BY_PERSON, ARCHIVE), ["features"])


def seen(mark: float, emotion: str, subject: str, **votes: int) -> dict:
    """A row whose raters saw these emotions."""
    return {**row(mark, emotion, subject), "votes": [votes.get(name, 0) for name in VOTED]}


@pytest.mark.parametrize("target", ["archive", "majority", "votes"])
def test_a_face_of_an_archive_that_was_not_chosen_comes_in_where_raters_saw_a_chosen_class(tmp_path, target):
    """Of happy only the second picture has a majority; the third has a vote that can be learnt."""
    tester, learner = people_of("test", 1)[0], people_of("train", 1)[0]
    happy = [
        seen(90, "happy", tester, happy=3),
        seen(91, "happy", tester, anxious=2, happy=1),
        seen(92, "happy", learner, neutral=1, happy=2),
    ]
    failed = {**seen(93, "happy", learner, anxious=3), "status": "no_face"}
    write_features(tmp_path, "happy-training-01", [*happy, failed], voted=VOTED)
    write_features(tmp_path, "a", everybody("neutral"))
    write_features(tmp_path, "b", everybody("anxious", start=50))
    dataset = load_dataset(tmp_path, CLASSES, BY_PERSON, LabelParams(target))
    moved = dataset.column("emotion") == "happy"
    assert marks_of(tmp_path, dataset)[moved].tolist() == ([91, 92] if target == "votes" else [91])
    assert dataset.targets.majority[moved][0] == 1
    assert (dataset.targets.learnt[moved][0] == 1) == (target != "archive")
    assert dataset.unlabelled_sources() == ["a", "b"]
    assert count_coverage(dataset)["images"] == 12
    assert len(dataset.indices("test", dataset.targets.named)) == 4
    assert len(dataset.indices("test", dataset.targets.majority)) == 1
    assert len(dataset.train) == 4 + (target == "votes")


def test_a_class_may_be_of_another_archive_alone(tmp_path):
    write_features(tmp_path, "a", [{**one, "votes": NEUTRAL_VOTES} for one in everybody("neutral")], voted=VOTED)
    write_features(tmp_path, "c", [{**one, "votes": ANXIOUS_VOTES} for one in everybody("happy")], voted=VOTED)
    dataset = load_dataset(tmp_path, CLASSES, BY_PERSON, LabelParams("majority"))
    assert [len(some) for some in (dataset.train, dataset.valid, dataset.test)] == [4, 4, 4]
    assert count_coverage(dataset)["per_emotion"] == {"neutral": 1, "anxious": None}
    assert "no faces of 'anxious'" in error_of(tmp_path)


def test_a_class_without_archives_that_raters_saw_too_seldom_is_one_clear_line(tmp_path):
    seen = [{**one, "votes": ANXIOUS_VOTES if n == 0 else NEUTRAL_VOTES} for n, one in enumerate(everybody("neutral"))]
    write_features(tmp_path, "a", seen, voted=VOTED)
    message = error_of(tmp_path, labels=LabelParams("votes"))
    assert "no faces of 'anxious' in data/features, and raters saw it in too few others" in message


def test_a_class_that_raters_never_saw_is_one_clear_line(tmp_path):
    write_features(tmp_path, "a", [{**one, "votes": NEUTRAL_VOTES} for one in everybody("neutral")], voted=VOTED)
    write_features(tmp_path, "b", [{**one, "votes": NEUTRAL_VOTES} for one in everybody("anxious")], voted=VOTED)
    assert "that raters saw as 'anxious'" in error_of(tmp_path, labels=LabelParams("majority"))


def test_a_group_is_one_class_of_several_archives(tmp_path):
    for number, emotion in enumerate(("neutral", "sad", "hurt")):
        write_features(tmp_path, emotion, everybody(emotion, start=50 * number))
    dataset = load_dataset(tmp_path, {**single("neutral"), "low": ("sad", "hurt")}, BY_PERSON, ARCHIVE)
    assert dataset.classes == ("neutral", "low")
    np.testing.assert_array_equal(dataset.targets.learnt, marks_of(tmp_path, dataset) >= 50)
    assert count_coverage(dataset)["per_emotion"] == {"neutral": 1, "low": 1}


def wrong_features(folder: Path, change: Callable[[pa.Table], pa.Table]) -> str:
    """The one line on features of which one file was changed so, read as train and folds read them."""
    for emotion in ("neutral", "anxious"):
        write_features(folder, emotion, [{**one, "votes": NEUTRAL_VOTES} for one in everybody(emotion)], voted=VOTED)
    path = folder / "neutral.parquet"
    pq.write_table(change(pq.read_table(path)), path)
    with pytest.raises(FaceemoError) as error:
        dataset = load_dataset(folder, CLASSES, BY_PERSON, ARCHIVE)
        load_inputs(folder, dataset, ["features", "crop"])
    name, _, what = str(error.value).partition(" ")
    assert name == path.as_posix() and "\n" not in what and what.endswith("; run 'dvc repro'")
    return what


WRONG_METADATA = {
    "normalize": (json.dumps({**NORMALIZE, "scale": "feet"}), json.dumps({"baseline": "none"})),
    "extract": (
        '{"settings": {}}',
        '{"settings": {"crops": 1}}',
        '{"settings": {"crops": true}, "versions": {"a": 1}}',
    ),
    "raters": ('{"classes": [1], "at_least": 3}', '{"classes": ["happy"], "at_least": "3"}', '{"classes": "happy"}'),
    "face": (json.dumps([0.5] * 1433), json.dumps([None] * 1434), json.dumps(["x"] * 1434)),
}


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, own in WRONG_METADATA.items() for text in (*OTHER_JSON, *own)]
)
def test_metadata_of_features_without_its_keys_is_one_clear_line(tmp_path, name, text):
    what = wrong_features(tmp_path, lambda rows: with_metadata(rows, name, text))
    assert what.startswith("is of another version of faceemo (") and f"metadata faceemo.{name}" in what


@pytest.mark.parametrize("text", ["null", "5", '"neutral"', "[1]", "[null]", "[" * 100_000])
def test_classes_of_features_that_are_no_words_are_one_clear_line(tmp_path, text):
    write_features(tmp_path, "neutral", everybody("neutral"))
    path = tmp_path / "neutral.parquet"
    pq.write_table(with_metadata(pq.read_table(path), "classes", text), path)
    with pytest.raises(FaceemoError, match=r"another version of faceemo \(.*metadata faceemo.classes"):
        load_dataset(tmp_path, None, BY_PERSON, LabelParams("majority"))


@pytest.mark.parametrize(
    ("wrong", "change"),
    [
        ("features that are no numbers", lambda rows: with_number(rows, "features", float("nan"))),
        ("features that are no numbers", lambda rows: with_number(rows, "features", None)),
        ("a face without features", lambda rows: with_value(rows, "features", None)),
        ("a face without crop", lambda rows: with_value(rows, "crop", None)),
        ("a row without image", lambda rows: with_value(rows, "image", None)),
        ("a row without emotion", lambda rows: with_value(rows, "emotion", None)),
        ("a row without folder", lambda rows: with_value(rows, "folder", None)),
        ("a row without status", lambda rows: with_value(rows, "status", None)),
        ("a status that is none", lambda rows: with_value(rows, "status", "fine")),
        ("folder that is none", lambda rows: with_value(rows, "folder", "testing")),
        ("emotion that is none", lambda rows: with_value(rows, "emotion", "")),
        ("emotion that is none", lambda rows: with_value(rows, "emotion", "so so!")),
        ("age below 0", lambda rows: with_value(rows, "age", -1)),
        ("agreement below 0", lambda rows: with_value(rows, "agreement", -1)),
        ("votes below 0", lambda rows: with_value(rows, "votes", [-1] * len(VOTED))),
        ("votes that are no numbers", lambda rows: with_value(rows, "votes", [None] * len(VOTED))),
    ],
)
def test_features_that_normalize_does_not_write_are_one_clear_line(tmp_path, wrong, change):
    assert wrong_features(tmp_path, change) == f"holds what faceemo does not write ({wrong}); run 'dvc repro'"


def test_votes_of_other_classes_than_their_raters_are_one_clear_line(tmp_path):
    assert "(votes of other lengths than 7)" in wrong_features(tmp_path, lambda rows: with_value(rows, "votes", [1, 2]))
