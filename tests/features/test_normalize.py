"""Landmarks to features: what is measured, what is known of each picture, and each person's baseline."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_archives import make_zip
from made_landmarks import (
    MADE,
    OTHER_JSON,
    WRONG_LANDMARKS,
    frontal_face,
    landmark_row,
    normalized,
    photo,
    settings,
    with_metadata,
    write_landmarks,
)
from made_sources import label_json, rating, record

from faceemo.emotions import KOREAN
from faceemo.errors import FaceemoError
from faceemo.extraction.crop import SIDE
from faceemo.extraction.schema import FORMAT
from faceemo.features.normalize import feature_settings, mean_face, normalize_sources, open_features, raters_of
from faceemo.params import LEAST_PICTURES
from faceemo.pictures.labels import VOTED
from faceemo.pictures.reader import digest_of
from faceemo.pictures.scan import scan
from faceemo.pictures.sources import LabelFiles, Source
from faceemo.pictures.trees import files_at
from faceemo.rows import RowsFile, read_parquet

ANN, BEN, EVE = "a" * 64, "b" * 64, "e" * 64
KEY = "neutral-training-01"


def image(number: int, subject: str | None = None) -> str:
    """The name of a picture, which tells who is in it as the set's names do."""
    return f"{subject}_여_30_중립_실내_20210126133507-001-{number:03d}.jpg" if subject else f"{number:03d}.jpg"


def row(number: int, subject: str | None, status: str = "ok") -> dict:
    """One picture's landmark row; the face of `number` is its own."""
    return landmark_row(image(number, subject), number, status)


def write_shards(project: Path, key: str, rows: list[dict], shard_rows: int = 1000, **extract: object) -> None:
    write_landmarks(project / "data/landmarks" / key, rows, shard_rows, **extract)


def source(emotion: str = "neutral", folder: str = "training", labels: LabelFiles | None = None) -> Source:
    return Source("somewhere.zip", emotion, folder, images=1, digest="0", labels=labels, classes=(emotion,))


def run_normalize(project: Path, sources: dict[str, Source], **changes) -> dict[str, pa.Table]:
    normalize_sources(sources, project / "data" / "landmarks", settings(**changes))
    return {path.stem: read_parquet(path) for path in (project / "data" / "features").glob("*")}


def features_of(project: Path, key: str) -> RowsFile:
    return open_features(project / "data" / "features" / f"{key}.parquet")


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def expected_features(number: int) -> np.ndarray:
    return normalized(photo(frontal_face(number), size=150 + number))[0]


def test_rows_keep_their_order_and_failed_pictures_keep_theirs_without_features(project):
    statuses = ["ok", "no_face", "ok", "decode_error", "read_error", "ok"]
    write_shards(project, KEY, [row(i, ANN, status) for i, status in enumerate(statuses)], 2)
    table = run_normalize(project, {KEY: source(folder="validation")})[KEY]
    assert table["image"].to_pylist() == [image(i, ANN) for i in range(6)]
    known = table.select(["emotion", "subject", "sex", "age"]).to_pylist()
    assert known == [{"emotion": "neutral", "subject": ANN, "sex": "female", "age": 30}] * 6
    assert table["status"].to_pylist() == statuses
    assert set(table["folder"].to_pylist()) == {"validation"}
    for name in ("agreement", "votes", "professional", "box"):
        assert table[name].to_pylist() == [None] * 6
    assert raters_of(features_of(project, KEY)).classes == ()
    for number, status in enumerate(statuses):
        vector, crop, *angles = (table[name][number].as_py() for name in ("features", "crop", "yaw", "pitch", "roll"))
        assert crop == (bytes([number]) * SIDE**2 if status == "ok" else None)
        if status == "ok":
            np.testing.assert_allclose(vector, expected_features(number), atol=1e-6)
            np.testing.assert_allclose(angles, 0, atol=0.01)
        else:
            assert vector is None and angles == [None] * 3


@pytest.mark.parametrize("baseline", ["none", "person", "neutral"])
def test_many_shards_give_the_same_features_as_one(project, baseline):
    rows = [row(i, [ANN, BEN, None][i % 3], "no_face" if i % 4 == 3 else "ok") for i in range(14)]
    write_shards(project, KEY, rows, shard_rows=3)
    write_shards(project, "neutral-training-02", rows)
    sources = {KEY: source(), "neutral-training-02": source()}
    tables = run_normalize(project, sources, baseline=baseline)
    many, one = tables[KEY], tables["neutral-training-02"]
    assert many.equals(one)
    assert many["features"].null_count < len(rows)
    faces = [mean_face(features_of(project, key)) for key in sources]
    np.testing.assert_allclose(faces[0], faces[1], atol=2e-5)


def test_an_archive_without_any_face_gives_rows_without_features(project):
    write_shards(project, KEY, [row(0, ANN, "no_face"), row(1, ANN, "decode_error")])
    table = run_normalize(project, {KEY: source()}, baseline="person")[KEY]
    assert table["status"].to_pylist() == ["no_face", "decode_error"]
    assert table["features"].null_count == 2


def test_a_persons_mean_over_all_sources_is_taken_away(project, monkeypatch):
    monkeypatch.setitem(LEAST_PICTURES, "person", 1)
    write_shards(project, KEY, [row(0, ANN), row(1, ANN, "no_face"), row(2, BEN)])
    write_shards(project, "sad-validation-01", [row(3, BEN), row(4, ANN), row(5, ANN)])
    sources = {KEY: source(), "sad-validation-01": source("sad", "validation")}
    tables = run_normalize(project, sources, baseline="person")
    first, second = (tables[key]["features"].to_pylist() for key in sources)
    ann = np.mean([expected_features(i) for i in (0, 4, 5)], axis=0)
    ben = np.mean([expected_features(i) for i in (2, 3)], axis=0)
    assert first[1] is None
    for vector, number, mean in ((first[0], 0, ann), (first[2], 2, ben), (second[0], 3, ben), (second[1], 4, ann)):
        np.testing.assert_allclose(vector, expected_features(number) - mean, atol=1e-5)
    total = np.sum([first[0], second[1], second[2]], axis=0)
    np.testing.assert_allclose(total, 0, atol=1e-5)


def test_too_few_pictures_or_nobody_known_is_no_baseline_and_counted(project, capsys, monkeypatch):
    monkeypatch.setitem(LEAST_PICTURES, "person", 3)
    rows = [row(0, ANN), row(1, ANN), row(2, BEN), row(3, BEN, "no_face"), row(4, None), row(5, ANN)]
    write_shards(project, KEY, rows)
    sources = {KEY: source()}
    table = run_normalize(project, sources, baseline="person")[KEY]
    assert table["status"].to_pylist() == ["ok", "ok", "no_baseline", "no_face", "no_baseline", "ok"]
    assert [vector is None for vector in table["features"].to_pylist()] == [False, False, True, True, True, False]
    assert table["yaw"].null_count == 1  # the face was found; only its features have no meaning
    printed = capsys.readouterr().out
    assert "6 pictures" in printed and "3 ok" in printed and "2 no_baseline" in printed and "1 no_face" in printed


def test_features_of_a_dropped_source_are_removed(project):
    for key in ("neutral-training-01", "sad-training-01"):
        write_shards(project, key, [row(0, ANN)])
    sources = {KEY: source(), "sad-training-01": source("sad")}
    assert set(run_normalize(project, sources)) == set(sources)
    del sources["sad-training-01"]
    assert set(run_normalize(project, sources)) == {"neutral-training-01"}


def test_features_carry_their_settings_and_the_mean_face_before_any_baseline(project):
    write_shards(project, KEY, [row(i, ANN) for i in range(4)])
    run_normalize(project, {KEY: source()}, baseline="person")
    file = features_of(project, KEY)
    found = feature_settings(file)
    assert found["normalize"] == dataclasses.asdict(settings(baseline="person"))
    assert found["extract"] == MADE
    expected = np.mean([expected_features(i) for i in range(4)], axis=0).reshape(478, 3)
    np.testing.assert_allclose(mean_face(file), expected, atol=2e-5)


def change_shard(project: Path, change: Callable[[pa.Table], pa.Table]) -> Path:
    """Write a source's last shard anew as another version of faceemo would have."""
    write_shards(project, KEY, [row(i, ANN) for i in range(4)], 2)
    path = project / f"data/landmarks/{KEY}/part-00001.parquet"
    pq.write_table(change(read_parquet(path)), path)
    return path


def of_format(number: int | None) -> Callable[[pa.Table], pa.Table]:
    metadata = {"engine": "mediapipe"} | ({} if number is None else {"format": number})
    return lambda rows: rows.replace_schema_metadata({"faceemo.extract": json.dumps(metadata)})


def cut_landmarks(rows: pa.Table, length: int) -> pa.Table:
    vectors = [vector and vector[:length] for vector in rows["landmarks"].to_pylist()]
    index = rows.schema.get_field_index("landmarks")
    return rows.set_column(index, "landmarks", pa.array(vectors, pa.list_(pa.float32())))


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (of_format(1), f"its rows have format 1, not {FORMAT}"),
        (of_format(FORMAT + 1), f"its rows have format {FORMAT + 1}, not {FORMAT}"),
        (of_format(None), f"its rows have format None, not {FORMAT}"),
        (lambda rows: rows.replace_schema_metadata(None), "no metadata faceemo.extract"),
        (lambda rows: cut_landmarks(rows, 3 * 468), "landmarks of other lengths than 1434"),
        (lambda rows: rows.drop_columns(["width"]), "no column width of int32"),
        (lambda rows: rows.drop_columns(["landmarks"]), "no column landmarks of list<item: float>"),
        (
            lambda rows: rows.set_column(3, "width", rows["width"].cast(pa.string())),
            "no column width of int32",
        ),
    ],
)
def test_landmarks_of_another_version_are_one_clear_line_and_leave_no_features(project, change, difference):
    path = change_shard(project, change)
    with pytest.raises(FaceemoError) as error:
        run_normalize(project, {KEY: source()})
    name = path.relative_to(project).as_posix()
    assert str(error.value).endswith(f"{name} is of another version of faceemo ({difference}); run 'dvc repro'")
    assert not list(project.glob("data/features/*"))


@pytest.mark.parametrize(
    "text", [*OTHER_JSON, json.dumps({**MADE, "settings": {}}), json.dumps({**MADE, "engine": None})]
)
def test_metadata_of_landmarks_without_its_keys_is_one_clear_line(project, text):
    change_shard(project, lambda rows: with_metadata(rows, "extract", text))
    with pytest.raises(
        FaceemoError, match=r"part-00001\.parquet is of another version of faceemo \(.*; run 'dvc repro'$"
    ):
        run_normalize(project, {KEY: source()})


@pytest.mark.parametrize("baseline", ["none", "person"])
@pytest.mark.parametrize(
    ("wrong", "change"), [(wrong, one) for wrong, several in WRONG_LANDMARKS.items() for one in several]
)
def test_landmarks_that_extraction_does_not_write_are_one_clear_line(project, baseline, wrong, change):
    """Checksums tell that no bit of a file has changed, and not who wrote it."""
    change_shard(project, change)
    with pytest.raises(FaceemoError) as error:
        run_normalize(project, {KEY: source()}, baseline=baseline)
    assert str(error.value).endswith(f"part-00001.parquet holds what faceemo does not write ({wrong}); run 'dvc repro'")
    assert not list(project.glob("data/features/*.parquet"))


@pytest.mark.parametrize("keep", [0, 100, -100])
def test_a_cut_shard_is_one_clear_line(project, keep):
    path = change_shard(project, lambda rows: rows)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(FaceemoError, match=r"part-00001\.parquet cannot be read \(.*\); run 'dvc repro'$") as error:
        run_normalize(project, {KEY: source()})
    assert "\n" not in str(error.value)


def test_landmarks_of_two_engines_side_by_side_are_said_once(project, capsys):
    sources = {}
    for part, engine in enumerate(("mediapipe", "litert", "mediapipe"), start=1):
        key = f"neutral-training-{part:02d}"
        write_shards(project, key, [row(i, ANN) for i in range(4)], shard_rows=2, engine=engine)
        sources[key] = source()
    run_normalize(project, sources)
    said = [line for line in capsys.readouterr().out.splitlines() if "engine" in line]
    assert said == [
        "landmarks were made by litert (1 sources) and mediapipe (2 sources): the engines differ by "
        "0.0015 % of the distance between the irises; to use only one, set extract.engine"
    ]
    run_normalize(project, {"neutral-training-02": source()})
    assert "engine" not in capsys.readouterr().out


def test_a_source_without_landmarks_is_one_clear_line(project):
    with pytest.raises(FaceemoError, match="neutral-training-01 holds no landmarks") as error:
        run_normalize(project, {KEY: source()})
    assert "\n" not in str(error.value)


def write_labels(project: Path, *records: dict) -> LabelFiles:
    path = make_zip(project / "labels.zip", {"labels.json": label_json(*records)})
    return LabelFiles(path.as_posix(), digest_of(files_at(path)))


def rated(name: str, *votes: str, left: float = 0) -> dict:
    """The record of an actor's picture, with a box of each rater."""
    return record(name, *(rating(vote, (left + i, 20, 300, 400)) for i, vote in enumerate(votes)), isProf="전문인")


def votes_for(**counts: int) -> list[int]:
    return [counts.get(name, 0) for name in VOTED]


def test_labels_fill_the_columns_of_their_own_pictures_and_are_counted(project, capsys):
    rows = [row(i, ANN) for i in range(3)]
    rows[1]["image"] = "사진/거실 & 부엌.jpg"
    write_shards(project, KEY, rows, shard_rows=2)
    labels = write_labels(
        project,
        rated("거실 _ 부엌.jpg", "중립", "슬픔", "중립", left=10),
        rated(image(0, ANN), "중립", "중립", "중립", left=40),
        rated("elsewhere.jpg", "중립", "중립", "중립"),
        {},
        {},
    )
    table = run_normalize(project, {KEY: source(labels=labels)})[KEY]
    assert table["agreement"].to_pylist() == [3, 2, None]
    assert table["votes"].to_pylist() == [votes_for(neutral=3), votes_for(neutral=2, sad=1), None]
    assert table["professional"].to_pylist() == [True, True, None]
    raters = raters_of(features_of(project, KEY))
    assert (raters.classes, raters.at_least) == (tuple(KOREAN), 3)
    assert table["box"].to_pylist() == [[41, 20, 300, 400], [11, 20, 300, 400], None]
    lines = capsys.readouterr().out.splitlines()
    assert f"{KEY}: labels: 2 pictures with votes, 1 without, 1 records without a picture" in lines
    assert f"{KEY}: labels: 2 could not be read, the first is record 3 of labels.json" in lines


def test_a_changed_label_archive_is_one_clear_line(project):
    write_shards(project, KEY, [row(0, ANN)])
    scanned = write_labels(project, rated(image(0, ANN), "중립"))
    write_labels(project, rated(image(0, ANN), "슬픔"))
    with pytest.raises(FaceemoError, match=rf"{KEY}: label archive changed .* 'faceemo scan'") as error:
        run_normalize(project, {KEY: source(labels=scanned)})
    assert "\n" not in str(error.value)


def test_votes_of_a_table_say_no_agreement_of_the_sets_three_raters(project):
    write_shards(project, "list", [landmark_row(f"{number}.jpg", number) for number in range(2)])
    path = project / "list.csv"
    path.write_text("path,emotion,subject,happy,bored\n0.jpg,bored,kim,1,3\n1.jpg,happy,lee,,\n", encoding="utf-8")
    for number in range(2):
        (project / f"{number}.jpg").write_bytes(bytes([number]))
    table = run_normalize(project, scan([path]).sources)["list"]
    found = table.select(["emotion", "subject", "votes", "agreement"]).to_pylist()
    assert found == [
        {"emotion": "bored", "subject": "kim", "votes": [1, 3], "agreement": None},
        {"emotion": "happy", "subject": "lee", "votes": None, "agreement": None},
    ]
    assert raters_of(features_of(project, "list")).classes == ("happy", "bored")


def test_a_persons_neutral_faces_are_taken_away_but_never_a_face_from_itself(project):
    write_shards(project, KEY, [row(i, ANN) for i in range(3)] + [row(3, BEN)], shard_rows=2)
    write_shards(project, "sad-training-01", [row(4, ANN), row(5, BEN), row(6, EVE)])
    disputed = (rated(name, "기쁨", "기쁨", "중립") for name in (image(2, ANN), image(3, BEN)))
    labels = write_labels(project, *disputed)  # one of ANN's, and the only one of BEN
    sources = {KEY: source(labels=labels), "sad-training-01": source("sad")}
    tables = run_normalize(project, sources, baseline="neutral")
    neutral, sad = (tables[key]["features"].to_pylist() for key in sources)
    face = expected_features
    for vector, number, baseline in (
        (neutral[0], 0, face(1)),
        (neutral[1], 1, face(0)),
        (neutral[2], 2, (face(0) + face(1)) / 2),
        (sad[0], 4, (face(0) + face(1)) / 2),
        (sad[1], 5, face(3)),
    ):
        np.testing.assert_allclose(vector, face(number) - baseline, atol=1e-5)
    assert tables[KEY]["status"].to_pylist() == ["ok"] * 3 + ["no_baseline"]
    assert tables["sad-training-01"]["status"].to_pylist() == ["ok", "ok", "no_baseline"]


@pytest.mark.parametrize(
    "scanned, images, warning",
    [
        (["sad"], 1, "no neutral archive is scanned; scan it too, whatever 'emotions' names"),
        (["sad", "neutral"], 9, "'limit' takes 0.3 neutral pictures a person; raise it"),
        (["sad", "neutral"], 1, "there are 0.3 usable pictures a person; normalize.baseline: neutral needs 1"),
    ],
)
def test_people_with_a_baseline_are_counted_and_a_warning_says_why_most_have_none(
    project, capsys, scanned, images, warning
):
    write_shards(project, "sad-training-01", [row(i, who) for i, who in enumerate([ANN, BEN, EVE])])
    write_shards(project, KEY, [row(3, ANN)])
    sources = {
        f"{name}-training-01": dataclasses.replace(source(name), images=images if name == "neutral" else 3)
        for name in scanned
    }
    run_normalize(project, sources, baseline="neutral")
    counted, warned = capsys.readouterr().out.splitlines()[-2:]
    assert counted == f"baselines: {len(scanned) - 1} of 3 people have one"
    assert warned == f"warning: most people have no baseline: {warning}"


def test_where_most_people_have_a_baseline_there_is_no_warning(project, capsys):
    write_shards(project, KEY, [row(0, ANN), row(1, ANN), row(2, BEN)])
    run_normalize(project, {KEY: source()}, baseline="neutral")
    printed = capsys.readouterr().out
    assert "baselines: 1 of 2 people have one\n" in printed and "warning" not in printed
