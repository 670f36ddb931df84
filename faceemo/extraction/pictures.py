"""Picture files in folders and archives: how they are told apart without decoding, and their bytes.

A picture is known by its name, size and CRC-32, as a member of an archive is. Of a file the CRC-32 costs reading it, so
what was seen of the files of a source is kept in data/.seen/<id>.json, and only a file whose size or time differs from
that is read again.
"""

import hashlib
import json
import os
import unicodedata
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from faceemo.durable import write_text_whole
from faceemo.errors import FaceemoError
from faceemo.extraction.archive import Archive, Member, ReadError, file_state
from faceemo.paths import SEEN_FOLDER

BLOCK = 1 << 20
CHANGED = "changed since the last scan; run 'faceemo scan'"

Seen = Mapping[str, tuple[int, int, int]]  # size, time of the last change in ns, and CRC-32, by name


@dataclass(frozen=True)
class PictureFile:
    """One picture.

    name: as in the rows, in NFC: its path below the folder, in the archive or in the table. path: of the file, or of
    the archive that holds it; index: among that archive's members, None for a file. size, time, crc: when it was last
    looked at, None for a file not looked at yet. error: why it could not be read then.
    """

    name: str
    path: str
    index: int | None = None
    size: int | None = None
    time: int | None = None
    crc: int | None = None
    error: str | None = None


def look_at(picture: PictureFile, seen: Seen) -> PictureFile:
    """The picture with its CRC-32. A file is read only if `seen` does not know it with this size and time."""
    if picture.index is not None or picture.error is not None:
        return picture
    try:
        stat = os.stat(picture.path)  # noqa: PTH116
        size, time, crc = seen.get(picture.name, (None, None, None))
        if (size, time) != (stat.st_size, stat.st_mtime_ns):
            crc = _crc(picture.path)
    except OSError as error:
        return replace(picture, error=error.strerror or str(error))
    return replace(picture, size=stat.st_size, time=stat.st_mtime_ns, crc=crc)


def member_picture(name: str, path: Path, index: int, member: Member) -> PictureFile:
    """A picture that is a member of the archive at `path`."""
    return PictureFile(name, str(path), index, member.size, None, member.info.CRC)


def digest_of(pictures: Iterable[PictureFile]) -> str:
    """sha256 of the table (name, size, CRC-32) of these pictures; one that cannot be read has neither."""
    table = hashlib.sha256()
    for picture in pictures:
        known = "" if picture.crc is None else f"{picture.size}\0{picture.crc:08x}"
        table.update(f"{picture.name}\0{known}\n".encode())
    return table.hexdigest()


def read_seen(key: str, folder: Path = SEEN_FOLDER) -> Seen:
    """What was last seen of the files of source `key`; nothing if that is not there or damaged: it only spares work."""
    try:
        values = json.loads((folder / f"{key}.json").read_text(encoding="utf-8"))
        return {name: (int(size), int(time), int(crc)) for name, (size, time, crc) in values.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def write_seen(key: str, pictures: Iterable[PictureFile], folder: Path = SEEN_FOLDER) -> None:
    """Keep what was seen of the files among these pictures."""
    seen = {one.name: (one.size, one.time, one.crc) for one in pictures if one.index is None and one.crc is not None}
    write_text_whole(folder / f"{key}.json", json.dumps(seen, ensure_ascii=False))


class PictureReader:
    """The bytes of pictures, whichever file or archive they lie in; archives stay open.

    root: the folder or archive that all of them lie in. If a picture cannot be read and `root` is not there any more,
    it is not that picture's fault.
    """

    def __init__(self, root: Path | None = None) -> None:
        self._root = root
        self._archives: dict[str, tuple[tuple[int, ...], Archive]] = {}

    def read(self, picture: PictureFile, max_bytes: int) -> bytes:
        """The bytes of one picture, checked against the CRC-32 that was seen.

        Raises ReadError if they cannot be read or are others, FaceemoError if what holds all the pictures has gone.
        """
        if picture.error is not None:
            raise ReadError(picture.error)
        if picture.index is not None:
            return self._read_member(picture, picture.index, max_bytes)
        try:
            size = os.stat(picture.path).st_size  # noqa: PTH116
            if size > max_bytes:
                raise ReadError(f"{size} bytes, above the bound of {max_bytes}")
            data = Path(picture.path).read_bytes()
        except OSError as error:
            if self._root is not None and not self._root.exists():
                raise FaceemoError(f"{self._root}: not there any more; connect it again and run again") from None
            raise ReadError(error.strerror or str(error)) from None
        if picture.crc is not None and (len(data), zlib.crc32(data)) != (picture.size, picture.crc):
            raise ReadError(CHANGED)
        return data

    def _read_member(self, picture: PictureFile, index: int, max_bytes: int) -> bytes:
        archive = self._archive(picture.path)
        member = archive.members[index] if index < len(archive.members) else None
        if member is None or (member.size, member.info.CRC) != (picture.size, picture.crc):
            raise ReadError(CHANGED)
        return archive.read(member, max_bytes)

    def _archive(self, path: str) -> Archive:
        state = file_state(path)  # a cluster's worker outlives a changed archive
        known = self._archives.get(path)
        if known is not None and known[0] == state:
            return known[1]
        if known is not None:
            known[1].close()
        archive = Archive(Path(path))
        self._archives[path] = state, archive
        return archive

    def close(self) -> None:
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


def _crc(path: str) -> int:
    crc = 0
    with Path(path).open("rb") as file:
        while block := file.read(BLOCK):
            crc = zlib.crc32(block, crc)
    return crc
