"""Features to arrays, split into train, valid and test so that nobody is in two of them."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceemo.errors import FaceemoError
from faceemo.extraction.facemesh import COORDINATES
from faceemo.features.normalize import engine_of, feature_settings, mean_face, open_features
from faceemo.params import SplitParams
from faceemo.rows import RowsFile, present_rows
from faceemo.status import Status

SPLITS = ("train", "valid", "test")
DESCRIPTION = ["image", "emotion", "subject", "sex", "age", "folder", "status", "agreement"]


@dataclass(frozen=True)
class Dataset:
    """Faces of the chosen emotions.

    rows: every picture of these emotions, found or not, in the order of the files; split: its split, "" for none.
    features: float32 [N, 1434] and target: int64 [N] of the N rows with features, row_of: int64 [N] their rows.
    settings: those of `normalize` and `extract` that made the features, and `sources`: engine and versions by id.
    face: float64 [478, 3], the mean face behind the features, whatever baseline they have, for drawings.
    """

    classes: tuple[str, ...]
    rows: pa.Table
    split: np.ndarray
    features: np.ndarray
    target: np.ndarray
    row_of: np.ndarray
    settings: dict
    face: np.ndarray

    def column(self, name: str) -> np.ndarray:
        """A column of the rows with features, as objects: None for null."""
        return np.array(self.rows[name].to_pylist(), object)[self.row_of]

    def indices(self, split: str) -> np.ndarray:
        """Indices into features of one split."""
        return np.flatnonzero(self.split[self.row_of] == split)


def load_dataset(folder: Path, classes: tuple[str, ...], settings: SplitParams) -> Dataset:
    """Read data/features/*.parquet; features go straight into one array, so 500,000 faces need their size once.

    Raises FaceemoError if a class has no faces, a split has nobody of a class, or a file is broken or of another
    version of faceemo.
    """
    files = [open_features(path) for path in sorted(folder.glob("*.parquet"))]
    if not files:
        raise FaceemoError(f"{folder.as_posix()} holds no features; run 'dvc repro'")
    tables = [file.read(DESCRIPTION) for file in files]
    wanted = [pc.is_in(table["emotion"], pa.array(classes)) for table in tables]
    rows = pa.concat_tables(table.filter(mask) for table, mask in zip(tables, wanted, strict=True))
    ok = np.array(rows["status"].to_pylist(), object) == Status.OK
    emotions = np.array(rows["emotion"].to_pylist(), object)
    for name in classes:
        if not np.any(ok & (emotions == name)):
            raise FaceemoError(f"no faces of {name!r} in data/features; scan its archives or take it out of 'emotions'")

    features = np.empty((int(ok.sum()), COORDINATES), np.float32)
    filled = 0
    for file in files:
        for number in range(len(file.group_sizes)):  # one at a time: iter_batches would buffer the whole file
            group = file.read_group(number, ["emotion", "status", "features"])
            chosen = pc.and_(pc.is_in(group["emotion"], pa.array(classes)), pc.equal(group["status"], Status.OK))
            vectors = present_rows(group["features"].filter(chosen), COORDINATES)
            features[filled : filled + len(vectors)] = vectors
            filled += len(vectors)
    faces = [mean_face(file) for file in files]  # all zeros where no face was found
    dataset = Dataset(
        classes,
        rows,
        split_of_rows(rows["subject"].to_pylist(), rows["folder"].to_pylist(), settings),
        features,
        target=np.array([classes.index(name) for name in emotions[ok]], np.int64),
        row_of=np.flatnonzero(ok),
        settings={
            **feature_settings(files[0]),
            "sources": {file.path.stem: _extractor(file) for file in files},
        },
        face=np.mean([face for face in faces if face.any()] or faces[:1], axis=0),
    )
    _check_parts(dataset)
    return dataset


def _extractor(file: RowsFile) -> dict:
    """What found the landmarks behind a features file: the engine, and the versions that their rows depend on."""
    extract = feature_settings(file)["extract"]
    return {"engine": engine_of(extract), "versions": extract.get("versions", {})}


def split_of_rows(subjects: list[str | None], folders: list[str], settings: SplitParams) -> np.ndarray:
    """Object array of "train", "valid" or "test", or "" for a row that fits none.

    A person's split follows from a hash of their id alone, so it stays when archives or the seed change. Rows without a
    subject are for training only. With split.by "folder" the set's Validation folder is the test split.
    """
    by_subject = {subject: share_of(subject) for subject in set(subjects) if subject is not None}
    splits = np.empty(len(subjects), object)
    for index, (subject, folder) in enumerate(zip(subjects, folders, strict=True)):
        test = 0.0 if settings.by == "folder" else settings.test
        if settings.by == "folder" and folder == "validation":
            splits[index] = "test" if subject is not None else ""
        elif subject is None or by_subject[subject] >= test + settings.valid:
            splits[index] = "train"
        else:
            splits[index] = "test" if by_subject[subject] < test else "valid"
    return splits


def share_of(subject: str) -> float:
    """A number in [0, 1) that depends on nothing but the subject, evenly spread over subjects."""
    return int(hashlib.sha256(subject.encode()).hexdigest()[:16], 16) / 16**16


def count_subjects(dataset: Dataset) -> dict[str, int]:
    """People in each split, people of test or valid that training has seen too, and pictures of nobody known."""
    subject = np.array(dataset.rows["subject"].to_pylist(), object)
    known = subject != None  # noqa: E711 - elementwise
    people = {split: set(subject[known & (dataset.split == split)]) for split in SPLITS}
    return {
        **{split: len(people[split]) for split in SPLITS},
        "overlap": len(people["train"] & (people["valid"] | people["test"]) | people["valid"] & people["test"]),
        "unknown": int((~known).sum()),
    }


def count_coverage(dataset: Dataset) -> dict:
    """How many pictures gave features, and why the others did not."""
    status = dataset.rows["status"].to_pylist()
    emotion = dataset.rows["emotion"].to_pylist()
    counts = Counter(status)
    ok_of = Counter(name for name, found in zip(emotion, status, strict=True) if found == Status.OK)
    all_of = Counter(emotion)
    return {
        "images": len(status),
        **{name: counts[name] for name in Status},
        "per_emotion": {name: ok_of[name] / all_of[name] for name in dataset.classes},
    }


def _check_parts(dataset: Dataset) -> None:
    subjects = dataset.column("subject")
    for split in SPLITS:
        indices = dataset.indices(split)
        missing = [
            name
            for number, name in enumerate(dataset.classes)
            if not any(
                subjects[index] is not None or split == "train" for index in indices[dataset.target[indices] == number]
            )
        ]
        if missing:
            people = len({subject for subject in subjects if subject is not None})
            raise FaceemoError(
                f"the {split} split has nobody with {' or '.join(missing)}: {people} people are too few for 'split' as "
                "it is; add archives, raise 'limit', or change 'split'"
            )
