"""Work of extractions that dvc has not stored yet: finished shards in data/.partial/<id>-<fingerprint>/.

The fingerprint names all that the rows depend on, so the unfinished work of one archive under two settings, such as two
values of `limit`, stands side by side.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faceemo.durable import link, remove, rename, sync_folder, write_text_whole
from faceemo.paths import PARTIAL_FOLDER

FINGERPRINT_LENGTH = 16
EARLIER = "earlier-*.parquet"  # rows that scan kept (see reuse), beside the finished shards
COMPLETE = "complete"  # a file in a folder whose shards stand in data/landmarks too
# Landmarks are noise to a dictionary; their bytes split by significance compress by a third.
SHARD_FORMAT: dict[str, Any] = {
    "compression": "zstd",
    "use_dictionary": ["emotion", "subject", "sex", "background", "status"],
    "use_byte_stream_split": ["landmarks.list.element"],
    "write_page_checksum": True,
}

_NAME = re.compile(rf"(?P<source>.+)-[0-9a-f]{{{FINGERPRINT_LENGTH}}}(\.complete)?")


@dataclass(frozen=True)
class Partial:
    """Finished shards of one extraction.

    rows_kept: whether rows of before lie beside them (see reuse). size: of all, in bytes.
    """

    folder: Path
    source: str
    shards: int
    size: int
    rows_kept: bool

    @property
    def is_complete(self) -> bool:
        """Whether its shards stand in data/landmarks too; of a run that was killed there, a folder `.complete` is."""
        return (self.folder / COMPLETE).exists() or self.folder.suffix == ".complete"


def partial_folder(key: str, fingerprint: str) -> Path:
    return PARTIAL_FOLDER / f"{key}-{fingerprint}"


def find_partials() -> list[Partial]:
    """All that lies in data/.partial, in the order of their names."""
    found = []
    for folder in sorted(PARTIAL_FOLDER.glob("*")):
        name = _NAME.fullmatch(folder.name)
        if name and folder.is_dir():
            shards = list(folder.glob("part-*.parquet"))
            size = sum(file.stat().st_size for file in folder.glob("*.parquet"))
            kept = any(folder.glob(EARLIER))
            found.append(Partial(folder, name["source"], len(shards), size, kept))
    return found


def publish(partial: Path, folder: Path) -> None:
    """Make all finished shards appear as `folder` in one rename.

    They are linked, not moved: until dvc has stored the folder a crash would make it run the stage again, and the
    links left in `partial` then spare the work. The next stage removes them.
    """
    complete = partial.with_name(partial.name + ".complete")
    if complete.exists():
        remove(complete)
    complete.mkdir()
    for shard in sorted(partial.glob("part-*.parquet")):
        link(shard, complete / shard.name)
    sync_folder(complete)
    if folder.exists():
        remove(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    rename(complete, folder)
    sync_folder(folder.parent)
    write_text_whole(partial / COMPLETE, "")


def remove_published() -> None:
    """Remove what publish left behind; unfinished work stays."""
    for partial in find_partials():
        if partial.is_complete:
            remove(partial.folder)
