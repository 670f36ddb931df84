"""JSON as the project's files and messages need it: without NaN and infinities, and no deeper than Python can read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn


class TooDeepError(ValueError):
    """JSON of more levels, one in another, than Python can read."""


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises ValueError with one line if it is none; OSError if it cannot be read."""
    return parse_json(path.read_bytes())


def parse_json(
    text: str | bytes, parse_int: Callable[[str], Any] = int, parse_constant: Callable[[str], Any] = _refuse
) -> Any:
    """What a JSON text holds; bytes are UTF-8, UTF-16 or UTF-32.

    parse_int, parse_constant: as for json.loads. Raises ValueError with one line if it is no JSON.
    """
    try:
        return json.loads(text, parse_int=parse_int, parse_constant=parse_constant)
    except RecursionError:
        raise TooDeepError("more levels, one in another, than can be read") from None
