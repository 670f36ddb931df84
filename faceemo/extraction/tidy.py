"""What stays in the store when sources are whole, and what `faceemo clean` removes.

dvc stores a source's landmarks in its cache and puts a copy in data/landmarks/<id>/. The store's files then become
other names of that copy, so that the rows are on disk once beside dvc's cache, and outlive it when dvc removes the
folder before it runs the stage again.
"""

import contextlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from filecmp import cmp
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from faceemo.durable import link, remove, rename
from faceemo.errors import FaceemoError
from faceemo.extraction.fingerprint import EXTRACT_METADATA, fingerprint
from faceemo.extraction.store import PICTURES_METADATA, WHOLE, alone, lasting_keys, rows_folder
from faceemo.paths import LANDMARKS_FOLDER, ROWS_FOLDER
from faceemo.rows import BROKEN

EARLIER_FOLDER = Path("data/.partial")  # where versions before 0.3 kept unfinished work


def tidy(keys: Iterable[str]) -> None:
    """Link the store's files of these sources with their landmarks, and remove what those make superfluous:

    rows that they hold, and a source's rows of other settings where it was whole too. Unfinished work stays, and all
    of a source that another process extracts.
    """
    if rows_folder() != ROWS_FOLDER:
        return  # a copy of the project below .dvc/tmp: the project itself does that
    used = _used(keys)
    for place, shard in used.items():
        with contextlib.suppress(OSError):  # another process has it open on Windows, no room: the next run comes by
            _join(shard, place)
    for folder in {place.parent for place in used}:
        for other in set(ROWS_FOLDER.glob(f"*/{folder.name}")) - {folder}:
            if (other / WHOLE).exists():
                _remove(other, folder.name)
    held: dict[Path, pa.ChunkedArray] = {}  # by way of making rows: the keys of all that whole sources have
    for path in sorted(ROWS_FOLDER.glob("*/*/*.parquet")):
        way = path.parents[1]
        if path in used:
            continue
        if way not in held:
            several = [lasting_keys(place)[0] for place in used if place.parents[1] == way]
            held[way] = pa.chunked_array(several, pa.string())
        if pc.all(pc.is_in(lasting_keys(path)[0], held[way]), min_count=0).as_py():
            _remove(path, path.parent.name)
    _remove_empty()


@dataclass(frozen=True)
class Unused:
    """Rows of a source that are not among its landmarks."""

    key: str
    rows: int
    paths: list[Path]
    size: int
    """Bytes of the files."""

    @property
    def folder(self) -> Path:
        """Where the files are, all in one."""
        return self.paths[0].parent

    def remove(self) -> None:
        """Delete them, and folders that are empty then. Raises FaceemoError if another process extracts the source."""
        with alone(self.key):
            for path in self.paths:
                remove(path)
        _remove_empty()


def find_unused(keys: Iterable[str]) -> list[Unused]:
    """What none of these sources uses in its landmarks, by folder; also what versions before 0.3 left unfinished."""
    used = _used(keys)
    found = []
    folders = sorted({*(path.parent for path in ROWS_FOLDER.glob("*/*/*")), *EARLIER_FOLDER.glob("*")})
    for folder in folders:
        is_earlier = folder.parent == EARLIER_FOLDER
        paths = [folder] if is_earlier else [path for path in sorted(folder.glob("*.*")) if path not in used]
        files = [path for path in folder.rglob("*") if path.is_file()] if is_earlier else paths
        if paths:
            size = sum(path.stat().st_size for path in files)
            found.append(Unused(folder.name, sum(map(_count_rows, files)), paths, size))
    return found


def _used(keys: Iterable[str]) -> dict[Path, Path]:
    """The landmarks of these sources by where the store has them."""
    shards = (shard for key in keys for shard in sorted((LANDMARKS_FOLDER / key).glob("part-*.parquet")))
    places = ((_place(shard), shard) for shard in shards)
    return {place: shard for place, shard in places if place is not None}


def _place(shard: Path) -> Path | None:
    """Where the store has the rows of a shard of landmarks; None for a file that is broken or of an older version."""
    try:
        metadata = pq.read_metadata(shard).metadata or {}
        made, digest = metadata[EXTRACT_METADATA], metadata[PICTURES_METADATA].decode()
    except BROKEN:
        return None
    if not re.fullmatch("[0-9a-f]+", digest):  # it becomes the name of a file
        return None
    return ROWS_FOLDER / fingerprint(made) / shard.parent.name / f"{digest}.parquet"


def _join(shard: Path, place: Path) -> None:
    """Make `place` another name of the shard, unless other bytes are there. Raises OSError if that cannot be done."""
    shard = shard.resolve()  # dvc may have made a symbolic link into its cache of it
    if not place.exists():
        is_new = not place.parent.exists()
        place.parent.mkdir(parents=True, exist_ok=True)
        link(shard, place)
        if is_new:  # else there may be unfinished work in it
            (place.parent / WHOLE).touch()
    elif not place.samefile(shard) and cmp(shard, place, shallow=False):
        other = place.with_suffix(".link")
        other.unlink(missing_ok=True)
        os.link(shard, other)
        rename(other, place)


def _count_rows(path: Path) -> int:
    try:
        return pq.read_metadata(path).num_rows
    except BROKEN:
        return 0


def _remove(path: Path, key: str) -> None:
    """Remove rows of source `key`, unless another process extracts it or, on Windows, has them open."""
    with contextlib.suppress(FaceemoError, OSError), alone(key):  # the next run comes by
        remove(path)


def _remove_empty() -> None:
    """Remove folders of the store without rows."""
    for folder in ROWS_FOLDER.glob("*/*"):
        if not any(folder.glob("*.*")):
            _remove(folder, folder.name)
    for folder in (*ROWS_FOLDER.glob("*"), EARLIER_FOLDER):
        with contextlib.suppress(OSError):  # it is not empty
            folder.rmdir()
