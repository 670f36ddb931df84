"""What the name of an archive of the AI-Hub set says about it and, where that is silent, the folders above it."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from faceemo.pictures.trees import LABELS, TRAINING, VALIDATION, archive_emotion, folder_of

_SAMPLE = re.compile(r"(?<![a-z])sample(?![a-z])|샘플")
_PART = re.compile(r"[_\-\s](\d{1,2})$")
_COPY = re.compile(r"\s*\(\d+\)$")  # what browsers add to the name of a second download


@dataclass(frozen=True)
class ArchiveName:
    """What the path of an archive says about it."""

    path: Path
    emotion: str
    folder: str
    """training | validation"""
    set: str
    """training | validation | sample"""
    part: int
    is_labels: bool
    """Whether it holds labels, by its name."""

    @property
    def id(self) -> str:
        """As in data/sources.yaml, like neutral-training-01."""
        return f"{self.emotion}-{self.set}-{self.part:02d}"


def part_of(path: str) -> int | None:
    """The part that the name of an archive of the set ends with, like `_01`; None without one."""
    part = _PART.search(_COPY.sub("", PurePosixPath(path).stem))
    return int(part[1]) if part else None


def read_archive_name(path: Path, top: Path) -> ArchiveName | None:
    """What the archive's name says and, where that is silent, the folders above it up to the parent of `top`."""
    stem = unicodedata.normalize("NFC", path.stem)
    emotion = archive_emotion(stem)
    if emotion is None or path.suffix.lower() != ".zip":
        return None
    folders = path.resolve().parent.parts[max(len(top.resolve().parts) - 2, 0) :]
    above = [unicodedata.normalize("NFC", part).lower() for part in reversed(folders)]
    texts = [stem.lower(), *above]  # the nearest word decides
    return ArchiveName(
        path,
        emotion,
        folder := _folder_in(texts),
        set="sample" if _SAMPLE.search(stem.lower()) else folder,
        part=part_of(path.as_posix()) or 1,
        is_labels=bool(LABELS.search(stem.lower())),
    )


def _names_a_folder(text: str) -> bool:
    return bool(VALIDATION.search(text) or TRAINING.search(text))


def _folder_in(texts: Iterable[str]) -> str:
    return next(
        ("validation" if VALIDATION.search(text) else "training" for text in texts if _names_a_folder(text)),
        "training",
    )


def folder_in_name(place: Path) -> str:
    """training or validation, by the name of a folder, archive or table of one's own; `test` is for validation."""
    return folder_of(f"{unicodedata.normalize('NFC', place.stem)}/") or "training"
