"""One source to Parquet shards of landmarks: in parallel, resumable, the same bytes whatever the worker count.

The unit of work is a task of a few pictures, the unit of resuming a shard. Workers (local processes, or a Dask
cluster's) return readings; this process alone writes. Finished shards lie in the store (see store) and are linked into
data/landmarks/<id>/ by one rename when the source is complete. What the store has of a picture's bytes is not read.
"""

import importlib.metadata
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pyarrow as pa

from faceemo.console import Interrupted, progress
from faceemo.errors import FaceemoError
from faceemo.extraction.engines.choice import choose_engine
from faceemo.extraction.executors import Versions, WorkerDiedError, open_workers
from faceemo.extraction.fingerprint import how_made, versions_of
from faceemo.extraction.rescue import read_in_order
from faceemo.extraction.schema import SCHEMA
from faceemo.extraction.store import Store, alone
from faceemo.extraction.worker import TASK_PICTURES, Reading, Task, batches, read_task
from faceemo.params import ExtractParams
from faceemo.paths import LANDMARKS_FOLDER
from faceemo.pictures.opening import pictures_of, root_of
from faceemo.pictures.reader import Picture, digest_of, first_by_hash
from faceemo.pictures.sources import Source
from faceemo.rows import read_parquet, rows_or_null
from faceemo.status import Status

SHARD_ROWS = 1000
IDENTITY = ("image", "size", "crc32")  # the columns that a picture has before it is read


def extract(
    key: str,
    source: Source,
    settings: ExtractParams,
    limit: int | None,
    workers: int | None,
    shard_rows: int = SHARD_ROWS,
    task_pictures: int = TASK_PICTURES,
) -> Path:
    """Extract the pictures of source `key` to data/landmarks/<key>/part-00000.parquet and on; returns that folder.

    Raises FaceemoError if the pictures are not those that were scanned, the engine is not installed, another process is
    extracting them or workers die over and over; Interrupted on Ctrl-C.
    """
    settings = replace(settings, engine=choose_engine(settings.engine))  # a cluster's workers must not choose again
    pictures = pictures_of(key, source)
    if digest_of(pictures) != source.digest:
        what = "archive" if source.zip else "pictures"
        raise FaceemoError(f"{key}: {what} changed since the last scan; run 'faceemo scan'")
    shards = list(batches([pictures[index] for index in first_by_hash(pictures, limit)], shard_rows))
    store = Store(key, how_made(settings))
    with alone(key):
        unread, seconds = _fill(store, key, shards, settings, root_of(source), workers, task_pictures)
        folder = LANDMARKS_FOLDER / key
        store.publish(shards, folder)
        store.drop_unused(shards, pictures)
    print(_summary(key, folder, unread, seconds), flush=True)
    return folder


def _fill(
    store: Store,
    key: str,
    shards: list[list[Picture]],
    settings: ExtractParams,
    root: str | None,
    workers: int | None,
    task_pictures: int,
) -> tuple[int, float]:
    """Write the rows of these shards that the store lacks; how many pictures were read, and in how many seconds."""
    missing = [shard for shard in shards if not store.has(shard)]
    kept = len(shards) - len(missing)
    wanted = list(chain.from_iterable(missing))
    known = store.find(wanted)
    unread = [picture for picture, is_known in zip(wanted, known.is_known, strict=True) if not is_known]
    total = sum(map(len, shards))
    if len(unread) < total:
        print(f"{key}: {total - len(unread)} of {total} pictures were read before", flush=True)

    started = time.perf_counter()
    versions: Versions = {"faceemo": partial(importlib.metadata.version, "faceemo"), **versions_of(settings.engine)}
    if settings.scheduler:  # a cluster's workers run in other folders
        unread = [replace(picture, path=os.path.abspath(picture.path)) for picture in unread]  # noqa: PTH100
        root = root and os.path.abspath(root)  # noqa: PTH100
    tasks = [Task(batch, settings, root) for batch in batches(unread, task_pictures)]
    try:
        with (
            open_workers(settings.scheduler, workers, len(tasks), versions) as opened,
            progress(total, key, "pictures", done=total - len(unread)) as advance,
        ):
            readings = _counted(read_in_order(opened, read_task, tasks), advance)
            start = 0
            for shard in missing:
                here = slice(start, start + len(shard))
                new = list(islice(readings, int((~known.is_known[here]).sum())))
                store.write(shard, _rows(shard, list(known.read(here)), new))
                start += len(shard)
                kept += 1
    except WorkerDiedError as error:
        raise FaceemoError(f"{key}: {error} ({kept} of {len(shards)} shards are kept)") from None
    except KeyboardInterrupt:
        raise Interrupted(f"{key}: {kept} of {len(shards)} shards are kept, run again to go on") from None

    return len(unread), time.perf_counter() - started


def _counted(results: Iterable[list[Reading]], advance: Callable[..., None]) -> Iterator[Reading]:
    """The readings of all tasks, with a word of progress for each task."""
    no_face = 0
    for readings in results:
        no_face += sum(reading.status == Status.NO_FACE for reading in readings)
        advance(len(readings), no_face=no_face)
        yield from readings


def _rows(pictures: Sequence[Picture], known: list[tuple[np.ndarray, pa.Table]], readings: list[Reading]) -> pa.Table:
    """The rows of a shard: those known, with their positions, and the readings of its other pictures, in order."""
    parts = [table.drop_columns(list(IDENTITY)).replace_schema_metadata() for _, table in known]
    positions = [places for places, _ in known]
    positions.append(np.setdiff1d(np.arange(len(pictures)), np.concatenate([*positions, np.zeros(0, int)])))
    order = np.argsort(np.concatenate(positions))
    measured = pa.concat_tables([*parts, _measured(readings)]).take(order).combine_chunks()
    identity = [[one.name for one in pictures], [one.size for one in pictures], [one.crc for one in pictures]]
    columns = dict(zip(IDENTITY, identity, strict=True))
    return pa.table({**columns, **{name: measured[name] for name in measured.column_names}}, schema=SCHEMA)


def _measured(readings: list[Reading]) -> pa.Table:
    names = [name for name in SCHEMA.names if name not in IDENTITY]
    columns = {name: [getattr(reading, name) for reading in readings] for name in names}
    columns["landmarks"] = rows_or_null(columns["landmarks"])
    columns["crop"] = [None if crop is None else crop.tobytes() for crop in columns["crop"]]
    return pa.table(columns, schema=pa.schema([SCHEMA.field(name) for name in names]))


def _summary(key: str, folder: Path, pictures: int, seconds: float) -> str:
    counts: Counter[str] = Counter()
    turned = 0
    for shard in sorted(folder.glob("part-*.parquet")):
        rows = read_parquet(shard, ["status", "turned"])
        counts.update(rows["status"].to_pylist())
        turned += np.count_nonzero(rows["turned"])
    found = ", ".join(f"{counts[status]} {status}" for status in Status if counts[status] or status == Status.OK)
    found += f" ({turned} upside down, turned)" if turned else ""
    rate = f"; {pictures / seconds:.1f} pictures/s" if pictures else ""
    return f"{key}: {counts.total()} pictures: {found}{rate}"
