"""What a user names with --out: a file, which is replaced whole, or a stream, which is written into."""

import itertools
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from faceemo.durable import rename, sync_folder, written_whole
from faceemo.errors import FaceemoError

HELD = "another program holds this file open"
STDOUT = (Path("-"), Path("/dev/stdout"))


def is_stream(out: Path) -> bool:
    """Whether `out` is stdout, a pipe or a device, which must never be replaced by a file.

    Raises FaceemoError for a folder.
    """
    if out not in STDOUT and out.is_dir():
        raise FaceemoError(f"--out {out}: this is a folder; name a file in it")
    return out in STDOUT or (out.exists() and not out.is_file())


def check_out(out: Path, read: Iterable[Path] = ()) -> None:
    """Try before the work what would fail after it.

    Raises FaceemoError if `out` is a folder, one of the files that a command reads, which would be replaced, or a file
    that another program holds, as Excel does on Windows with a table that it shows.
    """
    if is_stream(out) or not out.exists():
        return
    if os.access(out, os.W_OK):  # else it is read-only, and is replaced
        try:
            out.open("rb+").close()
        except PermissionError:
            raise FaceemoError(f"--out {out}: {HELD}; close it there, or name another") from None
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
    bytes. Raises FaceemoError for a folder, and for a file that another program holds: then what was written is beside
    it, and the error says where.
    """
    if not is_stream(out):
        target = Path(os.path.realpath(out))
        beside = _free_name(target)
        try:
            with written_whole(beside) as temporary:
                yield temporary
        except OSError as error:
            if error.filename == str(beside):
                error.filename = str(target)
            raise
        try:
            rename(beside, target)
        except PermissionError:
            raise FaceemoError(f"--out {out}: {HELD}; what was to be there is in {beside}") from None
        sync_folder(target.parent)
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


def _free_name(path: Path) -> Path:
    """The first of name-2, name-3 and so on beside a file that is not there."""
    names = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in itertools.count(2))
    return next(name for name in names if not name.exists())
