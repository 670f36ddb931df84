"""Parquet files of the pipeline whose checksums are right and whose content is not: one line, or numbers."""

import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hostile import TIMES, damaged, outcome
from made_datasets import ARCHIVE, single, write_features
from made_landmarks import OTHER_JSON, landmark_row, settings, write_landmarks

from faceemo.features.normalize import normalize_sources, open_features
from faceemo.params import SplitParams
from faceemo.pictures.labels import VOTED
from faceemo.pictures.sources import Source
from faceemo.training.counts import count_coverage, count_subjects
from faceemo.training.dataset import load_dataset, load_inputs

LANDMARKS, FEATURES = Path("data/landmarks/a"), Path("data/features")
WORDS = (
    "",
    "ok",
    "no_face",
    "no_baseline",
    "training",
    "validation",
    "happy",
    "neutral",
    "x" * 300,
    "\0",
    "가",
    "../a",
)
NUMBERS = (0, -1, 1, 127, 180, 2**15 - 1, 2**31 - 1)
FLOATS = (float("nan"), float("inf"), 0.0, -1.5, 3e38, 1e-40)


def of_type(kind: pa.DataType, chance: random.Random) -> object:
    """A value that a column of this type can hold."""
    if chance.random() < 0.3:
        return None
    if pa.types.is_list(kind):
        own = [of_type(kind.value_type, chance) for _ in range(3)]
        return chance.choice((own, [], [own[0]] * 1434, [own[0]] * 7))
    if pa.types.is_floating(kind):
        return chance.choice(FLOATS)
    if pa.types.is_binary(kind):
        return chance.choice((b"", b"x", bytes(4096)))
    if pa.types.is_boolean(kind):
        return chance.random() < 0.5
    if pa.types.is_integer(kind):
        return chance.choice([number for number in NUMBERS if number.bit_length() < kind.bit_width and number >= 0])
    return chance.choice(WORDS)


def changed(rows: pa.Table, chance: random.Random) -> pa.Table:
    """Rows with one to three things in them that the pipeline did not write."""
    for _ in range(chance.choice((1, 1, 2, 3))):
        kind, column = chance.randrange(8), chance.randrange(rows.num_columns)
        field, values = rows.schema.field(column), rows[column].to_pylist()
        if kind < 4 and values:
            for _ in range(chance.choice((1, len(values)))):
                values[chance.randrange(len(values))] = of_type(field.type, chance)
            rows = rows.set_column(column, field, pa.array(values, field.type))
        elif kind == 4 and values and values[0] and pa.types.is_list(field.type):
            values[0][chance.randrange(len(values[0]))] = of_type(field.type.value_type, chance)
            rows = rows.set_column(column, field, pa.array(values, field.type))
        elif kind == 5:
            rows = chance.choice((rows.slice(1), rows.slice(0, 0), pa.concat_tables([rows, rows]), rows.slice(0, 1)))
        elif kind == 6:
            metadata = dict(rows.schema.metadata or {b"faceemo.x": b"{}"})
            name = chance.choice(list(metadata))
            metadata[name] = chance.choice((*map(str.encode, OTHER_JSON), damaged(metadata[name], chance)))
            rows = rows.replace_schema_metadata(metadata)
        elif chance.random() < 0.3:
            rows = rows.drop_columns([field.name]) if rows.num_columns > 1 else rows
    return rows


def rewritten(path: Path, whole: pa.Table, chance: random.Random) -> None:
    pq.write_table(changed(whole, chance), path, write_page_checksum=True)


@pytest.mark.parametrize("baseline", ["none", "person", "neutral"])
def test_damaged_landmarks_are_one_line_or_features_that_are_numbers(tmp_path, monkeypatch, baseline):
    monkeypatch.chdir(tmp_path)
    chance, found = random.Random(5), Counter()
    statuses = ("ok", "no_face", "ok", "decode_error", "ok", "read_error")
    names = [f"{'ab'[number % 2] * 64}_여_30_중립_실내_20210126133507-001-{number:03d}.jpg" for number in range(6)]
    write_landmarks(LANDMARKS, [landmark_row(name, n, statuses[n]) for n, name in enumerate(names)])
    path = LANDMARKS / "part-00000.parquet"
    whole = pq.read_table(path)
    sources = {"a": Source("a.zip", "neutral", "training", 6, "0", None, classes=("neutral",))}

    def attempt() -> None:
        normalize_sources(sources, LANDMARKS.parent, settings(baseline=baseline))
        open_features(FEATURES / "a.parquet").read()  # looks at every value

    for _ in range(100 * TIMES):
        rewritten(path, whole, chance)
        found[outcome(attempt)] += 1
    assert len(found) == 2 and found.total() == 100 * TIMES


def test_damaged_features_are_one_line_or_numbers(tmp_path):
    chance, found = random.Random(6), Counter()
    for emotion in ("neutral", "happy"):
        rows = [
            {"mark": float(n), "emotion": emotion, "subject": f"p{n}", "status": ("ok", "no_face")[n % 5 == 4],
             "folder": "training", "votes": [3, *[0] * 6]}
            for n in range(30)
        ]  # fmt: skip
        write_features(tmp_path, emotion, rows, voted=VOTED)
    path = tmp_path / "neutral.parquet"
    whole = pq.read_table(path)

    def attempt() -> None:
        dataset = load_dataset(tmp_path, single("neutral", "happy"), SplitParams("person", 0.2, 0.2), ARCHIVE)
        inputs = load_inputs(tmp_path, dataset, ["features", "crop"])
        assert np.isfinite(inputs["features"]).all() and len(inputs["crop"]) == len(dataset.row_of)
        json.dumps([count_subjects(dataset), count_coverage(dataset)], allow_nan=False)

    for _ in range(300 * TIMES):
        rewritten(path, whole, chance)
        found[outcome(attempt)] += 1
    assert len(found) == 2 and found.total() == 300 * TIMES
