"""The AI-Hub set's label JSON: what three raters saw in each picture, and where the face is."""

import functools
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from faceemo.emotions import ENGLISH
from faceemo.errors import FaceemoError
from faceemo.pictures.archive import Archive, ReadError, file_state, is_extra
from faceemo.pictures.reader import Picture, PictureReader
from faceemo.plainjson import TooDeepError, parse_json

RATERS = "ABC"
VOTED = tuple(ENGLISH.values())  # the classes that votes count, in this order
BOX = ("minX", "minY", "maxX", "maxY")
MAX_SIDE = 3.4e38  # a box is kept as float32
MAX_BYTES = 2_000_000_000  # of one JSON member; the set's largest has some 60 MB
PROFESSIONAL = {"전문인": True, "일반인": False}
BEGINNING = 100_000  # bytes of a label file by which it is known
BEGINNING_MARKS = (re.compile(rb'"filename"'), re.compile(rb'"(annot|faceBB)_[ABC]"'))
JSON_MARKS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},]', re.DOTALL)

SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("votes", pa.list_(pa.int8())),
        ("professional", pa.bool_()),
        ("box", pa.list_(pa.float32())),
    ]
)


@dataclass(frozen=True)
class Labels:
    """The records of label JSON."""

    records: pa.Table
    """key: what label_key makes of the picture's name; votes: how many raters chose each class of VOTED (`알수없음` is
    none of them), null if nobody answered; professional: whether an actor was photographed, null if the record does not
    say; box: the mean of the raters' boxes x0 y0 x1 y1, in pixels of the upright picture, null without one."""
    unreadable: list[str]
    """A phrase for each record that could not be read."""


@dataclass(frozen=True)
class TreeLabels:
    """The label JSON that lies among the pictures of an unpacked set."""

    files: list[Picture] = field(default_factory=list)
    """Those that were read."""
    labels: Labels | None = None
    """Their records; None without files."""
    others: list[tuple[Path, str]] = field(default_factory=list)
    """Files that are no labels of the set or cannot be read, and why."""


class NoLabelsError(ValueError):
    """A file is none of the set's label files; the message says why."""


def read_labels(path: Path) -> Labels:
    """The labels in an archive of JSON lists (UTF-8, with BOM or not, or CP949).

    A record is read as the set has it (`annot_A.faceExp`) or as the set's documents describe it
    (`faceBB_A.boxes.label`). One that cannot be read is passed over. An archive that has not changed is read once in a
    process: it serves all parts of an emotion. Raises FaceemoError if the archive, the JSON or every record of a member
    cannot be read.
    """
    return _read_archive(path, file_state(str(path)))


@functools.cache
def _read_archive(path: Path, state: tuple[int, ...]) -> Labels:
    parts = []
    for name, data in _json_in(path):
        try:
            parts.append(_parse(name, data))
        except NoLabelsError as error:
            raise FaceemoError(f"{path}: {name}: {error}; download the archive again") from None
    return _joined(parts)


def holds_labels(path: Path) -> bool:
    """Whether an archive holds JSON that begins as a label file does: a list of records that name pictures and raters.

    Raises FaceemoError if the archive or JSON in it cannot be read.
    """
    return any(_begins_as_labels(data) for _, data in _json_in(path))


def _json_in(path: Path) -> Iterator[tuple[str, bytes]]:
    """The name and bytes of each JSON file in an archive."""
    with Archive(path) as archive:
        for member in archive.members:
            if member.name.lower().endswith(".json") and not is_extra(member.name):
                try:
                    data = archive.read(member, MAX_BYTES)
                except ReadError as error:
                    raise FaceemoError(f"{path}: {member.name}: {error}; download the archive again") from None
                yield member.name, data


@functools.lru_cache(maxsize=8)
def read_tree_labels(root: Path, files: tuple[Picture, ...]) -> TreeLabels:
    """The labels in those of the JSON files in a folder or archive that are the set's; what is in them decides.

    Read once in a process, as read_labels does.
    """
    read: list[Picture] = []
    parts = []
    others = []
    with PictureReader(root) as reader:
        for file in files:
            try:
                part = _parse(file.name, reader.read(file, MAX_BYTES))
                if not part[0]:
                    raise NoLabelsError("a list without records")
                parts.append(part)
                read.append(file)
            except (NoLabelsError, ReadError) as error:
                others.append((root / file.name, f"{error}"))
    return TreeLabels(read, _joined(parts) if read else None, others)


def label_key(name: str) -> str:
    """What a picture and its record have in common: the base name in NFC, with `_` where either may have had `&`."""
    return unicodedata.normalize("NFC", name.replace("\\", "/").rpartition("/")[2]).replace("&", "_")


Records = dict[str, tuple[tuple[int, ...] | None, bool | None, list[float] | None]]
"""votes, professional and box, as Labels has them, by the picture's key."""


def _parse(name: str, data: bytes) -> tuple[Records, list[str]]:
    """The records of a label file and a phrase for each that cannot be read. Raises NoLabelsError if it is none."""
    text = _text(data)
    try:
        records = _records(text)
    except ValueError as error:
        raise NoLabelsError(f"broken JSON ({error})") from None
    if not isinstance(records, list):
        raise NoLabelsError("not a list of records as the set's label files are")
    found: Records = {}
    unreadable: list[str] = []
    for number, record in enumerate(records):
        try:
            key = label_key(record["filename"])
            key.encode()  # JSON can write half a character
            found[key] = _label(record)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            unreadable.append(f"record {number} of {name}")
    if records and not any(value is not None for record in found.values() for value in record):
        raise NoLabelsError("no record has the fields of the set's label files")
    return found, unreadable


def _joined(parts: list[tuple[Records, list[str]]]) -> Labels:
    found: Records = {}
    for records, _ in parts:
        found |= records
    columns = [list(found), *map(list, zip(*found.values(), strict=True))] if found else [[] for _ in SCHEMA]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, SCHEMA, strict=True)]
    return Labels(pa.table(arrays, schema=SCHEMA), [phrase for _, unreadable in parts for phrase in unreadable])


def _begins_as_labels(data: bytes) -> bool:
    head = data[:BEGINNING]
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[") and all(mark.search(head) for mark in BEGINNING_MARKS)


def _text(data: bytes) -> str:
    for encoding in ("utf-8-sig", "cp949"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise NoLabelsError("neither UTF-8 nor CP949")


def _parsed(text: str) -> object:
    # Every number of a record that is used is a box's side. int() refuses more than 4,300 digits.
    return parse_json(text, parse_int=float, parse_constant=float)


def _records(text: str) -> object:
    """The JSON of a member; None in the list stands for a record nested too deep to parse. Raises ValueError."""
    try:
        return _parsed(text)
    except TooDeepError:
        return list(map(_shallow, _elements(text)))


def _shallow(text: str) -> object:
    try:
        return _parsed(text)
    except TooDeepError:
        return None


def _elements(text: str) -> Iterator[str]:
    """The texts between the commas of a JSON list. Raises ValueError if its brackets do not match."""
    depth = start = 0
    for mark in JSON_MARKS.finditer(text):
        if mark[0] in ("[", "{"):
            depth += 1
            start = mark.end() if depth == 1 else start
        elif mark[0] in ("]", "}"):
            depth -= 1
        if (depth == 1 and mark[0] == ",") or (depth == 0 and mark[0] == "]"):
            yield text[start : mark.start()]
            start = mark.end()
    if depth:
        raise ValueError("a bracket is not closed")


def _label(record: dict) -> tuple[tuple[int, ...] | None, bool | None, list[float] | None]:
    """votes, professional and box of a record, as Labels has them."""
    ratings = [rating for rater in RATERS if (rating := record.get(f"annot_{rater}") or record.get(f"faceBB_{rater}"))]
    found = [_box(rating) for rating in ratings]
    answers = [answer for rating, box in zip(ratings, found, strict=True) if (answer := _answer(rating, box))]
    sides = [corners for box in found if box and (corners := _corners(box))]
    professional = record.get("isProf")
    return (
        tuple(map(answers.count, VOTED)) if answers else None,
        PROFESSIONAL.get(_normal(professional)) if professional is not None else None,
        [sum(side) / len(sides) for side in zip(*sides, strict=True)] if sides else None,
    )


def _box(rating: dict) -> dict | None:
    boxes = rating.get("boxes")
    return boxes[0] if boxes and isinstance(boxes, list) else boxes


def _answer(rating: dict, box: dict | None) -> str | None:
    """The class that a rater chose, another word for none of the classes, None without an answer."""
    word = rating.get("faceExp") or (box or {}).get("label")
    return ENGLISH.get(_normal(word), word) if word else None


def _normal(word: str) -> str:
    return unicodedata.normalize("NFC", word).strip()


def _corners(box: dict) -> list[float] | None:
    """x0 y0 x1 y1, or None for a box without area. Raises ValueError for sides that are no pixels."""
    if not box.keys() & set(BOX):
        return None
    left, top, right, bottom = corners = [float(box[side]) for side in BOX]
    if not all(abs(side) <= MAX_SIDE for side in corners):  # false for NaN too
        raise ValueError("a side of the box is not a finite number")
    return corners if left < right and top < bottom else None
