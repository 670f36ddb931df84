"""What is known of pictures besides their landmarks: words for emotions, people and votes, joined by their names.

None of it is in the landmarks of a source of one's own, so that correcting it extracts nothing.
"""

import functools
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from faceemo.emotions import name_class
from faceemo.errors import FaceemoError
from faceemo.extraction.archive import Archive, parse_picture_name
from faceemo.extraction.opening import look_at_all
from faceemo.extraction.people import subject_reader
from faceemo.extraction.pictures import PictureReader, digest_of, read_seen
from faceemo.extraction.sources import Source, TableFile, locate
from faceemo.extraction.tables import Table, read_table
from faceemo.extraction.trees import folder_of, label_files, word_of
from faceemo.features.labels import (
    MAX_BYTES,
    RATERS,
    VOTED,
    Label,
    LabelArchive,
    Raters,
    label_key,
    read_label_files,
    read_labels,
)
from faceemo.paths import SEEN_FOLDER

Describe = Callable[[pa.Table], pa.Table]


@dataclass(frozen=True)
class Annotations:
    """Raters' answers to the pictures of a source.

    raters: whose answers Label.votes count. records: by what `key_of` makes of a picture's name. unreadable: records
    that could not be read.
    """

    raters: Raters
    records: dict[str, Label]
    unreadable: list[str]
    key_of: Callable[[str], str] = label_key

    def find(self, images: Iterable[str]) -> list[Label | None]:
        """The record of each picture, None without one."""
        return [self.records.get(self.key_of(image)) for image in images]

    def agreement(self, label: Label | None, emotion: str | None) -> int | None:
        """How many of the set's three raters chose an emotion; None without them, their answer or this class."""
        classes = self.raters.classes
        if self.raters.at_least < len(RATERS) or label is None or label.votes is None or emotion not in classes:
            return None
        return sum(votes for name, votes in zip(classes, label.votes, strict=True) if name == emotion)


def read_annotations(key: str, source: Source) -> Annotations:
    """What raters saw in a source. Raises FaceemoError if that cannot be read or is not what was scanned."""
    if source.table:
        table = _table_of(key, source.table)
        records = {name: Label(line.votes, None, None) for name, line in table.lines.items() if line.votes}
        return Annotations(Raters(_renamed(table.voted, source)), records, [], key_of=str)
    if source.labels is None:
        return Annotations(Raters(), {}, [])
    if source.labels.zip is None:
        found = _tree_labels(key, locate(source.path), source.labels.digest)
    else:
        found = _archive_labels(key, locate(source.labels.zip), source.labels.digest)
    return Annotations(Raters(_renamed(VOTED, source), len(RATERS)), found.labels, found.unreadable)


def describer(key: str, source: Source) -> Describe:
    """A function that completes rows of landmarks of a source: emotion, subject, sex, age, and folder, which is new.

    An archive of the set tells all but the last in its rows. Raises FaceemoError if a table is not the one scanned.
    """
    if source.emotion is not None:
        return lambda rows: rows.append_column("folder", pa.repeat(source.folder, len(rows)))
    table = _table_of(key, source.table) if source.table else None
    subject_of = subject_reader(source.subject, key)

    def describe(rows: pa.Table) -> pa.Table:
        images = rows["image"].to_pylist()
        described = [_described_by_name(image, source) if table is None else _by_line(image, table) for image in images]
        columns = {
            "emotion": [name_class(word, source.rename) for word, *_ in described],
            "subject": [subject or subject_of(name) for (_, subject, *_), name in zip(described, images, strict=True)],
            "sex": [sex for _, _, sex, _, _ in described],
            "age": [age for _, _, _, age, _ in described],
        }
        for name, values in columns.items():
            field = rows.schema.field(name)
            rows = rows.set_column(rows.schema.get_field_index(name), field, pa.array(values, field.type))
        return rows.append_column("folder", pa.array([folder or source.folder for *_, folder in described]))

    return describe


Description = tuple[str, str | None, str | None, int | None, str | None]  # word, subject, sex, age, folder


def _described_by_name(name: str, source: Source) -> Description:
    parsed = parse_picture_name(name)
    assert source.level is not None, "a source without emotion and table has one"
    return word_of(name, source.level) or "", None, parsed.sex, parsed.age, folder_of(name)


def _by_line(name: str, table: Table) -> Description:
    line = table.lines.get(name)
    if line is None:
        raise FaceemoError(
            f"the landmarks were made from another table: this one has no line for {name}; run 'dvc repro'"
        )
    return line.emotion, line.subject, line.sex, line.age, None


def _table_of(key: str, file: TableFile) -> Table:
    path = locate(file.path)
    table = read_table(path)
    if hashlib.sha256(path.read_bytes()).hexdigest() != file.digest:
        raise FaceemoError(f"{key}: {path} changed since the last scan; run 'faceemo scan'")
    return table


def _renamed(words: Iterable[str], source: Source) -> tuple[str, ...]:
    return tuple(name_class(word, source.rename) or word for word in words)


def _archive_labels(key: str, path: Path, digest: str) -> LabelArchive:
    with Archive(path) as archive:
        if archive.digest() != digest:
            raise FaceemoError(f"{key}: label archive changed since the last scan; run 'faceemo scan'")
    return read_labels(path)


def _tree_labels(key: str, path: Path, digest: str) -> LabelArchive:
    files = look_at_all(key, label_files(path), read_seen(key, locate(SEEN_FOLDER.as_posix())))
    if digest_of(files) != digest:
        raise FaceemoError(f"{key}: label files changed since the last scan; run 'faceemo scan'")
    with PictureReader(path) as reader:
        return read_label_files(path, {file.name: functools.partial(reader.read, file, MAX_BYTES) for file in files})
