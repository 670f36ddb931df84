"""Who and what is in the pictures of a dataset: what evaluation.json counts beside scores.

It names nobody: of a subject there are the first eight characters, of a picture's name the first of its SHA-256.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceemo.params import LabelParams
from faceemo.pictures.people import as_person
from faceemo.rows import as_objects, image_hash, present_rows
from faceemo.status import Status
from faceemo.training.dataset import Dataset
from faceemo.training.metrics import wrong_ones
from faceemo.training.split import SPLITS
from faceemo.training.targets import NONE, OUTSIDE

UNANIMOUS = 3  # raters
SUBJECT_LENGTH = 8  # characters that are kept of a subject
FEW_PICTURES = 4  # of a person: too few to say that raters dispute them
DISPUTED = 8  # people
MISTAKES = 12


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
    """How many pictures named after the classes gave features, and why the others did not."""
    own = dataset.named >= 0
    status = as_objects(dataset.rows["status"])[own]
    named = dataset.named[own]
    counts = Counter(status)
    return {
        "images": len(status),
        **{name: counts[name] for name in Status},
        "per_emotion": {
            name: np.mean(status[named == number] == Status.OK) if number in named else None
            for number, name in enumerate(dataset.classes)
        },
    }


def count_labels(dataset: Dataset, settings: LabelParams) -> dict:
    """What became of the training people's faces.

    learnt: those that are; by_name, moved, tied: of these the ones of sources without raters, of another class than
    they are named, and with two classes that have the most votes. Of those named after a class: unrated, without an
    answer; no_majority; outside, with a majority for another emotion.
    """
    targets, training = dataset.targets, dataset.split[dataset.row_of] == "train"
    learnt, own = training & targets.trained, training & (targets.named >= 0)
    rated = own & (targets.raters > 0)
    return {
        "target": settings.target,
        "learnt": np.count_nonzero(learnt),
        "by_name": np.count_nonzero(learnt & ~targets.labelled) if settings.target != "archive" else None,
        "moved": np.count_nonzero(learnt & (targets.learnt >= 0) & (targets.learnt != targets.named)),
        "tied": np.count_nonzero(learnt & (targets.learnt == NONE)),
        "unrated": np.count_nonzero(own & targets.labelled & (targets.raters == 0)),
        "no_majority": np.count_nonzero(rated & (targets.majority == NONE)),
        "outside": np.count_nonzero(rated & (targets.majority == OUTSIDE)),
    }


def count_people(dataset: Dataset, learnt_valid: bool) -> dict:
    """People, pictures (`images`) and usable faces by split, sex and age, and what the network learns from.

    split: train, valid, test, and null for pictures of unknown people in a test folder. sex, age: null where not known,
    which comes last.
    """
    rows = dataset.rows.append_column("split", pa.array([split or None for split in dataset.split]))
    splits = ("train", "valid") if learnt_valid else ("train",)
    learnt = np.flatnonzero(np.isin(dataset.split[dataset.row_of], splits) & dataset.targets.trained)
    return {
        "split": sorted(_people_by(rows, "split"), key=lambda one: [*SPLITS, None].index(one["split"])),
        **{column: _people_by(rows, column) for column in ("sex", "age")},
        "learnt": {"people": len(dataset.people(learnt)), "images": len(learnt)},
    }


def _people_by(rows: pa.Table, column: str) -> list[dict]:
    rows = rows.append_column("ok", pc.equal(rows["status"], Status.OK))
    table = rows.group_by(column).aggregate([("subject", "count_distinct"), ([], "count_all"), ("ok", "sum")])
    return [
        {column: value, "people": people, "images": images, "faces": faces}
        for value, people, images, faces in zip(*table.sort_by(column).to_pydict().values(), strict=True)
    ]


def count_sources(dataset: Dataset) -> dict[str, dict]:
    """Of each source the engine and versions behind its landmarks, and its pictures by status; statuses null where the
    run leaves all of them out.
    """
    rows = _named_rows(dataset).group_by(["source", "status"]).aggregate([([], "count_all")])
    counts: dict[str, dict[str, int]] = {}
    for row in rows.to_pylist():
        counts.setdefault(row["source"], dict.fromkeys(Status, 0))[row["status"]] = row["count_all"]
    return {key: {**made, "statuses": counts.get(key)} for key, made in dataset.settings["sources"].items()}


def count_baselines(dataset: Dataset) -> dict[str, int] | None:
    """People with a face, and those of them without the baseline that the features ask for; None without baselines."""
    if dataset.settings["normalize"]["baseline"] == "none":
        return None
    rows = _named_rows(dataset)
    subject, status = as_objects(rows["subject"]), as_objects(rows["status"])
    people = set(subject[(status == Status.OK) | (status == Status.NO_BASELINE)]) - {None}
    return {"people": len(people), "without": len(people - set(subject[status == Status.OK]))}


def count_raters(dataset: Dataset) -> dict:
    """What raters saw in the pictures that are named after a class.

    agreement: by emotion, the pictures in which 3, 2, 1 and 0 of three raters saw it, and those that three raters did
    not answer. sources, by source and emotion, and disputed, the people whose raters saw least often what pictures are
    named after: pictures with answers (`images`), those where all answers are one emotion (`unanimous`), where most are
    the picture's own, where no emotion has most, and `others`, what most saw instead, the most frequent first.
    """
    rows = _named_rows(dataset)
    agreement = {name: [0] * (UNANIMOUS + 2) for members in dataset.members.values() for name in members}
    for row in rows.group_by(["emotion", "agreement"]).aggregate([([], "count_all")]).to_pylist():
        index = UNANIMOUS + 1 if row["agreement"] is None else UNANIMOUS - row["agreement"]
        agreement[row["emotion"]][index] = row["count_all"]
    answers = [_Answers.of(rows, key, dataset) for key in dataset.raters]
    return {
        "agreement": agreement,
        "sources": [
            {"source": key, "emotion": emotion, **one.where(one.emotion == emotion).summary()}
            for key, one in zip(dataset.raters, answers, strict=True)
            for emotion in sorted(set(one.emotion))
        ],
        "disputed": _disputed(_Answers.joined(answers)),
    }


@dataclass(frozen=True)
class _Answers:
    """What raters saw in M pictures that they answered."""

    subject: np.ndarray
    """object [M]"""
    emotion: np.ndarray
    """object [M], what the picture is named after."""
    most: np.ndarray
    """object [M], the emotion that more than half of the raters saw, None where there is none."""
    unanimous: np.ndarray
    """bool [M]"""

    @classmethod
    def of(cls, rows: pa.Table, key: str, dataset: Dataset) -> "_Answers":
        """Those of one source among the rows."""
        rows = rows.filter(pc.and_(pc.equal(rows["source"], key), pc.is_valid(rows["votes"])))
        raters = dataset.raters[key]
        votes = present_rows(rows["votes"], max(len(raters.classes), 1)).astype(np.int64)
        asked = np.maximum(votes.sum(axis=1), raters.at_least)
        top = votes.max(axis=1, initial=0)
        names = np.array([*raters.classes, None], object)
        most = names[np.where(2 * top > asked, votes.argmax(axis=1), len(names) - 1)] if len(rows) else names[:0]
        return cls(as_objects(rows["subject"]), as_objects(rows["emotion"]), most, (top >= asked) & (asked > 0))

    @classmethod
    def joined(cls, several: list["_Answers"]) -> "_Answers":
        """Those of all sources."""
        return cls(*(np.concatenate(values) for values in zip(*(vars(one).values() for one in several), strict=True)))

    def where(self, chosen: np.ndarray) -> "_Answers":
        """Those of some pictures, by mask or index."""
        return _Answers(*(values[chosen] for values in vars(self).values()))

    def summary(self) -> dict:
        """As count_raters says."""
        others = Counter(one for one, own in zip(self.most, self.emotion, strict=True) if one not in (None, own))
        return {
            "images": len(self.most),
            "unanimous": np.count_nonzero(self.unanimous),
            "own": np.count_nonzero(self.most == self.emotion),
            "undecided": self.most.tolist().count(None),
            "others": dict(others.most_common()),
        }


def _disputed(answers: _Answers) -> list[dict]:
    pictures: dict[str, list[int]] = {}
    for index, subject in enumerate(answers.subject):
        if subject is not None:
            pictures.setdefault(subject, []).append(index)
    found = [
        {"subject": subject[:SUBJECT_LENGTH], **answers.where(np.array(own)).summary()}
        for subject, own in pictures.items()
        if len(own) >= FEW_PICTURES
    ]
    return sorted(found, key=lambda one: (one["own"] / one["images"], one["subject"]))[:DISPUTED]


def strongest_mistakes(dataset: Dataset, probability: np.ndarray, truth: np.ndarray) -> list[dict]:
    """The test faces with the highest probability of a wrong class, highest first, MISTAKES at most.

    probability: [N, classes]; truth: int64 [N], below 0 for no class. Of each its source and row there, the hash of its
    name (`image`), the first characters of its subject, actual and predicted class, confidence, sex, age, and of so
    many raters those who saw the actual class (`agreement`, null without raters).
    """
    test, targets = dataset.indices("test", truth), dataset.targets
    found = []
    for face in test[wrong_ones(probability[test], truth[test])][:MISTAKES]:
        row = dataset.rows.slice(dataset.row_of[face], 1).to_pylist()[0]
        actual = truth[face]
        found.append(
            {
                **{name: row[name] for name in ("source", "row", "sex", "age")},
                "image": image_hash(row["image"]),
                "subject": row["subject"][:SUBJECT_LENGTH],
                "actual": dataset.classes[actual],
                "predicted": dataset.classes[probability[face].argmax()],
                "confidence": float(probability[face].max()),
                "agreement": int(targets.votes[face, actual]) if targets.raters[face] else None,
                "raters": int(targets.raters[face]),
            }
        )
    return found


def _named_rows(dataset: Dataset) -> pa.Table:
    """The pictures that are named after a class."""
    return dataset.rows.filter(pa.array(dataset.named >= 0))
