"""One source to Parquet shards of landmarks: in parallel, resumable, the same bytes whatever the worker count.

The unit of work is a chunk of pictures, the unit of resuming a shard. Workers (local processes, or a Dask cluster's)
return readings; this process alone writes. Finished shards wait in data/.partial/<id>-<fingerprint>/ until the source
is complete, and are then linked into data/landmarks/<id>/ by one rename.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from faceemo.console import Interrupted, progress
from faceemo.durable import written_whole
from faceemo.errors import FaceemoError
from faceemo.extraction.archive import Named, first_by_hash, parse_picture_name
from faceemo.extraction.engines.choice import choose_engine
from faceemo.extraction.executors import WorkerDiedError, open_workers
from faceemo.extraction.fingerprint import fingerprint, shard_metadata
from faceemo.extraction.opening import check_people, open_pictures
from faceemo.extraction.partial import SHARD_FORMAT, partial_folder, publish
from faceemo.extraction.rescue import read_in_order
from faceemo.extraction.reuse import EarlierRows, pictures_metadata
from faceemo.extraction.schema import SCHEMA
from faceemo.extraction.sources import Source
from faceemo.extraction.worker import CHUNK_PICTURES, Reading, batches, read_task
from faceemo.params import ExtractParams
from faceemo.paths import LANDMARKS_FOLDER
from faceemo.rows import rows_or_null
from faceemo.status import Status

SHARD_ROWS = 1000


def extract(key: str, source: Source, settings: ExtractParams, limit: int | None, workers: int | None) -> Path:
    """Extract the pictures of source `key` to data/landmarks/<key>/part-00000.parquet and on; returns that folder.

    Shards that an interrupted run of the same work finished are kept. Raises FaceemoError if the pictures are not those
    that were scanned, it is not known who is in them, the engine is not installed or a worker dies; Interrupted on
    Ctrl-C.
    """
    settings = replace(settings, engine=choose_engine(settings.engine))  # a cluster's workers must not choose again
    with open_pictures(key, source) as found:
        if found.digest != source.digest:
            what = "archive" if source.zip else "pictures"
            raise FaceemoError(f"{key}: {what} changed since the last scan; run 'faceemo scan'")
        pictures = found.members
    check_people(key, source, (picture.name for picture in pictures))
    shards = list(batches(first_by_hash(pictures, limit), SHARD_ROWS))
    metadata = shard_metadata(source, settings, limit)
    partial = partial_folder(key, fingerprint(metadata))
    partial.mkdir(parents=True, exist_ok=True)
    missing = [number for number in range(len(shards)) if not (partial / _shard_name(number)).exists()]
    kept = len(shards) - len(missing)
    if kept:
        print(f"{key}: {kept} of {len(shards)} shards kept from an earlier run", flush=True)
    earlier = EarlierRows(partial)
    unread = {number: [index for index in shards[number] if pictures[index].name not in earlier] for number in missing}
    total, todo = sum(map(len, shards)), sum(map(len, unread.values()))
    if reused := sum(len(shards[number]) for number in missing) - todo:
        print(f"{key}: landmarks of {reused} of {total} pictures kept from an earlier run", flush=True)

    started = time.monotonic()
    chunks = [
        found.chunk(indices, settings) for number in missing for indices in batches(unread[number], CHUNK_PICTURES)
    ]
    no_face = 0
    try:
        with (
            open_workers(settings.scheduler, workers, len(chunks)) as opened,
            progress(total, key, "pictures", done=total - todo) as advance,
        ):
            results = read_in_order(opened, read_task, chunks)
            for number in missing:
                readings: list[Reading] = []
                while len(readings) < len(unread[number]):
                    batch = next(results)
                    readings += batch
                    no_face += sum(reading.status == Status.NO_FACE for reading in batch)
                    advance(len(batch), no_face=no_face)
                members = [pictures[index] for index in shards[number]]
                readings = earlier.joined([member.name for member in members], readings)
                table = _table(members, source.emotion, readings, metadata | pictures_metadata(members))
                _write_shard(partial / _shard_name(number), table)
                kept += 1
    except WorkerDiedError as error:
        raise FaceemoError(f"{key}: {error} ({kept} of {len(shards)} shards are kept)") from None
    except KeyboardInterrupt:
        raise Interrupted(f"{key}: {kept} of {len(shards)} shards are kept, run again to go on") from None

    folder = LANDMARKS_FOLDER / key
    publish(partial, folder)
    print(_summary(key, folder, todo, time.monotonic() - started), flush=True)
    return folder


def _shard_name(number: int) -> str:
    return f"part-{number:05d}.parquet"


def _table(
    members: Sequence[Named], emotion: str | None, readings: list[Reading], metadata: dict[bytes, bytes]
) -> pa.Table:
    names = [member.name for member in members]
    parsed = [parse_picture_name(name) for name in names]
    columns = {
        "image": names,
        "emotion": [emotion] * len(names),
        **{column: [getattr(name, column) for name in parsed] for column in ("subject", "sex", "age", "background")},
        **{
            column: [getattr(reading, column) for reading in readings]
            for column in ("width", "height", "faces", "turned", "status", "error")
        },
        "landmarks": rows_or_null([reading.landmarks for reading in readings]),
    }
    return pa.table(columns, schema=SCHEMA.with_metadata(metadata))


def _write_shard(path: Path, table: pa.Table) -> None:
    with written_whole(path) as temporary:
        pq.write_table(table, temporary, **SHARD_FORMAT)


def _summary(key: str, folder: Path, pictures: int, seconds: float) -> str:
    counts: Counter[str] = Counter()
    turned = 0
    for shard in sorted(folder.glob("part-*.parquet")):
        rows = pq.read_table(shard, columns=["status", "turned"])
        counts.update(rows["status"].to_pylist())
        turned += np.count_nonzero(rows["turned"])
    found = ", ".join(f"{counts[status]} {status}" for status in Status if counts[status] or status == Status.OK)
    found += f" ({turned} upside down, turned)" if turned else ""
    rate = f"; {pictures / seconds:.1f} pictures/s" if pictures else ""
    return f"{key}: {counts.total()} pictures: {found}{rate}"
