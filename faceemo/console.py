"""How commands and stages meet the terminal: exit codes, one-line errors, Ctrl-C, progress."""

import atexit
import errno
import functools
import io
import os
import signal
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from faceemo.errors import FaceemoError, FileError
from faceemo.interrupts import INTERRUPTED, missing_library, say_interrupted

# Unicode categories of what could move a terminal's cursor, write from right to left or end a line.
UNSAFE = ("Cc", "Cf", "Zl", "Zp")
BAR_SECONDS = 1.0  # before a bar is shown: quick work needs none
PLAIN_SECONDS = 30.0  # between two lines of progress where there is no terminal


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with a word on what was kept."""


def run(name: str, main: Callable[[], int | None]) -> int:
    """Call main and turn what a user can cause into one line on stderr and an exit code: 0, 1, or 130 for Ctrl-C.

    dvc caches the outputs of a stage that exits 0, so an interrupted stage must not.
    """
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # unloading torch takes a while, and loses nothing
    for stream in (sys.stdout, sys.stderr):  # a Korean Windows console is CP949: show what it lacks, never fail on it
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = main() or 0
        sys.stdout.flush()  # here, so that a closed pipe or a full disk is reported
        return code
    except FileError as error:
        say_error(error.path, error.what)
        return 1
    except FaceemoError as error:
        say_error(name, str(error))
        return 1
    except KeyboardInterrupt as interrupt:
        say_interrupted(name, printable(interrupt))
        return INTERRUPTED
    except ImportError as error:
        if missing := missing_library(error):
            say_error(name, missing)
            return 1
        raise
    except OSError as error:  # a full disk, a missing permission
        if _is_closed_pipe(error):  # the reader of our output went away, as `head` does
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - lives until the process ends
            return 1
        say_error(name, f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
        return 1


def _is_closed_pipe(error: OSError) -> bool:
    """Windows reports a pipe without a reader as an invalid argument."""
    on_windows = sys.platform == "win32" and error.errno == errno.EINVAL and error.filename is None
    return isinstance(error, BrokenPipeError) or on_windows


def say_error(name: str, message: str) -> None:
    """One line on stderr: the name of the program or stage, and what is wrong."""
    print(f"{name}: error: {printable(message)}", file=sys.stderr, flush=True)


def printable(text: object) -> str:
    """A name or message for one line of a terminal: what could end the line or move the cursor is escaped."""
    return "".join(
        character.encode("unicode_escape").decode() if unicodedata.category(character) in UNSAFE else character
        for character in str(text)
    )


def cells(text: str) -> int:
    """How many columns of a terminal a text takes: a Korean syllable two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def padded(text: str, width: int, to_right: bool = False) -> str:
    """A text that takes so many columns of a terminal, with blanks behind it or before it."""
    blanks = " " * (width - cells(text))
    return blanks + text if to_right else text + blanks


def say(line: str) -> None:
    """Print a line in the middle of progress, above its bar."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        tqdm.write(line)
    else:
        print(line, flush=True)


@contextmanager
def progress(
    total: int | None, description: str, unit: str, done: int = 0, to: TextIO | None = None
) -> Iterator[Callable[..., None]]:
    """Yield advance(count, **postfix): a tqdm bar on a terminal, a plain line every half minute elsewhere.

    total: None where it is not known. to: where plain lines go, stdout if not said.
    """
    description = printable(description)
    if sys.stderr.isatty():
        from tqdm import tqdm

        bar_of = functools.partial(tqdm, desc=description, unit=unit, dynamic_ncols=True, delay=BAR_SECONDS)
        with bar_of(total=total, initial=done) as bar:

            def show() -> None:
                bar.delay = 0  # within it, close() takes the bar for one that was never drawn, and ends no line
                bar.refresh()

            shown = threading.Timer(BAR_SECONDS, show)  # by itself a bar waits for the first advance
            shown.daemon = True
            shown.start()

            def advance_bar(count: int, **postfix: object) -> None:
                bar.set_postfix(postfix, refresh=False)
                bar.update(count)

            try:
                yield advance_bar
            finally:
                shown.cancel()
                shown.join()  # it may be drawing now
        return

    to = to or sys.stdout  # as it is now: a training of folds is made silent, and how far it is goes on
    start = said = time.perf_counter()  # time.monotonic may stand still for 16 ms on Windows
    position = done

    def advance(count: int, **postfix: object) -> None:
        nonlocal said, position
        position += count
        now = time.perf_counter()
        if now - said >= PLAIN_SECONDS:
            said = now
            rate = (position - done) / max(now - start, 1e-6)
            extra = "".join(f", {key} {value}" for key, value in postfix.items())
            reached, left = str(position), ""
            if total is not None:
                from tqdm import tqdm

                reached = f"{position} of {total}"
                left = f", {tqdm.format_interval((total - position) / rate)} left" if rate else ""
            print(f"{description}: {reached} {unit}, {rate:.1f} {unit}/s{left}{extra}", file=to, flush=True)

    yield advance
