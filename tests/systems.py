"""What a test may need of the system that it runs on."""

import os
import sys

import pytest

WINDOWS = os.name == "nt" or "tests.as_windows" in sys.modules  # or as if it were


def needs_posix(reason: str) -> pytest.MarkDecorator:
    """A test that cannot run on Windows. reason: what is not there, or not so."""
    return pytest.mark.skipif(WINDOWS, reason=reason)


def needs_linux(reason: str) -> pytest.MarkDecorator:
    """A test that can run on Linux alone."""
    return pytest.mark.skipif(WINDOWS or sys.platform != "linux", reason=reason)
