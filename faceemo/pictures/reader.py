"""Pictures in folders and archives: how they are told apart without decoding, and their bytes.

A picture is known by its name, size and CRC-32. A ZIP archive's directory has these of its members; of a file the
CRC-32 costs reading it, so what was seen of the files of a source is kept in data/.seen/<id>.json, and only a file
whose size or time differs from that is read again.
"""

import hashlib
import json
import os
import stat
import unicodedata
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from faceemo.durable import write_text_whole
from faceemo.errors import FaceemoError, too_long
from faceemo.paths import SEEN_FOLDER
from faceemo.pictures.archive import JPEG_SUFFIXES, Archive, Member, ReadError, file_state
from faceemo.plainjson import read_json

BLOCK = 1 << 20
MAX_BYTES = 200_000_000  # of a picture; a larger one is never read
OPEN_ARCHIVES = 4  # that a reader keeps open; one of the set with 16,000 pictures takes some 15 MB
# Size and CRC-32 tell the bytes of a JPEG from those of others. Of a PNG, whose parts end in CRC-32s of their own, 16
# of the 32 bits are left, and small pictures are of few sizes: among 35,034 PNGs of 48 x 48 (FER+) 5,985 pairs of size
# and CRC-32 stand for several pictures. A small JPEG may be a wrongly named PNG.
SMALL = 16_384  # bytes
CHANGED = "changed since the last scan; run 'faceemo scan'"

Seen = Mapping[str, tuple[int, int, int]]  # size, time of the last change in ns, and CRC-32, by name


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture, wherever it lies."""

    name: str
    """As in the rows, in NFC: its path below the folder, in the archive or in the table."""
    path: str
    """Of the file, or of the archive that holds it."""
    index: int | None = None
    """Among that archive's members; None for a file."""
    size: int | None = None
    """Bytes; this and crc, its CRC-32, are None for a file that was not looked at yet or could not be read."""
    crc: int | None = None
    time: int | None = None
    """When the file last changed, in ns; None for a member of an archive."""
    error: str | None = None
    """Why it could not be read when it was looked at."""


def look_at(picture: Picture, seen: Seen) -> Picture:
    """The picture with its CRC-32. A file is read only if `seen` does not know it with this size and time."""
    if picture.index is not None or picture.error is not None:
        return picture
    try:
        found = _stat(picture.path)
        size, time, crc = seen.get(picture.name, (None, None, None))
        if (size, time) != (found.st_size, found.st_mtime_ns):
            crc = _crc(picture.path, found.st_size)
    except ReadError as error:
        return replace(picture, error=str(error))
    except OSError as error:
        return replace(picture, error=_why_unread(picture.path, error))
    return replace(picture, size=found.st_size, crc=crc, time=found.st_mtime_ns)


def member_picture(name: str, path: Path, index: int, member: Member) -> Picture:
    """A picture that is a member of the archive at `path`."""
    return Picture(name, str(path), index, member.size, member.info.CRC)


def digest_of(pictures: Iterable[Picture]) -> str:
    """sha256 of the table (name, size, CRC-32) of these pictures; one that cannot be read has neither."""
    table = hashlib.sha256()
    for picture in pictures:
        known = "" if picture.crc is None else f"{picture.size}\0{picture.crc:08x}"
        table.update(f"{picture.name}\0{known}\n".encode())
    return table.hexdigest()


def are_bytes_known(name: str, size: int) -> bool:
    """Whether size and CRC-32 tell a picture's bytes from those of all others."""
    return size >= SMALL and name.lower().endswith(JPEG_SUFFIXES)


def first_by_hash(pictures: Sequence[Picture], limit: int | None) -> list[int]:
    """Indices of the `limit` pictures with the smallest hash of their name, ascending: a smaller limit is a subset."""
    indices = list(range(len(pictures)))
    if limit is None or limit >= len(pictures):
        return indices
    indices.sort(key=lambda index: (hashlib.sha256(pictures[index].name.encode()).digest(), index))
    return sorted(indices[:limit])


def read_seen(key: str, folder: Path = SEEN_FOLDER) -> Seen:
    """What was last seen of the files of source `key`; nothing if that is not there or damaged: it only spares work."""
    try:
        values = read_json(folder / f"{key}.json")
    except (OSError, ValueError):
        return {}
    if not isinstance(values, dict):
        return {}
    return {name: tuple(seen) for name, seen in values.items() if _is_seen(seen)}


def _is_seen(value: object) -> bool:
    """Whether this may be the size, time and CRC-32 of a file."""
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(type(number) is int for number in value)
        and 0 <= value[2] < 2**32
    )


def write_seen(key: str, pictures: Iterable[Picture], folder: Path = SEEN_FOLDER) -> None:
    """Keep what was seen of the files among these pictures."""
    seen = {one.name: (one.size, one.time, one.crc) for one in pictures if one.index is None and one.crc is not None}
    write_text_whole(folder / f"{key}.json", json.dumps(seen, ensure_ascii=False))


class PictureReader:
    """The bytes of pictures, whichever file or archive they lie in; the archives read last stay open.

    root: the folder or archive that all of them lie in. If a picture cannot be read and `root` is not there any more,
    it is not that picture's fault; nor, without `root`, where a picture's folder has gone since it was looked at.
    """

    def __init__(self, root: Path | None = None) -> None:
        self._root = root
        self._archives: dict[str, tuple[tuple[int, ...], Archive]] = {}  # the one read last is the last

    def read(self, picture: Picture, max_bytes: int = MAX_BYTES) -> bytes:
        """The bytes of one picture, checked against the size and CRC-32 that were seen.

        Raises ReadError if they cannot be read or a file's are others, FaceemoError if another archive lies where the
        picture's was, or if what holds all the pictures has gone.
        """
        if picture.error is not None:
            raise ReadError(picture.error)
        if picture.index is not None:
            return self._read_member(picture, picture.index, max_bytes)
        try:
            size = _stat(picture.path).st_size
            if size > max_bytes:
                raise ReadError(f"{size} bytes, above the bound of {max_bytes}")
            with Path(picture.path).open("rb") as file:
                data = file.read(size)
        except OSError as error:
            place = self._root or (None if picture.crc is None else Path(picture.path).parent)
            if place is not None and not place.exists():
                raise FaceemoError(f"{place}: not there any more; connect it again and run again") from None
            raise ReadError(_why_unread(picture.path, error)) from None
        if picture.crc is not None and (len(data), zlib.crc32(data)) != (picture.size, picture.crc):
            raise ReadError(CHANGED)
        return data

    def _read_member(self, picture: Picture, index: int, max_bytes: int) -> bytes:
        archive = self._archive(picture.path)
        member = archive.members[index] if index < len(archive.members) else None
        if member is None or (member.size, member.info.CRC) != (picture.size, picture.crc):
            raise FaceemoError(
                f"{picture.path} is not the archive that was scanned; put that one back, or run 'faceemo scan'"
            )
        return archive.read(member, max_bytes)

    def _archive(self, path: str) -> Archive:
        state = file_state(path)  # a cluster's worker outlives a changed archive
        opened = self._archives.pop(path, None)
        if opened is not None and opened[0] != state:
            opened[1].close()
            opened = None
        self._archives[path] = opened = opened or (state, Archive(Path(path)))
        if len(self._archives) > OPEN_ARCHIVES:
            _, oldest = self._archives.pop(next(iter(self._archives)))
            oldest.close()
        return opened[1]

    def close(self) -> None:
        """Close the archives that were opened."""
        for _, archive in self._archives.values():
            archive.close()
        self._archives.clear()

    def __enter__(self) -> "PictureReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def readable_name(name: str) -> str:
    """A file's name in NFC as text that any file can hold.

    POSIX allows any bytes in a name; Korean tools wrote CP949. What is neither that nor UTF-8 is escaped.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        raw = os.fsencode(name)
        try:
            name = raw.decode("cp949")
        except UnicodeDecodeError:
            name = raw.decode("utf-8", "backslashreplace")
    return unicodedata.normalize("NFC", name)


def _why_unread(path: str, error: OSError) -> str:
    return too_long(path, error) or error.strerror or str(error)


def _stat(path: str) -> os.stat_result:
    """Raises ReadError for what is no regular file: a pipe would be waited for, and a device has no end."""
    found = os.stat(path)  # noqa: PTH116
    if not stat.S_ISREG(found.st_mode):
        raise ReadError("not a regular file")
    return found


def _crc(path: str, size: int) -> int:
    """Of the first `size` bytes: what the system makes up while it is read, as /proc/kmsg, has no end and no size."""
    crc = 0
    with Path(path).open("rb") as file:
        while size > 0 and (block := file.read(min(size, BLOCK))):
            crc = zlib.crc32(block, crc)
            size -= len(block)
    return crc
