"""Landmarks of all sources to data/features: geometry, raters' answers and baselines, a Parquet shard at a time."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from faceemo.console import progress
from faceemo.durable import remove, written_whole
from faceemo.emotions import NEUTRAL, class_name
from faceemo.errors import FaceemoError
from faceemo.extraction.crop import SIDE
from faceemo.extraction.engines.choice import ENGINE_DISTANCE
from faceemo.extraction.facemesh import COORDINATES, LANDMARKS
from faceemo.extraction.fingerprint import check_made
from faceemo.extraction.landmarks import open_landmarks
from faceemo.features.baselines import Baselines, Faces, fit_baselines, subtract_baselines
from faceemo.features.geometry import normalize, pose_angles
from faceemo.params import NormalizeParams, parse_section
from faceemo.paths import FEATURES_FOLDER
from faceemo.pictures.labels import RATERS
from faceemo.pictures.manifest import Manifest, Raters, describe
from faceemo.pictures.sources import Source
from faceemo.rows import RowsFile, present_rows, rows_or_null, wrong_rows
from faceemo.status import Status

WIDTHS = {"features": COORDINATES, "crop": SIDE * SIDE}

SCHEMA = pa.schema(
    [
        ("image", pa.string()),
        ("emotion", pa.string()),
        ("subject", pa.string()),
        ("sex", pa.string()),
        ("age", pa.int16()),
        ("folder", pa.string()),
        ("status", pa.string()),
        ("agreement", pa.int8()),
        ("votes", pa.list_(pa.int8())),
        ("professional", pa.bool_()),
        ("box", pa.list_(pa.float32())),
        ("yaw", pa.float32()),
        ("pitch", pa.float32()),
        ("roll", pa.float32()),
        ("features", pa.list_(pa.float32())),
        ("crop", pa.binary()),  # as in the landmarks, null where features are
    ]
)

FOLDERS = ("training", "validation")


def normalize_sources(sources: dict[str, Source], landmarks_folder: Path, settings: NormalizeParams) -> None:
    """Write data/features/<id>.parquet for each source, row for row, and remove those of other sources.

    Raises FaceemoError if landmarks are missing, broken or of another version of faceemo, or if labels or a table
    cannot be read or are not those that were scanned.
    """
    _say_mixed_engines(sources, landmarks_folder)
    baselines = fit_baselines(_faces_for_baselines(sources, landmarks_folder, settings), settings)
    coverage = _BaselineCoverage()
    for key, source in sources.items():
        shards, manifest = _described(key, source, landmarks_folder)
        counts: Counter[str] = Counter()
        face_sum = np.zeros(COORDINATES)
        provenance = {
            b"faceemo.normalize": json.dumps(asdict(settings), sort_keys=True).encode(),
            b"faceemo.extract": json.dumps(shards[0].metadata("extract", check_made), sort_keys=True).encode(),
            b"faceemo.raters": json.dumps(asdict(manifest.raters)).encode(),
            b"faceemo.classes": json.dumps(source.classes).encode(),
        }
        schema = SCHEMA.with_metadata(provenance)
        with (
            written_whole(FEATURES_FOLDER / f"{key}.parquet") as temporary,
            pq.ParquetWriter(
                temporary,
                schema,
                compression="zstd",
                use_byte_stream_split=["features.list.element"],
                write_page_checksum=True,
            ) as writer,
        ):
            for rows, known in _with_what_is_known(key, shards, manifest):
                measured = _measured(rows)
                features, degrees = normalize(*measured, settings), pose_angles(*measured)
                face_sum += features.sum(axis=0, dtype=np.float64)
                faces = _faces(rows, known, features)
                table = _features_table(rows, known, faces, degrees, baselines, schema)
                writer.write_table(table)
                coverage.add(table, settings)
                counts.update(table["status"].to_pylist())
            face = face_sum / max(counts[Status.OK] + counts[Status.NO_BASELINE], 1)
            writer.add_key_value_metadata({"faceemo.face": json.dumps(np.round(face, 5).tolist())})
        _print_counts(key, counts, manifest)
    if baselines is not None:
        coverage.report(sources, settings)
    for path in FEATURES_FOLDER.glob("*.parquet"):
        if path.stem not in sources:
            remove(path)


def _described(key: str, source: Source, landmarks_folder: Path) -> tuple[list[RowsFile], Manifest]:
    """The shards of a source's landmarks, and what is known of their pictures."""
    shards = [open_landmarks(path) for path in _shards(landmarks_folder / key)]
    return shards, describe(
        key, source, [name for shard in shards for name in shard.read(["image"])["image"].to_pylist()]
    )


def _with_what_is_known(key: str, shards: list[RowsFile], manifest: Manifest) -> Iterator[tuple[pa.Table, Manifest]]:
    """Each shard's rows, and what is known of them."""
    start = 0
    with progress(len(manifest.table), key, "pictures") as advance:
        for shard in shards:
            rows = shard.read()
            yield rows, replace(manifest, table=manifest.table.slice(start, len(rows)))
            start += len(rows)
            advance(len(rows))


def _say_mixed_engines(sources: dict[str, Source], landmarks_folder: Path) -> None:
    first = (open_landmarks(_shards(landmarks_folder / key)[0]) for key in sources)
    counts = Counter(engine_of(shard.metadata("extract", check_made)) for shard in first)
    if len(counts) > 1:
        engines = " and ".join(f"{engine} ({count} sources)" for engine, count in sorted(counts.items()))
        print(
            f"landmarks were made by {engines}: the engines differ by {ENGINE_DISTANCE} % of the distance between the "
            "irises; to use only one, set extract.engine",
            flush=True,
        )


def _features_table(
    rows: pa.Table,
    known: Manifest,
    faces: Faces,
    degrees: np.ndarray,
    baselines: Baselines | None,
    schema: pa.Schema,
) -> pa.Table:
    """One shard's rows. faces, degrees: of the rows whose status is ok; degrees: float32 [faces, 3]."""
    status = np.array(rows["status"].to_pylist(), object)
    ok = np.flatnonzero(status == Status.OK)
    vectors: list[np.ndarray | None] = [None] * len(status)
    judged = faces.features if baselines is None else subtract_baselines(faces, baselines)
    for index, vector in zip(ok, judged, strict=True):
        vectors[index] = vector
        if vector is None:
            status[index] = Status.NO_BASELINE
    angles: list[np.ndarray] = [np.full(len(status), np.nan, np.float32) for _ in range(3)]
    for column, values in zip(angles, degrees.T, strict=True):
        column[ok] = values
    votes = known.table["votes"]
    chose = known.raters.chose(votes, known.table["emotion"].to_pylist())
    is_asked = votes.is_valid().to_numpy() & (known.raters.at_least >= len(RATERS))  # the set's three alone
    return pa.table(
        {
            **{name: known.table[name] for name in known.table.column_names},
            "status": status.tolist(),
            "agreement": pa.array(chose, pa.int8(), mask=~is_asked),
            **{
                name: pa.array(values, from_pandas=True)
                for name, values in zip(("yaw", "pitch", "roll"), angles, strict=True)
            },
            "features": rows_or_null(vectors),
            "crop": pc.if_else(pa.array(status == Status.OK), rows["crop"], pa.scalar(None, pa.binary())),
        },
        schema=schema,
    )


def _measured(rows: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the rows whose status is ok: landmarks [N, 478, 3], and widths and heights [N] of their pictures."""
    ok = rows.filter(pc.equal(rows["status"], Status.OK))
    landmarks = present_rows(ok["landmarks"], COORDINATES).reshape(-1, LANDMARKS, 3)
    return landmarks, ok["width"].to_numpy(), ok["height"].to_numpy()


def _faces_for_baselines(
    sources: dict[str, Source], landmarks_folder: Path, settings: NormalizeParams
) -> Iterator[Faces]:
    """The faces of all sources that baselines may be made of, a shard at a time."""
    for key, source in sources.items():
        if settings.baseline == "neutral" and NEUTRAL not in source.classes:
            continue
        for rows, known in _with_what_is_known(key, *_described(key, source, landmarks_folder)):
            yield _faces(rows, known, normalize(*_measured(rows), settings))


def _faces(rows: pa.Table, known: Manifest, features: np.ndarray) -> Faces:
    """The faces of one shard, with the features [ok rows, 1434] of those that have them."""
    ok = pc.equal(rows["status"], Status.OK)
    table = known.table.filter(ok)
    neutral = np.array([emotion == NEUTRAL for emotion in table["emotion"].to_pylist()], bool)
    return Faces(table["subject"].to_pylist(), features, neutral, known.raters.dispute(table["votes"], NEUTRAL))


class _BaselineCoverage:
    """Which people have a baseline, and why others do not."""

    def __init__(self) -> None:
        self._found: set[str] = set()
        self._covered: set[str] = set()
        self._faces = 0  # of those that baselines are made of
        self._neutral_rows = 0

    def add(self, table: pa.Table, settings: NormalizeParams) -> None:
        """Count in the features of one shard."""
        for subject, emotion, status in zip(
            *(table[name].to_pylist() for name in ("subject", "emotion", "status")), strict=True
        ):
            self._neutral_rows += emotion == NEUTRAL
            if subject is None or status not in (Status.OK, Status.NO_BASELINE):
                continue
            self._found.add(subject)
            self._faces += settings.baseline == "person" or emotion == NEUTRAL
            if status == Status.OK:
                self._covered.add(subject)

    def report(self, sources: dict[str, Source], settings: NormalizeParams) -> None:
        """Print how many people have a baseline; below half a warning says why."""
        found, covered = len(self._found), len(self._covered)
        print(f"baselines: {covered} of {found} people have one", flush=True)
        if 2 * covered >= found:
            return
        own = self._faces / max(found, 1)
        pictures = sum(source.images for source in sources.values() if source.emotion == NEUTRAL)
        if settings.baseline == "neutral" and not self._neutral_rows:
            cause = "no neutral archive is scanned; scan it too, whatever 'emotions' names"
        elif settings.baseline == "neutral" and self._neutral_rows < pictures:
            cause = f"'limit' takes {own:.1f} neutral pictures a person; raise it"
        else:
            least, kind = settings.least_pictures, settings.baseline
            cause = f"there are {own:.1f} usable pictures a person; normalize.baseline: {kind} needs {least}"
        print(f"warning: most people have no baseline: {cause}", flush=True)


def _shards(folder: Path) -> list[Path]:
    shards = sorted(folder.glob("part-*.parquet"))
    if not shards:
        raise FaceemoError(f"{folder.as_posix()} holds no landmarks; run 'dvc repro'")
    return shards


def _print_counts(key: str, counts: Counter[str], manifest: Manifest) -> None:
    statuses = ", ".join(f"{count} {status}" for status, count in sorted(counts.items(), key=lambda item: -item[1]))
    print(f"{key}: {counts.total()} pictures: {statuses}", flush=True)
    if manifest.raters.classes:
        bare = manifest.table["votes"].null_count
        joined = f"{len(manifest.table) - bare} pictures with votes, {bare} without"
        print(f"{key}: labels: {joined}, {manifest.unused} records without a picture", flush=True)
    if manifest.unreadable:
        count, first = len(manifest.unreadable), manifest.unreadable[0]
        print(f"{key}: labels: {count} could not be read, the first is {first}", flush=True)


def engine_of(extract: dict) -> str:
    """The engine that found landmarks, by the settings of `extract` that travel with them."""
    return extract.get("engine", "mediapipe")  # the only one there was, before it was written down


def open_features(path: Path) -> RowsFile:
    """A file of data/features. Raises FaceemoError if it is broken or of another version."""
    file = RowsFile(path, SCHEMA, WIDTHS)
    return file.checked_by(_what_is_wrong, votes=len(raters_of(file).classes))


def _what_is_wrong(rows: pa.Table) -> str | None:
    """What normalize would not have written in these rows, some columns of SCHEMA; None if nothing."""
    if wrong := wrong_rows(rows, list(Status), Status.OK, ("image", "emotion", "folder"), ("features",)):
        return wrong
    for name, is_right in (("emotion", lambda word: class_name(word) == word), ("folder", FOLDERS.__contains__)):
        if name in rows.column_names and not all(map(is_right, rows[name].unique().to_pylist())):
            return f"{name} that is none"
    for name in {"votes", "agreement", "age"} & set(rows.column_names):
        values = pc.list_flatten(rows[name]) if name == "votes" else rows[name]
        if not pc.all(pc.greater_equal(values, 0), min_count=0).as_py():
            return f"{name} below 0"
    return None


def feature_settings(file: RowsFile) -> dict:
    """The settings of `normalize` and `extract` that a features file was made with."""
    settings = file.metadata("normalize", lambda value: parse_section(NormalizeParams, value, "normalize"))
    return {"normalize": asdict(settings), "extract": file.metadata("extract", check_made)}


def raters_of(file: RowsFile) -> Raters:
    """Whose answers a features file's `votes` count."""
    return file.metadata("raters", lambda found: Raters(_words(found["classes"]), _count(found["at_least"])))


def classes_of(file: RowsFile) -> tuple[str, ...]:
    """The classes that the pictures of a features file's source are named after."""
    return file.metadata("classes", _words)


def _words(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise TypeError("no list of words")
    return tuple(value)


def _count(value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise TypeError("no count")
    return value


def mean_face(file: RowsFile) -> np.ndarray:
    """float64 [478, 3]: the mean normalised face of a features file, before any baseline."""
    return file.metadata("face", _mesh)


def _mesh(value: Any) -> np.ndarray:
    mesh = np.array(value, np.float64).reshape(LANDMARKS, 3)
    if not np.isfinite(mesh).all():
        raise ValueError("no numbers")
    return mesh
