"""Features to arrays, split into train, valid and test so that no person is in two of them."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from faceemo.errors import FaceemoError
from faceemo.extraction.facemesh import COORDINATES
from faceemo.extraction.people import as_person
from faceemo.features.normalize import engine_of, feature_settings, mean_face, open_features, raters_of
from faceemo.params import LabelParams, SplitParams
from faceemo.rows import RowsFile, as_objects, present_rows
from faceemo.status import Status
from faceemo.training.split import SPLITS, split_of_rows, too_few_people
from faceemo.training.targets import Targets, make_targets

DESCRIPTION = [
    "image",
    "emotion",
    "subject",
    "sex",
    "age",
    "folder",
    "status",
    "agreement",
    "votes",
    "professional",
]


@dataclass(frozen=True)
class Dataset:
    """Pictures of the chosen classes, without their features.

    rows: every picture of the archives of these classes, found or not, and every face of another archive in which
        raters saw one of them, in the order of the files; their file is in the column `source`, their index there in
        `row`. split: their split, "" for none. archive: int64, the class that their archive is named after, or NONE.
    targets: of the N rows with features, row_of: int64 [N] these rows.
    settings: those of `normalize` and `extract` that made the features, and `sources`: engine and versions by id.
    face: float64 [478, 3], the mean face behind the features, whatever baseline they have, for drawings.
    """

    classes: tuple[str, ...]
    rows: pa.Table
    split: np.ndarray
    archive: np.ndarray
    targets: Targets
    row_of: np.ndarray
    settings: dict
    face: np.ndarray

    def column(self, name: str) -> np.ndarray:
        """A column of the rows with features, as objects: None for null."""
        return as_objects(self.rows[name])[self.row_of]

    def indices(self, split: str, truth: np.ndarray) -> np.ndarray:
        """Indices of one split's faces that have a class in `truth`, int64 [N], one of targets'."""
        return np.flatnonzero((self.split[self.row_of] == split) & (truth >= 0))

    @property
    def train(self) -> np.ndarray:
        """Indices of the faces that the network learns from."""
        return np.flatnonzero((self.split[self.row_of] == "train") & self.targets.trained)

    @property
    def valid(self) -> np.ndarray:
        """Indices of the faces that epoch and temperature are chosen by, against targets.valid."""
        return self.indices("valid", self.targets.valid)

    @property
    def test(self) -> np.ndarray:
        """Indices of the test faces with a class as it is learnt."""
        return self.indices("test", self.targets.learnt)

    def unlabelled_sources(self) -> list[str]:
        """The sources without label archive, which are learnt by the name of their archive."""
        return sorted(set(self.column("source")[~self.targets.labelled]))


def load_dataset(
    folder: Path, classes: Mapping[str, tuple[str, ...]], split: SplitParams | None, labels: LabelParams
) -> Dataset:
    """What data/features/*.parquet hold, but for the features themselves.

    classes: the emotions of each class, by its name. split: None puts everybody in no split, for folds.
    Raises FaceemoError if a class has no faces, a split has nobody of a class, or a file is broken or of another
    version of faceemo.
    """
    files = [open_features(path) for path in sorted(folder.glob("*.parquet"))]
    if not files:
        raise FaceemoError(f"{folder.as_posix()} holds no features; run 'dvc repro'")
    dataset = describe_faces(files, classes, split, labels)
    _check_splits(dataset, labels, split, files)
    return dataset


def load_features(folder: Path, dataset: Dataset) -> np.ndarray:
    """The features of the dataset's faces, float32 [N, 1434], from data/features/.

    They go straight into one array, so 500,000 faces need their size once.
    """
    features = np.empty((len(dataset.row_of), COORDINATES), np.float32)
    source, row = dataset.column("source"), dataset.column("row").astype(np.int64)
    filled = 0
    for key in dict.fromkeys(source):
        for vectors in read_features(open_features(folder / f"{key}.parquet"), row[source == key]):
            features[filled : filled + len(vectors)] = vectors
            filled += len(vectors)
    pa.default_memory_pool().release_unused()  # what the last row groups took
    return features


def describe_faces(
    files: list[RowsFile], classes: Mapping[str, tuple[str, ...]], split: SplitParams | None, labels: LabelParams
) -> Dataset:
    """The dataset of these files, which may lack a class."""
    tables, targets = [], []
    for file in files:
        table = file.read(DESCRIPTION)
        table = table.append_column("source", pa.repeat(file.path.stem, len(table)))
        table = table.append_column("row", pa.array(np.arange(len(table))))
        found = make_targets(as_objects(table["emotion"]), table["votes"], raters_of(file), classes, labels)
        ok = as_objects(table["status"]) == Status.OK
        chosen = (found.archive >= 0) | (ok & (found.judged | (found.weight > 0)))
        tables.append(table.filter(pa.array(chosen)))
        targets.append(found.take(chosen))
    rows, of_rows = pa.concat_tables(tables), Targets.concatenate(targets)
    row_of = np.flatnonzero(as_objects(rows["status"]) == Status.OK)
    faces = [mean_face(file) for file in files]  # all zeros where no face was found
    return Dataset(
        tuple(classes),
        rows,
        np.full(len(rows), "", object)
        if split is None
        else split_of_rows(as_objects(rows["subject"]), as_objects(rows["folder"]), split),
        of_rows.archive,
        of_rows.take(row_of),
        row_of,
        settings={
            **feature_settings(files[0]),
            "sources": {file.path.stem: _extractor(file) for file in files},
        },
        face=np.mean([face for face in faces if face.any()] or faces[:1], axis=0),
    )


def read_features(file: RowsFile, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Features float32 [some, 1434] of these rows of a features file, in order; a row group at a time."""
    start = 0
    for number, size in enumerate(file.group_sizes):  # iter_batches would buffer the whole file
        stop = start + size
        here = rows[(rows >= start) & (rows < stop)]
        if len(here):
            column = file.read_group(number, ["features"])["features"]
            yield present_rows(column.take(here - start), COORDINATES)
        start = stop


def _extractor(file: RowsFile) -> dict:
    """What found the landmarks behind a features file: the engine, and the versions that their rows depend on."""
    extract = feature_settings(file)["extract"]
    return {"engine": engine_of(extract), "versions": extract.get("versions", {})}


def count_subjects(dataset: Dataset) -> dict[str, int]:
    """People in each split, people of test or valid that training has seen too, pictures of unknown people, and
    pictures that count as a person each.
    """
    subject = as_objects(dataset.rows["subject"])
    known = subject != None  # noqa: E711 - elementwise
    people = {split: set(subject[known & (dataset.split == split)]) for split in SPLITS}
    return {
        **{split: len(people[split]) for split in SPLITS},
        "overlap": len(people["train"] & (people["valid"] | people["test"]) | people["valid"] & people["test"]),
        "unknown": int((~known).sum()),
        "each": sum(
            own == as_person(key, name)
            for own, key, name in zip(
                subject, as_objects(dataset.rows["source"]), dataset.rows["image"].to_pylist(), strict=True
            )
        ),
    }


def count_coverage(dataset: Dataset) -> dict:
    """How many pictures of the chosen archives gave features, and why the others did not."""
    own = dataset.archive >= 0
    status = as_objects(dataset.rows["status"])[own]
    archive = dataset.archive[own]
    counts = Counter(status)
    return {
        "images": len(status),
        **{name: counts[name] for name in Status},
        "per_emotion": {
            name: np.mean(status[archive == number] == Status.OK) if number in archive else None
            for number, name in enumerate(dataset.classes)
        },
    }


def _check_splits(dataset: Dataset, labels: LabelParams, settings: SplitParams | None, files: list[RowsFile]) -> None:
    """Raises FaceemoError if a class is missing altogether or in a split: people are needed in valid and test."""
    targets = dataset.targets
    found = {
        "any": targets.learnt,
        "train": targets.learnt[dataset.train],
        "valid": targets.valid[dataset.valid],
        "test": targets.learnt[dataset.test],
    }
    for split in ("any", *(SPLITS if settings else ())):
        missing = [name for number, name in enumerate(dataset.classes) if number not in found[split]]
        if not missing:
            continue
        foreign = [name for name in missing if dataset.classes.index(name) not in targets.archive]
        name = (foreign or missing)[0]
        if cause := _no_features(dataset, name, split):
            raise FaceemoError(cause)
        if foreign or split == "any" or settings is None:
            raise FaceemoError(_no_faces(name, bool(foreign), labels, files))
        if split == "train" and labels.min_agreement:
            raise FaceemoError(
                f"labels.min_agreement: {labels.min_agreement} raters saw {name} in no training picture; lower it"
            )
        archive = targets.archive[dataset.split[dataset.row_of] == split]
        if named := np.count_nonzero(archive == dataset.classes.index(name)):
            raise FaceemoError(
                f"labels.target: {labels.target}: raters saw {name!r} in none of its {named} faces in the {split} "
                "split; scan more archives, or set labels.target to archive"
            )
        raise FaceemoError(too_few_people(split, missing, len(set(dataset.column("subject")) - {None}), settings))


def _no_features(dataset: Dataset, name: str, split: str) -> str | None:
    """Why no picture of a class in a split, or in "any", has features; None if some have, or there are none."""
    status = as_objects(dataset.rows["status"])
    there = (dataset.archive == dataset.classes.index(name)) & ((dataset.split == split) | (split == "any"))
    counts = Counter(status[there])
    if not counts or counts[Status.OK]:
        return None
    where = "data/features" if split == "any" else f"the {split} split"
    told = ", ".join(f"{count} {what}" for what, count in counts.most_common())
    if not counts[Status.NO_BASELINE]:
        return (
            f"no faces of {name!r} in {where}: its pictures there are {told}; scan more of its pictures, or take it "
            "out of 'emotions'"
        )
    kind, least = (dataset.settings["normalize"][key] for key in ("baseline", "baseline_min"))
    cause = f"no face of {name!r} in {where} has a baseline: its pictures there are {told} (normalize.baseline: {kind}"
    cause += ")" if least is None else f", normalize.baseline_min: {least})"
    if kind == "person":
        return f"{cause}; scan more archives of the same people, raise 'limit', or set normalize.baseline to none"
    return (
        f"{cause}; scan all neutral archives or raise 'limit' (a face is not part of its own baseline, so the neutral "
        "class needs people with two neutral pictures), or set normalize.baseline to none"
    )


def _no_faces(name: str, foreign: bool, labels: LabelParams, files: list[RowsFile]) -> str:
    """foreign: whether no archive of the class has faces, so that only raters could have seen it, in others."""
    held = {emotion for file in files for emotion in file.read(["emotion"])["emotion"].to_pylist()}
    known = f"'emotions'; there are {', '.join(sorted(held - {None}))}"
    if labels.target == "archive":
        return f"no faces of {name!r} in data/features; scan its archives or take it out of {known}"
    if foreign:
        return (
            f"no faces of {name!r} in data/features, and raters saw it in too few others; scan its archives or take it "
            f"out of {known}"
        )
    return f"no faces in data/features that raters saw as {name!r}; scan more archives or take it out of {known}"
