"""Finished rows, looked up by the bytes of their pictures and by how rows are made.

data/.rows/<fingerprint>/<id>/<digest>.parquet holds the rows of some pictures of source <id>, in the order of the
source. The fingerprint names how they were made, the digest the pictures (name, size, CRC-32): so no file is ever
replaced by one of other pictures, and whatever was interrupted, moved or changed, a picture whose bytes are known is
not read again.

Bytes are told apart by size and CRC-32. Where that is not enough (see reader.are_bytes_known) the rows are those of a
picture with the same name, but for its folders.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from faceemo.durable import link, locked, remove, rename, sync_folder, write_text_whole, written_whole
from faceemo.errors import FaceemoError
from faceemo.extraction.fingerprint import EXTRACT_METADATA, fingerprint
from faceemo.extraction.landmarks import are_landmarks
from faceemo.extraction.rescue import DIED
from faceemo.extraction.schema import SCHEMA
from faceemo.paths import ROWS_FOLDER
from faceemo.pictures.archive import JPEG_SUFFIXES
from faceemo.pictures.reader import SMALL, Picture, are_bytes_known, digest_of
from faceemo.rows import BROKEN, read_parquet
from faceemo.status import Status

DIGEST_LENGTH = 32
PICTURES_METADATA = b"faceemo.pictures"  # in a file of rows: the digest of its pictures, which is its name in the store
WHOLE = "whole"  # a file in a folder of the store whose source was whole when a stage last worked in it
# Landmarks are noise to a dictionary; their bytes split by significance compress by a third.
FILE_FORMAT: dict[str, Any] = {
    "compression": "zstd",
    "use_dictionary": ["status"],
    "use_byte_stream_split": ["landmarks.list.element"],
    "write_page_checksum": True,
}


def rows_folder() -> Path:
    """data/.rows of the project, also from the copy of it below .dvc/tmp in which `dvc exp run --temp` works."""
    for folder in Path().resolve().parents:
        if folder.name == ".dvc":
            return folder.parent / ROWS_FOLDER
    return ROWS_FOLDER


@contextmanager
def alone(key: str) -> Iterator[None]:
    """Keep other processes from the rows of source `key`. Raises FaceemoError if one is at work on them.

    The file that is held stands beside the folders of rows, and stays: whoever removed it would let a second one in.
    """
    with ExitStack() as held:
        try:
            held.enter_context(locked(ROWS_FOLDER / f"{key}.lock"))
        except BlockingIOError:
            raise FaceemoError(
                f"{key}: another process is extracting it; wait until it has ended, or stop it"
            ) from None
        yield


class Store:
    """The rows of source `key` that are made in one way, and where those of other sources are found."""

    def __init__(self, key: str, made: bytes) -> None:
        """made: how rows are made (see fingerprint)."""
        self._made = made
        name = fingerprint(made)
        self._way = rows_folder() / name
        self.folder = self._way / key
        self._desk = ROWS_FOLDER / name / key  # of this copy of the project alone: several may work at once

    def has(self, pictures: Sequence[Picture]) -> bool:
        """Whether the rows of exactly these pictures are a file of the source: whole, and none to be tried again."""
        rows = self._read(self._place(pictures))
        return rows is not None and _are_of(rows, pictures) and bool(is_lasting(rows).all())

    def find(self, pictures: Sequence[Picture]) -> "KnownRows":
        """Where the rows of these pictures stand, in files of this source first; files that are broken are left out."""
        keys = keys_of(pictures)
        file, row = np.full(len(keys), -1), np.zeros(len(keys), np.int64)
        files: list[Path] = []
        own = sorted(self.folder.glob("*.parquet"))
        for path in (*own, *sorted(set(self._way.glob("*/*.parquet")) - set(own))):
            wanted = np.flatnonzero((file < 0) & keys.is_valid())
            if not len(wanted):
                break
            here, rows = lasting_keys(path)
            at = pc.index_in(keys.take(wanted), value_set=here)
            hits = np.flatnonzero(at.is_valid())
            if len(hits) and self._read(path) is not None:
                file[wanted[hits]], row[wanted[hits]] = len(files), rows[at.take(hits).to_numpy()]
                files.append(path)
        return KnownRows(files, file, row)

    def write(self, pictures: Sequence[Picture], rows: pa.Table) -> None:
        """Write the rows of these pictures, whole or not at all."""
        digest = _digest(pictures)
        metadata = {EXTRACT_METADATA: self._made, PICTURES_METADATA: digest.encode()}
        place, desk = self._place(pictures), self._desk / f"{digest}.parquet"
        (self.folder / WHOLE).unlink(missing_ok=True)
        with written_whole(desk) as temporary:
            pq.write_table(rows.replace_schema_metadata(metadata), temporary, **FILE_FORMAT)
        if desk != place:
            place.parent.mkdir(parents=True, exist_ok=True)
            rename(desk, place)

    def publish(self, shards: Sequence[Sequence[Picture]], folder: Path) -> None:
        """Make the rows of these shards appear as `folder`/part-00000.parquet and on, in one rename.

        They are linked, not moved: dvc removes the folder before it runs the stage again.
        """
        new = self._desk / "new"
        if new.exists():
            remove(new)
        new.mkdir(parents=True)
        for number, pictures in enumerate(shards):
            link(self._place(pictures), new / f"part-{number:05d}.parquet")
        sync_folder(new)
        if folder.exists():
            remove(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        rename(new, folder)
        sync_folder(folder.parent)
        write_text_whole(self.folder / WHOLE, "")

    def drop_unused(self, shards: Sequence[Sequence[Picture]], pictures: Sequence[Picture]) -> None:
        """Remove files of the source that are none of these shards and hold no other row of its `pictures` now."""
        if self.folder != self._desk:
            return  # the project itself does that: other copies of it may be at work
        kept = {self._place(one) for one in shards}
        chosen, every = keys_of([one for shard in shards for one in shard]), keys_of(pictures)
        for path in set(self.folder.glob("*.parquet")) - kept:
            here, _ = lasting_keys(path)
            if pc.all(pc.or_(pc.is_in(here, chosen), pc.invert(pc.is_in(here, every))), min_count=0).as_py():
                remove(path)
        for path in self.folder.glob("*.tmp"):  # of a run that was killed
            remove(path)

    def _place(self, pictures: Sequence[Picture]) -> Path:
        return self.folder / f"{_digest(pictures)}.parquet"

    def _read(self, path: Path) -> pa.Table | None:
        """All of a file, checked; None if it is broken or its rows are made in another way."""
        try:
            rows = read_parquet(path)
        except BROKEN:
            return None
        made = (rows.schema.metadata or {}).get(EXTRACT_METADATA)
        return rows if made == self._made and rows.schema.equals(SCHEMA) and are_landmarks(rows) else None


class KnownRows:
    """Where the rows of N pictures stand in files of the store."""

    def __init__(self, files: list[Path], file: np.ndarray, row: np.ndarray) -> None:
        self._files = files
        self._file = file
        self._row = row
        self._open: tuple[int, pa.Table] | None = None  # the file read last: the next shard's rows are often in it too

    @property
    def is_known(self) -> np.ndarray:
        """bool [N]"""
        return self._file >= 0

    def read(self, pictures: slice) -> Iterator[tuple[np.ndarray, pa.Table]]:
        """The rows of those among these pictures that are known: their positions, from 0, and as many rows."""
        file, row = self._file[pictures], self._row[pictures]
        for number in np.unique(file[file >= 0]).tolist():
            positions = np.flatnonzero(file == number)
            yield positions, self._table(number).take(row[positions])

    def _table(self, number: int) -> pa.Table:
        if self._open is None or self._open[0] != number:
            path = self._files[number]
            try:
                self._open = number, read_parquet(path)
            except BROKEN:
                raise FaceemoError(f"{path}: changed or removed meanwhile; run 'dvc repro' again") from None
        return self._open[1]


def keys_of(pictures: Sequence[Picture]) -> pa.StringArray:
    """What tells the bytes of each picture apart, null where they are not known."""
    return pa.array(
        [
            None if one.size is None or one.crc is None else f"{one.size} {one.crc} {_word(one.name, one.size)}"
            for one in pictures
        ],
        pa.string(),
    )


def _word(name: str, size: int) -> str:
    """What of a picture's name belongs to its key (see above)."""
    return "" if are_bytes_known(name, size) else name.rpartition("/")[2]


def is_lasting(rows: pa.Table) -> np.ndarray:
    """bool [N]: the rows that stay true of their pictures: not of one that could not be read or killed its worker."""
    tried_again = pc.or_(
        pc.equal(rows["status"], Status.READ_ERROR), pc.fill_null(pc.equal(rows["error"], DIED.error), False)
    )
    known = pc.and_(pc.is_valid(rows["size"]), pc.is_valid(rows["crc32"]))
    return pc.and_not(known, tried_again).to_numpy()


def _are_of(rows: pa.Table, pictures: Sequence[Picture]) -> bool:
    """Whether rows are those of these pictures, in their order."""
    identity = (rows[name].to_pylist() for name in ("image", "size", "crc32"))
    return list(zip(*identity, strict=True)) == [(one.name, one.size, one.crc) for one in pictures]


def lasting_keys(path: Path) -> tuple[pa.StringArray, np.ndarray]:
    """Of a file of rows the keys of the lasting ones, and which rows these are; none of a broken file."""
    try:
        columns = ["image", "size", "crc32", "status", "error"]
        rows = read_parquet(path, columns)
        kept = np.flatnonzero(is_lasting(rows))
    except BROKEN:
        return pa.array([], pa.string()), np.zeros(0, np.int64)
    name, size, crc = (rows[column].take(kept).combine_chunks() for column in columns[:3])
    is_jpeg = pc.match_substring_regex(name, rf"({'|'.join(map(re.escape, JPEG_SUFFIXES))})$", ignore_case=True)
    word = pc.if_else(
        pc.and_(is_jpeg, pc.greater_equal(size, SMALL)), "", pc.replace_substring_regex(name, r"^.*/", "")
    )
    return pc.binary_join_element_wise(size.cast(pa.string()), crc.cast(pa.string()), word, " "), kept


def _digest(pictures: Sequence[Picture]) -> str:
    return digest_of(pictures)[:DIGEST_LENGTH]
