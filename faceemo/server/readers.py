"""Pictures looked at in processes of their own, so that one that kills its process ends nothing else.

Those processes import this module, and of the package only what reading a picture needs.
"""

from collections.abc import Callable
from concurrent.futures import BrokenExecutor

from faceemo.extraction.decode import MAX_PIXELS, DecodeError, EncodedPicture
from faceemo.extraction.everyface import EveryFaceParams
from faceemo.extraction.executors import ProcessesExecutor
from faceemo.extraction.rescue import DIED
from faceemo.extraction.worker import Reading, measure
from faceemo.params import ExtractParams
from faceemo.status import Status

FRAME_PIXELS = 4_000_000  # of a frame; a camera's 1920 x 1080 has half as many

# Pixels to decode. A JPEG is decoded at a reduced scale, so that of 64 megapixels costs as much as a PNG of four.
QUICK_PIXELS = 4_000_000  # at most a fifth of a second
MOST_PIXELS = 40_000_000
JPEG_SHARE = 16
QUICK_EVERY_FACE = 2_000_000  # of any picture: it is looked at in tiles


class Readers:
    """The processes; one is started when it is needed."""

    def __init__(self, count: int) -> None:
        """count: pictures at once, at most."""
        self._processes = ProcessesExecutor(count, tries=2)

    def start(self, settings: ExtractParams) -> None:
        """Have a process ready for the first picture."""
        self._processes.submit(measure, b"", settings)

    def frame(self, data: bytes, settings: ExtractParams) -> Reading:
        """The face in a camera's encoded frame; one of more than FRAME_PIXELS is a decode_error."""
        return self._run(measure, data, settings, False, FRAME_PIXELS) or DIED

    def picture(self, data: bytes, settings: ExtractParams, only_if_quick: bool) -> Reading | None:
        """The face or faces in an encoded picture, as the settings ask. None for one that is to be quick and is not."""
        return self._run(measure_if_quick if only_if_quick else measure, data, settings)

    def _run(self, measure: Callable[..., Reading | None], *arguments: object) -> Reading | None:
        try:
            return self._processes.submit(measure, *arguments).result()
        except BrokenExecutor:
            return DIED

    def close(self) -> None:
        """End the processes once they have read what they have."""
        self._processes.shutdown()


def measure_if_quick(data: bytes, settings: ExtractParams) -> Reading | None:
    """As worker.measure; None for a picture that takes longer, and a decode_error for one that takes too long."""
    try:
        picture = EncodedPicture(data, MAX_PIXELS)
    except DecodeError as error:
        return Reading(Status.DECODE_ERROR, str(error))
    pixels = picture.width * picture.height
    decoded = pixels / (JPEG_SHARE if len(picture.reductions) > 1 else 1)
    if decoded > MOST_PIXELS:
        return Reading(
            Status.DECODE_ERROR,
            f"{picture.width} x {picture.height} pixels, above the bound of {MOST_PIXELS} here; save it as JPEG",
        )
    is_every_face = isinstance(settings, EveryFaceParams)
    if decoded > QUICK_PIXELS or (is_every_face and pixels > QUICK_EVERY_FACE):
        return None
    return measure(data, settings)
