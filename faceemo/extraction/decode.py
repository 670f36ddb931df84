"""Bytes of one picture to upright RGB pixels, at full size or, for a JPEG, at 1/2, 1/4 or 1/8."""

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import simplejpeg
from PIL import (
    Image,
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401 - else Pillow imports all its plugins to find this one
)

from faceemo.extraction.containers import (
    JPEG_END,
    has_all_scans,
    one_pixel_png,
    png_orientation_chunks,
    without_metadata,
)
from faceemo.extraction.signatures import unread_jpeg, what_it_is

EXIF_ORIENTATION = 0x0112
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF")  # all that Pillow may try: never EPS, for which it starts Ghostscript
MAX_PIXELS = 120_000_000  # of a picture; a larger one is never allocated
MAX_SIDE = 1_000_000  # a PNG of 1 x 120,000,000 takes 1 MB in an archive and Pillow 3 GB, a pointer a row
REDUCTIONS = (1, 2, 4, 8)  # what a JPEG decoder can divide by while it decodes
APP1_PROFILE = "Raw profile type APP1"  # an older name of "Raw profile type exif", which Pillow knows

Read = TypeVar("Read")

# Pictures between one and two times Pillow's own bound only warn; ours lies between them.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module="PIL")  # broken EXIF, a line a picture


class DecodeError(Exception):
    """The bytes hold no whole picture; the message says why."""


class EncodedPicture:
    """An encoded picture whose header has been read; nothing of its size has been allocated yet.

    width, height: of the upright picture, after EXIF orientation.
    reductions: what `pixels` may divide the size by; (1,) for anything but a JPEG.
    Raises DecodeError if the bytes are no picture, or one of more than max_pixels or of a side above MAX_SIDE.
    """

    def __init__(self, data: bytes, max_pixels: int = MAX_PIXELS) -> None:
        if not data:
            raise DecodeError("empty, 0 bytes")
        self._data = data
        self._max_pixels = max_pixels
        self._image = _pixels_first(data, lambda data: _opened(data, max_pixels))
        width, height = self._image.size
        if width * height > max_pixels:
            raise DecodeError(f"{width} x {height} pixels, above the bound of {max_pixels}")
        if max(width, height) > MAX_SIDE:
            raise DecodeError(f"{width} x {height} pixels, a side above the bound of {MAX_SIDE}")
        self._is_jpeg = self._image.format in ("JPEG", "MPO")  # MPO: a JPEG with more behind it, as phones write
        self.reductions = REDUCTIONS if self._is_jpeg else (1,)
        self._orientation = _png_orientation(data) if self._image.format == "PNG" else orientation_of(self._image)
        turned = self._orientation >= 5
        self.width, self.height = (height, width) if turned else (width, height)

    def pixels(self, reduction: int = 1) -> np.ndarray:
        """uint8 [height / reduction, width / reduction, 3], RGB, upright, sizes rounded up, read-only.

        Raises DecodeError if the picture is not whole.
        """
        upright = np.ascontiguousarray(_upright(self._decode(reduction), self._orientation))
        upright.flags.writeable = False  # MediaPipe copies what could still change
        return upright

    def _decode(self, reduction: int) -> np.ndarray:
        if not self._is_jpeg:
            return self._decode_with_pillow(self._data, reduction)
        try:
            return self._decode_jpeg(self._data, reduction)
        except DecodeError:
            if unread := unread_jpeg(self._data):
                raise DecodeError(unread) from None
            ended = self._data + JPEG_END
            if not self._is_whole_jpeg(ended):
                raise
            return self._decode_jpeg(ended, reduction)

    def _decode_jpeg(self, data: bytes, reduction: int) -> np.ndarray:
        if self._image.mode in ("RGB", "L"):
            width, height = (-(-size // reduction) for size in self._image.size)
            try:
                return simplejpeg.decode_jpeg(
                    data, "RGB", min_height=height, min_width=width, min_factor=reduction, strict=True
                )
            except ValueError as error:
                if "premature end" in str(error).lower():
                    raise DecodeError(str(error)) from None
                # Any other oddity, such as bytes between segments, is Pillow's to judge; it too refuses what is cut.
        return self._decode_with_pillow(data, reduction)

    def _is_whole_jpeg(self, data: bytes) -> bool:
        """Whether nothing is missing before the end marker that was put behind a JPEG."""
        try:
            colours = "CMYK" if self._image.mode == "CMYK" else "RGB"
            simplejpeg.decode_jpeg(data, colours, min_height=1, min_width=1, min_factor=8, strict=True)
        except ValueError:
            return False
        return has_all_scans(data)

    def _decode_with_pillow(self, data: bytes, reduction: int) -> np.ndarray:
        return _pixels_first(data, lambda data: _loaded(_opened(data, self._max_pixels), reduction))


def _pixels_first(data: bytes, read: Callable[[bytes], Read]) -> Read:
    """What `read` makes of a picture's file or, where that is a DecodeError, of the file without its metadata."""
    try:
        return read(data)
    except DecodeError:
        bare = without_metadata(data)
        if bare == data:
            raise
        return read(bare)


def _opened(data: bytes, max_pixels: int) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except MemoryError:
        raise
    except UnidentifiedImageError:
        raise DecodeError(what_it_is(data)) from None
    except Image.DecompressionBombError:
        raise DecodeError(f"pixels above the bound of {max_pixels}") from None
    except Exception as error:
        raise DecodeError(f"{what_it_is(data)} ({_reason(error)})") from None
    if image.format == "PNG" and image.mode == "P" and image.palette is None:  # Pillow takes another
        raise DecodeError("a PNG that lacks its palette")
    return image


def _loaded(image: Image.Image, reduction: int) -> np.ndarray:
    with _decoder_errors():
        width, height = (max(1, size // reduction) for size in image.size)
        image.draft(None, (width, height))
        image.load()
        return rgb_of(image)


def upright_rgb(image: Image.Image) -> np.ndarray:
    """uint8 [height, width, 3] of a Pillow image: what an EncodedPicture of its file gives.

    Raises DecodeError if its pixels cannot be read.
    """
    try:
        with _decoder_errors():
            image.load()  # only then Pillow knows what stands behind a PNG's pixels
            return _upright(rgb_of(image), orientation_of(image))
    except DecodeError:
        file = getattr(image, "fp", None)  # of an image that was opened and could not be loaded
        if file is None or image.format not in (*FORMATS, "MPO") or image.tell() > 0:
            raise
    with _decoder_errors():
        file.seek(0)
        return EncodedPicture(file.read(), image.width * image.height).pixels()


def orientation_of(image: Image.Image) -> int:
    """1 to 8 (Exif 2.32, tag 0x0112): how a loaded image is turned, as Pillow's exif_transpose takes it.

    What cannot be read says nothing: a picture with broken EXIF is shown as it lies, as viewers do.
    """
    with contextlib.suppress(Exception):
        tags = image.getexif()
        if EXIF_ORIENTATION not in tags and APP1_PROFILE in image.info:
            tags = Image.Exif()
            tags.load(bytes.fromhex("".join(image.info[APP1_PROFILE].split("\n")[3:])))
        orientation = tags.get(EXIF_ORIENTATION, 1)
        if orientation in range(1, 9):
            return int(orientation)
    return 1


def _png_orientation(data: bytes) -> int:
    """As `orientation_of` of the loaded PNG: what says it may lie behind the pixels, which are not decoded here."""
    known = Image.new("L", (1, 1))
    for chunk in png_orientation_chunks(data):
        with contextlib.suppress(Exception):
            known.info.update(Image.open(io.BytesIO(one_pixel_png(chunk)), formats=("PNG",)).info)
    return orientation_of(known)


def rgb_of(image: Image.Image) -> np.ndarray:
    """uint8 [height, width, 3] of an image in any of Pillow's modes."""
    if image.mode.startswith("I"):  # 16-bit grey, which convert() would clip to white
        return np.repeat((np.asarray(image).astype(np.int32) >> 8).astype(np.uint8)[..., None], 3, axis=2)
    return np.asarray(image.convert("RGB"))


def turned_over(pixels: np.ndarray) -> np.ndarray:
    """A picture as `EncodedPicture.pixels` gives it, turned by 180 degrees."""
    turned = np.ascontiguousarray(pixels[::-1, ::-1])
    turned.flags.writeable = False
    return turned


@contextlib.contextmanager
def _decoder_errors() -> Iterator[None]:
    """Whatever a decoder raises in this block is a DecodeError.

    Pillow's plugins raise almost any exception for bytes that are not what they claim: AssertionError for a PNG that
    lacks its palette, ZeroDivisionError, KeyError, RuntimeError. Only a lack of memory is not the picture's fault.
    """
    try:
        yield
    except (DecodeError, MemoryError):
        raise
    except Exception as error:
        raise DecodeError(_reason(error)) from None


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or f"the decoder failed ({type(error).__name__})"


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undo EXIF orientation 1 to 8 (Exif 2.32, tag 0x0112)."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels
