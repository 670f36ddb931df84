"""What may happen while modules are imported: Ctrl-C, and a library of the system that is not there.

This one imports next to nothing, so that it is there early.
"""

import os
import signal
import sys

INTERRUPTED = 130  # the exit code that shells know for Ctrl-C
RWLOCK = ".dvc/tmp/rwlock"  # dvc's file of who works on which outputs

# How the loader of Linux ends what it says of a library that is not there or not whole.
_NO_LIBRARY = (": cannot open shared object file: No such file or directory", ": file too short")
_OF_OPENCV = ("libGL.", "libglib-", "libgthread-")  # a bare server has none of them
_PACKAGES = (
    "apt-get install libgl1 libglib2.0-0 (Debian, Ubuntu; newer ones call the second libglib2.0-0t64) or "
    "dnf install mesa-libGL glib2 (Fedora)"
)


class importing:  # a function in all but name, as contextlib.suppress
    """Modules are imported in the block: Ctrl-C then ends the process at once, with the line and exit code of `run`.

    An exception would not: importlib's callbacks print a KeyboardInterrupt and go on, extension modules make an
    ImportError of it, and one that passed through exec or eval, which namedtuple and dataclass use, lets Python die of
    the signal in the end, even if it was caught. A library of the system that a module lacks is one line too.
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

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if self._is_ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if error is not None and (missing := missing_library(error)):
            print(f"{self._name}: error: {missing}", file=sys.stderr, flush=True)
            raise SystemExit(1)

    def _leave(self, *_: object) -> None:
        say_interrupted(self._name)
        os._exit(INTERRUPTED)


def missing_library(error: BaseException) -> str | None:
    """The library of the system for want of which a module could not be imported, and what brings it; else None."""
    said = str(error)
    if isinstance(error, ImportError | OSError) and said.endswith(_NO_LIBRARY):  # of extension modules, of ctypes
        library = said.partition(":")[0].rpartition("/")[2]
        if library.startswith(_OF_OPENCV):
            return f"the system lacks {library}, which OpenCV needs: {_PACKAGES}"
        return f"the system lacks {library}: 'apt-file search {library}' or 'dnf provides */{library}' name its package"
    if isinstance(error, ImportError) and error.name == "cv2" and "DLL" in said:  # as OpenCV's own page says
        return f"{said}; on Windows N and KN add the Media Feature Pack (Settings, Optional features)"
    return None


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
