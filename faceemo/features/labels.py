"""Label archives: what three raters saw in each picture, and where."""

import json
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faceemo.emotions import KOREAN
from faceemo.errors import FaceemoError
from faceemo.extraction.archive import Archive, ReadError, is_macos_extra

RATERS = ("annot_A", "annot_B", "annot_C")
BOX = ("minX", "minY", "maxX", "maxY")
MAX_BYTES = 2_000_000_000  # of one JSON member; the set's largest has some 60 MB


@dataclass(frozen=True)
class Label:
    """agreement: raters of three that chose the archive's emotion. box: their mean x0 y0 x1 y1, in upright pixels."""

    agreement: int
    box: tuple[float, float, float, float] | None


def read_labels(path: Path, emotion: str) -> dict[str, Label]:
    """The labels in an archive of JSON lists (UTF-8, with BOM or not, or CP949), by label_key of the picture's name.

    Raises FaceemoError if the archive or its JSON cannot be read.
    """
    labels: dict[str, Label] = {}
    with Archive(path) as archive:
        for member in archive.members:
            if not member.name.lower().endswith(".json") or is_macos_extra(member.name):
                continue
            where = f"{path}: {member.name}"
            try:
                records = json.loads(_text(archive.read(member, MAX_BYTES), where))
            except ReadError as error:
                raise FaceemoError(f"{where} cannot be read ({error}); download the archive again") from None
            except (ValueError, RecursionError) as error:
                raise FaceemoError(f"{where} is broken JSON ({error}); download the archive again") from None
            if not isinstance(records, list):
                raise FaceemoError(f"{where} is not a list of records as the set's label files are")
            for number, record in enumerate(records):
                try:
                    labels[label_key(record["filename"])] = _label(record, emotion)
                except (KeyError, TypeError, ValueError, AttributeError):
                    raise FaceemoError(
                        f"{where}: record {number} has not the fields of the set's label files"
                    ) from None
    return labels


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


def _label(record: dict, emotion: str) -> Label:
    ratings = [record[rater] for rater in RATERS if record.get(rater)]
    answers = [unicodedata.normalize("NFC", str(rating.get("faceExp"))) for rating in ratings]
    agreement = answers.count(KOREAN[emotion])
    boxes = [[float(rating["boxes"][side]) for side in BOX] for rating in ratings if rating.get("boxes")]
    return Label(agreement, tuple(np.mean(boxes, axis=0).tolist()) if boxes else None)
