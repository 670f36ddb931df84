"""Another attempt at pictures that could not be read, where they can be read now.

A damaged copy of an archive and the good one that takes its place have the same digest, which is of names, sizes and
CRC-32, so the stage would never run again. `faceemo scan` therefore tries the pictures whose rows are read_error, and
where one can be read it raises the source's `attempt`, which the stage tracks. Before that it puts the other shards
where extract finds them as an interrupted run's: dvc removes data/landmarks/<id>/ before it runs the stage.
"""

import dataclasses
import json
import shutil
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from faceemo.durable import written_whole
from faceemo.errors import FaceemoError
from faceemo.extraction.archive import ReadError, first_by_hash
from faceemo.extraction.fingerprint import ARCHIVE_METADATA, fingerprint, shard_metadata
from faceemo.extraction.opening import Pictures, open_pictures
from faceemo.extraction.partial import COMPLETE, partial_folder
from faceemo.extraction.sources import Source, read_sources
from faceemo.params import Params
from faceemo.paths import LANDMARKS_FOLDER
from faceemo.status import Status


@dataclass(frozen=True)
class Unread:
    """Of a source, the pictures whose rows are read_error.

    again: shards that extract will make again, because they hold one that can be read now. kept: the others.
    """

    pictures: int
    again: int
    kept: int


def raise_attempts(sources: dict[str, Source], params: Params) -> tuple[dict[str, Source], dict[str, Unread]]:
    """The scanned sources with their attempts, and by id what could not be read of them.

    Shards that a raised attempt need not make again are put aside for it.
    """
    earlier = _earlier_sources()
    attempted, unread = {}, {}
    for key, source in sources.items():
        known = key in earlier and earlier[key].digest == source.digest
        attempt = earlier[key].attempt if known else 1
        found = _look_again(key, source, params)
        if found is not None:
            unread[key] = found
            attempt += found.again > 0
        attempted[key] = dataclasses.replace(source, attempt=attempt)
    return attempted, unread


def _earlier_sources() -> dict[str, Source]:
    try:
        return read_sources()
    except FaceemoError:  # none, or not one of this version: scan is what mends it
        return {}


def _look_again(key: str, source: Source, params: Params) -> Unread | None:
    """What could not be read when the source's landmarks were made, None if all could or there are none."""
    shards = _shards_of(key, source)
    failed = {
        path: [row for row, status in enumerate(table["status"].to_pylist()) if status == Status.READ_ERROR]
        for path, table in shards.items()
    }
    if not any(failed.values()):
        return None
    again = []
    with open_pictures(key, source) as pictures:
        indices = iter(first_by_hash(pictures.members, sum(map(len, shards.values()))))
        for path, table in shards.items():
            own = list(islice(indices, len(table)))
            if any(_can_be_read(pictures, own[row], params.extract.max_bytes) for row in failed[path]):
                again.append(path)
    kept = _put_aside(key, source, params, shards, again) if again else len(shards)
    return Unread(sum(map(len, failed.values())), len(shards) - kept, kept)


def _shards_of(key: str, source: Source) -> dict[Path, pa.Table]:
    """The statuses in the shards of data/landmarks/<key>/; none if they are not whole or of another archive."""
    shards = {}
    for path in sorted((LANDMARKS_FOLDER / key).glob("part-*.parquet")):
        try:
            table = pq.read_table(path, columns=["status"])
            digest = json.loads(table.schema.metadata[ARCHIVE_METADATA])["digest"]
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError):
            return {}
        if digest != source.digest:
            return {}
        shards[path] = table
    return shards


def _can_be_read(pictures: Pictures, index: int, max_bytes: int) -> bool:
    try:
        pictures.read(index, max_bytes)
    except ReadError:
        return False
    return True


def _put_aside(key: str, source: Source, params: Params, shards: dict[Path, pa.Table], again: list[Path]) -> int:
    """Copy the shards that need not be made again to where extract looks for finished ones; returns how many.

    None are, if today's settings would make other rows. Copies, since dvc may have made links into its cache of them.
    """
    metadata = shard_metadata(source, params.extract, params.limit)
    if any(table.schema.metadata.get(name) != value for table in shards.values() for name, value in metadata.items()):
        return 0
    partial = partial_folder(key, fingerprint(metadata))
    (partial / COMPLETE).unlink(missing_ok=True)
    for path in shards:
        finished = partial / path.name
        if path in again:
            finished.unlink(missing_ok=True)  # left by the extraction that could not read a picture of it
        elif not finished.exists():
            with written_whole(finished) as temporary:
                shutil.copyfile(path, temporary)
    return len(shards) - len(again)
