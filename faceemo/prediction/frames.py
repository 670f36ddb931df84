"""The frames of a video, as a player shows them.

for seconds, rgb in VideoFrames("talk.mp4", every=5):
    print(seconds, model.predict(rgb))
"""

import math
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

VIDEO_SUFFIXES = (
    *(".mp4", ".mov", ".m4v", ".3gp", ".avi", ".mkv", ".webm", ".wmv", ".flv"),
    *(".mpg", ".mpeg", ".mts", ".m2ts"),
)
FRAMES_PER_SECOND = 30.0  # of a video that does not say
MOST_PER_SECOND = 1000.0  # OpenCV gives 90,000 for the one picture that is a song's cover
SHORT_OF_CLAIMED = 0.95  # a video that is shorter than this share of what it claims was cut
LONGEST_PIXEL = 4.0  # of a pixel's two sides, the longer by the shorter; beyond it, the file is wrong

_OPEN = 1 << 62  # the end of a file whose end is not looked for
_COVER = "no video, but sound with a cover picture"


class VideoFrames:
    """The frames of a video file, upright and with square pixels, which are read once.

    error: after the last frame: what is wrong with the file, None if nothing is.
    """

    def __init__(self, path: str | os.PathLike, every: int = 1) -> None:
        """every: give the first frame of so many."""
        self._path = Path(path)
        self._every = every
        self.error: str | None = None

    def __iter__(self) -> Iterator[tuple[float, np.ndarray]]:
        """Seconds from the start of the video, and uint8 [height, width, 3], RGB."""
        video = open_video(self._path)
        try:
            yield from self._read(video)
        finally:
            video.release()

    def _read(self, video: cv2.VideoCapture) -> Iterator[tuple[float, np.ndarray]]:
        rate, claimed = video.get(cv2.CAP_PROP_FPS), video.get(cv2.CAP_PROP_FRAME_COUNT)
        if rate > MOST_PER_SECOND:
            self.error = _COVER
            return
        rate = rate if rate > 0 else FRAMES_PER_SECOND
        stretch, mirrored = _stretch(video), _mirrored_axis(video, self._path)
        number, seconds = 0, -math.inf
        while video.grab():
            clock = video.get(cv2.CAP_PROP_POS_MSEC) / 1000
            follows = clock > seconds and clock >= 0  # a stream may have no clock, and a wrong one
            seconds = clock if follows else max(seconds, -1 / rate) + 1 / rate
            if number % self._every == 0:
                there, bgr = video.retrieve()
                if there:
                    bgr = bgr if mirrored is None else cv2.flip(bgr, mirrored)
                    yield seconds, cv2.cvtColor(_stretched(bgr, stretch), cv2.COLOR_BGR2RGB)
            number += 1
        if not number:
            self.error = _why_none(self._path)
            return
        shown = seconds + 1 / rate
        promised = mp4_seconds(self._path)
        if promised is None and not _is_cut(self._path):  # what it claims may be the length of its sound
            self.error = _COVER if number == 1 < claimed else None
            return
        promised = promised or claimed / rate
        if number < SHORT_OF_CLAIMED * claimed and shown < SHORT_OF_CLAIMED * promised:  # one alone may be an estimate
            self.error = f"ended after {shown:.1f} of {promised:.1f} seconds"


def _why_none(path: Path) -> str:
    """Why a file has no frames: OpenCV does not say."""
    try:
        path.open("rb").close()
    except OSError as error:
        return f"cannot be opened ({error.strerror or error})"
    return "cut short; copy it again" if _is_cut(path) else "no video in a known format"


def frames_per_second(path: str | os.PathLike) -> float:
    """Of a video file; what is usual where it says nothing that a player could show."""
    video = open_video(Path(path))
    rate = video.get(cv2.CAP_PROP_FPS)
    video.release()
    return rate if 1 <= rate <= 240 else FRAMES_PER_SECOND


def open_video(path: Path) -> cv2.VideoCapture:
    """A video whose frames are turned as the file says, by every version of OpenCV: 4.11 left them as they lie."""
    video = cv2.VideoCapture(str(path))
    video.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    return video


def _stretch(video: cv2.VideoCapture) -> tuple[float, float]:
    """By how much the width and the height of upright frames grow so that pixels are square."""
    across, down = video.get(cv2.CAP_PROP_SAR_NUM), video.get(cv2.CAP_PROP_SAR_DEN)
    ratio = across / down if across > 0 and down > 0 else 1.0
    if not 1 / LONGEST_PIXEL <= ratio <= LONGEST_PIXEL:
        return 1.0, 1.0
    stretch = max(ratio, 1.0), max(1 / ratio, 1.0)
    lies_on_its_side = round(video.get(cv2.CAP_PROP_ORIENTATION_META)) % 180 == 90  # the ratio is of the stored frame
    return stretch[::-1] if lies_on_its_side else stretch


def _stretched(bgr: np.ndarray, stretch: tuple[float, float]) -> np.ndarray:
    if stretch == (1.0, 1.0):
        return bgr
    height, width, _ = bgr.shape
    return cv2.resize(bgr, (round(width * stretch[0]), round(height * stretch[1])), interpolation=cv2.INTER_LINEAR)


def _mirrored_axis(video: cv2.VideoCapture, path: Path) -> int | None:
    """What cv2.flip takes to mend frames that a file says to mirror, None of any other file.

    OpenCV takes such a matrix for a turn that brings the upper side of the frame to where the file wants it, half a
    turn for a face in a mirror, and leaves the other side.
    """
    try:
        with path.open("rb") as file:
            header = _content(file, *_find(file, *_video_track(file, _find(file, *_whole(file), b"moov")), b"tkhd"))
            a, b, _, c, d = struct.unpack_from(">5i", header, 52 if header[0] else 40)  # the beginning of its matrix
    except (OSError, LookupError, struct.error):
        return None
    if a * d >= b * c:
        return None
    return 1 if abs(b) > abs(a) else 0


def mp4_seconds(path: Path) -> float | None:
    """How long the first video track of an MP4 or QuickTime file is shown; None if it does not say.

    OpenCV counts all frames in the file, also those before and after the part that a cut without encoding leaves. The
    track's edit list has that part (ISO/IEC 14496-12: 8.3.2 tkhd, 8.4.3 hdlr, 8.6.6 elst); where it has none, its
    header has the whole.
    """
    try:
        with path.open("rb") as file:
            moov = _find(file, *_whole(file), b"moov")
            header = _content(file, *_find(file, *moov, b"mvhd"))
            ticks = int.from_bytes(header[20:24] if header[0] else header[12:16], "big")
            return _track_ticks(file, *_video_track(file, moov)) / ticks or None
    except (OSError, LookupError, ZeroDivisionError):
        return None


def _whole(file: BinaryIO) -> tuple[int, int]:
    return 0, os.fstat(file.fileno()).st_size


def _video_track(file: BinaryIO, moov: tuple[int, int]) -> tuple[int, int]:
    """Start and end of what the first track with pictures holds. Raises LookupError if there is none."""
    for kind, start, end in _boxes(file, *moov):
        if kind == b"trak":
            handler = _content(file, *_find(file, *_find(file, start, end, b"mdia"), b"hdlr"))
            if handler[8:12] == b"vide":
                return start, end
    raise LookupError(b"trak")


def _track_ticks(file: BinaryIO, start: int, end: int) -> int:
    try:
        edits = _content(file, *_find(file, *_find(file, start, end, b"edts"), b"elst"))
    except LookupError:
        header = _content(file, *_find(file, start, end, b"tkhd"))
        return int.from_bytes(header[28:36] if header[0] else header[20:24], "big")
    size = 8 if edits[0] else 4
    entries = range(8, len(edits) - 2 * size - 3, 2 * size + 4)
    durations = (int.from_bytes(edits[at : at + size], "big") for at in entries)
    begins = (int.from_bytes(edits[at + size : at + 2 * size], "big", signed=True) for at in entries)
    return sum(duration for duration, begin in zip(durations, begins, strict=True) if begin >= 0)  # below: a pause


def _is_cut(path: Path) -> bool:
    """Whether a file ends before it should, as far as its kind tells.

    MP4 and AVI are made of parts that begin with their sizes, Matroska and WebM too (RFC 8794, 4 to 6); in FLV a tag's
    size stands behind it (Video File Format Specification 10, annex E.3).
    """
    with path.open("rb") as file:
        size, head = _whole(file)[1], file.read(4096)
        if head[4:8] == b"ftyp":
            return any(size < end < _OPEN for kind, _, end in _boxes(file, 0, _OPEN) if kind)
        if head.startswith(b"RIFF"):
            return size < 8 + int.from_bytes(head[4:8], "little")
        if head.startswith(b"\x1a\x45\xdf\xa3"):
            start, length = _ebml_content(head, 0)
            start, length = _ebml_content(head, start + (length or 0))
            return length is not None and size < start + length
        if head.startswith(b"FLV"):
            file.seek(max(size - 4, 0))
            tag = int.from_bytes(file.read(4), "big")
            file.seek(max(size - 4 - tag, 0))
            return int.from_bytes(file.read(4)[1:], "big") + 11 != tag
    return False


def _ebml_content(data: bytes, start: int) -> tuple[int, int | None]:
    """Where the content of an element begins, and its length, None where that is left open."""
    for _ in ("id", "size"):
        length = 9 - data[start].bit_length() if start < len(data) else 9
        if length > 8:
            return start, None
        size = int.from_bytes(data[start : start + length], "big") & (1 << 7 * length) - 1
        start += length
    return start, None if size == (1 << 7 * length) - 1 else size


def _find(file: BinaryIO, start: int, end: int, wanted: bytes) -> tuple[int, int]:
    """Start and end of what the first box of this kind holds. Raises LookupError if there is none."""
    for kind, first, last in _boxes(file, start, end):
        if kind == wanted:
            return first, last
    raise LookupError(wanted)


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind of each box in this part of the file, and start and end of what it holds."""
    while start + 8 <= end:
        file.seek(start)
        head = file.read(16)
        size, kind, begin = int.from_bytes(head[:4], "big"), head[4:8], start + 8
        if size == 1:
            size, begin = int.from_bytes(head[8:], "big"), start + 16
        stop = start + size if size else end
        if stop <= start:
            return
        yield kind, begin, min(stop, end)
        start = stop


def _content(file: BinaryIO, start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(min(end - start, 1 << 16))
