"""The one error that a user is meant to read."""


class FaceemoError(Exception):
    """Something a user can mend. Its message names the thing, what is wrong and what to do; no traceback is shown."""
