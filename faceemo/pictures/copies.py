"""Pictures with the same bytes in two classes or under two people."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from faceemo.pictures.archive import ReadError
from faceemo.pictures.reader import Picture, PictureReader, are_bytes_known
from faceemo.pictures.scan_source import Found

COMPARED = 200_000_000  # bytes that are read in all, of pictures that size and CRC-32 do not tell apart


@dataclass(frozen=True)
class Copies:
    """Pictures with the same bytes that are said to be two things."""

    count: int
    """Of all such pictures, or of those that were found before COMPARED bytes were read."""
    first: str
    second: str
    """Two of them, as `NAME of ID`."""


def find_copies(found: Mapping[str, Found], column: str) -> Copies | None:
    """Pictures with the same bytes of which two say something else in a column of the manifest; None if there are none.

    found: sources by their ids. column: emotion, or subject, of which null is nothing said.
    """
    count, pair, left = 0, None, COMPARED
    with PictureReader() as reader:
        for run in _alike(found):
            said = [(key, picture, found[key].manifest.table[column][at].as_py()) for key, picture, at in run]
            if len({value for *_, value in said} - {None}) < 2:
                continue
            same: defaultdict[bytes, list[tuple[str, str]]] = defaultdict(list)
            for key, picture, value in said:
                if value is None:
                    continue
                left -= 0 if _is_known(picture) else picture.size or 0
                if left >= 0 and (digest := _digest(picture, reader)) is not None:
                    same[digest].append((value, f"{picture.name} of {key}"))
            for several in same.values():
                names = dict(reversed(several))  # the first of each value
                if len(names) > 1:
                    count += len(several)
                    pair = pair or tuple(name for _, name in several if name in names.values())[:2]
    return None if pair is None else Copies(count, *pair)


def _alike(found: Mapping[str, Found]) -> Iterator[list[tuple[str, Picture, int]]]:
    """Pictures that have the same size and CRC-32, each with its source and its index there.

    Empty pictures, and those whose CRC-32 is not known, are left out.
    """
    pictures = [picture for one in found.values() for picture in one.pictures]
    keys = np.fromiter(map(_key, pictures), np.uint64, len(pictures))
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=np.uint64(0)))  # of each run of one key but that of nothing
    ends = np.append(starts[1:], len(keys))
    names = list(found)
    firsts = np.cumsum([0, *(len(one.pictures) for one in found.values())])
    for run in np.flatnonzero(ends - starts > 1):
        indices = order[starts[run] : ends[run]]
        numbers = np.searchsorted(firsts, indices, side="right") - 1
        yield [
            (names[number], pictures[index], int(index - firsts[number]))
            for number, index in zip(numbers, indices, strict=True)
        ]


def _key(picture: Picture) -> int:
    """Size and CRC-32 as one number; 0 where they are not known and for an empty file."""
    return 0 if picture.crc is None or not picture.size else picture.size << 32 | picture.crc


def _is_known(picture: Picture) -> bool:
    return are_bytes_known(picture.name, picture.size or 0)


def _digest(picture: Picture, reader: PictureReader) -> bytes | None:
    """Tells a picture from others of the same size and CRC-32; None if it cannot be read."""
    if _is_known(picture):
        return b""
    try:
        return hashlib.sha256(reader.read(picture)).digest()
    except ReadError:
        return None
