"""What a user names with --out: a file, which is replaced whole, or a stream, which is written into."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from faceemo.durable import written_whole
from faceemo.errors import FaceemoError

STDOUT = (Path("-"), Path("/dev/stdout"))


def is_stream(out: Path) -> bool:
    """Whether `out` is stdout, a pipe or a device, which must never be replaced by a file.

    Raises FaceemoError for a folder.
    """
    if out not in STDOUT and out.is_dir():
        raise FaceemoError(f"--out {out}: this is a folder; name a file in it")
    return out in STDOUT or (out.exists() and not out.is_file())


def check_apart(out: Path, read: Iterable[Path]) -> None:
    """Raises FaceemoError if `out` is one of the files that a command reads: it would be replaced."""
    if is_stream(out) or not out.exists():
        return
    for path in read:
        if path.exists() and path.samefile(out):
            raise FaceemoError(f"--out {out}: this is an input and would be replaced; name another")


def said_to(out: Path) -> TextIO:
    """Where a command that writes to `out` says what it did: on stderr where stdout holds the output itself."""
    return sys.stderr if out in STDOUT else sys.stdout


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
            if out in STDOUT:
                shutil.copyfileobj(file, sys.stdout.buffer)
                sys.stdout.flush()
            else:
                with out.open("wb") as stream:
                    shutil.copyfileobj(file, stream)
