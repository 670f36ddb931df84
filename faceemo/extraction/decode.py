"""Bytes of one picture to upright RGB pixels, at full size or, for a JPEG, at 1/2, 1/4 or 1/8."""

import contextlib
import io
import warnings
from collections.abc import Iterator

import numpy as np
import simplejpeg
from PIL import (
    Image,
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401 - else Pillow imports all its plugins to find this one
)

EXIF_ORIENTATION = 0x0112
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF")  # all that Pillow may try: never EPS, for which it starts Ghostscript
# Of pictures in ISO base media files: https://github.com/nokiatech/heif and AV1 Image File Format 1.1
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis")
MAX_SIDE = 1_000_000  # a PNG of 1 x 120,000,000 takes 1 MB in an archive and Pillow 3 GB, a pointer a row
REDUCTIONS = (1, 2, 4, 8)  # what a JPEG decoder can divide by while it decodes

# Pictures between one and two times Pillow's own bound only warn; `max_pixels` is our bound.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module="PIL")  # broken EXIF, a line a picture


class DecodeError(Exception):
    """The bytes hold no whole picture; the message says why."""


class Picture:
    """An encoded picture whose header has been read; nothing of its size has been allocated yet.

    width, height: of the upright picture, after EXIF orientation.
    reductions: what `pixels` may divide the size by; (1,) for anything but a JPEG.
    Raises DecodeError if the bytes are no picture, or one of more than max_pixels or of a side above MAX_SIDE.
    """

    def __init__(self, data: bytes, max_pixels: int) -> None:
        if not data:
            raise DecodeError("empty, 0 bytes")
        self._data = data
        self._max_pixels = max_pixels
        self._image = self._open()
        width, height = self._image.size
        if width * height > max_pixels:
            raise DecodeError(f"{width} x {height} pixels, above the bound of {max_pixels}")
        if max(width, height) > MAX_SIDE:
            raise DecodeError(f"{width} x {height} pixels, a side above the bound of {MAX_SIDE}")
        self._is_jpeg = self._image.format in ("JPEG", "MPO")  # MPO: a JPEG with more behind it, as phones write
        self.reductions = REDUCTIONS if self._is_jpeg else (1,)
        self._orientation = self._read_orientation()
        turned = self._orientation >= 5
        self.width, self.height = (height, width) if turned else (width, height)

    def pixels(self, reduction: int = 1) -> np.ndarray:
        """uint8 [height / reduction, width / reduction, 3], RGB, upright, sizes rounded up, read-only.

        Raises DecodeError if the picture is not whole.
        """
        upright = np.ascontiguousarray(_upright(self._decode(reduction), self._orientation))
        upright.flags.writeable = False  # MediaPipe copies what could still change
        return upright

    def _open(self) -> Image.Image:
        with _decoder_errors("broken header: "):
            try:
                return Image.open(io.BytesIO(self._data), formats=FORMATS)
            except UnidentifiedImageError:
                raise DecodeError(_unknown(self._data)) from None
            except Image.DecompressionBombError:
                raise DecodeError(f"pixels above the bound of {self._max_pixels}") from None

    def _decode(self, reduction: int) -> np.ndarray:
        if self._is_jpeg and self._image.mode in ("RGB", "L"):
            width, height = (-(-size // reduction) for size in self._image.size)
            try:
                return simplejpeg.decode_jpeg(
                    self._data, "RGB", min_height=height, min_width=width, min_factor=reduction, strict=True
                )
            except ValueError as error:
                if "premature end" in str(error).lower():
                    raise DecodeError(str(error)) from None
                # Any other oddity, such as bytes between segments, is Pillow's to judge; it too refuses what is cut.
        return self._decode_with_pillow(reduction)

    def _decode_with_pillow(self, reduction: int) -> np.ndarray:
        image = self._open()
        with _decoder_errors():
            width, height = (max(1, size // reduction) for size in image.size)
            image.draft(None, (width, height))
            image.load()
            return rgb_of(image)

    def _read_orientation(self) -> int:
        if "exif" not in self._image.info:
            return 1
        with contextlib.suppress(Exception):  # a picture with broken EXIF is shown as it lies, as viewers do
            orientation = self._image.getexif().get(EXIF_ORIENTATION, 1)
            if orientation in range(1, 9):
                return int(orientation)
        return 1


def _unknown(data: bytes) -> str:
    """What is said of bytes in no known format."""
    if data[4:8] == b"ftyp" and data[8:12] in HEIC_BRANDS:
        return "a HEIC or AVIF picture, which is not read; save it as JPEG (iPhone: Camera, Formats, Most Compatible)"
    return "not a picture in a known format"


def rgb_of(image: Image.Image) -> np.ndarray:
    """uint8 [height, width, 3] of an image in any of Pillow's modes."""
    if image.mode.startswith("I"):  # 16-bit grey, which convert() would clip to white
        return np.repeat((np.asarray(image).astype(np.int32) >> 8).astype(np.uint8)[..., None], 3, axis=2)
    return np.asarray(image.convert("RGB"))


def turned_over(pixels: np.ndarray) -> np.ndarray:
    """A picture as `Picture.pixels` gives it, turned by 180 degrees."""
    turned = np.ascontiguousarray(pixels[::-1, ::-1])
    turned.flags.writeable = False
    return turned


@contextlib.contextmanager
def _decoder_errors(prefix: str = "") -> Iterator[None]:
    """Whatever a decoder raises in this block is a DecodeError.

    Pillow's plugins raise almost any exception for bytes that are not what they claim: AssertionError for a PNG that
    lacks its palette, ZeroDivisionError, KeyError, RuntimeError. Only a lack of memory is not the picture's fault.
    """
    try:
        yield
    except (DecodeError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise DecodeError(f"{prefix}{reason or f'the decoder failed ({type(error).__name__})'}") from None


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undo EXIF orientation 1 to 8 (Exif 2.32, tag 0x0112)."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels
