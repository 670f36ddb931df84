"""Files that are whole or not there, also after a power cut: written aside, synced, renamed."""

import errno
import itertools
import json
import os
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RENAME_SECONDS = 5.0


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well its file is synced and renamed to `path`.

    An OSError that names no file, as that of a full disk, is given the name of this one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        rename(temporary, path)
        sync_folder(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)
        raise


def write_text_whole(path: Path, text: str) -> None:
    """Write UTF-8 text with LF line ends, whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    write_text_whole(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def rename(old: Path, new: Path) -> None:
    """Path.replace, tried again for a while on PermissionError: on Windows a virus scanner may hold a new file open.

    A PermissionError that lasts names the new file, which is the one that people know.
    """
    deadline = time.monotonic() + RENAME_SECONDS
    while True:
        try:
            old.replace(new)
            return
        except PermissionError as error:
            _make_removable(new)
            if time.monotonic() > deadline:
                raise PermissionError(error.errno, error.strerror, str(new)) from None
            time.sleep(0.05)


def is_held(path: Path) -> bool:
    """Whether another program holds a file, so that it cannot be replaced, as on Windows Excel does with a table.

    Tried by what replacing needs: it opens a file to rename it, and a program that shares no writing (Excel) or no
    removing (all that open by C's fopen, as Python) does not let it.
    """
    if not path.is_file() or not os.access(path, os.W_OK):  # what is read-only is replaced (see rename)
        return False
    try:
        path.open("rb+").close()
        path.rename(path)
    except PermissionError:
        return True
    return False


def free_name(path: Path) -> Path:
    """The path, or the first of name-2, name-3 and so on beside it that is not there."""
    names = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in itertools.count(2))
    return path if not path.exists() else next(name for name in names if not name.exists())


def remove(path: Path) -> None:
    """Remove a file, or a folder with all in it, also read-only ones, as dvc makes what it has stored."""
    is_folder = path.is_dir() and not path.is_symlink()
    for file in path.rglob("*") if is_folder else [path]:
        _make_removable(file)
    if is_folder:
        shutil.rmtree(path)
    else:
        path.unlink()


def _make_removable(path: Path) -> None:
    """Windows neither removes nor replaces a read-only file; elsewhere only the folder decides that."""
    if sys.platform == "win32" and path.is_file():
        path.chmod(stat.S_IREAD | stat.S_IWRITE)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut. Windows has no such call and journals its names."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file, made where it is not there, against other processes; the system lets go of it when this one ends.

    Raises BlockingIOError if another process holds it. On a disk that knows no locks it holds nothing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        try:
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                raise BlockingIOError(error.errno, error.strerror, str(path)) from None
        yield


def link(old: Path, new: Path) -> None:
    """A second name for a file's bytes; a copy where the file system has no hard links."""
    try:
        os.link(old, new)
    except OSError:
        shutil.copyfile(old, new)
