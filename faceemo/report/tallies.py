"""What a report counts beyond evaluation.json: archives, splits, ages, raters' answers, people in groups."""

from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import pyarrow.compute as pc

from faceemo.report.lastrun import LastRun
from faceemo.status import Status
from faceemo.training.dataset import SPLITS
from faceemo.training.evaluate import UNANIMOUS, interval_over_people
from faceemo.training.train import training_indices

FEW_PEOPLE = 10  # in a group: too few for a word on it


@dataclass(frozen=True)
class ArchiveRow:
    """statuses: pictures by status; None where the run leaves the archive's emotion out."""

    key: str
    file: str
    emotion: str
    folder: str
    pictures: int
    statuses: dict[str, int] | None
    has_labels: bool


def archives(run: LastRun) -> list[ArchiveRow]:
    """A row an archive of data/sources.yaml."""
    counts: dict[str, dict[str, int]] = {}
    for row in run.dataset.rows.group_by(["source", "status"]).aggregate([([], "count_all")]).to_pylist():
        counts.setdefault(row["source"], dict.fromkeys(Status, 0))[row["status"]] = row["count_all"]
    return [
        ArchiveRow(
            key,
            PurePosixPath(source.zip).name,  # the folders above it are nobody else's business
            source.emotion,
            source.folder,
            sum(counts[key].values()) if key in counts else source.images,
            counts.get(key),
            source.labels is not None,
        )
        for key, source in run.sources.items()
    ]


@dataclass(frozen=True)
class Count:
    """name: None for what is not known."""

    name: str | int | None
    people: int
    pictures: int
    faces: int


def tested(run: LastRun) -> Count:
    """The faces that the model was judged on."""
    indices = run.dataset.indices("test")
    return Count("test", len(set(run.dataset.column("subject")[indices])), len(indices), len(indices))


def trained(run: LastRun) -> Count:
    """The faces that the network learned from."""
    indices = training_indices(run.dataset, run.params.train.min_agreement)
    people = set(run.dataset.column("subject")[indices]) - {None}
    return Count("train", len(people), len(indices), len(indices))


def splits(run: LastRun) -> list[Count]:
    """Train, valid and test; then, if there are any, the pictures of no part."""
    faces = run.dataset.split[run.dataset.row_of]
    return [
        Count(
            split or None,
            run.evaluation["subjects"].get(split, 0),
            np.count_nonzero(run.dataset.split == split),
            np.count_nonzero(faces == split),
        )
        for split in (*SPLITS, "")
        if split or "" in run.dataset.split
    ]


def people_by(run: LastRun, column: str) -> list[Count]:
    """People and pictures by sex or age, in order, the unknown last."""
    rows = run.dataset.rows.append_column("ok", pc.equal(run.dataset.rows["status"], Status.OK))
    table = rows.group_by(column).aggregate([("subject", "count_distinct"), ([], "count_all"), ("ok", "sum")])
    return [
        Count(row[column], row["subject_count_distinct"], row["count_all"], row["ok_sum"])
        for row in table.sort_by(column).to_pylist()
    ]


def agreement(run: LastRun) -> dict[str, list[int]]:
    """By emotion: pictures where 3, 2, 1 and 0 raters saw it, and those without raters' answers."""
    rows = {name: [0] * (UNANIMOUS + 2) for name in run.dataset.classes}
    table = run.dataset.rows.group_by(["emotion", "agreement"]).aggregate([([], "count_all")])
    for row in table.to_pylist():
        index = UNANIMOUS + 1 if row["agreement"] is None else UNANIMOUS - row["agreement"]
        rows[row["emotion"]][index] = row["count_all"]
    return rows


@dataclass(frozen=True)
class Group:
    """bounds: the 95 % interval of balanced accuracy, None with fewer people than FEW_PEOPLE."""

    name: str
    people: int
    pictures: int
    accuracy: float
    balanced_accuracy: float
    bounds: tuple[float, float] | None


def groups(run: LastRun, column: str, predicted: np.ndarray) -> list[Group]:
    """Test faces by sex or age, as evaluation.json has them, with people and interval."""
    test = run.dataset.indices("test")
    subject, target = run.dataset.column("subject")[test], run.dataset.target[test]
    names = np.array(["unknown" if value is None else str(value) for value in run.dataset.column(column)[test]])
    found = []
    for name, values in run.evaluation["test"][f"by_{column}"].items():
        own = names == name
        people = len(set(subject[own]))
        bounds = interval_over_people(target[own], predicted[own], subject[own]) if people >= FEW_PEOPLE else None
        found.append(Group(name, people, values["images"], values["accuracy"], values["balanced_accuracy"], bounds))
    return found
