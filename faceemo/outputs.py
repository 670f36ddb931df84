"""What a user names with --out: a file, which is replaced whole, or a stream, which is written into."""

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from faceemo.durable import written_whole
from faceemo.errors import FaceemoError

STDOUT = Path("-")


def is_stdout(out: Path) -> bool:
    """Whether `out` is this process's stdout: as `-`, or under a name like /dev/stdout."""
    if out == STDOUT:
        return True
    try:
        found = out.stat()
        is_told_apart = bool(found.st_ino)  # Windows: 0 for any device
        return is_told_apart and os.path.samestat(found, os.fstat(sys.stdout.fileno()))
    except (OSError, ValueError):  # no such file yet, or a stdout that is not a file
        return False


def is_stream(out: Path) -> bool:
    """Whether `out` is stdout, a FIFO or a device: what is written into, and must never be replaced by a file.

    Raises FaceemoError for a folder.
    """
    if is_stdout(out):
        return True
    try:
        mode = out.stat().st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(mode):
        raise FaceemoError(f"--out {out}: this is a folder; name a file in it")
    return not stat.S_ISREG(mode)


def check_apart(out: Path, read: Iterable[Path]) -> None:
    """Raises FaceemoError if `out` is one of the files that a command reads: it would be replaced."""
    if is_stream(out) or not out.exists():
        return
    for path in read:
        if path.exists() and path.samefile(out):
            raise FaceemoError(f"--out {out}: this is an input and would be replaced; name another")


def said_to(out: Path) -> TextIO:
    """Where a command that writes to `out` says what it did: on stderr where stdout holds the output itself."""
    return sys.stderr if is_stdout(out) else sys.stdout


@contextmanager
def written_to(out: Path) -> Iterator[Path]:
    """Yield a temporary path; when the block ends well, what was written there is at `out`.

    A file appears whole or not at all; a link stays, and the file that it leads to is replaced. A stream gets the
    bytes. Raises FaceemoError for a folder.
    """
    if not is_stream(out):
        with written_whole(Path(os.path.realpath(out))) as temporary:
            yield temporary
        return
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / "output"
        yield temporary
        with temporary.open("rb") as file:
            if is_stdout(out):
                shutil.copyfileobj(file, sys.stdout.buffer)
                sys.stdout.flush()
            else:
                with out.open("wb") as stream:
                    shutil.copyfileobj(file, stream)
