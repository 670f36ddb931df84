"""The frames of a video, as a player shows them.

for seconds, rgb in VideoFrames("talk.mp4", every=5):
    print(seconds, model.predict(rgb))
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from faceemo.prediction.headers import claimed_seconds, is_cut, mirrored_axis, mp4_seconds

VIDEO_SUFFIXES = (
    *(".mp4", ".mov", ".m4v", ".3gp", ".avi", ".mkv", ".webm", ".wmv", ".flv"),
    *(".mpg", ".mpeg", ".mts", ".m2ts"),
)
FRAMES_PER_SECOND = 30.0  # of a video that does not say
MOST_PER_SECOND = 1000.0  # OpenCV gives 90,000 for the one picture that is a song's cover
SHORT_OF_CLAIMED = 0.95  # a video that is shorter than this share of what it claims was cut
LONGEST_PIXEL = 4.0  # of a pixel's two sides, the longer by the shorter; beyond it, the file is wrong

_CUT = "cut short; copy it again"
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
        stretch, mirrored = _stretch(video), mirrored_axis(self._path)
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
        if promised is None:
            if not is_cut(self._path):  # what it claims may be the length of its sound
                self.error = _COVER if number == 1 < claimed else None
                return
            promised = claimed_seconds(self._path, claimed / rate)
        if promised is None:
            self.error = _CUT
        elif (claimed <= 0 or number < SHORT_OF_CLAIMED * claimed) and shown < SHORT_OF_CLAIMED * promised:
            self.error = f"ended after {shown:.1f} of {promised:.1f} seconds"  # one alone may be an estimate


def _why_none(path: Path) -> str:
    """Why a file has no frames: OpenCV does not say."""
    try:
        return _CUT if is_cut(path) else "no video in a known format"
    except OSError as error:
        return f"cannot be opened ({error.strerror or error})"


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
