"""A picture as Python programs have it, a path, a Pillow image or an array, to what is found in it."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from faceemo.errors import FaceemoError
from faceemo.extraction.decode import rgb_of
from faceemo.extraction.pictures import PictureFile, PictureReader
from faceemo.extraction.worker import Reading, measure_pixels, read_picture
from faceemo.params import ExtractParams

Picture = str | os.PathLike | Image.Image | np.ndarray
Pictures = Picture | Iterable[Picture]


def is_one(pictures: Pictures) -> bool:
    """Whether this is a single picture. What is neither one nor several counts as one, so that the error names it."""
    if isinstance(pictures, np.ndarray):
        return pictures.ndim != 4 and pictures.dtype.kind not in "OU"  # an array of paths or images is several
    return isinstance(pictures, str | bytes | os.PathLike | Image.Image) or not isinstance(pictures, Iterable)


def read(picture: Picture, settings: ExtractParams) -> Reading:
    """The landmarks of the largest face in one picture, found by this thread's FaceMesh.

    picture: the path of a file, read as the pipeline reads it; a Pillow image, whose EXIF orientation is heeded; or
        an array, upright: uint8 [height, width, 3], RGB, or uint8 [height, width], grey.
    Raises FaceemoError for a file or image that cannot be read, ValueError for any other array, and TypeError for
    anything else.
    """
    if isinstance(picture, str | os.PathLike):
        return _read_file(os.fspath(picture), settings)
    if isinstance(picture, Image.Image):
        rgb = _image_pixels(picture)
    elif isinstance(picture, np.ndarray):
        rgb = _array_pixels(picture)
    else:
        raise TypeError(
            "a picture must be a path, a Pillow image or an array uint8 [height, width, 3], not a "
            f"{type(picture).__name__}"
        )
    return measure_pixels(np.ascontiguousarray(rgb), settings)


def _read_file(path: str, settings: ExtractParams) -> Reading:
    reading = read_picture(PictureReader(), PictureFile(Path(path).name, path), settings)
    if reading.error:
        raise FaceemoError(f"{path}: {reading.status}: {reading.error}")
    return reading


def _image_pixels(image: Image.Image) -> np.ndarray:
    try:
        return rgb_of(ImageOps.exif_transpose(image))
    except (OSError, ValueError) as error:  # Pillow reads a file's pixels only now
        raise FaceemoError(f"the image {getattr(image, 'filename', '')!r} cannot be read: {error}") from None


def _array_pixels(array: np.ndarray) -> np.ndarray:
    """uint8 [height, width, 3] of such an array or of a grey one."""
    if array.dtype == np.uint8 and array.size:
        if array.ndim == 3 and array.shape[2] == 3:
            return array
        if array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 1):
            return np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
    raise ValueError(
        "a picture must be uint8 [height, width, 3], RGB, or uint8 [height, width], grey, not "
        f"{array.dtype} {list(array.shape)}{_remedy(array)}"
    )


def _remedy(array: np.ndarray) -> str:
    if array.ndim == 3 and array.shape[2] == 4:
        return "; leave the fourth channel out: picture[:, :, :3]"
    if array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] not in (1, 3):
        return "; put the channels last: picture.transpose(1, 2, 0)"
    if array.dtype.kind == "f":
        return "; if its values go from 0 to 1: (picture * 255).astype(np.uint8)"
    if array.dtype == np.uint16:
        return "; (picture >> 8).astype(np.uint8)"
    return ""
