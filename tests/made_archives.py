"""What the tests of extraction share: archives made on the spot, and extraction in a process that can be killed."""

import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from made_set import made_set
from PIL import Image

from faceemo.params import ExtractParams
from faceemo.pictures.reader import Picture, digest_of
from faceemo.pictures.sources import Source
from faceemo.pictures.trees import files_at, is_picture_name
from faceemo.rows import read_parquet

SAMPLE = made_set()
ANXIOUS = SAMPLE / "Training" / "[원천]EMOIMG_불안_TRAIN_01.zip"
NEUTRAL = SAMPLE / "Training" / "[원천]EMOIMG_중립_TRAIN_01.zip"
HAPPY = SAMPLE / "Training" / "[원천]EMOIMG_기쁨_TRAIN_01.zip"
SETTINGS = ExtractParams(engine="auto", crops=True, scheduler=None)

# Runs in a process of its own. `hook` is Python that may reach into the store and into extract before the work begins.
DRIVER = """
import json, os, signal, sys
import faceemo.extraction.extract as extract
from faceemo.console import run
from faceemo.extraction.store import Store
from faceemo.params import ExtractParams
from faceemo.pictures.sources import Source

read_task = extract.read_task

class ReadOrDie:  # reads a task, unless one of these pictures is in it: that ends the process
    def __init__(self, names): self.names = names
    def __call__(self, task):
        if self.names & {picture.name for picture in task.pictures}: os.abort()
        return read_task(task)

def main(task):
    exec(task["hook"], globals())
    extract.extract(task["key"], Source(**task["source"]), ExtractParams(**task["settings"]), task["limit"],
                    task["workers"], shard_rows=8, task_pictures=2)

if __name__ == "__main__":
    task = json.loads(sys.argv[1])
    sys.exit(run("extract", lambda: main(task)))
"""


def pictures_in(path: Path) -> list[Picture]:
    """The pictures of an archive, in its order."""
    return [one for one in files_at(path) if is_picture_name(one.name)]


def source_of(path: Path, emotion: str = "anxious") -> Source:
    pictures = pictures_in(path)
    return Source(str(path), emotion, "training", len(pictures), digest_of(pictures), None, classes=(emotion,))


def driver(
    folder: Path,
    path: Path,
    workers: int,
    limit: int | None = None,
    hook: str = "",
    key: str = "a-training-01",
    **settings: object,
) -> list:
    """The command that extracts `path` into folder/data/landmarks/<key> with shards of eight rows."""
    script = folder / "driver.py"
    script.write_text(DRIVER, encoding="utf-8")
    task = {
        "key": key,
        "source": vars(source_of(path)),
        "settings": {**vars(SETTINGS), **settings},
        "limit": limit,
        "workers": workers,
        "hook": hook,
    }
    return [sys.executable, str(script), json.dumps(task)]


def run_driver(folder: Path, *args: object, **kwargs: object) -> subprocess.CompletedProcess:
    folder.mkdir(parents=True, exist_ok=True)
    return subprocess.run(
        driver(folder, *args, **kwargs), cwd=folder, capture_output=True, text=True, encoding="utf-8", timeout=120
    )


def shard_bytes(folder: Path, key: str = "a-training-01") -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "data/landmarks" / key).iterdir())}


def shard_rows(folder: Path) -> pa.Table:
    """All rows of a folder of shards, whose files are closed then: Windows removes no open ones."""
    return pa.concat_tables(map(read_parquet, sorted(folder.glob("part-*.parquet"))))


def alive(pid: int) -> bool:
    """Whether a process still runs (and is no zombie)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def encoded(rgb: np.ndarray, suffix: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, suffix, **options)
    return buffer.getvalue()


def children_of(pid: int) -> list[int]:
    threads = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in threads for child in path.read_text(encoding="utf-8").split()]


def end_process(*_: object) -> None:
    """In place of a function that runs in a process of its own."""
    os.abort()


def heed_ctrl_c() -> None:
    """preexec_fn for a process that is to be interrupted: shells start background jobs with SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def on_a_full_disk(code: str) -> tuple[int, str, str]:
    """Run code as a stage that cannot make a file larger than 100 kB (POSIX): exit code, stdout and stderr."""
    script = f"""
import resource, sys
from faceemo.console import run
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
sys.exit(run("train", lambda: exec({code!r}, {{}})))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, encoding="utf-8", timeout=60)
    return done.returncode, done.stdout, done.stderr


def png(width: int, height: int) -> bytes:
    """A black PNG; however large, it has few bytes."""
    return encoded(np.zeros((height, width, 3), np.uint8), "PNG")
