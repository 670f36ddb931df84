"""What a user names with --out: a file, which is replaced whole, or a stream, which is written into."""

import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from faceemo.console import printable
from faceemo.durable import free_name, is_held, rename, sync_folder, written_whole
from faceemo.errors import FaceemoError

HELD = "another program holds this file open"
PLOT_FORMATS = ("png", "svg", "pdf")
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

    Raises FaceemoError if `out` is a folder, one of the files that a command reads, which would be replaced, a file
    that another program holds, or in a place where nothing can be written.
    """
    if is_stream(out):
        return
    target = Path(os.path.realpath(out))
    for path in read:
        if out.exists() and path.exists() and path.samefile(out):
            raise FaceemoError(f"--out {out}: this is an input and would be replaced; name another")
    if is_held(target):
        raise FaceemoError(f"--out {out}: {HELD}; close it there, or name another")
    _try_to_write("--out", out, free_name(target))


def check_folder(option: str, folder: Path, suffixes: tuple[str, ...]) -> None:
    """Try before the work whether files with these suffixes can be written into a folder that an option names.

    Raises FaceemoError if it is a file, if nothing can be written there, or if another program holds one of its files.
    """
    if folder.exists() and not folder.is_dir():
        raise FaceemoError(f"{option} {folder}: this is not a folder; name a new folder")
    for path in folder.rglob("*.*"):
        if path.suffix.lower() in suffixes and is_held(path):
            raise FaceemoError(f"{option} {path}: {HELD}; close it there, or name a new folder")
    _try_to_write(option, folder, folder / "tried")


def _try_to_write(option: str, named: Path, path: Path) -> None:
    folder = path.parent
    new = [one for one in (folder, *folder.parents) if not os.path.lexists(one)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            path.with_name(f"{path.name}.tmp").stat()  # whether the name that it will be written under may be one
        tried = folder / f".{os.urandom(8).hex()}.tmp"  # a name of its own: another run may be at work there
        tried.open("xb").close()
        tried.unlink()
    except OSError as error:
        raise FaceemoError(
            f"{option} {named}: cannot be written ({error.strerror or error}); name another place"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            for one in new:
                one.rmdir()


def await_release(path: Path) -> None:
    """Wait while another program holds a file, and say so: hours of work are not lost for a table in Excel."""
    if is_held(path):
        print(f"{printable(path)}: {HELD}; close it there, and this goes on", file=sys.stderr, flush=True)
    while is_held(path):
        time.sleep(0.2)


def unheld(path: Path) -> Path:
    """The path to write to: the same, or where another program holds the file a free name beside it, which is said."""
    if not is_held(path):
        return path
    beside = free_name(path)
    print(f"note: {printable(path)}: {HELD}; written to {printable(beside)} instead", file=sys.stderr, flush=True)
    return beside


def check_plots_folder(folder: Path) -> None:
    """As check_folder, for --plots."""
    check_folder("--plots", folder, tuple(f".{one}" for one in PLOT_FORMATS))


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
        beside = free_name(target)
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
