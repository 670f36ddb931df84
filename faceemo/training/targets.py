"""What each face is learnt as and judged by: the name of archive, folder or table, or what its raters saw."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from faceemo.params import LabelParams
from faceemo.pictures.manifest import Raters
from faceemo.rows import present_rows

NONE, OUTSIDE = -1, -2  # in place of a class: no class; a class that was not chosen


@dataclass(frozen=True)
class Targets:
    """Of N pictures. A class is its index, int64 [N]; below 0 it is NONE or OUTSIDE."""

    named: np.ndarray
    """What the archive, folder or table names."""
    majority: np.ndarray
    """What more than half of the raters saw."""
    valid: np.ndarray
    """What probabilities are calibrated by: the majority, and the name where there is none."""
    learnt: np.ndarray
    """The class to learn: of labels.target `votes` the most voted one, NONE where two are."""
    weight: np.ndarray
    """float32 [N], how much a picture counts in the loss; 0 where there is nothing to learn."""
    shares: np.ndarray | None
    """float32 [N, classes], each class's share of the target, which adds up to 1; None where it is `learnt` alone."""
    labelled: np.ndarray
    """bool [N], whether the source has raters' answers."""
    raters: np.ndarray
    """int16 [N], how many answered; 0 where none did."""
    votes: np.ndarray
    """int16 [N, classes], how many raters chose each class."""

    def take(self, chosen: np.ndarray) -> "Targets":
        """Those of some pictures, by mask or index."""
        values: dict[str, Any] = {name: None if one is None else one[chosen] for name, one in vars(self).items()}
        return Targets(**values)

    @classmethod
    def concatenate(cls, several: list["Targets"]) -> "Targets":
        """Those of all pictures of sources with the same classes and labels.target."""
        columns = {field.name: [getattr(one, field.name) for one in several] for field in dataclasses.fields(cls)}
        joined: dict[str, Any] = {
            name: None if parts[0] is None else np.concatenate(parts) for name, parts in columns.items()
        }
        return cls(**joined)

    @property
    def trained(self) -> np.ndarray:
        """bool [N]: pictures that may be learnt from."""
        return self.weight > 0

    @property
    def judged(self) -> np.ndarray:
        """bool [N]: pictures that are named after a class or have a majority for one, whatever is learnt."""
        return (self.named >= 0) | (self.majority >= 0)


def make_targets(
    emotions: Iterable[str | None],
    votes: pa.ChunkedArray,
    raters: Raters,
    classes: Mapping[str, tuple[str, ...]],
    settings: LabelParams,
) -> Targets:
    """The targets of one source's pictures.

    emotions: what each picture is named after. votes: list<int8>, how many raters chose each of raters.classes.
    classes: the members of each class, by its name.
    """
    class_of = {member: number for number, members in enumerate(classes.values()) for member in members}
    named = np.array([NONE if name is None else class_of.get(name, NONE) for name in emotions], np.int64)
    seen = _count(votes, raters, class_of, len(classes))
    majority = seen.majority()
    if settings.target == "archive" or not raters.classes:
        learnt = valid = named
        weight, shares = (learnt >= 0).astype(np.float32), np.eye(len(classes), dtype=np.float32)[learnt]
    elif settings.target == "majority":
        learnt, valid = majority, np.where(majority == NONE, named, majority)
        weight, shares = (learnt >= 0).astype(np.float32), None
    else:
        learnt, valid = seen.most_voted(), np.where(majority == NONE, named, majority)
        weight, shares = seen.weight(), seen.shares()
    return Targets(
        named,
        majority,
        valid,
        learnt,
        weight,
        shares if settings.target == "votes" else None,
        np.full(len(named), bool(raters.classes)),
        seen.raters,
        seen.chosen,
    )


@dataclass(frozen=True)
class RaterPairs:
    """P pairs of a face and one of its raters whose other raters agree on a class, a majority of them."""

    face: np.ndarray
    """int64 [P], indices of faces."""
    truth: np.ndarray
    """int64 [P], the class that the other raters agree on."""
    answer: np.ndarray
    """int64 [P], the rater's own class, NONE for an answer that is none."""
    rated: int
    """How many judged faces have answers."""


def pair_raters(targets: Targets, faces: np.ndarray) -> RaterPairs:
    """The pairs of the faces in a mask [N] that are judged whatever is learnt.

    A rater who is not among the votes has answered something that is no class.
    """
    rated = np.flatnonzero(faces & targets.judged & (targets.raters > 0))
    votes, raters = targets.votes[rated], targets.raters[rated]
    classes = votes.shape[1]
    found = []
    for answer in (*range(classes), NONE):
        others = votes.copy()
        if answer == NONE:
            times = raters - votes.sum(axis=1)
        else:
            times = votes[:, answer]
            others[:, answer] -= 1
        times = np.where(2 * others.max(axis=1) > raters - 1, times, 0)
        found.append(
            np.stack([np.repeat(rated, times), np.repeat(others.argmax(axis=1), times), np.full(times.sum(), answer)])
        )
    face, truth, answers = np.concatenate(found, axis=1)
    return RaterPairs(face, truth, answers, len(rated))


@dataclass(frozen=True)
class _Votes:
    """Votes for N pictures."""

    chosen: np.ndarray
    """int16 [N, classes], for each class."""
    cast: np.ndarray
    """int16 [N], for any emotion."""
    outside: np.ndarray
    """int16 [N], for the most voted emotion that belongs to no class."""
    raters: np.ndarray
    """int16 [N], how many raters there were."""

    def majority(self) -> np.ndarray:
        """int64 [N], the class that more than half of the raters saw, NONE, or OUTSIDE for an emotion of no class."""
        found = np.where(2 * self.chosen.max(axis=1) > self.raters, self.chosen.argmax(axis=1), NONE)
        return np.where(2 * self.outside > self.raters, OUTSIDE, found)

    def most_voted(self) -> np.ndarray:
        """int64 [N], the class with the most votes, NONE where two have them or nobody voted for one."""
        most = self.chosen.max(axis=1)
        alone = (self.chosen == most[:, None]).sum(axis=1) == 1
        return np.where(alone & (most > 0), self.chosen.argmax(axis=1), NONE)

    def weight(self) -> np.ndarray:
        """float32 [N], the share of the votes that the classes have."""
        return (self.chosen.sum(axis=1) / np.maximum(self.cast, 1)).astype(np.float32)

    def shares(self) -> np.ndarray:
        """float32 [N, classes], each class's share of the votes that the classes have."""
        total = self.chosen.sum(axis=1, keepdims=True)
        return (self.chosen / np.maximum(total, 1)).astype(np.float32)


def _count(votes: pa.ChunkedArray, raters: Raters, class_of: Mapping[str, int], classes: int) -> _Votes:
    voted = raters.classes
    every = np.zeros((len(votes), len(voted)), np.int16)
    rated = votes.is_valid().to_numpy() if voted else np.zeros(len(votes), bool)
    if voted:
        every[rated] = present_rows(votes, len(voted))
    chosen = np.zeros((len(votes), classes), np.int16)
    outside = np.zeros(len(votes), np.int16)
    for name, column in zip(voted, every.T, strict=True):
        if name in class_of:
            chosen[:, class_of[name]] += column
        else:
            np.maximum(outside, column, out=outside)
    cast = every.sum(axis=1, dtype=np.int16)
    return _Votes(chosen, cast, outside, np.where(rated, np.maximum(cast, raters.at_least), 0).astype(np.int16))
