"""Rows of pictures that stayed as they are where others of the same source were added, changed or removed.

A source of one's own then has another digest, and dvc removes data/landmarks/<id>/ before it runs the stage. So
`faceemo scan` puts the rows that can stay where extract finds them. Each shard of such a source says in its metadata
what its rows were made of: the size and CRC-32 of each picture.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from faceemo.durable import remove, written_whole
from faceemo.extraction.archive import Named
from faceemo.extraction.facemesh import COORDINATES
from faceemo.extraction.fingerprint import ARCHIVE_METADATA, EXTRACT_METADATA, fingerprint, shard_metadata
from faceemo.extraction.partial import find_partials, partial_folder
from faceemo.extraction.pictures import PictureFile
from faceemo.extraction.sources import Source
from faceemo.extraction.worker import Reading
from faceemo.params import Params
from faceemo.paths import LANDMARKS_FOLDER
from faceemo.rows import present_rows
from faceemo.status import Status

PICTURES_METADATA = b"faceemo.pictures"
FILES = "earlier-*.parquet"  # beside the finished shards


def pictures_metadata(pictures: Sequence[Named]) -> dict[bytes, bytes]:
    """What a shard says of the pictures of its rows, in their order: size and CRC-32, null for an unread one.

    Nothing of members of the set's archives, which do not change one by one.
    """
    own = [_bytes_of(picture) for picture in pictures if isinstance(picture, PictureFile)]
    return {PICTURES_METADATA: json.dumps(own).encode()} if own else {}


def put_rows_aside(key: str, source: Source, pictures: list[PictureFile], params: Params) -> int:
    """Put the rows of the source's landmarks aside that hold for `pictures` as they are now; returns how many.

    None are where all hold, since extract does not run then, or where today's settings would make other rows.
    """
    shards = sorted((LANDMARKS_FOLDER / key).glob("part-*.parquet"))
    if not shards:
        return 0
    metadata = shard_metadata(source, params.extract, params.limit)
    partial = partial_folder(key, fingerprint(metadata))
    for other in find_partials():  # of a scan after which the stage did not run
        if other.source == key and other.folder != partial and not other.shards and any(other.folder.glob(FILES)):
            remove(other.folder)
    names = Counter(picture.name for picture in pictures)
    now = {picture.name: _bytes_of(picture) for picture in pictures if names[picture.name] == 1}
    kept = 0
    for path in shards:
        table = _rows_that_hold(path, now, metadata)
        if table is not None and len(table):
            with written_whole(partial / path.name.replace("part", "earlier")) as temporary:
                pq.write_table(table, temporary, compression="zstd")
            kept += len(table)
    return kept


def _rows_that_hold(path: Path, now: dict[str, list[int] | None], metadata: dict[bytes, bytes]) -> pa.Table | None:
    """Of one shard the rows whose pictures have the same bytes now; None if it holds as it is, or none of it does."""
    try:
        file = pq.ParquetFile(path)
        known = file.schema_arrow.metadata
        if known[EXTRACT_METADATA] != metadata[EXTRACT_METADATA]:
            return None
        if known[ARCHIVE_METADATA] == metadata[ARCHIVE_METADATA]:
            return None
        before = json.loads(known[PICTURES_METADATA])
        table = file.read()
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError):
        return None  # of an older version, or broken: the stage makes all of it again
    holds = [
        bytes_before is not None and now.get(name) == bytes_before and status != Status.READ_ERROR
        for name, status, bytes_before in zip(
            table["image"].to_pylist(), table["status"].to_pylist(), before, strict=True
        )
    ]
    return table.filter(pa.array(holds, pa.bool_()))


class EarlierRows:
    """The rows that were put aside in a folder, as readings by the names of their pictures."""

    def __init__(self, folder: Path) -> None:
        self._place: dict[str, tuple[Path, int]] = {}
        for path in sorted(folder.glob(FILES)):
            names = pq.read_table(path, columns=["image"])["image"].to_pylist()
            self._place |= {name: (path, row) for row, name in enumerate(names)}

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


def _bytes_of(picture: PictureFile) -> list[int] | None:
    return None if picture.crc is None or picture.size is None else [picture.size, picture.crc]
