"""The places that people name: patterns, which the shells of Windows leave to programs, and what is no place here."""

from collections.abc import Iterable
from pathlib import Path

from faceemo.errors import FaceemoError

CAMERA = "faceemo serve judges the picture of a camera"
ADDRESSES = {
    "http:": "pictures and videos are read from files; download it first",
    "https:": "pictures and videos are read from files; download it first",
    "rtsp:": f"pictures and videos are read from files; {CAMERA}",
    "rtmp:": f"pictures and videos are read from files; {CAMERA}",
}


def expand_places(places: Iterable[Path]) -> list[Path]:
    """The places in their order, and for a pattern like *.jpg what matches, in the order of names.

    What is not there otherwise stays as it is. Raises FaceemoError for a pattern that nothing matches and an address.
    """
    return [one for place in places for one in ([place] if place.exists() else _matching(place))]


def _matching(place: Path) -> list[Path]:
    text = place.as_posix()
    if advice := ADDRESSES.get(text.partition("/")[0].lower()):
        raise FaceemoError(f"{text.replace(':/', '://', 1)}: {advice}")
    if not set("*?[") & set(text):
        return [place]
    if matching := sorted(Path(place.anchor).glob(str(place.relative_to(place.anchor)))):
        return matching
    raise FaceemoError(f"{place}: no file matches this")
