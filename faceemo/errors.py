"""The errors that a user is meant to read."""

import errno
import sys
from pathlib import Path

WINDOWS_PATH = 248  # characters of a path that may be too many there: of a folder 248, of a file 260


class FaceemoError(Exception):
    """Something a user can mend. Its message names the thing, what is wrong and what to do; no traceback is shown."""


def cannot_open(path: str | Path, error: OSError) -> FaceemoError:
    """For a file that is there and may be whole: no permission, which on Windows is also that another program holds it.

    It must not be taken for damage, which is mended by downloading or making the file again.
    """
    why = str(error.strerror or error).rpartition("Detail: ")[2]  # Arrow names the file once more
    what = f"cannot be opened ({too_long(path, error) or why})"
    if isinstance(error, PermissionError):
        what += "; close the program that holds it, or give yourself the right to read it"
    return FaceemoError(f"{path}: {what}")


def too_long(path: str | Path, error: OSError | None = None) -> str | None:
    """That a path is too long for the system, and what to do; None where that is not why it cannot be read.

    Windows says of such a file that it is not there:
    https://learn.microsoft.com/windows/win32/fileio/maximum-file-path-limitation
    """
    length, remedy = len(str(Path(path).absolute())), "move it nearer to the top of the drive"
    if error is not None and error.errno == errno.ENAMETOOLONG:
        return f"its path has {length} characters; {remedy}"
    if sys.platform == "win32" and length >= WINDOWS_PATH and not isinstance(error, PermissionError):
        return (
            f"its path has {length} characters, and Windows takes 259 where long paths are off; {remedy}, or switch "
            "them on (docs/windows.md)"
        )
    return None


class FileError(FaceemoError):
    """A file of the user's own that is wrong; it is said under the file's name, whichever stage or command reads it."""

    def __init__(self, path: str | Path, what: str) -> None:
        super().__init__(f"{path}: {what}")
        self.path = str(path)
        self.what = what
