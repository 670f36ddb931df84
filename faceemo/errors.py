"""The errors that a user is meant to read."""

from pathlib import Path


class FaceemoError(Exception):
    """Something a user can mend. Its message names the thing, what is wrong and what to do; no traceback is shown."""


class FileError(FaceemoError):
    """A file of the user's own that is wrong; it is said under the file's name, whichever stage or command reads it."""

    def __init__(self, path: str | Path, what: str) -> None:
        super().__init__(f"{path}: {what}")
        self.path = str(path)
        self.what = what
