"""Tables of pictures: CSV or Parquet, a line a picture, with its path and emotion and what else is known of it."""

import os
import posixpath
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from faceemo.emotions import KOREAN, plain_word
from faceemo.errors import FaceemoError
from faceemo.extraction.archive import Archive
from faceemo.extraction.pictures import PictureFile, member_picture

if TYPE_CHECKING:
    from pyarrow.csv import InvalidRow

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
REQUIRED = ("path", "emotion")
OPTIONAL = ("subject", "sex", "age")
SEX = {
    "male": ("male", "m", "man", "남", "남자", "남성"),
    "female": ("female", "f", "woman", "여", "여자", "여성"),
}
MAX_AGE = 150
MAX_VOTES = 127  # of one class for one picture: features hold them as int8

LINE_BREAK = "a value with a line break; take it out, or close the quotation mark before it"

_SEX_OF = {word: sex for sex, words in SEX.items() for word in words}


@dataclass(frozen=True)
class Line:
    """What a table says of one picture.

    number: of its line. path: as it names the picture in rows, with posix separators. votes: a number for each word of
    Table.voted, None without any.
    """

    number: int
    path: str
    emotion: str
    subject: str | None
    sex: str | None
    age: int | None
    votes: tuple[int, ...] | None


@dataclass(frozen=True)
class Table:
    """lines: by path, in the order of the paths, so that sorting a table changes nothing. voted: words for classes."""

    lines: dict[str, Line]
    voted: tuple[str, ...]


def read_table(path: Path) -> Table:
    """Read a table: CSV in UTF-8 (with BOM or not) or CP949 with comma, semicolon or tab; or Parquet.

    Its columns are path and emotion and, where known, subject, sex, age, and for votes a column named after each class.
    Raises FaceemoError that names the line for an unknown column, a path that comes twice, two emotions for one
    picture, an empty emotion, and values that are not of their column.
    """
    header, rows = _parquet_rows(path) if path.suffix.lower() == ".parquet" else _csv_rows(path)
    columns = [name.strip().lower() if name else "" for name in header]
    _check_columns(path, columns)
    cells = [(number, dict(zip(columns, row, strict=True))) for number, row in rows]
    words = {plain_word(values["emotion"]) for _, values in cells} | set(KOREAN)
    voted = tuple(name for name in columns if name not in REQUIRED + OPTIONAL)
    for name in voted:
        if plain_word(name) not in words:
            raise FaceemoError(
                f"{path}: line 1: unknown column {name!r}; known are {', '.join(REQUIRED + OPTIONAL)} and, for votes, "
                "columns named after its emotions"
            )
    lines: dict[str, Line] = {}
    for number, values in cells:
        try:
            line = _line(number, values, voted)
        except ValueError as error:
            raise FaceemoError(f"{path}: line {number}: {error}") from None
        _check_new(path, line, lines.get(line.path))
        lines[line.path] = line
    if not lines:
        raise FaceemoError(f"{path}: names no pictures; write a line for each below the names of its columns")
    return Table(dict(sorted(lines.items())), voted)


def table_pictures(table: Table, folder: Path) -> Iterator[PictureFile]:
    """The pictures that a table in this folder names, not looked at yet where they are files.

    Raises FaceemoError if an archive that holds some cannot be read.
    """
    archives: dict[Path, dict[str, PictureFile]] = {}
    for name in table.lines:
        archive, member = _split_at_archive(folder, name)
        if archive is None:
            yield PictureFile(name, str(_existing(folder / name)))
            continue
        if archive not in archives:
            archives[archive] = _members(archive)
        found = archives[archive].get(member)
        missing = PictureFile(name, str(archive), error=f"not in {archive.name}")
        yield missing if found is None else replace(found, name=name)


def _csv_rows(path: Path) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The columns, and each line's number and values.

    pyarrow takes an unclosed quotation mark for a value that goes on to the end of the file, without a word, and with
    it all pictures that stand there. So a value with a line break is refused: none has a use for one.
    """
    import pyarrow as pa  # here, because extraction's workers need no tables
    from pyarrow.csv import ConvertOptions, InvalidRow, ParseOptions, ReadOptions, read_csv

    text = _text(path)
    first = re.split(r"[\r\n]", text, maxsplit=1)[0]
    if not first.strip():
        return [], iter(())
    delimiter = max(",;\t", key=first.count)
    line = pa.BufferReader(f"{first}\n".encode())
    try:
        header = read_csv(line, parse_options=ParseOptions(delimiter=delimiter)).column_names
    except pa.ArrowInvalid:
        raise FaceemoError(f"{path}: line 1: a quotation mark is not closed") from None
    uneven: dict[int, InvalidRow] = {}  # by line: those with more or fewer values than columns

    def skip(row: InvalidRow) -> str:
        uneven[row.number] = row
        return "skip"

    data = (text if text.endswith("\n") else f"{text}\n").encode()  # alone, a header needs one
    table = read_csv(
        pa.BufferReader(data),
        ReadOptions(use_threads=False, block_size=len(data) + 1),  # one block, so that rows are numbered
        ParseOptions(delimiter=delimiter, ignore_empty_lines=False, invalid_row_handler=skip),
        ConvertOptions(column_types=dict.fromkeys(header, pa.string())),
    )

    def rows() -> Iterator[tuple[int, list[str]]]:
        even = zip(*(column.to_pylist() for column in table.columns), strict=True)
        for number in range(2, 2 + len(table) + len(uneven)):
            if number in uneven:
                _check_blank(path, number, uneven[number], delimiter)
                continue
            row = list(next(even))
            if any("\n" in cell or "\r" in cell for cell in row):
                raise FaceemoError(f"{path}: line {number}: {LINE_BREAK}")
            if any(cell.strip() for cell in row):
                yield number, row

    return header, rows()


def _check_blank(path: Path, number: int, row: "InvalidRow", delimiter: str) -> None:
    """Raises FaceemoError unless a line with too many or too few values has none at all."""
    text = row.text.strip("\r\n")
    if "\n" in text or "\r" in text:
        raise FaceemoError(f"{path}: line {number}: {LINE_BREAK}")
    if text.replace(delimiter, "").strip():
        raise FaceemoError(f"{path}: line {number}: {row.actual_columns} values for {row.expected_columns} columns")


def _text(path: Path) -> str:
    data = path.read_bytes()
    for encoding in ("utf-8-sig", "cp949"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise FaceemoError(f"{path}: neither UTF-8 nor CP949; save it as CSV in UTF-8")


def _parquet_rows(path: Path) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    import pyarrow as pa  # here, because extraction's workers need no tables
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise FaceemoError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]})") from None
    columns = [["" if value is None else str(value) for value in column.to_pylist()] for column in table.columns]
    return table.column_names, ((number, list(row)) for number, row in enumerate(zip(*columns, strict=True), 1))


def _check_columns(path: Path, columns: list[str]) -> None:
    for name in REQUIRED:
        if name not in columns:
            found = ", ".join(filter(None, columns)) or "none"
            raise FaceemoError(f"{path}: line 1: no column {name!r}; its columns are {found}")
    for name in columns:
        if columns.count(name) > 1:
            raise FaceemoError(f"{path}: line 1: two columns {name!r}")


def _check_new(path: Path, line: Line, other: Line | None) -> None:
    if other is None:
        return
    if plain_word(line.emotion) != plain_word(other.emotion):
        what = f"two emotions for {line.path}: {other.emotion} in line {other.number}, {line.emotion} here"
    else:
        what = f"{line.path} is in line {other.number} already"
    raise FaceemoError(f"{path}: line {line.number}: {what}; keep one of the lines")


def _line(number: int, values: dict[str, str], voted: tuple[str, ...]) -> Line:
    values = {name: unicodedata.normalize("NFC", value).strip() for name, value in values.items()}
    if not values["emotion"]:
        raise ValueError("the emotion is empty")
    return Line(
        number,
        _path(values["path"]),
        values["emotion"],
        values.get("subject") or None,
        _sex(values.get("sex", "")),
        _whole("age", values.get("age", ""), MAX_AGE),
        _votes({name: values[name] for name in voted}),
    )


def _path(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError("the path is empty" if not text else "the path holds a zero byte")
    path = text.replace("\\", "/")
    parts = path.split("/")
    for index, part in enumerate(parts):
        if part.lower().endswith(".zip") and ".." in parts[index + 1 :]:
            raise ValueError(f"{text} leads out of an archive by '..'")
    return posixpath.normpath(path)


def _sex(text: str) -> str | None:
    if text and text.lower() not in _SEX_OF:
        raise ValueError(f"the sex is {text!r}; write male, female or nothing")
    return _SEX_OF.get(text.lower())


def _votes(values: dict[str, str]) -> tuple[int, ...] | None:
    if not any(values.values()):
        return None
    return tuple(_whole(f"number of votes for {name}", value, MAX_VOTES) or 0 for name, value in values.items())


def _whole(what: str, text: str, at_most: int) -> int | None:
    """A whole number, also as `30.0`, which tables make of a column with gaps."""
    if not text or text.lower() == "nan":
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


def _members(path: Path) -> dict[str, PictureFile]:
    with Archive(path) as archive:
        return {
            member.name.replace("\\", "/"): member_picture(member.name, path, index, member)
            for index, member in enumerate(archive.members)
        }
