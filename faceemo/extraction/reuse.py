"""Rows of pictures that stayed as they are where others of the same source were added, changed or removed.

A source of one's own then has another digest, and dvc removes data/landmarks/<id>/ before it runs the stage. So
`faceemo scan` copies the rows that can stay to where extract finds them. Each shard of such a source says in its
metadata what its rows were made of: the size and CRC-32 of each picture.
"""

import contextlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from faceemo.durable import remove, written_whole
from faceemo.errors import FaceemoError
from faceemo.extraction.archive import Named, first_by_hash
from faceemo.extraction.facemesh import COORDINATES
from faceemo.extraction.fingerprint import EXTRACT_METADATA, fingerprint, shard_metadata
from faceemo.extraction.partial import EARLIER, SHARD_FORMAT, find_partials, partial_folder
from faceemo.extraction.pictures import PictureFile
from faceemo.extraction.rescue import DIED
from faceemo.extraction.schema import SCHEMA
from faceemo.extraction.sources import Source
from faceemo.extraction.worker import Reading
from faceemo.params import Params
from faceemo.paths import LANDMARKS_FOLDER
from faceemo.rows import present_rows
from faceemo.status import Status

PICTURES_METADATA = b"faceemo.pictures"
NUMBER_DIGITS = 5

_Bytes = tuple[int, int] | None  # size and CRC-32; None of a picture that could not be read


def pictures_metadata(pictures: Sequence[Named]) -> dict[bytes, bytes]:
    """What a shard says of the pictures of its rows, in their order: size and CRC-32, null for an unread one.

    Nothing of members of the set's archives, which do not change one by one.
    """
    own = [_bytes_of(picture) for picture in pictures if isinstance(picture, PictureFile)]
    return {PICTURES_METADATA: json.dumps(own).encode()} if own else {}


def put_rows_aside(key: str, source: Source, pictures: list[PictureFile], params: Params) -> int:
    """Copy the rows that hold for `pictures` as they are now, to where extract finds them; returns how many are there.

    They come from the source's landmarks, and from unfinished work and rows that were put aside for other pictures of
    it. Returns 0 if the landmarks hold as they are, so that extract will not run; what was put aside is then removed.
    Raises FaceemoError if the engine is not installed, OSError if there is no room.
    """
    shards = sorted((LANDMARKS_FOLDER / key).glob("part-*.parquet"))
    unfinished = [one.folder for one in find_partials() if one.source == key]
    if not shards and not unfinished:
        return 0
    metadata = shard_metadata(source, params.extract, params.limit)
    wanted = [pictures[index] for index in first_by_hash(pictures, params.limit)]
    if _hold(shards, metadata, len(wanted)):
        for folder in unfinished:
            _remove_earlier(folder, folder.glob(EARLIER))
        return 0
    partial = partial_folder(key, fingerprint(metadata))
    names = Counter(picture.name for picture in wanted)
    now = {picture.name: _bytes_of(picture) for picture in wanted if names[picture.name] == 1}
    others = [folder for folder in unfinished if folder != partial]
    return _copy_rows([*shards, *_rows_in(others)], partial, now, metadata[EXTRACT_METADATA])


def _hold(shards: list[Path], metadata: Mapping[bytes, bytes], rows: int) -> bool:
    """Whether these shards are whole and of this metadata."""
    found = [_footer(path) for path in shards]
    return rows == sum(count for _, count in found) and all(known.items() >= metadata.items() for known, _ in found)


def _copy_rows(files: list[Path], partial: Path, now: Mapping[str, _Bytes], extraction: bytes) -> int:
    """Copy the rows of these files that hold now and are not in `partial` yet; returns how many are there then.

    A file of rows that were put aside goes when all of its pictures are there.
    """
    held = EarlierRows(partial).names
    number = 1 + max((int(path.stem[-NUMBER_DIGITS:]) for path in partial.glob(EARLIER)), default=-1)
    for path in files:
        table = _read(path)
        if table is None:
            continue
        kept = _rows_that_hold(table, now, held, extraction)
        if kept is not None and len(kept):
            with written_whole(partial / f"earlier-{number:0{NUMBER_DIGITS}d}.parquet") as temporary:
                pq.write_table(kept, temporary, **SHARD_FORMAT)
            number += 1
            held |= set(kept["image"].to_pylist())
        if path.match(EARLIER) and held.issuperset(table["image"].to_pylist()):
            _remove_earlier(path.parent, [path])
    return len(held)


def _rows_that_hold(table: pa.Table, now: Mapping[str, _Bytes], held: set[str], extraction: bytes) -> pa.Table | None:
    """The rows made by this extraction of the bytes that their pictures have now, but for those held.

    None of an older version. What could not be read or killed a worker is tried again.
    """
    if table.schema.metadata.get(EXTRACT_METADATA) != extraction:
        return None
    try:
        before = [None if one is None else tuple(one) for one in json.loads(table.schema.metadata[PICTURES_METADATA])]
    except (KeyError, TypeError, ValueError):
        return None
    images, statuses, errors = (table[name].to_pylist() for name in ("image", "status", "error"))
    if len(before) != len(images):
        return None
    rows = [
        row
        for row, name in enumerate(images)
        if before[row] is not None
        and before[row] == now.get(name)
        and name not in held
        and statuses[row] != Status.READ_ERROR
        and errors[row] != DIED.error
    ]
    own = {PICTURES_METADATA: json.dumps([before[row] for row in rows]).encode()}
    kept = table.take(pa.array(rows, pa.int64()))
    return kept.replace_schema_metadata({**table.schema.metadata, **own})


class EarlierRows:
    """The rows that were put aside in a folder, as readings by the names of their pictures; broken files are left out.

    A shard's rows are read from all files that hold some of them, so a source in quite another order takes longer.
    """

    def __init__(self, folder: Path) -> None:
        self._place: dict[str, tuple[Path, int]] = {}
        for path in sorted(folder.glob(EARLIER)):
            table = _read(path)
            if table is not None:
                self._place |= {name: (path, row) for row, name in enumerate(table["image"].to_pylist())}

    @property
    def names(self) -> set[str]:
        return set(self._place)

    def __contains__(self, name: str) -> bool:
        return name in self._place

    def joined(self, names: list[str], others: list[Reading]) -> list[Reading]:
        """The readings of these pictures in their order; others: those of the ones that are not here.

        Raises FaceemoError if a file is not there any more.
        """
        here = dict(self._readings([name for name in names if name in self]))
        rest = iter(others)
        return [here[name] if name in here else next(rest) for name in names]

    def _readings(self, names: list[str]) -> Iterator[tuple[str, Reading]]:
        wanted: dict[Path, list[int]] = {}
        for name in names:
            path, row = self._place[name]
            wanted.setdefault(path, []).append(row)
        for path, rows in wanted.items():
            table = _read(path)
            if table is None:
                raise FaceemoError(f"{path}: changed or removed meanwhile, as by 'faceemo scan'; run 'dvc repro' again")
            table = table.take(rows)
            landmarks = iter(present_rows(table["landmarks"], COORDINATES))
            for row in table.drop_columns(["landmarks"]).to_pylist():
                found = next(landmarks) if row["status"] == Status.OK else None
                fields = {name: row[name] for name in ("status", "error", "width", "height", "faces", "turned")}
                yield row["image"], Reading(**fields, landmarks=found)


def _rows_in(folders: list[Path]) -> list[Path]:
    return [path for folder in folders for kind in ("part-*.parquet", EARLIER) for path in sorted(folder.glob(kind))]


def _remove_earlier(folder: Path, files: Iterable[Path]) -> None:
    """Remove these files that were put aside in a folder, and it too where no shards or others are left in it."""
    with contextlib.suppress(OSError):  # Windows, where another process has one open; the next scan comes by again
        for path in list(files):
            remove(path)
        if not any(folder.glob("*.parquet")):
            remove(folder)


def _read(path: Path) -> pa.Table | None:
    """All of a file of rows, checked; None if it is broken or none of ours."""
    try:
        table = pq.read_table(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError, ValueError):
        return None
    return table if table.schema.metadata and set(SCHEMA.names) <= set(table.column_names) else None


def _footer(path: Path) -> tuple[dict[bytes, bytes], int]:
    """A file's metadata and how many rows it has; nothing of a broken one."""
    try:
        found = pq.read_metadata(path)
        return found.metadata or {}, found.num_rows
    except (pa.ArrowException, OSError, ValueError):
        return {}, 0


def _bytes_of(picture: PictureFile) -> _Bytes:
    return None if picture.crc is None or picture.size is None else (picture.size, picture.crc)
