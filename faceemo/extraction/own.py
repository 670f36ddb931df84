"""Scanning sources of one's own: trees of pictures in a folder or ZIP archive, and tables."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from faceemo.emotions import name_class, plain_word
from faceemo.errors import FaceemoError
from faceemo.extraction.opening import look_at_all
from faceemo.extraction.people import EACH, subject_reader
from faceemo.extraction.pictures import PictureFile, Seen, digest_of, read_seen
from faceemo.extraction.sources import Labels, Source, TableFile, written_path
from faceemo.extraction.tables import TABLE_SUFFIXES, Line, read_table, table_pictures
from faceemo.extraction.trees import (
    files_below,
    find_level,
    has_class,
    is_picture_name,
    labels_among,
    members_below,
    word_of,
)

MAX_ID = 40  # characters, because ids become names of folders


@dataclass(frozen=True)
class OwnOptions:
    """How `faceemo scan` was told to read sources of one's own.

    subject, rename: as in Source; None where nothing was said, so that what sources.yaml has of the same place stays,
    and empty to forget that. read_all: the pictures, whatever was seen of them.
    to_judge: a model is judged on the pictures, and nothing is learnt from them. They are then not looked at before
    they are read, since no later scan is compared with this one, and one class is enough.
    """

    subject: str | None = None
    rename: Mapping[str, str] | None = None
    read_all: bool = False
    to_judge: bool = False

    def as_before(self, source: Source | None) -> "OwnOptions":
        """With what sources.yaml has of the same place where nothing else was said."""
        subject, rename = (None, {}) if source is None else (source.subject, source.rename)
        return replace(
            self,
            subject=(subject if self.subject is None else self.subject) or None,
            rename=rename if self.rename is None else self.rename,
        )


@dataclass(frozen=True)
class OwnScan:
    """A source of one's own as it was found.

    pictures: those with a class; looked_at: these and its label files. others: files of other kinds.
    classes: pictures of each. people: how many there are, None if every picture counts as one; nobodys: pictures of
    nobody known. unread: what could not be read, with the reason. loose: pictures without a class. passed_over: the
    rest, and why.
    """

    source: Source
    pictures: list[PictureFile]
    looked_at: list[PictureFile]
    others: int
    classes: Counter[str]
    words: frozenset[str]
    people: int | None
    nobodys: int
    loose: int
    passed_over: list[tuple[Path, str]]

    @property
    def size(self) -> int:
        """Bytes of its pictures."""
        return sum(picture.size or 0 for picture in self.pictures)

    @property
    def unread(self) -> list[PictureFile]:
        return [picture for picture in self.pictures if picture.error is not None]


def scan_tree(key: str, path: Path, folder: str, options: OwnOptions, root: Path) -> OwnScan:
    """Scan a folder of pictures, or a ZIP archive of one.

    Raises FaceemoError if it holds no pictures, no folders name classes, or a word cannot name one.
    """
    files, passed_over = (files_below if path.is_dir() else members_below)(path)
    names = [file.name for file in files if is_picture_name(file.name)]
    if not names:
        raise FaceemoError(f"{path}: no pictures in it")
    level = find_level(names, path)
    seen = {} if options.read_all else read_seen(key)
    pictures = [file for file in files if has_class(file.name, level)]
    pictures = pictures if options.to_judge else _looked_at(key, pictures, seen, path)
    labels = look_at_all(key, labels_among(path, files), seen)
    words = Counter(word for picture in pictures if (word := word_of(picture.name, level)) is not None)
    rename = options.rename or {}
    classes = _classes(path, words, rename)
    people, nobodys = _people(key, [picture.name for picture in pictures], options.subject, {})
    written = written_path(path, root)
    source = Source(
        zip=None if path.is_dir() else written,
        tree=written if path.is_dir() else None,
        emotion=None,
        folder=folder,
        images=len(pictures),
        digest=digest_of(pictures),
        labels=Labels(None, digest_of(labels)) if labels else None,
        level=level,
        subject=options.subject,
        rename=_used(rename, words),
        classes=tuple(sorted(classes)),
    )
    return OwnScan(
        source,
        pictures,
        [*pictures, *labels],
        len(files) - len(names),
        classes,
        frozenset(map(plain_word, words)),
        people,
        nobodys,
        len(names) - len(pictures),
        [*passed_over, *_beside(files)],
    )


def scan_table(key: str, path: Path, folder: str, options: OwnOptions, root: Path) -> OwnScan:
    """Scan a table of pictures. Raises FaceemoError as read_table does, and if none of its pictures is there."""
    table = read_table(path)
    seen = {} if options.read_all else read_seen(key)
    pictures = list(table_pictures(table, path.parent))
    pictures = pictures if options.to_judge else _looked_at(key, pictures, seen, path)
    words = Counter(line.emotion for line in table.lines.values())
    rename = options.rename or {}
    classes = _classes(path, words, rename)
    people, nobodys = _people(key, list(table.lines), options.subject, table.lines)
    voted = {name for word in table.voted if (name := name_class(word, rename)) is not None}
    source = Source(
        zip=None,
        table=TableFile(written_path(path, root), hashlib.sha256(path.read_bytes()).hexdigest()),
        emotion=None,
        folder=folder,
        images=len(pictures),
        digest=digest_of(pictures),
        labels=None,
        subject=options.subject,
        rename=_used(rename, [*words, *table.voted]),
        classes=tuple(sorted(classes.keys() | voted)),
    )
    known = frozenset(map(plain_word, [*words, *table.voted]))
    return OwnScan(source, pictures, pictures, 0, classes, known, people, nobodys, 0, [])


def own_id(path: Path, kind: str, taken: Iterable[str]) -> str:
    """An id from a name where that has ASCII letters, else the first free one like folder-01."""
    stem = path.name if kind == "folder" else path.stem
    name = re.sub(r"[^a-z0-9]+", "-", stem.lower())[:MAX_ID].strip("-")
    if re.search("[a-z]", name):
        return name
    number = 1
    while f"{kind}-{number:02d}" in taken:
        number += 1
    return f"{kind}-{number:02d}"


def _beside(files: list[PictureFile]) -> list[tuple[Path, str]]:
    suffixes = (".zip", *TABLE_SUFFIXES)
    beside = (file for file in files if file.name.lower().endswith(suffixes) and file.index is None)
    return [(Path(file.path), "lies among pictures; name it itself to scan it") for file in beside]


def _looked_at(key: str, found: list[PictureFile], seen: Seen, path: Path) -> list[PictureFile]:
    pictures = look_at_all(key, found, seen)
    if all(picture.error is not None for picture in pictures):
        raise FaceemoError(
            f"{path}: none of its {len(pictures)} pictures can be read; the first is {pictures[0].name} "
            f"({pictures[0].error}){'; paths are relative to the table' if path.is_file() else ''}"
        )
    return pictures


def _classes(path: Path, words: Counter[str], rename: Mapping[str, str]) -> Counter[str]:
    names = {word: name_class(word, rename) for word in words}
    unnamed = sorted(word for word, name in names.items() if name is None)
    if unnamed:
        raise FaceemoError(
            f"{path}: {', '.join(map(repr, unnamed))} cannot be the name of a class, which has only letters, digits, - "
            f"and _, a letter first; rename it with --rename '{unnamed[0]}=CLASS'"
        )
    classes: Counter[str] = Counter()
    for word, name in names.items():
        if name is not None:
            classes[name] += words[word]
    return classes


def _people(key: str, names: list[str], pattern: str | None, lines: Mapping[str, Line]) -> tuple[int | None, int]:
    subject_of = subject_reader(pattern, key)
    subjects = [(lines[name].subject if name in lines else None) or subject_of(name) for name in names]
    if pattern not in (None, EACH) and not any(map(subject_of, names)):
        raise FaceemoError(f"--subject {pattern!r} matches no picture of {key}, such as {names[0]}")
    each = pattern == EACH and not any(line.subject for line in lines.values())
    return None if each else len(set(subjects) - {None}), subjects.count(None)


def _used(rename: Mapping[str, str], words: Iterable[str]) -> dict[str, str]:
    known = set(map(plain_word, words))
    return {word: name for word, name in rename.items() if word in known}
