"""Features to arrays, split into train, valid and test so that no person is in two of them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from faceemo.console import progress
from faceemo.emotions import chosen_classes
from faceemo.errors import FaceemoError
from faceemo.extraction.crop import SIDE
from faceemo.extraction.facemesh import COORDINATES
from faceemo.features.normalize import (
    WIDTHS,
    classes_of,
    engine_of,
    feature_settings,
    mean_face,
    open_features,
    raters_of,
)
from faceemo.params import LabelParams, SplitParams, lone_class
from faceemo.pictures.manifest import Raters
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
    """Pictures of some classes, without their features; faces are the pictures with features, N of them."""

    members: dict[str, tuple[str, ...]]
    """The emotions that make up each class, by its name."""
    rows: pa.Table
    """Every picture that is named after one of these classes, found or not, and every other face in which raters saw
    one of them, in the order of the files; their file is in the column `source`, their index there in `row`."""
    split: np.ndarray
    """object [rows]: train, valid or test, "" for none."""
    named: np.ndarray
    """int64 [rows], the class that each picture's archive, folder or table names, or NONE."""
    targets: Targets
    """Of the faces."""
    row_of: np.ndarray
    """int64 [N], the row of each face."""
    settings: dict
    """Those of `normalize` and `extract` that made the features, and `sources`: engine and versions by id."""
    face: np.ndarray
    """float64 [478, 3], the mean face behind the features, whatever baseline they have, for drawings."""
    raters: dict[str, Raters] = field(default_factory=dict)
    """By source, whose answers its column `votes` counts."""
    left_out: dict[str, int] = field(default_factory=dict)
    """How many pictures of other emotions the sources hold."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names, in the order of a network's answers."""
        return tuple(self.members)

    @property
    def has_crops(self) -> bool:
        """Whether the features hold crops."""
        return bool(self.settings["extract"]["settings"]["crops"])

    def column(self, name: str) -> np.ndarray:
        """A column of the rows with features, as objects: None for null."""
        return as_objects(self.rows[name])[self.row_of]

    def people(self, faces: np.ndarray) -> set[str]:
        """Those in some faces, by mask or index, as far as they are known."""
        return set(self.column("subject")[faces]) - {None}

    def indices(self, split: str, truth: np.ndarray) -> np.ndarray:
        """Indices of one split's faces that have a class in `truth`, int64 [N], one of targets'."""
        return np.flatnonzero((self.split[self.row_of] == split) & (truth >= 0))

    @property
    def train(self) -> np.ndarray:
        """Indices of the faces that the network learns from."""
        return np.flatnonzero((self.split[self.row_of] == "train") & self.targets.trained)

    @property
    def valid(self) -> np.ndarray:
        """Indices of the faces that probabilities are calibrated by, against targets.valid."""
        return self.indices("valid", self.targets.valid)

    @property
    def test(self) -> np.ndarray:
        """Indices of the test faces with a class as it is learnt."""
        return self.indices("test", self.targets.learnt)

    def unlabelled_sources(self) -> list[str]:
        """The sources without raters' answers, which are learnt by what archive, folder or table names."""
        return sorted(set(self.column("source")[~self.targets.labelled]))


def load_dataset(
    folder: Path, emotions: Mapping[str, tuple[str, ...]] | None, split: SplitParams | None, labels: LabelParams
) -> Dataset:
    """What data/features/*.parquet hold, but for the features themselves.

    emotions: those of each class, by its name; None: every class that is found there is one.
    split: None puts everybody in no split, for folds.
    Raises FaceemoError if there are no two classes, a class has no faces, a split has nobody of a class, or a file is
    broken or of another version of faceemo.
    """
    files = [open_features(path) for path in sorted(folder.glob("*.parquet"))]
    if not files:
        raise FaceemoError(f"{folder.as_posix()} holds no features; run 'dvc repro'")
    if line := lone_class(emotions):
        raise FaceemoError(line)
    dataset = describe_faces(files, emotions, split, labels)
    if len(dataset.members) < 2:
        found = ", ".join(dataset.members) or "no class"
        raise FaceemoError(f"{folder.as_posix()} holds {found} alone, and a model needs two classes; scan others too")
    _check_splits(dataset, labels, split, files)
    return dataset


def load_inputs(folder: Path, dataset: Dataset, columns: Sequence[str]) -> dict[str, np.ndarray]:
    """What a network reads of the dataset's faces, from data/features/: by column an array [N, ...].

    It goes straight into one array each, so 500,000 faces need their size once.
    """
    shapes: dict[str, tuple[tuple[int, ...], type]] = {
        "features": ((COORDINATES,), np.float32),
        "crop": ((SIDE, SIDE), np.uint8),
    }
    inputs: dict[str, np.ndarray] = {
        name: np.empty((len(dataset.row_of), *shapes[name][0]), shapes[name][1]) for name in columns
    }
    source, row = dataset.column("source"), dataset.column("row").astype(np.int64)
    filled = 0
    with progress(len(row), folder.as_posix(), "faces") as advance:
        for key in dict.fromkeys(source):
            for some in read_inputs(open_features(folder / f"{key}.parquet"), row[source == key], columns):
                count = len(next(iter(some.values())))
                for name, values in some.items():
                    inputs[name][filled : filled + count] = values.reshape(count, *shapes[name][0])
                filled += count
                advance(count)
    pa.default_memory_pool().release_unused()  # what the last row groups took
    return inputs


def describe_faces(
    files: list[RowsFile],
    emotions: Mapping[str, tuple[str, ...]] | None,
    split: SplitParams | None,
    labels: LabelParams,
) -> Dataset:
    """The dataset of these files, which may lack a class; arguments as for load_dataset."""
    members = chosen_classes(emotions, _found_classes(files, labels) if emotions is None else ())
    raters = {file.path.stem: raters_of(file) for file in files}
    tables, targets, left_out = [], [], Counter[str | None]()
    for key, file in zip(raters, files, strict=True):
        table = file.read(DESCRIPTION)
        names = as_objects(table["emotion"])
        found = make_targets(names, table["votes"], raters[key], members, labels)
        ok = as_objects(table["status"]) == Status.OK
        chosen = (found.named >= 0) | (ok & (found.judged | found.trained))
        table = table.append_column("source", pa.repeat(key, len(table)))
        table = table.append_column("row", pa.array(np.arange(len(table))))
        tables.append(table.filter(pa.array(chosen)))
        targets.append(found.take(chosen))
        left_out.update(names[~chosen])
    rows, of_rows = pa.concat_tables(tables), Targets.concatenate(targets)
    row_of = np.flatnonzero(as_objects(rows["status"]) == Status.OK)
    faces = [mean_face(file) for file in files]  # all zeros where no face was found
    return Dataset(
        members,
        rows,
        np.full(len(rows), "", object)
        if split is None
        else split_of_rows(as_objects(rows["subject"]), as_objects(rows["folder"]), split),
        of_rows.named,
        of_rows.take(row_of),
        row_of,
        settings={
            **feature_settings(files[0]),
            "sources": {file.path.stem: _extractor(file) for file in files},
        },
        face=np.mean([face for face in faces if face.any()] or faces[:1], axis=0),
        raters=raters,
        left_out={name: left_out[name] for name in sorted(filter(None, left_out))},
    )


def _found_classes(files: list[RowsFile], labels: LabelParams) -> set[str]:
    """Every emotion that a picture is named after and, where raters are learnt from, every class of a source."""
    found = {name for file in files for name in file.read(["emotion"])["emotion"].unique().to_pylist()} - {None}
    if labels.target != "archive":
        found.update(*(classes_of(file) for file in files))
    return found


def read_inputs(file: RowsFile, rows: np.ndarray, columns: Sequence[str]) -> Iterator[dict[str, np.ndarray]]:
    """These columns [some, ...] of rows of a features file that have them, in order; a row group at a time."""
    start = 0
    for number, size in enumerate(file.group_sizes):  # iter_batches would buffer the whole file
        stop = start + size
        here = rows[(rows >= start) & (rows < stop)]
        if len(here):
            table = file.read_group(number, list(columns)).take(here - start)
            for name in columns:
                if table[name].null_count:
                    raise file.not_written(f"a face without {name}")
            yield {name: present_rows(table[name], WIDTHS[name]) for name in columns}
        start = stop


def _extractor(file: RowsFile) -> dict:
    """What found the landmarks behind a features file: the engine, and the versions that their rows depend on."""
    extract = feature_settings(file)["extract"]
    return {"engine": engine_of(extract), "versions": extract.get("versions", {})}


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
        foreign = [name for name in missing if dataset.classes.index(name) not in targets.named]
        name = (foreign or missing)[0]
        if cause := _no_features(dataset, name, split):
            raise FaceemoError(cause)
        if foreign or split == "any" or settings is None:
            raise FaceemoError(_no_faces(name, bool(foreign), labels, files))
        here = targets.named[dataset.split[dataset.row_of] == split]
        if named := np.count_nonzero(here == dataset.classes.index(name)):
            raise FaceemoError(
                f"labels.target: {labels.target}: raters saw {name!r} in none of its {named} faces in the {split} "
                "split; scan more archives, or set labels.target to archive"
            )
        shown = np.isin(targets.learnt, [dataset.classes.index(name) for name in missing])
        raise FaceemoError(too_few_people(split, missing, len(dataset.people(shown)), settings))


def _no_features(dataset: Dataset, name: str, split: str) -> str | None:
    """Why no picture of a class in a split, or in "any", has features; None if some have, or there are none."""
    status = as_objects(dataset.rows["status"])
    there = (dataset.named == dataset.classes.index(name)) & ((dataset.split == split) | (split == "any"))
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
    kind = dataset.settings["normalize"]["baseline"]
    cause = f"no face of {name!r} in {where} has a baseline: its pictures there are {told} (normalize.baseline: {kind})"
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
