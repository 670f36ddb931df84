"""The places that people name: patterns, which the shells of Windows leave to programs, and what is no place here."""

import glob
from collections.abc import Iterable
from pathlib import Path

from faceemo.errors import FaceemoError

DOWNLOAD = "download it first"
CAMERA = "faceemo serve judges the picture of a camera"
ADDRESSES = {"http:": DOWNLOAD, "https:": DOWNLOAD, "rtsp:": CAMERA, "rtmp:": CAMERA}


def expand_places(places: Iterable[Path]) -> list[Path]:
    """The places in their order, and for a pattern like *.jpg what matches, in the order of names.

    What is not there otherwise stays as it is, also with brackets, as in the names of the set. Raises FaceemoError for
    a pattern with * or ? that nothing matches, and for an address.
    """
    return [one for place in places for one in ([place] if place.exists() else _matching(place))]


def _matching(place: Path) -> list[Path]:
    text = place.as_posix()
    if advice := ADDRESSES.get(text.partition("/")[0].lower()):
        raise FaceemoError(f"{text.replace(':/', '://', 1)}: pictures and videos are read from files; {advice}")
    matching = sorted(map(Path, glob.glob(str(place), recursive=True)))  # noqa: PTH207 - Path.glob refuses '**.png'
    if not matching and set("*?") & set(text):
        raise FaceemoError(f"{place}: no file matches this")
    return matching or [place]
