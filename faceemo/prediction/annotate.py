"""Pictures and videos with what the model saw drawn on them: mesh, label, a bar for each class."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from faceemo.durable import rename, written_whole
from faceemo.errors import FaceemoError
from faceemo.extraction.facemesh import mesh_edges, within
from faceemo.prediction.inputs import FRAMES_PER_SECOND
from faceemo.prediction.predict import Prediction, points_in_pixels
from faceemo.status import Status

JPEG_QUALITY = 90
JPEG_MAX_SIDE = 65_500  # libjpeg's JPEG_MAX_DIMENSION
MESH_OPACITY = 0.45
NAME_BYTES = 200  # file systems take 255
MESH, INK, PAPER, BAR, OTHER_BAR = (120, 220, 255), (255, 255, 255), (20, 24, 31), (56, 160, 255), (130, 138, 150)


def annotate(predictions: Iterable[Prediction], classes: list[str], folder: Path) -> Iterator[Prediction]:
    """Yield the predictions on, having written each picture to `folder` as a JPEG and each video as an MP4.

    Inputs that did not decode have no picture, and a picture too long for a JPEG is reduced. Raises FaceemoError if a
    video cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = _Names()
    video: _Video | None = None
    try:
        for prediction in predictions:
            found = prediction.input
            if video is not None and found.path != video.source:
                video.close()
                video = None
            if found.reading.status in (Status.OK, Status.NO_FACE):
                picture = draw(found.pixels(), prediction, classes)
                if found.seconds is None:
                    _write_picture(folder / names.get(found.path, ".jpg"), picture)
                else:
                    if video is None:
                        video = _Video(found.path, folder / names.get(found.path, ".mp4"))
                    video.add(picture)
            yield prediction
    except BaseException:
        if video is not None:
            video.discard()
        raise
    if video is not None:
        video.close()


def draw(rgb: np.ndarray, prediction: Prediction, classes: list[str]) -> np.ndarray:
    """uint8 [height, width, 3] with the mesh over the face, and label and bars in a corner away from it."""
    height, width, _ = rgb.shape
    picture = rgb.copy()
    unit = max(min(height, width) / 480, 0.4)  # of lines and letters, so that they look the same at any size
    if prediction.box:
        points = points_in_pixels(prediction.input.reading)
        lines = np.round(points[mesh_edges()] * 8).astype(np.int32)  # in eighths of a pixel
        mesh = picture.copy()
        cv2.polylines(mesh, list(lines), False, MESH, max(1, round(unit * 0.6)), cv2.LINE_AA, shift=3)
        picture = cv2.addWeighted(mesh, MESH_OPACITY, picture, 1 - MESH_OPACITY, 0)
    return _with_panel(picture, prediction, classes, unit)


def _with_panel(picture: np.ndarray, prediction: Prediction, classes: list[str], unit: float) -> np.ndarray:
    font = ImageFont.load_default(14 * unit)
    probability = prediction.probability
    rows = [prediction.label or ("no face found" if prediction.box is None else "no baseline of this person")]
    if probability is not None:
        rows += [f"{name} {share:.0%}" for name, share in zip(classes, probability, strict=True)]
    image = Image.fromarray(picture)
    drawing = ImageDraw.Draw(image, "RGBA")
    pad, line, bar = 8 * unit, 19 * unit, 90 * unit
    text_width = max(drawing.textlength(row, font=font) for row in rows)
    panel_width = text_width + 3 * pad + (bar if probability is not None else -pad)
    panel_height = line * len(rows) + 2 * pad
    left, top = _free_corner(prediction, image.width, image.height, panel_width, panel_height)
    drawing.rectangle((left, top, left + panel_width, top + panel_height), fill=(*PAPER, 190))
    for number, row in enumerate(rows):
        middle = top + pad + line * (number + 0.5)
        drawing.text((left + pad, middle), row, fill=INK, font=font, anchor="lm")
        if number:
            share = float(probability[number - 1])
            start = left + 2 * pad + text_width
            color = BAR if classes[number - 1] == prediction.label else OTHER_BAR
            drawing.rectangle(
                (start, middle - line * 0.28, start + max(bar * share, 1), middle + line * 0.28), fill=color
            )
    return np.asarray(image)


def _free_corner(
    prediction: Prediction, width: int, height: int, panel_width: float, panel_height: float
) -> tuple[float, float]:
    """left, top of the panel: in the corner where it hides least of the face."""
    corners = [(0.0, 0.0), (width - panel_width, 0.0), (0.0, height - panel_height)]
    corners.append((width - panel_width, height - panel_height))
    if not prediction.box:
        return corners[0]
    left, top, right, bottom = prediction.box

    def hidden(corner: tuple[float, float]) -> float:
        across = min(right, corner[0] + panel_width) - max(left, corner[0])
        down = min(bottom, corner[1] + panel_height) - max(top, corner[1])
        return max(across, 0) * max(down, 0)

    return min(corners, key=hidden)


class _Names:
    """File names for inputs, none given twice and none that leads out of the folder."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def get(self, path: str, suffix: str) -> str:
        stem = re.sub(r'[\x00-\x1f<>:"|?*]+', "_", Path(path.replace("\\", "/")).stem)
        stem = stem.encode()[:NAME_BYTES].decode(errors="ignore").strip(" .") or "picture"
        name, number = f"{stem}{suffix}", 1
        while name.lower() in self._taken:
            number += 1
            name = f"{stem}-{number}{suffix}"
        self._taken.add(name.lower())
        return name


def _write_picture(path: Path, rgb: np.ndarray) -> None:
    with written_whole(path) as temporary:
        Image.fromarray(within(rgb, JPEG_MAX_SIDE, rgb.size)).save(temporary, format="JPEG", quality=JPEG_QUALITY)


class _Video:
    """An MP4 that appears under its name when it is complete."""

    def __init__(self, source: str, path: Path) -> None:
        self.source = source
        self._path = path
        self._temporary = path.with_name(f"{path.stem}.part{path.suffix}")  # OpenCV goes by the suffix
        capture = cv2.VideoCapture(source)
        rate = capture.get(cv2.CAP_PROP_FPS)
        capture.release()
        self._rate = rate if 1 <= rate <= 240 else FRAMES_PER_SECOND
        self._writer: cv2.VideoWriter | None = None

    def add(self, rgb: np.ndarray) -> None:
        height, width, _ = rgb.shape
        if self._writer is None:
            code = cv2.VideoWriter_fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self._temporary), code, self._rate, (width, height))
            if not self._writer.isOpened():
                raise FaceemoError(f"{self._path}: this video cannot be written; is the disk full?")
        self._writer.write(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.release()
            rename(self._temporary, self._path)

    def discard(self) -> None:
        if self._writer is not None:
            self._writer.release()
        self._temporary.unlink(missing_ok=True)
