"""A source, opened: its pictures in the order of the rows, their digest and bytes, and tasks for workers."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from faceemo.console import progress
from faceemo.errors import FaceemoError
from faceemo.extraction.archive import Archive, Named
from faceemo.extraction.people import subject_reader
from faceemo.extraction.pictures import PictureFile, PictureReader, Seen, digest_of, look_at, read_seen
from faceemo.extraction.sources import Source, locate
from faceemo.extraction.tables import Table, read_table, table_pictures
from faceemo.extraction.trees import files_at, has_class
from faceemo.extraction.worker import Chunk, FileChunk
from faceemo.params import ExtractParams
from faceemo.paths import SEEN_FOLDER


class Pictures(Protocol):
    """An open source. members: its pictures. digest: what sources.yaml has of a source like it."""

    @property
    def members(self) -> Sequence[Named]: ...

    @property
    def digest(self) -> str: ...

    def chunk(self, indices: list[int], settings: ExtractParams) -> Chunk | FileChunk:
        """A task for a worker: members by their index."""

    def read(self, index: int, max_bytes: int) -> bytes:
        """The bytes of a member, checked. Raises ReadError if they cannot be read."""

    def close(self) -> None: ...


class SetPictures:
    """The pictures of an archive of the set."""

    def __init__(self, path: Path) -> None:
        self._archive = Archive(path)
        self.members = self._archive.pictures
        self.digest = self._archive.digest()

    def chunk(self, indices: list[int], settings: ExtractParams) -> Chunk:
        return Chunk(str(self._archive.path), self.digest, settings, indices)

    def read(self, index: int, max_bytes: int) -> bytes:
        return self._archive.read(self.members[index], max_bytes)

    def close(self) -> None:
        self._archive.close()


class OwnPictures:
    """The pictures of a tree, a ZIP of one or a table. root: what they all lie in, None for a table."""

    def __init__(self, members: list[PictureFile], root: Path | None) -> None:
        self.members = members
        self.digest = digest_of(members)
        self._root = root
        self._reader = PictureReader(root)

    def chunk(self, indices: list[int], settings: ExtractParams) -> FileChunk:
        root = None if self._root is None else str(self._root)
        return FileChunk([self.members[index] for index in indices], settings, root)

    def read(self, index: int, max_bytes: int) -> bytes:
        return self._reader.read(self.members[index], max_bytes)

    def close(self) -> None:
        self._reader.close()


@contextmanager
def open_pictures(key: str, source: Source, look: bool = True) -> Iterator[Pictures]:
    """The pictures of a source as they are now. Raises FaceemoError if it cannot be read.

    look: whether pictures in files are looked at, so that their digest can be compared with that of a scan.
    """
    opened: Pictures = SetPictures(locate(source.path)) if source.emotion is not None else _open_own(key, source, look)
    try:
        yield opened
    finally:
        opened.close()


def _open_own(key: str, source: Source, look: bool) -> OwnPictures:
    path = locate(source.path)
    if not path.exists():
        raise FaceemoError(f"{key}: {path} is not there; connect it again, or run 'faceemo scan' on where it is now")
    found = list(pictures_at(path, source.level, read_table(path) if source.table else None))
    if look:
        found = look_at_all(key, found, read_seen(key, locate(SEEN_FOLDER.as_posix())))
    return OwnPictures(found, None if source.table else path)


def pictures_at(path: Path, level: int | None, table: Table | None) -> Iterable[PictureFile]:
    """The pictures with a class of a table, a folder or a ZIP archive, in the order of the rows, not looked at yet."""
    if table is not None:
        return table_pictures(table, path.parent)
    assert level is not None, "a source without a table has one"
    return (file for file in files_at(path) if has_class(file.name, level))


def look_at_all(key: str, pictures: list[PictureFile], seen: Seen) -> list[PictureFile]:
    """The pictures with their CRC-32s; those are read that `seen` does not know."""
    looked_at = []
    with progress(len(pictures), f"{key}: comparing", "pictures") as advance:
        for picture in pictures:
            looked_at.append(look_at(picture, seen))
            advance(1)
    return looked_at


def check_people(key: str, source: Source, names: Iterable[str]) -> None:
    """Raises FaceemoError if it is not known who is in any of the pictures with these names."""
    if source.emotion is not None:
        return
    subject_of = subject_reader(source.subject, key)
    if any(subject_of(name) for name in names):
        return
    if source.table and any(line.subject for line in read_table(locate(source.table.path)).lines.values()):
        return
    raise FaceemoError(
        f"{key}: it is not known who is in which picture, but a model is judged on people it has not seen; scan again "
        "with --subject 'REGEX' whose group is the person in a picture's name, or with --subject each to count every "
        "picture as a different person"
    )
