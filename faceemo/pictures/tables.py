"""Tables of pictures: CSV or Parquet, a line a picture, with its path and emotion and what else is known of it."""

import difflib
import hashlib
import os
import posixpath
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from faceemo.emotions import KOREAN, class_name, plain_word
from faceemo.errors import FaceemoError
from faceemo.pictures.archive import Archive, file_state
from faceemo.pictures.reader import Picture
from faceemo.pictures.table_lines import DELIMITERS, Lines, read_lines
from faceemo.pictures.trees import members_of

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
SPREADSHEET_SUFFIXES = (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".numbers")  # not read
REQUIRED = ("path", "emotion")
OPTIONAL = ("subject", "sex", "age")
OFTEN = {  # what others call these columns
    "path": (
        "file",
        "filename",
        "file_name",
        "filepath",
        "file_path",
        "image",
        "img",
        "picture",
        "photo",
        "파일",
        "경로",
        "이미지",
        "사진",
    ),
    "emotion": ("label", "class", "expression", "category", "target", "feeling", "감정", "라벨", "표정"),
    "subject": (
        "person",
        "identity",
        "participant",
        "user",
        "who",
        "subject_id",
        "person_id",
        "사람",
        "피험자",
        "인물",
    ),
    "sex": ("gender", "성별"),
    "age": ("나이", "연령"),
}
SEX = {
    "male": ("male", "m", "man", "남", "남자", "남성"),
    "female": ("female", "f", "woman", "여", "여자", "여성"),
}
MAX_AGE = 150
MAX_VOTES = 127  # of one class for one picture: features hold them as int8
LEAST_VOTED = 2  # columns of votes named after emotions, beside which other columns of whole numbers are votes too
# In lower case: a value that is not there, as pandas, spreadsheets and databases write it; "na" may be somebody's name.
NOTHING = ("", "nan", "none", "null", "<na>", "n/a", "#n/a", "<null>")
NEAR = 0.75  # how alike two names are at least, of one that is taken for a misspelt other (difflib's ratio)
MAX_COLUMNS = 1000
NAMED = 10  # columns, of many, that a line names

_SEX_OF = {word: sex for sex, words in SEX.items() for word in words}
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # with one slash too, as Python's Path leaves it
_WINDOWS_PATH = re.compile(r"[a-zA-Z]:/|//")


_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("emotion", pa.string()),
        ("subject", pa.string()),
        ("sex", pa.string()),
        ("age", pa.int16()),
        ("votes", pa.list_(pa.int8())),
    ]
)


@dataclass(frozen=True)
class Table:
    """What a table says of its pictures, in the order of their paths, so that sorting a table changes nothing."""

    rows: pa.Table
    """path: as it names the picture in rows, with posix separators; emotion: the word as written; subject; sex; age;
    votes: list<int8>, a number for each of `voted`, null where a picture has none."""
    voted: tuple[str, ...]
    """The words that votes are for."""
    digest: str
    """sha256 of the file's bytes."""


_parsed: dict[tuple[Path, tuple[int, ...]], Table] = {}  # by place and state of the file


def read_table(path: Path) -> Table:
    """Read a table: CSV in UTF-8 or UTF-16 (with BOM or not), UTF-32 with BOM or CP949 with comma, semicolon or tab; or
    Parquet.

    Its columns are path and emotion and, where known, subject, sex, age, and for votes a column named after each class;
    beside these, other columns of whole numbers are votes too: for a class that no picture is named after, and
    `unknown` for raters who saw none of them. A table that has not changed is parsed once in a process.
    Raises FaceemoError that names the line for an unknown column, a path that comes twice, two emotions for one
    picture, an empty emotion, and values that are not of their column.
    """
    key = (path.resolve(), file_state(str(path)))
    if key not in _parsed:
        _parsed[key] = _parse(path)
    return _parsed[key]


def _parse(path: Path) -> Table:
    data = path.read_bytes()
    names, lines = read_lines(path, data)
    _check_columns(path, names)
    voted = _voted(path, names, lines)
    if not lines:
        raise FaceemoError(f"{path}: names no pictures; write a line for each below the names of its columns")
    found: dict[str, tuple[int, tuple[Any, ...]]] = {}  # by path: the line's number and its values
    for number, row in lines:
        try:
            values = _values(dict(zip(names, row, strict=True)), voted)
        except ValueError as error:
            raise FaceemoError(f"{path}: line {number}: {error}") from None
        _check_new(path, number, values, found.get(values[0]))
        found[values[0]] = number, values
    ordered = [found[name][1] for name in sorted(found)]
    fields = zip(_SCHEMA, zip(*ordered, strict=True), strict=True)
    table = pa.table([pa.array(column, field.type) for field, column in fields], schema=_SCHEMA)
    return Table(table, voted, hashlib.sha256(data).hexdigest())


def table_pictures(table: Table, folder: Path) -> Iterator[Picture]:
    """The pictures that a table in this folder names, not looked at yet where they are files.

    Raises FaceemoError if an archive that holds some cannot be read.
    """
    archives: dict[Path, dict[str, Picture]] = {}
    for name in table.rows["path"].to_pylist():
        archive, member = _split_at_archive(folder, name)
        if archive is None:
            yield _file(folder, name)
            continue
        if archive not in archives:
            with Archive(archive) as opened:
                archives[archive] = {one.name: one for one in members_of(opened)}
        found = archives[archive].get(member)
        yield replace(found or Picture(member, str(archive), error=f"not in {archive.name}"), name=name)


def _file(folder: Path, name: str) -> Picture:
    path = str(_existing(folder / name))
    is_elsewhere = os.name != "nt" and _WINDOWS_PATH.match(name) and not os.path.exists(path)  # noqa: PTH110
    return Picture(name, path, error="a path of Windows; write it relative to the table" if is_elsewhere else None)


def _check_columns(path: Path, columns: list[str]) -> None:
    if len(columns) > MAX_COLUMNS:
        raise FaceemoError(
            f"{path}: line 1: {len(columns)} columns; keep {', '.join(REQUIRED + OPTIONAL)} and those of votes"
        )
    if len(columns) == 1 and set(REQUIRED).issubset(re.split(r"[\W_]+", columns[0])):
        raise FaceemoError(
            f"{path}: line 1: {columns[0]!r} is taken for one column; part them by comma, semicolon or tab, or name "
            "what parts them in a line above, such as sep=|"
        )
    for name in columns:
        if columns.count(name) > 1:
            raise FaceemoError(f"{path}: line 1: two columns {name!r}")
    if missing := [name for name in REQUIRED if name not in columns]:
        nearest = _nearest(columns)
        renaming = [_renaming(nearest)] * (not nearest.keys().isdisjoint(missing))
        there = [f"its columns are {_listed(columns) or 'none'}"] * (not nearest.keys() >= set(missing))
        what = "; ".join([f"no column {' and no '.join(map(repr, missing))}", *there, *renaming])
        raise FaceemoError(f"{path}: line 1: {what}")


def _listed(names: Sequence[str]) -> str:
    rest = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + rest


def _nearest(columns: list[str]) -> dict[str, list[str]]:
    """By our name of a column that is not there, those that may be it: by a name of OFTEN, with one among their words,
    or misspelt.
    """
    free = [name for name in columns if name not in REQUIRED + OPTIONAL and set(DELIMITERS).isdisjoint(name)]
    found = {}
    for own, often in OFTEN.items():
        names = (own, *often)
        near = (
            [one for one in free if one in names]
            or [one for one in free if not set(re.split(r"[\W_]+", one)).isdisjoint(names)]
            or [one for one in free if difflib.get_close_matches(one, names, 1, NEAR)]
        )
        if near and own not in columns:
            found[own] = near
            free = [one for one in free if one not in near]
    return found


def _renaming(nearest: dict[str, list[str]]) -> str:
    return "rename " + ", ".join(f"{' or '.join(map(repr, near))} to {own!r}" for own, near in nearest.items())


def _voted(path: Path, columns: list[str], lines: Lines) -> tuple[str, ...]:
    """The columns of votes. Raises FaceemoError for those that are none and not known."""
    emotion = columns.index("emotion")
    words = {plain_word(row[emotion]) for _, row in lines} | set(KOREAN)
    others = [(number, name) for number, name in enumerate(columns) if name not in REQUIRED + OPTIONAL]
    named = sum(plain_word(name) in words for _, name in others)

    def counts(number: int, name: str) -> bool:
        is_class = named >= LEAST_VOTED and class_name(name) is not None
        return plain_word(name) in words or (is_class and all(_is_count(row[number]) for _, row in lines))

    if unknown := [name for number, name in others if not counts(number, name)]:
        nearest = _nearest([*unknown, *REQUIRED, *(name for name in OPTIONAL if name in columns)])
        rest = [name for name in unknown if not any(name in near for near in nearest.values())]
        advice = [_renaming(nearest)] * bool(nearest) + [f"take {_listed([*map(repr, rest)])} out"] * bool(rest)
        raise FaceemoError(
            f"{path}: line 1: unknown column{'s' * (len(unknown) > 1)} {_listed([*map(repr, unknown)])}; "
            f"{' and '.join(advice)}; known are {', '.join(REQUIRED + OPTIONAL)} and, for votes, columns named after "
            "its emotions"
        )
    return tuple(name for _, name in others)


def _is_count(text: str) -> bool:
    try:
        _whole("", text.strip(), MAX_VOTES)
    except ValueError:
        return False
    return True


def _check_new(path: Path, number: int, values: tuple[Any, ...], other: tuple[int, tuple[Any, ...]] | None) -> None:
    if other is None:
        return
    name, emotion = values[:2]
    before, (_, emotion_before, *_) = other
    if plain_word(emotion) != plain_word(emotion_before):
        what = f"two emotions for {name}: {emotion_before} in line {before}, {emotion} here"
    else:
        what = f"{name} is in line {before} already"
    raise FaceemoError(f"{path}: line {number}: {what}; keep one of the lines")


def _values(cells: dict[str, str], voted: tuple[str, ...]) -> tuple[Any, ...]:
    """One line's values, in the order of _SCHEMA. Raises ValueError for one that is not of its column."""
    cells = {name: unicodedata.normalize("NFC", cell).strip() for name, cell in cells.items()}
    if cells["emotion"].lower() in NOTHING:
        raise ValueError("the emotion is empty")
    subject = cells.get("subject", "")
    return (
        _path(cells["path"]),
        cells["emotion"],
        None if subject.lower() in NOTHING else subject,
        _sex(cells.get("sex", "")),
        _whole("age", cells.get("age", ""), MAX_AGE),
        _votes({name: cells[name] for name in voted}),
    )


def _path(text: str) -> str:
    if text.lower() in NOTHING or "\0" in text:
        raise ValueError("the path holds a zero byte" if "\0" in text else "the path is empty")
    if _ADDRESS.match(text):
        raise ValueError(f"{text} is an address; download the pictures and give their paths")
    path = text.replace("\\", "/")
    parts = path.split("/")
    for index, part in enumerate(parts):
        if part.lower().endswith(".zip") and ".." in parts[index + 1 :]:
            raise ValueError(f"{text} leads out of an archive by '..'")
    return posixpath.normpath(path)


def _sex(text: str) -> str | None:
    if text.lower() in NOTHING:
        return None
    if text.lower() not in _SEX_OF:
        raise ValueError(f"the sex is {text!r}; write male, female or nothing")
    return _SEX_OF[text.lower()]


def _votes(cells: dict[str, str]) -> tuple[int, ...] | None:
    counts = [_whole(f"number of votes for {name}", cell, MAX_VOTES) for name, cell in cells.items()]
    return None if all(count is None for count in counts) else tuple(count or 0 for count in counts)


def _whole(what: str, text: str, at_most: int) -> int | None:
    """A whole number, also as `30.0`, which tables make of a column with gaps."""
    if text.lower() in NOTHING:
        return None
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if number != number // 1 or not 0 <= number <= at_most:
        raise ValueError(f"the {what} is {text!r}; write a whole number from 0 to {at_most} or nothing")
    return int(number)


def _split_at_archive(folder: Path, name: str) -> tuple[Path | None, str]:
    """The archive in a path like `faces/a.zip/happy/1.jpg` and the member's name; None where there is none."""
    parts = name.split("/")
    for index, part in enumerate(parts[:-1], 1):
        if part.lower().endswith(".zip"):
            path = _existing(folder / "/".join(parts[:index]))
            if os.path.isfile(path):  # noqa: PTH113
                return path, "/".join(parts[index:])
    return None, name


def _existing(path: Path) -> Path:
    """The path as the disk writes it: macOS stored names in NFD, and a table may hold either form."""
    if os.path.exists(path):  # noqa: PTH110 - False, too, for a name that no disk takes
        return path
    other = Path(unicodedata.normalize("NFD", str(path)))
    return other if os.path.exists(other) else path  # noqa: PTH110
