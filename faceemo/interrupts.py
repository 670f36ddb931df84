"""Ctrl-C while modules are imported. This one imports next to nothing, so that it is there early."""

import os
import signal
import sys

INTERRUPTED = 130  # the exit code that shells know for Ctrl-C
RWLOCK = ".dvc/tmp/rwlock"  # dvc's file of who works on which outputs


class importing:  # a function in all but name, as contextlib.suppress
    """Modules are imported in the block: Ctrl-C then ends the process at once, with the line and exit code of `run`.

    An exception would not: importlib's callbacks print a KeyboardInterrupt and go on, extension modules make an
    ImportError of it, and one that passed through exec or eval, which namedtuple and dataclass use, lets Python die of
    the signal in the end, even if it was caught.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not ignored, as in a worker

    def __enter__(self) -> None:
        try:
            if self._is_ours:
                signal.signal(signal.SIGINT, self._leave)
        except ValueError:  # only the main thread may, and hears Ctrl-C
            self._is_ours = False

    def __exit__(self, *_: object) -> None:
        if self._is_ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _leave(self, *_: object) -> None:
        say_interrupted(self._name)
        os._exit(INTERRUPTED)


def say_interrupted(name: str, kept: str = "") -> None:
    """Say on stderr that `name` was interrupted, what was kept, and what dvc needs now."""
    broken = f"{RWLOCK} is broken: delete it, or dvc will not run" if _rwlock_is_broken() else ""
    print("; ".join(filter(None, (f"{name}: interrupted", kept, broken))), file=sys.stderr, flush=True)


def _rwlock_is_broken() -> bool:
    """Whether dvc was killed while it wrote its JSON, which then lacks its end: dvc never mends that."""
    try:
        with open(RWLOCK, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - pathlib takes a while
            text = file.read()
    except OSError:  # most often not there
        return False
    return text.count("{") != text.count("}") or "{" not in text
