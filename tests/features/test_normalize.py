import dataclasses
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_landmarks import frontal_face, normalized, photo, settings

from faceemo.errors import FaceemoError
from faceemo.extraction.archive import Archive
from faceemo.extraction.schema import FORMAT
from faceemo.extraction.schema import SCHEMA as LANDMARK_SCHEMA
from faceemo.extraction.sources import Labels, Source
from faceemo.features.normalize import feature_settings, mean_face, normalize_sources, open_features, raters_of
from faceemo.rows import RowsFile, rows_or_null

EXTRACT = {"max_faces": 1, "format": FORMAT}
ANN, BEN, EVE = "a" * 64, "b" * 64, "e" * 64


def row(number: int, subject: str | None, status: str = "ok", emotion: str = "neutral") -> dict:
    """One picture's landmark row; the face of `number` is its own."""
    ok = status == "ok"
    return {
        "image": f"{number:03d}.jpg",
        "emotion": emotion,
        "subject": subject,
        "sex": "female",
        "age": 30,
        "background": None,
        "width": 900 if status != "decode_error" else None,
        "height": 1200 if status != "decode_error" else None,
        "faces": int(ok),
        "turned": 0,
        "status": status,
        "error": None if ok else "why",
        "landmarks": photo(frontal_face(number), size=150 + number) if ok else None,
    }


def write_shards(project: Path, key: str, rows: list[dict], shard_rows: int = 1000, **extract: object) -> None:
    folder = project / "data" / "landmarks" / key
    folder.mkdir(parents=True)
    schema = LANDMARK_SCHEMA.with_metadata({"faceemo.extract": json.dumps({**EXTRACT, **extract})})
    for number, start in enumerate(range(0, len(rows), shard_rows)):
        some = rows[start : start + shard_rows]
        columns = {name: [one[name] for one in some] for name in schema.names}
        columns["landmarks"] = rows_or_null([None if v is None else v.reshape(-1) for v in columns["landmarks"]])
        pq.write_table(pa.table(columns, schema=schema), folder / f"part-{number:05d}.parquet")


def source(emotion: str = "neutral", folder: str = "training", labels: Labels | None = None) -> Source:
    return Source("somewhere.zip", emotion, folder, images=1, digest="0", labels=labels)


def run_normalize(project: Path, sources: dict[str, Source], **changes) -> dict[str, pa.Table]:
    normalize_sources(sources, project / "data" / "landmarks", settings(**changes))
    return {path.stem: pq.read_table(path) for path in (project / "data" / "features").glob("*")}


def features_of(project: Path, key: str) -> RowsFile:
    return open_features(project / "data" / "features" / f"{key}.parquet")


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def expected_features(number: int) -> np.ndarray:
    return normalized(row(number, None)["landmarks"])[0]


def test_rows_keep_their_order_and_failed_pictures_keep_theirs_without_features(project):
    statuses = ["ok", "no_face", "ok", "decode_error", "read_error", "ok"]
    write_shards(project, "neutral-training-01", [row(i, ANN, status) for i, status in enumerate(statuses)], 2)
    table = run_normalize(project, {"neutral-training-01": source(folder="validation")})["neutral-training-01"]
    assert table["image"].to_pylist() == [f"{i:03d}.jpg" for i in range(6)]
    assert table["status"].to_pylist() == statuses
    assert set(table["folder"].to_pylist()) == {"validation"}
    for name in ("agreement", "votes", "professional", "box"):
        assert table[name].to_pylist() == [None] * 6
    assert raters_of(features_of(project, "neutral-training-01")).classes == ()
    for number, status in enumerate(statuses):
        vector, *angles = (table[name][number].as_py() for name in ("features", "yaw", "pitch", "roll"))
        if status == "ok":
            np.testing.assert_allclose(vector, expected_features(number), atol=1e-6)
            np.testing.assert_allclose(angles, 0, atol=0.01)
        else:
            assert vector is None and angles == [None] * 3


@pytest.mark.parametrize("baseline", ["none", "person", "neutral"])
def test_many_shards_give_the_same_features_as_one(project, baseline):
    rows = [row(i, [ANN, BEN, None][i % 3], "no_face" if i % 4 == 3 else "ok") for i in range(14)]
    write_shards(project, "neutral-training-01", rows, shard_rows=3)
    write_shards(project, "neutral-training-02", rows)
    sources = {"neutral-training-01": source(), "neutral-training-02": source()}
    tables = run_normalize(project, sources, baseline=baseline)
    many, one = tables["neutral-training-01"], tables["neutral-training-02"]
    assert many.equals(one)
    assert many["features"].null_count < len(rows)
    faces = [mean_face(features_of(project, key)) for key in sources]
    np.testing.assert_allclose(faces[0], faces[1], atol=2e-5)


def test_an_archive_without_any_face_gives_rows_without_features(project):
    write_shards(project, "neutral-training-01", [row(0, ANN, "no_face"), row(1, ANN, "decode_error")])
    table = run_normalize(project, {"neutral-training-01": source()}, baseline="person")["neutral-training-01"]
    assert table["status"].to_pylist() == ["no_face", "decode_error"]
    assert table["features"].null_count == 2


def test_a_persons_mean_over_all_sources_is_taken_away(project):
    write_shards(project, "neutral-training-01", [row(0, ANN), row(1, ANN, "no_face"), row(2, BEN)])
    write_shards(project, "sad-validation-01", [row(3, BEN), row(4, ANN), row(5, ANN)])
    sources = {"neutral-training-01": source(), "sad-validation-01": source("sad", "validation")}
    tables = run_normalize(project, sources, baseline="person")
    first, second = (tables[key]["features"].to_pylist() for key in sources)
    ann = np.mean([expected_features(i) for i in (0, 4, 5)], axis=0)
    ben = np.mean([expected_features(i) for i in (2, 3)], axis=0)
    assert first[1] is None
    for vector, number, mean in ((first[0], 0, ann), (first[2], 2, ben), (second[0], 3, ben), (second[1], 4, ann)):
        np.testing.assert_allclose(vector, expected_features(number) - mean, atol=1e-5)
    total = np.sum([first[0], second[1], second[2]], axis=0)
    np.testing.assert_allclose(total, 0, atol=1e-5)


def test_too_few_pictures_or_nobody_known_is_no_baseline_and_counted(project, capsys):
    rows = [row(0, ANN), row(1, ANN), row(2, BEN), row(3, BEN, "no_face"), row(4, None), row(5, ANN)]
    write_shards(project, "neutral-training-01", rows)
    sources = {"neutral-training-01": source()}
    table = run_normalize(project, sources, baseline="person", baseline_min=3)["neutral-training-01"]
    assert table["status"].to_pylist() == ["ok", "ok", "no_baseline", "no_face", "no_baseline", "ok"]
    assert [vector is None for vector in table["features"].to_pylist()] == [False, False, True, True, True, False]
    assert table["yaw"].null_count == 1  # the face was found; only its features have no meaning
    printed = capsys.readouterr().out
    assert "6 pictures" in printed and "3 ok" in printed and "2 no_baseline" in printed and "1 no_face" in printed


def test_features_of_a_dropped_source_are_removed(project):
    for key in ("neutral-training-01", "sad-training-01"):
        write_shards(project, key, [row(0, ANN)])
    sources = {"neutral-training-01": source(), "sad-training-01": source("sad")}
    assert set(run_normalize(project, sources)) == set(sources)
    del sources["sad-training-01"]
    assert set(run_normalize(project, sources)) == {"neutral-training-01"}


def test_features_carry_their_settings_and_the_mean_face_before_any_baseline(project):
    write_shards(project, "neutral-training-01", [row(i, ANN) for i in range(4)])
    run_normalize(project, {"neutral-training-01": source()}, baseline="person")
    file = features_of(project, "neutral-training-01")
    found = feature_settings(file)
    assert found["normalize"] == dataclasses.asdict(settings(baseline="person"))
    assert found["extract"] == EXTRACT
    expected = np.mean([expected_features(i) for i in range(4)], axis=0).reshape(478, 3)
    np.testing.assert_allclose(mean_face(file), expected, atol=2e-5)


def change_shard(project: Path, change: Callable[[pa.Table], pa.Table]) -> Path:
    """Write a source's last shard anew as another version of faceemo would have."""
    write_shards(project, "neutral-training-01", [row(i, ANN) for i in range(4)], 2)
    path = project / "data/landmarks/neutral-training-01/part-00001.parquet"
    pq.write_table(change(pq.read_table(path)), path)
    return path


def of_format(number: int | None) -> Callable[[pa.Table], pa.Table]:
    return lambda rows: rows.replace_schema_metadata(
        {"faceemo.extract": json.dumps({"max_faces": 1} | ({} if number is None else {"format": number}))}
    )


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
            lambda rows: rows.set_column(6, "width", rows["width"].cast(pa.string())),
            "no column width of int32",
        ),
    ],
)
def test_landmarks_of_another_version_are_one_clear_line_and_leave_no_features(project, change, difference):
    path = change_shard(project, change)
    with pytest.raises(FaceemoError) as error:
        run_normalize(project, {"neutral-training-01": source()})
    name = path.relative_to(project).as_posix()
    assert str(error.value).endswith(f"{name} is of another version of faceemo ({difference}); run 'dvc repro'")
    assert not list(project.glob("data/features/*"))


@pytest.mark.parametrize("number", [2, 3])
def test_landmarks_of_an_older_project_are_read_as_those_of_this_one(project, number):
    write_shards(project, "sad-training-01", [row(i, ANN) for i in range(4)])
    missing = ["turned"] if number == 2 else []
    change_shard(project, lambda rows: of_format(number)(rows.drop_columns(missing)))
    sources = {"neutral-training-01": source(), "sad-training-01": source("sad")}
    tables = run_normalize(project, sources)
    assert tables["neutral-training-01"]["features"].equals(tables["sad-training-01"]["features"])


@pytest.mark.parametrize("keep", [0, 100, -100])
def test_a_cut_shard_is_one_clear_line(project, keep):
    path = change_shard(project, lambda rows: rows)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(FaceemoError, match=r"part-00001\.parquet cannot be read \(.*\); run 'dvc repro'$") as error:
        run_normalize(project, {"neutral-training-01": source()})
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
        run_normalize(project, {"neutral-training-01": source()})
    assert "\n" not in str(error.value)


def write_labels(path: Path, records: list[dict]) -> Labels:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("labels.json", json.dumps(records, ensure_ascii=False))
    with Archive(path) as archive:
        return Labels(path.as_posix(), archive.digest())


def record(filename: str, votes: list[str], left: float) -> dict:
    raters = {
        f"annot_{letter}": {"boxes": {"minX": left + i, "minY": 20.0, "maxX": 300.0, "maxY": 400.0}, "faceExp": vote}
        for i, (letter, vote) in enumerate(zip("ABC", votes, strict=True))
    }
    return {"filename": filename, "isProf": "전문인", **raters}


def test_labels_fill_the_columns_of_their_own_pictures(project, capsys):
    rows = [row(i, ANN) for i in range(3)]
    rows[1]["image"] = "사진/거실 & 부엌.jpg"
    write_shards(project, "neutral-training-01", rows, shard_rows=2)
    labels = write_labels(
        project / "labels.zip",
        [
            record("거실 _ 부엌.jpg", ["중립", "슬픔", "중립"], 10),
            record("000.jpg", ["중립", "중립", "중립"], 40),
            record("elsewhere.jpg", ["중립", "중립", "중립"], 0),
        ],
    )
    table = run_normalize(project, {"neutral-training-01": source(labels=labels)})["neutral-training-01"]
    assert table["agreement"].to_pylist() == [3, 2, None]
    assert table["votes"].to_pylist() == [[0, 0, 0, 0, 0, 0, 3], [0, 0, 0, 0, 0, 1, 2], None]
    assert table["professional"].to_pylist() == [True, True, None]
    assert raters_of(features_of(project, "neutral-training-01")).classes[-2:] == ("sad", "neutral")
    assert table["box"].to_pylist() == [[41, 20, 300, 400], [11, 20, 300, 400], None]
    assert "2 joined, 1 pictures without one, 1 without a picture" in capsys.readouterr().out


def test_records_that_cannot_be_read_are_counted_and_the_first_is_named(project, capsys):
    write_shards(project, "neutral-training-01", [row(0, ANN)])
    labels = write_labels(project / "labels.zip", [record("000.jpg", ["중립"] * 3, 10), {}, {}])
    table = run_normalize(project, {"neutral-training-01": source(labels=labels)})["neutral-training-01"]
    assert table["agreement"].to_pylist() == [3]
    line = "neutral-training-01: labels: 2 could not be read, the first is record 1 of labels.json"
    assert line in capsys.readouterr().out.splitlines()


def test_a_changed_label_archive_is_one_clear_line(project):
    write_shards(project, "neutral-training-01", [row(0, ANN)])
    scanned = write_labels(project / "labels.zip", [record("000.jpg", ["중립"] * 3, 0)])
    write_labels(project / "labels.zip", [record("000.jpg", ["슬픔"] * 3, 0)])
    with pytest.raises(FaceemoError, match=r"neutral-training-01: label archive changed .* 'faceemo scan'") as error:
        run_normalize(project, {"neutral-training-01": source(labels=scanned)})
    assert "\n" not in str(error.value)


def voted_happy(project: Path, *images: str) -> Labels:
    return write_labels(project / "labels.zip", [record(image, ["기쁨", "기쁨", "중립"], 0) for image in images])


def test_a_persons_neutral_faces_are_taken_away_but_never_a_face_from_itself(project):
    write_shards(project, "neutral-training-01", [row(i, ANN) for i in range(3)] + [row(3, BEN)], shard_rows=2)
    write_shards(
        project, "sad-training-01", [row(4, ANN, emotion="sad"), row(5, BEN, emotion="sad"), row(6, EVE, emotion="sad")]
    )
    labels = voted_happy(project, "002.jpg", "003.jpg")  # raters deny one of ANN's, and the only one of BEN
    sources = {"neutral-training-01": source(labels=labels), "sad-training-01": source("sad")}
    tables = run_normalize(project, sources, baseline="neutral", baseline_min=None)
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
    assert tables["neutral-training-01"]["status"].to_pylist() == ["ok"] * 3 + ["no_baseline"]
    assert tables["sad-training-01"]["status"].to_pylist() == ["ok", "ok", "no_baseline"]


@pytest.mark.parametrize("changes, least", [({}, 8), ({"baseline": "neutral"}, 1), ({"baseline_min": 3}, 3)])
def test_how_many_pictures_a_baseline_needs_follows_from_its_kind_unless_told(changes, least):
    assert settings(**{"baseline": "person", "baseline_min": None, **changes}).least_pictures == least


@pytest.mark.parametrize(
    "scanned, images, warning",
    [
        (["sad"], 1, "no neutral archive is scanned; scan it too, whatever 'emotions' names"),
        (["sad", "neutral"], 9, "'limit' takes 0.3 neutral pictures a person; raise it"),
        (["sad", "neutral"], 1, "there are 0.3 usable pictures a person; normalize.baseline_min needs 1"),
    ],
)
def test_people_with_a_baseline_are_counted_and_a_warning_says_why_most_have_none(
    project, capsys, scanned, images, warning
):
    write_shards(project, "sad-training-01", [row(i, who, emotion="sad") for i, who in enumerate([ANN, BEN, EVE])])
    write_shards(project, "neutral-training-01", [row(3, ANN)])
    sources = {
        f"{name}-training-01": dataclasses.replace(source(name), images=images if name == "neutral" else 3)
        for name in scanned
    }
    run_normalize(project, sources, baseline="neutral", baseline_min=None)
    counted, warned = capsys.readouterr().out.splitlines()[-2:]
    assert counted == f"baselines: {len(scanned) - 1} of 3 people have one"
    assert warned == f"warning: most people have no baseline: {warning}"


def test_where_most_people_have_a_baseline_there_is_no_warning(project, capsys):
    write_shards(project, "neutral-training-01", [row(0, ANN), row(1, ANN), row(2, BEN)])
    run_normalize(project, {"neutral-training-01": source()}, baseline="neutral")
    printed = capsys.readouterr().out
    assert "baselines: 1 of 2 people have one\n" in printed and "warning" not in printed
