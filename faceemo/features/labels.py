"""Label archives: what three raters saw in each picture, and where."""

import functools
import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faceemo.emotions import ENGLISH
from faceemo.errors import FaceemoError
from faceemo.extraction.archive import Archive, ReadError, is_macos_extra

RATERS = "ABC"
VOTED = tuple(ENGLISH.values())  # the classes of Label.votes, in this order
BOX = ("minX", "minY", "maxX", "maxY")
MAX_BYTES = 2_000_000_000  # of one JSON member; the set's largest has some 60 MB
PROFESSIONAL = {"전문인": True, "일반인": False}
JSON_MARKS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},]', re.DOTALL)


@dataclass(frozen=True)
class Raters:
    """Who said what pictures of a source show.

    classes: those that votes count, a number for each; () where nobody was asked. at_least: how many answered a picture
    that has votes, at least: those who are not among the votes gave an answer that names no class.
    """

    classes: tuple[str, ...] = ()
    at_least: int = 0


@dataclass(frozen=True)
class Label:
    """What is known of a picture.

    votes: how many raters chose each class of VOTED (`알수없음` is none of them); None if nobody answered.
    professional: whether an actor was photographed; None if the record does not say.
    box: the mean of the raters' boxes x0 y0 x1 y1, in upright pixels; None without one.
    """

    votes: tuple[int, ...] | None
    professional: bool | None
    box: tuple[float, float, float, float] | None


@dataclass(frozen=True)
class LabelArchive:
    """labels: by label_key of the picture's name. unreadable: the records that could not be read, a phrase each."""

    labels: dict[str, Label]
    unreadable: list[str]


def read_labels(path: Path) -> LabelArchive:
    """The labels in an archive of JSON lists (UTF-8, with BOM or not, or CP949).

    A record is read as the set has it (`annot_A.faceExp`) or as the set's documents describe it
    (`faceBB_A.boxes.label`). One that cannot be read is passed over. Raises FaceemoError if the archive, the JSON or
    every record of a member cannot be read.
    """
    with Archive(path) as archive:
        return read_label_files(
            path,
            {
                member.name: functools.partial(archive.read, member, MAX_BYTES)
                for member in archive.members
                if member.name.lower().endswith(".json") and not is_macos_extra(member.name)
            },
        )


def read_label_files(path: Path, files: Mapping[str, Callable[[], bytes]]) -> LabelArchive:
    """The labels in JSON files of an archive or folder, given by functions that read them; see read_labels."""
    labels: dict[str, Label] = {}
    unreadable: list[str] = []
    for name, read in files.items():
        where = f"{path}: {name}"
        try:
            records = _records(_text(read(), where))
        except ReadError as error:
            raise FaceemoError(f"{where} cannot be read ({error}); download the archive again") from None
        except ValueError as error:
            raise FaceemoError(f"{where} is broken JSON ({error}); download the archive again") from None
        if not isinstance(records, list):
            raise FaceemoError(f"{where} is not a list of records as the set's label files are")
        broken = []
        for number, record in enumerate(records):
            try:
                labels[label_key(record["filename"])] = _label(record)
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
                broken.append(f"record {number} of {name}")
        if broken and len(broken) == len(records):
            raise FaceemoError(f"{where}: no record has the fields of the set's label files")
        unreadable += broken
    return LabelArchive(labels, unreadable)


def label_key(name: str) -> str:
    """What a picture and its record have in common: the base name in NFC, with `_` where either may have had `&`."""
    return unicodedata.normalize("NFC", name.replace("\\", "/").rpartition("/")[2]).replace("&", "_")


def _text(data: bytes, where: str) -> str:
    for encoding in ("utf-8-sig", "cp949"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise FaceemoError(f"{where} is neither UTF-8 nor CP949; download the archive again")


def _parsed(text: str) -> object:
    # Every number of a record that is used is a box's side. int() refuses more than 4,300 digits.
    return json.loads(text, parse_int=float)


def _records(text: str) -> object:
    """The JSON of a member; None in the list stands for a record nested too deep to parse. Raises ValueError."""
    try:
        return _parsed(text)
    except RecursionError:
        return list(map(_shallow, _elements(text)))


def _shallow(text: str) -> object:
    try:
        return _parsed(text)
    except RecursionError:
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


def _label(record: dict) -> Label:
    ratings = [rating for rater in RATERS if (rating := record.get(f"annot_{rater}") or record.get(f"faceBB_{rater}"))]
    found = [_box(rating) for rating in ratings]
    answers = [answer for rating, box in zip(ratings, found, strict=True) if (answer := _answer(rating, box))]
    sides = [corners for box in found if box and (corners := _corners(box))]
    professional = record.get("isProf")
    return Label(
        tuple(map(answers.count, VOTED)) if answers else None,
        PROFESSIONAL.get(_normal(professional)) if professional is not None else None,
        tuple(np.mean(sides, axis=0).tolist()) if sides else None,
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
    if not np.all(np.abs(corners) <= np.finfo(np.float32).max):  # false for NaN too
        raise ValueError("a side of the box is not a finite number")
    return corners if left < right and top < bottom else None
