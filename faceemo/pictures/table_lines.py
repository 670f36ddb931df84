"""The bytes of a table as its columns and lines: CSV in the encodings that programs write, or Parquet."""

import codecs
import contextlib
import csv
import io
import re
import unicodedata
from pathlib import Path
from typing import Any

import pyarrow as pa

from faceemo.errors import FaceemoError
from faceemo.pictures.archive import LFS_POINTER, OTHER_ARCHIVES
from faceemo.pictures.names import are_korean

DELIMITERS = ",;\t"
SAVE_CSV = "save it as CSV (in Excel: CSV UTF-8)"
LINE_BREAK = "a value with a line break; take it out, or close the quotation mark before it"
# What pandas writes beside the columns, and calls an index that reset_index makes a column
INDEX_COLUMN = re.compile(r"(unnamed: [\d.]+|__index_level_\d+__|index|level_\d+)?")

_SEPARATOR = re.compile(r"sep=(\t|[^\w\s\"])", re.IGNORECASE)  # a first line that says the delimiter to Excel
_HANGUL = re.compile("[가-힣]")
_ENCODINGS = (  # by the mark that text begins with; UTF-16 without one is told by a zero byte of its first character
    *((mark, "utf-32") for mark in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)),
    *((mark, "utf-16") for mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)),
)
_AS_CSV = f"open it in its program and {SAVE_CSV}"
_NO_TABLES = (  # what other files begin with, and what to do
    (b"PK\3\4", f"a spreadsheet or a ZIP archive, not text; {_AS_CSV}"),
    (b"\xd0\xcf\x11\xe0", f"a spreadsheet, not text; {_AS_CSV}"),
    (b"PAR1", "a Parquet file; name it .parquet"),
    (LFS_POINTER, "a pointer of Git LFS; run 'git lfs pull'"),
    *((beginning, f"{kind}, not a table; unpack it") for beginning, kind in OTHER_ARCHIVES),
    (b"<", "a web page or XML, not a table; download the table itself"),
    *((beginning, "JSON, not a table; write it as CSV") for beginning in (b"{", b"[")),
)

Lines = list[tuple[int, list[str]]]  # each line's number and its values


def read_lines(path: Path, data: bytes) -> tuple[list[str], Lines]:
    """The names of a table's columns in lower case, and its lines; the index that pandas writes is no column.

    Raises FaceemoError that says what the bytes are if they are no table, and names the line or the column of a value
    that cannot be read.
    """
    is_parquet = path.suffix.lower() == ".parquet"
    head = data[:100].lstrip(b"\xef\xbb\xbf \t\r\n")
    what = next((what for beginning, what in _NO_TABLES if head.startswith(beginning)), None)
    if what and not (is_parquet and head.startswith(b"PAR1")):
        raise FaceemoError(f"{path}: {what}")
    header, rows = (_parquet_rows if is_parquet else _csv_rows)(path, data)
    columns = [unicodedata.normalize("NFC", name or "").strip().lower() for name in header]
    kept = [index for index, name in enumerate(columns) if not INDEX_COLUMN.fullmatch(name)]
    return [columns[index] for index in kept], [(number, [row[index] for index in kept]) for number, row in rows]


def _csv_rows(path: Path, data: bytes) -> tuple[list[str], Lines]:
    """The columns and the lines. A value with a line break is refused: no column has a use for one."""
    text = _text(path, data)
    first = next((line for line in io.StringIO(text, newline=None) if line.strip()), "")
    if told := _SEPARATOR.fullmatch(first.strip(' "\n')):
        text = text.replace(first.rstrip("\n"), "", 1)  # its line stays, so that the others keep their numbers
    delimiter = told[1] if told else max(DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    lines: Lines = []
    number = 1  # of the line in which a row begins
    try:
        for row in reader:
            here, number = number, reader.line_num + 1
            if not any(cell.strip() for cell in row):
                continue
            if any("\n" in cell or "\r" in cell for cell in row):
                raise FaceemoError(f"{path}: line {here}: {LINE_BREAK}")
            if header is None:
                header = row
            elif len(row) < len(header) or any(cell.strip() for cell in row[len(header) :]):
                many = f"{len(header)} columns" if len(header) > 1 else f"the only column, {header[0]!r}"
                raise FaceemoError(f"{path}: line {here}: {len(row)} values for {many}")
            else:
                lines.append((here, row[: len(header)]))
    except csv.Error as error:
        what = str(error)
        if "end of data" in what or "expected after" in what:
            what = "a quotation mark is not closed, or stands within a value"
        elif "field limit" in what:
            what = f"a value has more than {csv.field_size_limit()} characters"
        raise FaceemoError(f"{path}: line {number}: {what}") from None
    return header or [], lines


def _text(path: Path, data: bytes) -> str:
    by_mark = [encoding for mark, encoding in _ENCODINGS if data.startswith(mark)][:1]
    by_zero = ["utf-16-le"] * (data[1:2] == b"\0") + ["utf-16-be"] * (data[:1] == b"\0")
    for encoding in (*by_mark, *by_zero, "utf-8"):
        with contextlib.suppress(UnicodeDecodeError):
            return data.decode(encoding).lstrip("\ufeff")
    with contextlib.suppress(UnicodeDecodeError):
        text = data.decode("cp949")
        # Text in Shift-JIS or GBK can be read as rare Hangul; Chinese characters alone are no sign of either.
        if are_korean([line.encode("cp949") for line in text.splitlines() if _HANGUL.search(line)]):
            return text
    raise FaceemoError(f"{path}: neither UTF-8 nor, as far as can be told, Korean in CP949; save it as CSV in UTF-8")


def _parquet_rows(path: Path, data: bytes) -> tuple[list[str], Lines]:
    import pyarrow.parquet as pq  # here, since most tables are CSV

    try:
        table = pq.ParquetFile(io.BytesIO(data)).read()  # read_table takes no two columns of one name
        names = table.column_names
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FaceemoError(f"{path}: not a readable Parquet file ({_first_line(error)})") from None
    columns = []
    for name, column in zip(names, table.columns, strict=True):
        if pa.types.is_nested(column.type) and not INDEX_COLUMN.fullmatch(name):
            raise FaceemoError(
                f"{path}: column {name}: holds {column.type}, not text; write text (for pictures, save them as files "
                "and write their paths), or take it out"
            )
        try:
            values = [None] * len(table) if INDEX_COLUMN.fullmatch(name) else column.to_pylist()
            columns.append([_as_text(value) for value in values])
        except (pa.ArrowException, ValueError, OverflowError) as error:  # times and text that Python cannot hold
            raise FaceemoError(
                f"{path}: column {name}: a value cannot be read ({_first_line(error)}); write it as text"
            ) from None
    return names, [(number, list(row)) for number, row in enumerate(zip(*columns, strict=True), 1)]


def _as_text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else "" if value is None else str(value)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__).partition(". ")[0]
