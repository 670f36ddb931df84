"""Frames written as a video that a browser plays."""

import functools
import tempfile
from pathlib import Path

import cv2
import numpy as np

from faceemo.durable import rename
from faceemo.errors import FaceemoError
from faceemo.outputs import unheld
from faceemo.prediction.frames import FRAMES_PER_SECOND

# OpenCV writes H.264 with what Windows (which calls it H264) and macOS have, or where it was built with an encoder, as
# its packages for Linux are not; VP8 where it has libvpx, in a tenth of the time of VP9; and anywhere MPEG-4, which no
# browser plays.
CODECS = (("avc1", ".mp4"), ("H264", ".mp4"), ("VP80", ".webm"), ("mp4v", ".mp4"))
LEAST_SIDE = 16  # pixels; encoders refuse less
TRIED_SIZE = (240, 320, 3)
TRIED_FRAMES = 5
SHORT_OF_WRITTEN = 0.95  # a video that says less of its frames was not written to its end


@functools.cache
def video_codec() -> tuple[str, str]:
    """The four letters and the file suffix of the first of CODECS that OpenCV can write here.

    Raises FaceemoError if there is none.
    """
    for code, suffix in CODECS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"tried{suffix}"
            writer = _writer(path, code, FRAMES_PER_SECOND, TRIED_SIZE)
            for _ in range(TRIED_FRAMES):
                writer.write(np.zeros(TRIED_SIZE, np.uint8))
            writer.release()
            if _holds_frames(path, TRIED_FRAMES):
                return code, suffix
    raise FaceemoError("OpenCV cannot write videos here; install faceemo again")


class Video:
    """A video of drawn frames that appears under its name when it is complete."""

    def __init__(self, path: Path, rate: float) -> None:
        """rate: frames a second."""
        self._path = path
        self._temporary = path.with_name(f"{path.stem}.part{path.suffix}")  # OpenCV goes by the suffix
        self._rate = rate
        self._writer: cv2.VideoWriter | None = None
        self._frames = 0

    def add(self, rgb: np.ndarray) -> None:
        """Add a frame, uint8 [height, width, 3], without its last row and column where their number is odd.

        A frame with a side below LEAST_SIDE gets black pixels at its right and lower edges.
        """
        missing = [max(LEAST_SIDE - side, 0) for side in rgb.shape[:2]]
        if any(missing):
            rgb = np.pad(rgb, ((0, missing[0]), (0, missing[1]), (0, 0)))
        even = rgb[: rgb.shape[0] // 2 * 2, : rgb.shape[1] // 2 * 2]  # as H.264 wants it
        if self._writer is None:
            self._writer = _writer(self._temporary, video_codec()[0], self._rate, even.shape)
        self._writer.write(cv2.cvtColor(even, cv2.COLOR_RGB2BGR))
        self._frames += 1

    def close(self) -> None:
        """Raises FaceemoError if it could not be written: OpenCV itself says nothing of a full disk."""
        if self._writer is None:
            return
        self._writer.release()
        if not _holds_frames(self._temporary, self._frames):
            self._temporary.unlink(missing_ok=True)
            raise FaceemoError(f"{self._path}: this video cannot be written; is the disk full?")
        rename(self._temporary, unheld(self._path))

    def discard(self) -> None:
        """Remove what has been written so far."""
        if self._writer is not None:
            self._writer.release()
        self._temporary.unlink(missing_ok=True)


def _writer(path: Path, code: str, rate: float, shape: tuple[int, ...]) -> cv2.VideoWriter:
    return cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), rate, (shape[1], shape[0]))


def _holds_frames(path: Path, count: int) -> bool:
    """Whether a video was written to its end, by what it says of its length: that is written last."""
    video = cv2.VideoCapture(str(path))
    claimed = video.get(cv2.CAP_PROP_FRAME_COUNT)
    there, _ = video.read()
    video.release()
    return bool(there) and claimed >= SHORT_OF_WRITTEN * count
