"""Who is in a picture, by its name: as the set names its pictures, or by a pattern that the user gives."""

import re
from collections.abc import Callable

from faceemo.errors import FaceemoError
from faceemo.pictures.archive import parse_picture_name

EACH = "each"  # in place of a pattern: every picture counts as a person of its own


def as_person(key: str, name: str) -> str:
    """The person that picture `name` of source `key` is taken for where every picture is one."""
    return f"{key}/{name}"


def check_pattern(pattern: str) -> None:
    """Raises FaceemoError unless a pattern is EACH or a regular expression with a group."""
    if pattern == EACH:
        return
    try:
        groups = re.compile(pattern).groups
    except (re.error, OverflowError, RecursionError) as error:
        raise FaceemoError(f"--subject {pattern!r} is not a regular expression ({error})") from None
    if not groups:
        raise FaceemoError(
            f'--subject {pattern!r} has no group; put what names the person in parentheses, like "/([^/_]+)_"'
        )


def subject_reader(pattern: str | None, key: str) -> Callable[[str], str | None]:
    """A function from a picture's name to the person in it, None if the name does not say.

    pattern: looked for in the name with its folders; its first group that matches is the person. None: the name tells
    it if it is one of the AI-Hub set's. EACH: every picture of source `key` is a person of its own.
    """
    if pattern is None:
        return lambda name: parse_picture_name(name).subject
    if pattern == EACH:
        return lambda name: as_person(key, name)
    search = re.compile(pattern).search

    def subject(name: str) -> str | None:
        match = search(name)
        return next((group for group in match.groups() if group), None) if match else None

    return subject
