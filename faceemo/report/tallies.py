"""What a report counts beyond evaluation.json: archives, splits, ages, raters' answers, people in groups."""

from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceemo.report.lastrun import LastRun
from faceemo.status import Status
from faceemo.training.evaluate import UNANIMOUS, group_names, interval_over_people
from faceemo.training.split import SPLITS

FEW_PICTURES = 4  # of a person: too few to tell whom raters dispute
FEW_PEOPLE = 10  # in a group: too few for a word on it


@dataclass(frozen=True)
class ArchiveRow:
    """emotions: several of a source of one's own. statuses: pictures by status; None where the run leaves all out."""

    key: str
    file: str
    emotions: tuple[str, ...]
    folder: str
    pictures: int
    statuses: dict[str, int] | None
    has_labels: bool


def archives(run: LastRun) -> list[ArchiveRow]:
    """A row a source of data/sources.yaml."""
    counts: dict[str, dict[str, int]] = {}
    for row in _own_rows(run).group_by(["source", "status"]).aggregate([([], "count_all")]).to_pylist():
        counts.setdefault(row["source"], dict.fromkeys(Status, 0))[row["status"]] = row["count_all"]
    return [
        ArchiveRow(
            key,
            PurePosixPath(source.path).name,  # the folders above it are nobody else's business
            (source.emotion,) if source.emotion else source.classes,
            source.folder,
            sum(counts[key].values()) if key in counts else source.images,
            counts.get(key),
            source.labels is not None or source.table is not None,
        )
        for key, source in run.sources.items()
    ]


def _own_rows(run: LastRun) -> pa.Table:
    """The pictures of the archives of the chosen classes."""
    return run.dataset.rows.filter(pa.array(run.dataset.archive >= 0))


@dataclass(frozen=True)
class Count:
    """name: None for what is not known."""

    name: str | int | None
    people: int
    pictures: int
    faces: int


def tested(run: LastRun) -> Count:
    """The faces that the model was judged on."""
    indices = run.dataset.test
    return Count("test", len(set(run.dataset.column("subject")[indices])), len(indices), len(indices))


def trained(run: LastRun) -> Count:
    """The faces that the network learned from."""
    indices = run.dataset.train
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
    """By archive's emotion: pictures where 3, 2, 1 and 0 raters saw it, and those without raters' answers."""
    rows = {name: [0] * (UNANIMOUS + 2) for members in run.params.emotions.values() for name in members}
    table = _own_rows(run).group_by(["emotion", "agreement"]).aggregate([([], "count_all")])
    for row in table.to_pylist():
        index = UNANIMOUS + 1 if row["agreement"] is None else UNANIMOUS - row["agreement"]
        rows[row["emotion"]][index] = row["count_all"]
    return rows


def count_baselines(run: LastRun) -> tuple[int, int]:
    """People without the baseline that the run asks for, and all people with a face."""
    rows = _own_rows(run)
    faces = rows.filter(pc.is_in(rows["status"], pa.array([Status.OK, Status.NO_BASELINE])))
    people = set(faces["subject"].to_pylist()) - {None}
    ok = set(faces.filter(pc.equal(faces["status"], Status.OK))["subject"].to_pylist())
    return len(people - ok), len(people)


@dataclass(frozen=True)
class Seen:
    """What raters saw in the pictures of an archive or of a person.

    name: the source, or the first digits of the subject. pictures: those with answers. unanimous: where all answers are
    one emotion; own: where most are the archive's; undecided: where no emotion has most; others: the emotions that most
    saw instead, with their pictures, the most frequent first.
    """

    name: str
    emotion: str | None
    pictures: int
    unanimous: int
    own: int
    undecided: int
    others: list[tuple[str, int]]


def seen_by_archive(run: LastRun) -> list[Seen]:
    """A row for each source that has answers and each of its emotions that is chosen."""
    return [
        _seen(key, emotion, rows)
        for key, of_source in sorted(_grouped(_answers(run), "source").items())
        for emotion, rows in sorted(_grouped(of_source, "emotion").items())
    ]


def disputed_people(run: LastRun, at_most: int) -> list[Seen]:
    """The people whose raters saw least often what the archive is named after, of those with enough pictures."""
    people = _grouped(_answers(run), "subject")
    seen = [_seen(subject[:8], None, rows) for subject, rows in people.items() if len(rows) >= FEW_PICTURES]
    return sorted(seen, key=lambda one: (one.own / one.pictures, one.name))[:at_most]


def _answers(run: LastRun) -> list[dict]:
    """Subject, emotion, votes, how many raters and the emotion of most or None, of each picture with answers."""
    rows = _own_rows(run).select(["source", "subject", "emotion", "votes"]).to_pylist()
    found = [row for row in rows if row["votes"] is not None]
    for row in found:
        asked, most = run.raters[row["source"]], max(row["votes"])
        row["raters"] = max(sum(row["votes"]), asked.at_least)
        row["most"] = asked.classes[row["votes"].index(most)] if 2 * most > row["raters"] else None
    return found


def _grouped(rows: list[dict], column: str) -> dict[str, list[dict]]:
    """Rows by the value of a column, but for those without one."""
    groups: dict[str, list[dict]] = {}
    for row in rows:
        if row[column] is not None:
            groups.setdefault(row[column], []).append(row)
    return groups


def _seen(name: str, emotion: str | None, rows: list[dict]) -> Seen:
    others = Counter(row["most"] for row in rows if row["most"] not in (None, row["emotion"]))
    return Seen(
        name,
        emotion,
        len(rows),
        sum(max(row["votes"]) >= row["raters"] > 0 for row in rows),
        sum(row["most"] == row["emotion"] for row in rows),
        sum(row["most"] is None for row in rows),
        others.most_common(),
    )


@dataclass(frozen=True)
class Group:
    """bounds: the 95 % interval of balanced accuracy, None with fewer people than FEW_PEOPLE."""

    name: str
    people: int
    pictures: int
    accuracy: float
    balanced_accuracy: float
    bounds: tuple[float | None, float | None] | None


def groups(run: LastRun, column: str, predicted: np.ndarray) -> list[Group]:
    """Test faces by sex, age or profession, as evaluation.json has them, with people and interval."""
    test = run.dataset.test
    subject, target = run.dataset.column("subject")[test], run.dataset.targets.learnt[test]
    names = group_names(run.dataset.column(column)[test])
    found = []
    for name, values in run.evaluation["test"]["learnt"][f"by_{column}"].items():
        own = names == name
        people = len(set(subject[own]))
        bounds = interval_over_people(target[own], predicted[own], subject[own]) if people >= FEW_PEOPLE else None
        found.append(Group(name, people, values["images"], values["accuracy"], values["balanced_accuracy"], bounds))
    return found
