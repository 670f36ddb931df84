"""What tests with seeded random damage share."""

import os
import random
from collections.abc import Callable

from faceemo.errors import FaceemoError

TIMES = int(os.environ.get("HOSTILE_TIMES", "1"))  # as many rounds as usual: HOSTILE_TIMES=20 pytest -k damaged

INSERTED = (
    *(b'"', b"\n", b"\r", b",", b";", b"\t", b"\0", b"\xff", b"[", b"{", b"-1", b"9" * 400, b"1e999", b"nan"),
    *(b"sep=;\n", b"\xef\xbb\xbf", b"\\ud800", b"http://", b"..", b".zip/", "가".encode()),
)


def damaged(data: bytes, chance: random.Random) -> bytes:
    """One or a few changes of bytes."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        start = chance.randrange(len(changed) + 1)
        end = start + chance.choice((1, 2, 8, 64))
        changed[start:end] = chance.choice(
            (
                b"",
                chance.randbytes(2),
                changed[start:end] * 2,
                chance.choice(INSERTED),
                chance.choice(INSERTED) + changed[start:end],
            )
        )
    return bytes(changed)


def outcome(attempt: Callable[[], object]) -> str:
    """What became of an attempt; any error but ours fails the test."""
    try:
        attempt()
    except FaceemoError as error:
        assert "\n" not in str(error)
        return "refused"
    return "read"
