"""A picture as Python programs have it, a path, an open file, a Pillow image or an array, to what is found in it."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from faceemo.errors import FaceemoError
from faceemo.extraction.decode import DecodeError, upright_rgb
from faceemo.extraction.worker import Reading, measure, measure_pixels, read_picture
from faceemo.params import ExtractParams
from faceemo.pictures.reader import Picture as PictureFile
from faceemo.pictures.reader import PictureReader

PictureLike = str | os.PathLike | BinaryIO | Image.Image | np.ndarray
PicturesLike = PictureLike | Iterable[PictureLike]


def is_one(pictures: PicturesLike) -> bool:
    """Whether this is a single picture. What is neither one nor several counts as one, so that the error names it."""
    if isinstance(pictures, np.ndarray):
        return pictures.ndim != 4 and pictures.dtype.kind not in "OU"  # an array of paths or images is several
    is_single = isinstance(pictures, str | bytes | os.PathLike | Image.Image) or hasattr(pictures, "read")
    return is_single or not isinstance(pictures, Iterable)


def read(picture: PictureLike, settings: ExtractParams) -> Reading:
    """The landmarks of the largest face in one picture, or of every face, as the settings ask.

    picture: the path of a file, or a file open in binary mode, read from its beginning as the pipeline reads it; a
        Pillow image, whose EXIF orientation counts; or an array, upright: uint8 [height, width, 3], RGB, or uint8
        [height, width], grey.
    Raises FaceemoError for a file or image that cannot be read, ValueError for any other array, and TypeError for
    anything else.
    """
    if isinstance(picture, str | os.PathLike):
        path = os.fspath(picture)
        return _decoded(read_picture(PictureReader(), PictureFile(Path(path).name, path), settings), path)
    if hasattr(picture, "read"):
        if hasattr(picture, "seek") and getattr(picture, "seekable", bool)():
            picture.seek(0)  # as Pillow does, so that predict and predict_proba may have the same file
        data = picture.read()
        if not isinstance(data, bytes):
            raise TypeError("a file must be open in binary mode: open(path, 'rb')")
        return _decoded(measure(data, settings, check_upside_down=True), getattr(picture, "name", "the file"))
    if isinstance(picture, Image.Image):
        rgb = _image_pixels(picture)
    elif isinstance(picture, np.ndarray):
        rgb = _array_pixels(picture)
    else:
        raise TypeError(
            "a picture must be a path, an open file, a Pillow image or an array uint8 [height, width, 3], not "
            f"{type(picture).__name__}{'; wrap them: io.BytesIO(data)' if isinstance(picture, bytes) else ''}"
        )
    return measure_pixels(np.ascontiguousarray(rgb), settings)


def _decoded(reading: Reading, name: object) -> Reading:
    if reading.error:
        raise FaceemoError(f"{name}: {reading.status}: {reading.error}")
    return reading


def _image_pixels(image: Image.Image) -> np.ndarray:
    try:
        return upright_rgb(image)
    except DecodeError as error:  # Pillow reads a file's pixels only now
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
