"""Labelled pictures that models are judged on: what is known of each, and their readings, as the pipeline has them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from faceemo.console import progress
from faceemo.emotions import NEUTRAL
from faceemo.errors import FaceemoError
from faceemo.extraction.executors import WorkerDiedError, open_workers
from faceemo.extraction.rescue import read_in_order
from faceemo.extraction.worker import TASK_PICTURES, Reading, Task, batches, read_task
from faceemo.params import ExtractParams, LabelParams
from faceemo.pictures.manifest import Manifest, describe
from faceemo.pictures.people import as_person
from faceemo.pictures.reader import Picture
from faceemo.pictures.scan import scan
from faceemo.pictures.scan_source import ScanOptions
from faceemo.pictures.summary import left_out_lines
from faceemo.rows import as_objects
from faceemo.training.targets import Targets, make_targets

BY_NAME = LabelParams("archive")


@dataclass(frozen=True)
class LabelledPictures:
    """Pictures of several sources, N together, in the order of the sources."""

    keys: list[str]
    """Ids of the sources."""
    places: list[str]
    """Where each source is."""
    pictures: list[list[Picture]]
    """Of each source."""
    manifests: list[Manifest]
    """Of each source."""
    left_out: list[str] = field(default_factory=list)
    """Lines on what was passed over in these places."""

    def __len__(self) -> int:
        return sum(map(len, self.pictures))

    @cached_property
    def every(self) -> list[Picture]:
        """The pictures of all sources, one after another."""
        return [picture for some in self.pictures for picture in some]

    @cached_property
    def emotion(self) -> np.ndarray:
        """object [N]: the class that each picture's folder, table or archive names."""
        return self._column("emotion")

    @cached_property
    def subject(self) -> np.ndarray:
        """object [N]: who is in each picture, None if nobody knows."""
        return self._column("subject")

    @cached_property
    def is_known(self) -> np.ndarray:
        """bool [N]: whether it is known who is in a picture: somebody, not the picture itself in place of a person."""
        own = [as_person(key, one.name) for key, some in zip(self.keys, self.pictures, strict=True) for one in some]
        return (self.subject != None) & (self.subject != np.array(own, object))  # noqa: E711 - elementwise

    @cached_property
    def person(self) -> np.ndarray:
        """str [N]: the person that a picture counts for in intervals; where nobody is known, the picture itself."""
        return np.array([f"{at}" if one is None else f"of {one}" for at, one in enumerate(self.subject)])

    @cached_property
    def neutral(self) -> np.ndarray:
        """bool [N]: whether a picture is named neutral."""
        return self.emotion == NEUTRAL

    @cached_property
    def disputed(self) -> np.ndarray:
        """bool [N]: whether more than half of the raters saw something else than neutral."""
        return np.concatenate([one.raters.dispute(one.table["votes"], NEUTRAL) for one in self.manifests])

    def targets(self, members: Mapping[str, tuple[str, ...]]) -> Targets:
        """What each picture is judged by, for a model of classes with these members.

        A picture may also be named after a class itself, unless that is a member of another one.
        """
        every = set().union(*members.values())
        members = {name: own if name in every else (*own, name) for name, own in members.items()}
        return Targets.concatenate(
            [
                make_targets(one.table["emotion"].to_pylist(), one.table["votes"], one.raters, members, BY_NAME)
                for one in self.manifests
            ]
        )

    def _column(self, name: str) -> np.ndarray:
        return np.concatenate([as_objects(one.table[name]) for one in self.manifests])


def find_labelled(places: list[Path], options: ScanOptions) -> LabelledPictures:
    """The labelled pictures in folders, archives and tables, not read yet.

    Raises FaceemoError as scan does, and if a table or labels cannot be read.
    """
    result = scan(places, options=replace(options, to_judge=True).as_before(None))
    found = result.found
    return LabelledPictures(
        list(found),
        [one.source.path for one in found.values()],
        [one.pictures for one in found.values()],
        [describe(key, one.source, [picture.name for picture in one.pictures]) for key, one in found.items()],
        list(left_out_lines(result)),
    )


def read_labelled(
    pictures: LabelledPictures, wanted: np.ndarray, settings: ExtractParams, workers: int | None
) -> list[Reading | None]:
    """A reading of each picture in a mask [N], as stage extract makes it; None for the others.

    Raises FaceemoError if a source cannot be read any more or workers die.
    """
    readings: list[Reading | None] = [None] * len(pictures)
    indices = list(batches(np.flatnonzero(wanted).tolist(), TASK_PICTURES))
    tasks = [Task([pictures.every[index] for index in some], settings) for some in indices]
    try:
        with (
            open_workers(None, workers, len(tasks)) as opened,
            progress(int(wanted.sum()), "evaluate", "pictures") as advance,
        ):
            for some, found in zip(indices, read_in_order(opened, read_task, tasks), strict=True):
                for index, reading in zip(some, found, strict=True):
                    readings[index] = reading
                advance(len(found))
    except WorkerDiedError as error:
        raise FaceemoError(str(error)) from None
    return readings
