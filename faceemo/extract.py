"""One archive to Parquet shards of landmarks: in parallel, resumable, the same bytes whatever the worker count.

The unit of work is a chunk of pictures, the unit of resuming a shard. Workers (local processes, or a Dask cluster's)
return readings; this process alone writes. Finished shards wait in data/.partial/<id>-<fingerprint>/ until the archive
is complete, and are then linked into data/landmarks/<id>/ by one rename.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from faceemo.archive import Archive, Member, ReadError, first_by_hash, parse_picture_name
from faceemo.console import Interrupted, progress
from faceemo.decode import DecodeError, Picture
from faceemo.durable import link, rename, sync_folder, written_whole
from faceemo.errors import FaceemoError
from faceemo.facemesh import FaceMesh, face_width, largest_face, silence_native_log
from faceemo.params import WINDOWS_MAX_WORKERS, ExtractParams
from faceemo.rows import rows_or_null
from faceemo.sources import Source, locate

LANDMARKS_FOLDER = Path("data/landmarks")
PARTIAL_FOLDER = Path("data/.partial")
SHARD_ROWS = 1000
FINGERPRINT_LENGTH = 16
CHUNK_PICTURES = 8
FORMAT = 1  # of the rows; raise it when the same pictures would give other rows

# FaceMesh looks at a 128 x 128 view to find a face and at a 192 x 192 crop to place its points, so a larger picture
# only costs. Decode so that the short side stays above FIRST_SIDE; if the face then is narrower than FACE_WIDTH, again
# larger. At 190 px the landmarks move by about 0.9 % of the distance between the irises, as much as a shift of the
# picture by a few pixels moves them.
FIRST_SIDE = 480
FACE_WIDTH = 190

STATUSES = ("ok", "no_face", "decode_error", "read_error")

SCHEMA = pa.schema(
    [
        ("image", pa.string()),
        ("emotion", pa.string()),
        ("subject", pa.string()),
        ("sex", pa.string()),
        ("age", pa.int16()),
        ("background", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("faces", pa.int8()),
        ("status", pa.string()),
        ("error", pa.string()),
        ("landmarks", pa.list_(pa.float32())),
    ]
)
# Landmarks are noise to a dictionary; their bytes split by significance compress by a third.
PARQUET = {
    "compression": "zstd",
    "use_dictionary": ["emotion", "subject", "sex", "background", "status"],
    "use_byte_stream_split": ["landmarks.list.element"],
}


@dataclass(frozen=True)
class Reading:
    """What a worker found in one picture: sizes of the upright picture, landmarks float32 [1434] if status is ok."""

    status: str
    error: str | None = None
    width: int | None = None
    height: int | None = None
    faces: int | None = None
    landmarks: np.ndarray | None = None


@dataclass(frozen=True)
class Chunk:
    """A task for a worker: some pictures of an archive, by their place in Archive.pictures."""

    zip: str
    settings: ExtractParams
    pictures: list[int]


def extract(key: str, source: Source, settings: ExtractParams, limit: int | None, workers: int | None) -> Path:
    """Extract the archive of source `key` to data/landmarks/<key>/part-00000.parquet and on; returns that folder.

    Shards that an interrupted run of the same work finished are kept. Raises FaceemoError if the archive is not the
    one that was scanned or a worker dies, Interrupted on Ctrl-C.
    """
    path = locate(source.zip)
    with Archive(path) as archive:
        if archive.digest() != source.digest:
            raise FaceemoError(f"{key}: archive changed since the last scan; run 'faceemo scan'")
        pictures = archive.pictures
    shards = list(_batches(first_by_hash(pictures, limit), SHARD_ROWS))
    partial = PARTIAL_FOLDER / f"{key}-{_fingerprint(source, settings, limit)}"
    remove_partials(key, but=partial)
    partial.mkdir(parents=True, exist_ok=True)
    missing = [number for number in range(len(shards)) if not (partial / _shard_name(number)).exists()]
    kept = len(shards) - len(missing)
    if kept:
        print(f"{key}: {kept} of {len(shards)} shards kept from an earlier run", flush=True)

    started = time.monotonic()
    chunks = [
        Chunk(str(path), settings, places) for number in missing for places in _batches(shards[number], CHUNK_PICTURES)
    ]
    todo = sum(len(shards[number]) for number in missing)
    total = sum(map(len, shards))
    no_face = 0
    try:
        with (
            _executor(settings.scheduler, workers, len(chunks)) as (executor, window),
            progress(total, key, "pictures", done=total - todo) as advance,
        ):
            batches = _in_order(executor, chunks, window)
            for number in missing:
                readings: list[Reading] = []
                while len(readings) < len(shards[number]):
                    batch = next(batches)
                    readings += batch
                    no_face += sum(reading.status == "no_face" for reading in batch)
                    advance(len(batch), no_face=no_face)
                names = [pictures[place].name for place in shards[number]]
                _write_shard(partial / _shard_name(number), _table(names, source.emotion, readings, settings))
                kept += 1
    except (BrokenExecutor, MemoryError):
        raise FaceemoError(
            f"{key}: a worker died, most often for want of memory; set fewer 'workers' and run again "
            f"({kept} of {len(shards)} shards are kept)"
        ) from None
    except KeyboardInterrupt:
        raise Interrupted(f"{key}: {kept} of {len(shards)} shards are kept, run again to go on") from None

    folder = LANDMARKS_FOLDER / key
    _complete(partial, folder)
    print(_summary(key, folder, todo, time.monotonic() - started), flush=True)
    return folder


def remove_partials(key: str | None = None, but: Path | None = None) -> None:
    """Remove what unfinished extractions of one source, or of all, left behind, other than `but`."""
    pattern = f"{key or '*'}-{'[0-9a-f]' * FINGERPRINT_LENGTH}*"
    for folder in PARTIAL_FOLDER.glob(pattern):
        if folder != but:
            shutil.rmtree(folder)


def _fingerprint(source: Source, settings: ExtractParams, limit: int | None) -> str:
    """Names everything that the rows depend on, so that shards of other work are never mixed in."""
    work = {"digest": source.digest, "emotion": source.emotion, "limit": limit, **_provenance(settings)}
    return hashlib.sha256(json.dumps(work, sort_keys=True).encode()).hexdigest()[:FINGERPRINT_LENGTH]


def _provenance(settings: ExtractParams) -> dict:
    """The settings that change rows, and the versions of the libraries that make them."""
    values = asdict(settings)
    del values["scheduler"]
    versions = {name: importlib.metadata.version(name) for name in ("mediapipe", "simplejpeg", "pillow")}
    return {"settings": values, "versions": versions, "format": FORMAT}


def _batches(places: list[int], size: int) -> Iterator[list[int]]:
    return (places[start : start + size] for start in range(0, len(places), size))


def _shard_name(number: int) -> str:
    return f"part-{number:05d}.parquet"


def _table(names: list[str], emotion: str, readings: list[Reading], settings: ExtractParams) -> pa.Table:
    parsed = [parse_picture_name(name) for name in names]
    columns = {
        "image": names,
        "emotion": [emotion] * len(names),
        **{column: [getattr(name, column) for name in parsed] for column in ("subject", "sex", "age", "background")},
        **{
            column: [getattr(reading, column) for reading in readings]
            for column in ("width", "height", "faces", "status", "error")
        },
        "landmarks": rows_or_null([reading.landmarks for reading in readings]),
    }
    metadata = {b"faceemo.extract": json.dumps(_provenance(settings), sort_keys=True).encode()}
    return pa.table(columns, schema=SCHEMA.with_metadata(metadata))


def _write_shard(path: Path, table: pa.Table) -> None:
    with written_whole(path) as temporary:
        pq.write_table(table, temporary, **PARQUET)


def _complete(partial: Path, folder: Path) -> None:
    """Make all finished shards appear as `folder` in one rename.

    They are linked, not moved: until dvc has stored the folder a crash would make it run the stage again, and the
    links left in `partial` then spare the work. The next stage removes them.
    """
    complete = partial.with_name(partial.name + ".complete")
    shutil.rmtree(complete, ignore_errors=True)
    complete.mkdir()
    for shard in sorted(partial.glob("part-*.parquet")):
        link(shard, complete / shard.name)
    sync_folder(complete)
    if folder.exists():
        shutil.rmtree(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    rename(complete, folder)
    sync_folder(folder.parent)


def _summary(key: str, folder: Path, pictures: int, seconds: float) -> str:
    counts: Counter[str] = Counter()
    for shard in sorted(folder.glob("part-*.parquet")):
        counts.update(pq.read_table(shard, columns=["status"])["status"].to_pylist())
    found = ", ".join(f"{counts[status]} {status}" for status in STATUSES if counts[status] or status == "ok")
    rate = f"; {pictures / seconds:.1f} pictures/s" if pictures else ""
    return f"{key}: {counts.total()} pictures: {found}{rate}"


# What happens in a worker.

_worker = threading.local()


def read_chunk(chunk: Chunk) -> list[Reading]:
    """Read, decode and measure the pictures of a chunk; the archive and FaceMesh stay open for the next one."""
    wanted = (chunk.zip, chunk.settings.max_faces)
    if getattr(_worker, "opened", None) != wanted:
        _worker.archive = Archive(Path(chunk.zip))
        _worker.pictures = _worker.archive.pictures
        _worker.mesh = FaceMesh(chunk.settings.max_faces)
        _worker.opened = wanted
    return [
        read_picture(_worker.archive, _worker.pictures[place], _worker.mesh, chunk.settings) for place in chunk.pictures
    ]


def read_picture(archive: Archive, member: Member, mesh: FaceMesh, settings: ExtractParams) -> Reading:
    """A reading of one member, whatever it holds: a bad picture is a status, never an exception."""
    try:
        data = archive.read(member, settings.max_bytes)
    except ReadError as error:
        return Reading("read_error", str(error))
    return measure(data, mesh, settings)


def measure(data: bytes, mesh: FaceMesh, settings: ExtractParams) -> Reading:
    """The landmarks of the largest face in one encoded picture."""
    try:
        picture = Picture(data, settings.max_pixels)
        faces = _find_faces(picture, mesh, settings.full_resolution)
    except DecodeError as error:
        return Reading("decode_error", str(error))
    if not len(faces):
        return Reading("no_face", None, picture.width, picture.height, 0)
    landmarks = largest_face(faces, picture.width, picture.height)
    return Reading("ok", None, picture.width, picture.height, len(faces), landmarks.reshape(-1))


def _find_faces(picture: Picture, mesh: FaceMesh, full_resolution: bool) -> np.ndarray:
    """float32 [faces, 478, 3], looked for at the smallest scale that leaves the largest face large enough."""
    side = min(picture.width, picture.height)
    first = 1 if full_resolution else max(r for r in picture.reductions if r == 1 or side / r >= FIRST_SIDE)
    faces = mesh.find(picture.pixels(first))
    if first == 1:
        return faces
    if not len(faces):
        return mesh.find(picture.pixels())
    width = face_width(largest_face(faces, picture.width, picture.height), picture.width)
    again = max(r for r in picture.reductions if r == 1 or width / r >= FACE_WIDTH)
    if again >= first:
        return faces
    larger = mesh.find(picture.pixels(again))
    return larger if len(larger) else faces


def _start_worker() -> None:
    """In a new local worker: leave Ctrl-C to the parent, keep quiet, and end when the parent does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    silence_native_log()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


# Where workers run.


@contextlib.contextmanager
def _executor(scheduler: str | None, workers: int | None, chunks: int) -> Iterator[tuple[Executor, int]]:
    """An executor for `chunks` tasks and how many of them to keep under way at once."""
    count = min(workers or default_workers(), chunks)
    if count <= 1:
        silence_native_log()
        yield SequentialExecutor(), 1
        return
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), initializer=_start_worker)
    try:
        with _kept_buffers(), _interrupts_ignored():  # both are inherited by what is started now
            for _ in range(count):
                pool.submit(os.getpid)
        yield pool, 4 * count
    finally:
        pool.shutdown(cancel_futures=True)


class SequentialExecutor(Executor):
    """Runs each task as it is submitted, in this process."""

    def submit(self, function: Callable, /, *args: object, **kwargs: object) -> Future:
        future: Future = Future()
        future.set_result(function(*args, **kwargs))
        return future


def default_workers() -> int:
    """All cores that this process may use, at most what Windows can wait for."""
    if sys.platform == "win32":
        return min(os.cpu_count() or 1, WINDOWS_MAX_WORKERS)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_order(executor: Executor, chunks: list[Chunk], window: int) -> Iterator[list[Reading]]:
    """Readings chunk by chunk in the order given, at most `window` chunks ahead of the one waited for."""
    waiting: deque[Future] = deque()
    for chunk in chunks:
        waiting.append(executor.submit(read_chunk, chunk))
        if len(waiting) >= window:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


@contextlib.contextmanager
def _kept_buffers() -> Iterator[None]:
    """Let glibc keep picture-sized buffers in processes started now, instead of asking the kernel for each again.

    mallopt(3); other C libraries ignore these variables.
    """
    variables = {"MALLOC_MMAP_THRESHOLD_": "268435456", "MALLOC_TRIM_THRESHOLD_": "536870912"}
    added = [name for name in variables if name not in os.environ]
    os.environ.update({name: variables[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes started now ignore Ctrl-C from their first moment on (POSIX): none of them prints a traceback."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
