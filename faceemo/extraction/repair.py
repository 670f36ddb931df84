"""Pictures that could not be read when they were extracted, and can be read now.

A damaged copy of an archive and the good one that takes its place have the same digest, which is of names, sizes and
CRC-32, so the stage would not run again; and if its output were removed, dvc would restore it from its cache. So scan
tries these pictures and counts in sources.yaml how often some were repaired, which the stage tracks. The stage then
reads these alone: the store has the rows of all others.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow.compute as pc

from faceemo.paths import LANDMARKS_FOLDER
from faceemo.pictures.archive import ReadError
from faceemo.pictures.opening import root_of
from faceemo.pictures.reader import Picture, PictureReader
from faceemo.pictures.sources import Source
from faceemo.rows import BROKEN, read_parquet
from faceemo.status import Status


def count_repaired(
    sources: Mapping[str, Source], pictures: Mapping[str, list[Picture]], earlier: Mapping[str, Source]
) -> tuple[dict[str, Source], list[str]]:
    """The scanned sources with `repaired` as it is now, and a line for each that has pictures that were not read.

    pictures: those of each source as scan found them. earlier: the sources of the last scan.
    """
    counted: dict[str, Source] = {}
    lines: list[str] = []
    for key, source in sources.items():
        before = earlier.get(key, source)
        counted[key] = source
        if before.digest != source.digest:  # the stage will run, and read what it lacks
            continue
        unread = _unread(key)
        tried = [one for one in pictures[key] if unread[one.name, one.size, one.crc] and one.error is None]
        again = _count_readable(source, tried)
        counted[key] = replace(source, repaired=before.repaired + (again > 0))
        if tried:
            lines.append(f"{key}: {_what_became_of(len(tried), again)}")
    return counted, lines


def _unread(key: str) -> Counter[tuple]:
    """Name, size and CRC-32 of the pictures of a source whose rows say that they could not be read."""
    found: Counter[tuple] = Counter()
    for path in sorted((LANDMARKS_FOLDER / key).glob("part-*.parquet")):
        try:
            rows = read_parquet(path, ["image", "size", "crc32", "status"])
            rows = rows.filter(pc.equal(rows["status"], Status.READ_ERROR))
        except BROKEN:  # broken, or of an older version: extract comes by
            continue
        found.update(zip(*(rows[name].to_pylist() for name in ("image", "size", "crc32")), strict=True))
    return found


def _count_readable(source: Source, pictures: list[Picture]) -> int:
    root = root_of(source)
    count = 0
    with PictureReader(None if root is None else Path(root)) as reader:
        for picture in pictures:
            try:
                reader.read(picture)
                count += 1
            except ReadError:
                continue
    return count


def _what_became_of(unread: int, again: int) -> str:
    pictures = "1 picture" if unread == 1 else f"{unread} pictures"
    if not again:
        return (
            f"{pictures} could not be read when it was extracted, and still cannot be; if the archive is damaged, "
            "download it again and scan again"
        )
    return f"{pictures} could not be read when it was extracted; {again} can be now, and dvc repro reads what it lacks"
