"""Whether dvc is training here: it has then removed the old model and plots, and writes the new ones in the end."""

import os
from pathlib import Path

import psutil

from faceemo.paths import MODEL_FILE
from faceemo.plainjson import read_json

LOCK_FILE = Path(".dvc/tmp/rwlock")  # where dvc says which of its processes writes which output (dvc/rwlock.py)


def is_training() -> bool:
    """Whether a dvc that is alive writes the model of the project in the current folder."""
    try:
        writers = read_json(LOCK_FILE)["write"]
        pids = [one["pid"] for path, one in writers.items() if Path(path) == Path(os.path.realpath(MODEL_FILE))]
        written = LOCK_FILE.stat().st_mtime
        return any(psutil.Process(pid).create_time() <= written for pid in pids)  # else another one has the number now
    # no lock, or of another version of dvc; no such process
    except (OSError, ValueError, LookupError, TypeError, AttributeError, psutil.Error):
        return False
