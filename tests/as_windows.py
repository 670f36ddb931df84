"""Lets tests meet on Linux what they would on Windows: `python -m pytest -p tests.as_windows -m "not slow"`.

No names that NTFS does not hold, no path over 259 characters, no links, pipes and process groups, nothing removed or
renamed while it is open, programs of POSIX are not there, and the clock ticks in 15.6 ms. Tests that need POSIX (see
systems) are skipped, as there. It holds for the tests' own process, not for those that they start.
"""

import contextlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

TICK = 1 / 64  # seconds: GetTickCount64, which is time.monotonic before Python 3.13
LONGEST_PATH = 259  # characters, where long paths are off
BAD_NAME = re.compile(r'[<>:"|?*\x00-\x1f]|[. ]$')
PROGRAMS = ("sh", "bash", "true", "false", "cat", "cp", "rm", "mv", "head", "sleep", "kill", "ls", "grep", "env")
MISSING = ("fork", "killpg", "setsid", "mkfifo", "getuid", "geteuid", "seteuid", "uname", "wait4")
ROOT = str(Path(__file__).parents[1])


def heed(event: str, arguments: tuple) -> None:
    """An audit hook that refuses what Windows refuses."""
    if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        if arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            _check_name(arguments[0])
    elif event == "os.mkdir":
        _check_name(arguments[0])
    elif event in ("os.remove", "os.rmdir"):
        _check_closed(arguments[0], arguments[1])
    elif event == "os.rename":
        _check_name(arguments[1])
        _check_closed(arguments[0], arguments[2])
        _check_closed(arguments[1], arguments[3])
    elif event == "os.symlink":
        raise OSError(1314, "A required privilege is not held by the client", arguments[1])
    elif event == "subprocess.Popen" and Path(os.fsdecode(arguments[0])).name in PROGRAMS:
        raise FileNotFoundError(2, "The system cannot find the file specified", arguments[0])


def _check_name(path: str | bytes | os.PathLike) -> None:
    place = Path(os.fsdecode(path))
    if BAD_NAME.search(place.name):
        raise OSError(22, "The filename, directory name, or volume label syntax is incorrect", path)
    if len(str(place.absolute())) > LONGEST_PATH:
        raise FileNotFoundError(2, "The system cannot find the path specified", path)


def _check_closed(path: str | bytes | os.PathLike, folder: int) -> None:
    """folder: a descriptor that path is relative to; -1 for the working directory."""
    named = (Path() if folder == -1 else Path(f"/proc/self/fd/{folder}")) / os.fsdecode(path)
    place = named.parent.resolve() / named.name  # of a link itself
    opened = []
    for handle in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # that of iterdir itself
            opened.append(handle.readlink())
    if any(one.is_relative_to(place) and one.is_file() for one in opened):
        raise PermissionError(13, "The process cannot access the file because it is being used", path)


def _popen(self: subprocess.Popen, *arguments: object, **options: object) -> None:
    if options.get("preexec_fn") is not None:
        raise ValueError("preexec_fn is not supported on Windows platforms")
    START(self, *arguments, **options)


def _missing(name: str, function: object) -> object:
    """The function for all but this project: pytest and what it stands on need some."""

    def call(*arguments: object) -> object:
        if sys._getframe(1).f_code.co_filename.startswith(ROOT):
            raise AttributeError(f"module 'os' has no attribute {name!r}")
        return function(*arguments)

    return call


START = subprocess.Popen.__init__
for name in MISSING:
    setattr(os, name, _missing(name, getattr(os, name)))
subprocess.Popen.__init__ = _popen
exact = time.monotonic
time.monotonic = lambda: exact() // TICK * TICK
sys.addaudithook(heed)
