"""What is known of a source's pictures besides their pixels: one table, a row a picture.

It comes from names, tables and label files, and is joined to the rows of landmarks by name, so that correcting it
extracts nothing.
"""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceemo.emotions import name_class
from faceemo.errors import FaceemoError
from faceemo.paths import SEEN_FOLDER
from faceemo.pictures.archive import parse_picture_name
from faceemo.pictures.labels import RATERS, VOTED, Labels, label_key, read_labels, read_tree_labels
from faceemo.pictures.opening import look_at_all, pictures_of
from faceemo.pictures.people import subject_reader
from faceemo.pictures.reader import Picture, digest_of, first_by_hash, read_seen
from faceemo.pictures.sources import Source, TableFile, locate
from faceemo.pictures.tables import Table, read_table
from faceemo.pictures.trees import IN_NAMES, files_at, folder_of, label_names, word_of
from faceemo.rows import present_rows

SCHEMA = pa.schema(
    [
        ("image", pa.string()),
        ("emotion", pa.string()),
        ("subject", pa.string()),
        ("sex", pa.string()),
        ("age", pa.int16()),
        ("folder", pa.string()),
        ("votes", pa.list_(pa.int8())),
        ("professional", pa.bool_()),
        ("box", pa.list_(pa.float32())),
    ]
)

Columns = dict[str, list | pa.ChunkedArray]
"""Of a table of SCHEMA, by name."""


@dataclass(frozen=True)
class Raters:
    """Who said what the pictures of a source show."""

    classes: tuple[str, ...] = ()
    """The classes that votes count, a number for each; () where nobody was asked."""
    at_least: int = 0
    """How many raters answered a picture that has votes, at least: those who are not among the votes named no class."""

    def chose(self, votes: pa.ChunkedArray, emotions: Sequence[str | None]) -> np.ndarray:
        """int16 [N]: how many raters chose the emotion that each picture is named after; 0 for one without votes."""
        chosen, named = np.zeros(len(votes), np.int16), np.array(emotions, object)
        for name, count in zip(self.classes, self._counts(votes).T, strict=True):  # a name may come twice
            chosen += np.where(named == name, count, 0)
        return chosen

    def dispute(self, votes: pa.ChunkedArray, emotion: str) -> np.ndarray:
        """bool [N]: whether more than half of the raters saw something else; an answer that names no class is none."""
        counts = self._counts(votes)
        cast = counts.sum(axis=1)
        own = self.chose(votes, [emotion] * len(counts))
        return (cast > 0) & (2 * (cast - own) > np.maximum(cast, self.at_least))

    def _counts(self, votes: pa.ChunkedArray) -> np.ndarray:
        """int16 [N, classes]: zeros for a picture without votes."""
        counts = np.zeros((len(votes), len(self.classes)), np.int16)
        if self.classes:
            counts[votes.is_valid().to_numpy()] = present_rows(votes, len(self.classes))
        return counts


@dataclass(frozen=True)
class Manifest:
    """What is known of N pictures of one source."""

    table: pa.Table
    """Of SCHEMA, N rows. image: the picture's name; emotion: the class that its archive, folder or table names;
    subject: who is in it, null if nobody knows; folder: training or validation; votes: how many raters chose each of
    raters.classes; professional, box: as Labels has them."""
    raters: Raters
    unused: int = 0
    """Records of raters without a picture."""
    unreadable: tuple[str, ...] = ()
    """A phrase for each record of raters that could not be read."""

    @property
    def knows_people(self) -> bool:
        """Whether it is known of any picture who is in it."""
        return self.table["subject"].null_count < len(self.table)


def read_manifest(
    key: str, source: Source, limit: int | None = None, with_votes: bool = True
) -> tuple[list[Picture], Manifest]:
    """The pictures that extraction with this limit reads, in its order and not looked at, and what is known of them.

    with_votes: as for describe. Raises FaceemoError as pictures_of and describe do.
    """
    pictures = pictures_of(key, source, look=False)
    pictures = [pictures[index] for index in first_by_hash(pictures, limit)]
    return pictures, describe(key, source, [picture.name for picture in pictures], with_votes)


def describe(
    key: str, source: Source, images: list[str], with_votes: bool = True, table: Table | None = None
) -> Manifest:
    """What is known of pictures of a source by these names; the source's pictures themselves need not be there.

    with_votes: False leaves label files unread, which may take seconds. table: the source's, where it is read already.
    Raises FaceemoError if its table or labels cannot be read or are not those that were scanned, and for a name that
    its table does not have.
    """
    if source.table:
        return _by_table(key, source, table or _table_of(key, source.table), images)
    labels = _labels_of(key, source) if with_votes else None
    parsed = list(map(parse_picture_name, images))
    subject_of = subject_reader(source.subject, key)
    columns: Columns = {
        "emotion": _classes((_word(name, source) for name in images), source),
        "subject": [one.subject for one in parsed] if source.subject is None else list(map(subject_of, images)),
        "sex": [one.sex for one in parsed],
        "age": [one.age for one in parsed],
        "folder": [_folder(name, source) for name in images],
    }
    if labels is None:
        return Manifest(_table(images, columns), Raters())
    keys = pa.array(map(label_key, images), pa.string())
    rows = pc.index_in(keys, value_set=labels.records["key"])
    for name in ("votes", "professional", "box"):
        columns[name] = labels.records[name].take(rows)
    used = pc.count_distinct(rows, mode="only_valid").as_py()
    raters = Raters(tuple(_classes(VOTED, source)), len(RATERS))
    return Manifest(_table(images, columns), raters, len(labels.records) - used, tuple(labels.unreadable))


def _by_table(key: str, source: Source, table: Table, images: list[str]) -> Manifest:
    rows = pc.index_in(pa.array(images, pa.string()), value_set=table.rows["path"])
    if rows.null_count:
        name = images[rows.is_null().to_pylist().index(True)]
        raise FaceemoError(
            f"{key}: the landmarks were made from another table: this one has no line for {name}; run 'dvc repro'"
        )
    found = table.rows.take(rows)
    subject_of = subject_reader(source.subject, key)
    columns: Columns = {
        "emotion": _classes(found["emotion"].to_pylist(), source),
        "subject": [
            known or subject_of(name) for known, name in zip(found["subject"].to_pylist(), images, strict=True)
        ],
        "folder": [source.folder] * len(images),
        **{name: found[name] for name in ("sex", "age", "votes")},
    }
    return Manifest(_table(images, columns), Raters(tuple(_classes(table.voted, source))))


def _table(images: list[str], columns: Columns) -> pa.Table:
    """A table of SCHEMA: columns that are not given are null."""
    given = {"image": images, **columns}
    arrays = []
    for field in SCHEMA:
        values = given.get(field.name, [None] * len(images))
        arrays.append(values if isinstance(values, pa.ChunkedArray) else pa.array(values, field.type))
    return pa.table(arrays, schema=SCHEMA)


def _classes(words: Iterable[str], source: Source) -> list[str]:
    """The classes that words stand for in a source; a word that cannot name one stays as it is."""
    name = functools.cache(lambda word: name_class(word, source.rename) or word)
    return list(map(name, words))


def _word(name: str, source: Source) -> str:
    """The word for its emotion: that of an archive or folder named after one, elsewhere folders or the names tell."""
    return source.emotion or word_of(name, source.level or IN_NAMES) or ""


def _folder(name: str, source: Source) -> str:
    return (None if source.is_of_set else folder_of(name)) or source.folder


def _table_of(key: str, file: TableFile) -> Table:
    path = locate(file.path)
    if not path.is_file():
        raise FaceemoError(f"{key}: {path} is not there; connect it again, or run 'faceemo scan' on where it is now")
    table = read_table(path)
    if table.digest != file.digest:
        raise FaceemoError(f"{key}: {path} changed since the last scan; run 'faceemo scan'")
    return table


def _labels_of(key: str, source: Source) -> Labels | None:
    if source.labels is None:
        return None
    if source.labels.zip is None:
        return _tree_labels(key, locate(source.path), source.labels.digest)
    path = locate(source.labels.zip)
    if digest_of(files_at(path)) != source.labels.digest:
        raise FaceemoError(f"{key}: label archive changed since the last scan; run 'faceemo scan'")
    return read_labels(path)


def _tree_labels(key: str, path: Path, digest: str) -> Labels | None:
    files = look_at_all(key, label_names(path, files_at(path)), read_seen(key, locate(SEEN_FOLDER.as_posix())))
    read = read_tree_labels(path, tuple(files))
    if digest_of(read.files) != digest:
        raise FaceemoError(f"{key}: label files changed since the last scan; run 'faceemo scan'")
    return read.labels
