"""Rows of pictures that stayed as they are where others of the same source were added, changed or removed.

A source of one's own then has another digest, and dvc removes data/landmarks/<id>/ before it runs the stage. So
`faceemo scan` copies the rows that can stay to where extract finds them. Each shard of such a source says in its
metadata what its rows were made of: the size and CRC-32 of each picture.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from faceemo.durable import remove, written_whole
from faceemo.extraction.archive import Named
from faceemo.extraction.facemesh import COORDINATES
from faceemo.extraction.fingerprint import EXTRACT_METADATA, fingerprint, shard_metadata
from faceemo.extraction.partial import SHARD_FORMAT, find_partials, partial_folder
from faceemo.extraction.pictures import PictureFile
from faceemo.extraction.rescue import DIED
from faceemo.extraction.sources import Source
from faceemo.extraction.worker import Reading
from faceemo.params import Params
from faceemo.paths import LANDMARKS_FOLDER
from faceemo.rows import present_rows
from faceemo.status import Status

PICTURES_METADATA = b"faceemo.pictures"
FILES = "earlier-*.parquet"  # beside the finished shards of unfinished work

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
    it, which this takes the place of. Returns 0 if the landmarks hold as they are, so that extract will not run.
    Raises FaceemoError if the engine is not installed, OSError if there is no room.
    """
    shards = sorted((LANDMARKS_FOLDER / key).glob("part-*.parquet"))
    unfinished = [one.folder for one in find_partials() if one.source == key]
    if not shards and not unfinished:
        return 0
    metadata = shard_metadata(source, params.extract, params.limit)
    partial = partial_folder(key, fingerprint(metadata))
    others = [folder for folder in unfinished if folder != partial]
    current = shards and all(_metadata_of(path).items() >= metadata.items() for path in shards)
    names = Counter(picture.name for picture in pictures)
    now = {picture.name: _bytes_of(picture) for picture in pictures if names[picture.name] == 1}
    kept = 0 if current else _copy_rows([*shards, *_rows_in(others)], partial, now, metadata)
    for folder in [*others, partial] if current else others:
        _remove_earlier(folder)
    return kept


def _copy_rows(files: list[Path], partial: Path, now: Mapping[str, _Bytes], metadata: Mapping[bytes, bytes]) -> int:
    """Copy the rows of these files that hold now and are not in `partial` yet; returns how many are there then."""
    held = EarlierRows(partial).names
    number = len(list(partial.glob(FILES)))
    for path in files:
        table = _rows_that_hold(path, now, held, metadata[EXTRACT_METADATA])
        if table is not None and len(table):
            with written_whole(partial / f"earlier-{number:05d}.parquet") as temporary:
                pq.write_table(table, temporary, **SHARD_FORMAT)
            number += 1
            held |= set(table["image"].to_pylist())
    return len(held)


def _rows_that_hold(path: Path, now: Mapping[str, _Bytes], held: set[str], extraction: bytes) -> pa.Table | None:
    """Of one file the rows made by this extraction of the bytes that their pictures have now, but for those held.

    None if the file is broken or of an older version. What could not be read or killed a worker is tried again.
    """
    table = _read(path)
    if table is None or table.schema.metadata.get(EXTRACT_METADATA) != extraction:
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
    return table.take(pa.array(rows, pa.int64())).replace_schema_metadata({**table.schema.metadata, **own})


class EarlierRows:
    """The rows that were put aside in a folder, as readings by the names of their pictures; broken files are left out.

    A shard's rows are read from all files that hold some of them, so a source in quite another order takes longer.
    """

    def __init__(self, folder: Path) -> None:
        self._place: dict[str, tuple[Path, int]] = {}
        for path in sorted(folder.glob(FILES)):
            table = _read(path)
            if table is not None:
                self._place |= {name: (path, row) for row, name in enumerate(table["image"].to_pylist())}

    @property
    def names(self) -> set[str]:
        return set(self._place)

    def __contains__(self, name: str) -> bool:
        return name in self._place

    def joined(self, names: list[str], others: list[Reading]) -> list[Reading]:
        """The readings of these pictures in their order; others: those of the ones that are not here."""
        here = dict(self._readings([name for name in names if name in self]))
        rest = iter(others)
        return [here[name] if name in here else next(rest) for name in names]

    def _readings(self, names: list[str]) -> Iterator[tuple[str, Reading]]:
        wanted: dict[Path, list[int]] = {}
        for name in names:
            path, row = self._place[name]
            wanted.setdefault(path, []).append(row)
        for path, rows in wanted.items():
            table = pq.read_table(path).take(rows)
            landmarks = iter(present_rows(table["landmarks"], COORDINATES))
            for row in table.drop_columns(["landmarks"]).to_pylist():
                found = next(landmarks) if row["status"] == Status.OK else None
                fields = {name: row[name] for name in ("status", "error", "width", "height", "faces", "turned")}
                yield row["image"], Reading(**fields, landmarks=found)


def _rows_in(folders: list[Path]) -> list[Path]:
    return [path for folder in folders for kind in ("part-*.parquet", FILES) for path in sorted(folder.glob(kind))]


def _remove_earlier(folder: Path) -> None:
    """Remove what was put aside there, and the folder with it where there are no finished shards."""
    earlier = list(folder.glob(FILES))
    if earlier and not any(folder.glob("part-*.parquet")):
        remove(folder)
    else:
        for path in earlier:
            remove(path)


def _read(path: Path) -> pa.Table | None:
    """All of a file, checked; None if it is broken."""
    try:
        return pq.read_table(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError):
        return None


def _metadata_of(path: Path) -> dict[bytes, bytes]:
    try:
        return pq.read_schema(path).metadata or {}
    except (pa.ArrowException, OSError):
        return {}


def _bytes_of(picture: PictureFile) -> _Bytes:
    return None if picture.crc is None or picture.size is None else (picture.size, picture.crc)
