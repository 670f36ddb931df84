"""Labelled pictures that a model is judged on: what is known of each, and their readings, as the pipeline has them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from faceemo.console import progress
from faceemo.emotions import NEUTRAL, name_class
from faceemo.extraction.archive import parse_picture_name
from faceemo.extraction.executors import open_workers
from faceemo.extraction.opening import Pictures, open_pictures
from faceemo.extraction.own import OwnOptions
from faceemo.extraction.people import as_person
from faceemo.extraction.pictures import PictureFile
from faceemo.extraction.rescue import read_in_order
from faceemo.extraction.scan import scan
from faceemo.extraction.schema import SCHEMA
from faceemo.extraction.sources import Source, locate
from faceemo.extraction.worker import CHUNK_PICTURES, Chunk, FileChunk, Reading, batches, read_task
from faceemo.features.annotations import describer, read_annotations
from faceemo.features.labels import Raters
from faceemo.features.normalize import denies
from faceemo.params import ExtractParams, LabelParams
from faceemo.training.targets import Targets, make_targets

KNOWN = ("image", "emotion", "subject", "sex", "age")  # of a picture before it is read
BY_NAME = LabelParams("archive", min_agreement=0)


@dataclass(frozen=True)
class LabelledSource:
    """A source of N pictures.

    pictures: they themselves, closed. image, emotion, subject: their names, classes and people, None for nobody known.
    each: bool [N], whether a picture is taken for a person of its own. votes, raters: what raters saw (see features).
    denied: bool [N], whether more than half of the raters saw something else than neutral.
    """

    source: Source
    pictures: Pictures
    image: list[str]
    emotion: list[str]
    subject: list[str | None]
    each: list[bool]
    votes: list[tuple[int, ...] | None]
    raters: Raters
    denied: list[bool]

    def place(self, index: int) -> str:
        """Where a picture is: its file, or `archive.zip/member`."""
        member = self.pictures.members[index]
        if isinstance(member, PictureFile) and member.index is None:
            return member.path
        path = locate(self.source.path)
        return f"{path.parent if self.source.table else path}/{member.name}"


@dataclass(frozen=True)
class LabelledPictures:
    """Pictures of several sources, N together, in the order of the sources."""

    sources: list[LabelledSource]

    def __len__(self) -> int:
        return len(self.emotion)

    @cached_property
    def emotion(self) -> np.ndarray:
        """object [N]: the class that each picture's folder, table or archive says."""
        return self._column("emotion")

    @cached_property
    def subject(self) -> np.ndarray:
        """object [N]: who is in each picture, None for nobody known."""
        return self._column("subject")

    @cached_property
    def is_known(self) -> np.ndarray:
        """bool [N]: whether it is known who is in a picture: somebody, not the picture itself in place of a person."""
        return np.array([subject is not None for subject in self.subject], bool) & ~self._column("each").astype(bool)

    @cached_property
    def person(self) -> np.ndarray:
        """str [N]: the person that a picture counts for in the intervals; where nobody is known, the picture itself."""
        return np.array(
            [f"{index}" if subject is None else f"of {subject}" for index, subject in enumerate(self.subject)]
        )

    @cached_property
    def neutral(self) -> np.ndarray:
        """bool [N]"""
        return self.emotion == NEUTRAL

    @cached_property
    def denied(self) -> np.ndarray:
        """bool [N]: whether raters deny that a picture is neutral."""
        return self._column("denied").astype(bool)

    def targets(self, members: Mapping[str, tuple[str, ...]]) -> Targets:
        """What each picture is judged by, for a model of classes with these members.

        A picture may also say the name of a class itself, unless that is a member of another one.
        """
        every = set().union(*members.values())
        members = {name: own if name in every else (*own, name) for name, own in members.items()}
        several = []
        for one in self.sources:
            votes = pa.chunked_array([pa.array(one.votes, pa.list_(pa.int8()))])
            several.append(make_targets(one.emotion, votes, one.raters, members, BY_NAME))
        return Targets.concatenate(several)

    def place(self, index: int) -> str:
        """Where a picture is: its file, or `archive.zip/member`."""
        for one in self.sources:
            if index < len(one.image):
                return one.place(index)
            index -= len(one.image)
        raise IndexError

    def _column(self, name: str) -> np.ndarray:
        values = [value for one in self.sources for value in getattr(one, name)]
        column = np.empty(len(values), object)
        column[:] = values
        return column


def find_labelled(places: list[Path], options: OwnOptions) -> LabelledPictures:
    """The labelled pictures in folders, archives and tables, not read yet.

    Raises FaceemoError as scan does, and if a table or labels cannot be read.
    """
    options = replace(options, to_judge=True).as_before(None)
    found = scan(places, options=options)
    return LabelledPictures([_labelled(key, source, options) for key, source in found.sources.items()])


def _labelled(key: str, source: Source, options: OwnOptions) -> LabelledSource:
    with open_pictures(key, source, look=False) as opened:
        names = [member.name for member in opened.members]
    parsed = [parse_picture_name(name) for name in names]
    columns = {column: [getattr(name, column) for name in parsed] for column in KNOWN[2:]}
    columns |= {"image": names, "emotion": [source.emotion] * len(names)}
    rows = describer(key, source)(pa.table(columns, schema=pa.schema([SCHEMA.field(name) for name in KNOWN])))
    emotions, subjects = rows["emotion"].to_pylist(), rows["subject"].to_pylist()
    if source.emotion is not None:  # an archive of the set, of which `scan` renames nothing
        rename = options.rename or {}
        source = replace(source, rename=rename)
        emotions = [name_class(word, rename) for word in emotions]
    annotations = read_annotations(key, source)
    labels = annotations.find(names)
    return LabelledSource(
        source,
        opened,
        names,
        emotions,
        subjects,
        [subject == as_person(key, name) for subject, name in zip(subjects, names, strict=True)],
        [None if label is None else label.votes for label in labels],
        annotations.raters,
        [denies(label, NEUTRAL, annotations) for label in labels],
    )


def read_labelled(
    pictures: LabelledPictures, wanted: np.ndarray, settings: ExtractParams, workers: int | None
) -> list[Reading | None]:
    """A reading of each picture in a mask [N], as stage extract makes it; None for the others.

    Raises FaceemoError if a source cannot be read any more, WorkerDiedError when workers die.
    """
    readings: list[Reading | None] = [None] * len(pictures)
    tasks = list(_tasks(pictures, wanted, settings))
    with (
        open_workers(None, workers, len(tasks)) as opened,
        progress(int(wanted.sum()), "evaluate", "pictures") as advance,
    ):
        results = read_in_order(opened, read_task, [task for _, task in tasks])
        for (indices, _), found in zip(tasks, results, strict=True):
            for index, reading in zip(indices, found, strict=True):
                readings[index] = reading
            advance(len(found))
    return readings


def _tasks(
    pictures: LabelledPictures, wanted: np.ndarray, settings: ExtractParams
) -> Iterator[tuple[np.ndarray, Chunk | FileChunk]]:
    """Indices of pictures, and the task that reads these."""
    start = 0
    for one in pictures.sources:
        own = np.flatnonzero(wanted[start : start + len(one.image)]).tolist()
        for indices in batches(own, CHUNK_PICTURES):
            yield np.array(indices) + start, one.pictures.chunk(indices, settings)
        start += len(one.image)
