"""The errors that a user is meant to read."""

from pathlib import Path


class FaceemoError(Exception):
    """Something a user can mend. Its message names the thing, what is wrong and what to do; no traceback is shown."""


def cannot_open(path: str | Path, error: OSError) -> FaceemoError:
    """For a file that is there and may be whole: no permission, which on Windows is also that another program holds it.

    It must not be taken for damage, which is mended by downloading or making the file again.
    """
    why = str(error.strerror or error).rpartition("Detail: ")[2]  # Arrow names the file once more
    what = f"cannot be opened ({why})"
    if isinstance(error, PermissionError):
        what += "; close the program that holds it, or give yourself the right to read it"
    return FaceemoError(f"{path}: {what}")


class FileError(FaceemoError):
    """A file of the user's own that is wrong; it is said under the file's name, whichever stage or command reads it."""

    def __init__(self, path: str | Path, what: str) -> None:
        super().__init__(f"{path}: {what}")
        self.path = str(path)
        self.what = what
