"""Pictures and videos with what the model saw drawn on them: mesh, label, a bar for each class."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from faceemo.durable import written_whole
from faceemo.errors import FaceemoError
from faceemo.extraction.facemesh import contour_edges, mesh_edges, within
from faceemo.fonts import drawn_names, font_with
from faceemo.outputs import check_folder, unheld
from faceemo.prediction.frames import frames_per_second
from faceemo.prediction.inputs import DRAWN_MARK, is_readable
from faceemo.prediction.model import Answer
from faceemo.prediction.predict import Prediction
from faceemo.prediction.videos import CODECS, Video, video_codec
from faceemo.status import Status

DRAWN_SUFFIXES = (".jpg", *(suffix for _, suffix in CODECS))
MARK_TEXT = "faceemo draws into this folder, and passes over it in a folder that it is to judge.\n"
JPEG_QUALITY = 90
JPEG_MAX_SIDE = 65_500  # libjpeg's JPEG_MAX_DIMENSION
MESH_OPACITY = 0.4
CONTOUR_OPACITY = 0.75
MESH_WIDTH = 120  # of a face in pixels; of narrower ones only the contours are drawn: a mesh would be a patch of colour
NO_BASELINE = "no baseline of this person"
TAG_WIDTH = 1.3  # at most, in widths of its face
LEAST_LETTERS = 9  # pixels
WINDOWS_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # no name of a file there
NAME_BYTES = 200  # file systems take 255
LINE, SHADE = (190, 240, 255), (0, 30, 60)  # side by side, a line is seen on skin of any colour
INK, PAPER, BAR, OTHER_BAR = (255, 255, 255), (20, 24, 31), (56, 160, 255), (130, 138, 150)


def check_drawing_folder(option: str, folder: Path, files: Iterable[Path]) -> None:
    """Raises FaceemoError if drawing into `folder`, given by an option, would replace one of the files to judge, or
    others like them, and as check_folder does.
    """
    check_folder(option, folder, DRAWN_SUFFIXES)
    if any(file.parent.resolve() == folder.resolve() for file in files):
        raise FaceemoError(f"{option} {folder}: pictures to judge lie there and would be replaced; name a new folder")
    if not (folder / DRAWN_MARK).exists() and any(map(is_readable, folder.glob("*"))):
        raise FaceemoError(
            f"{option} {folder}: pictures or videos lie there that may not be drawn ones and could be replaced; name "
            "a new folder"
        )


def annotate(
    predictions: Iterable[Prediction], classes: list[str], folder: Path, every: int = 1
) -> Iterator[Prediction]:
    """Yield the predictions on, having written each picture to `folder` as a JPEG and each video as one (see videos).

    every: one frame of so many comes, so that a drawn video is shown with as many fewer a second.
    Inputs that did not decode have no picture, and a picture too long for a JPEG is reduced. Raises FaceemoError if a
    video cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DRAWN_MARK).write_text(MARK_TEXT, encoding="utf-8")
    names = _Names()
    video: Video | None = None
    number: int | None = None
    try:
        for prediction in predictions:
            found = prediction.input
            if video is not None and found.video != number:
                video.close()
                video = None
            if found.reading.status in (Status.OK, Status.NO_FACE):
                picture = draw(found.pixels(), prediction.answers, classes)
                if found.video is None:
                    _write_picture(folder / names.get(found.path, ".jpg"), picture)
                else:
                    if video is None:
                        number = found.video
                        rate = frames_per_second(found.path) / every
                        video = Video(folder / names.get(found.path, video_codec()[1]), rate)
                    video.add(picture)
            yield prediction
    except BaseException:
        if video is not None:
            video.discard()
        raise
    if video is not None:
        video.close()


def draw(rgb: np.ndarray, faces: list[Answer], classes: list[str]) -> np.ndarray:
    """uint8 [height, width, 3] with the mesh over each face of a picture.

    faces: the answers to the picture. One alone has label and bars in a corner away from it; each of several has its
    number, label and probability above it.
    """
    height, width, _ = rgb.shape
    unit = max(min(height, width) / 480, 0.4)  # of lines and letters, so that they look the same at any size
    picture = rgb.copy()
    for face in faces:
        if face.box:
            _draw_mesh(picture, face.reading.points, face.box[2] - face.box[0], unit)
    words = dict(zip(classes, drawn_names(classes), strict=True))
    return _with_panel(picture, faces[0], words, unit) if len(faces) == 1 else _with_tags(picture, faces, words, unit)


def _draw_mesh(picture: np.ndarray, points: np.ndarray, face_width: float, unit: float) -> None:
    """Draw the lines between a face's landmarks, float [478, 2] in pixels, onto its picture."""
    thickness = max(1, round(min(unit * 0.6, face_width / 300)))
    left, top = np.maximum(np.floor(points.min(axis=0)).astype(int) - 4 * thickness, 0)
    right, bottom = np.ceil(points.max(axis=0)).astype(int) + 4 * thickness
    face = picture[top : max(bottom, 0), left : max(right, 0)]  # a view: the rest of a large picture costs nothing
    if not face.size:
        return
    mesh = [(mesh_edges(), MESH_OPACITY)] if face_width >= MESH_WIDTH else []
    for edges, opacity in (*mesh, (contour_edges(), CONTOUR_OPACITY)):
        for colour, aside in ((SHADE, 0.7 * thickness), (LINE, 0)):
            lines = np.round((points[edges] - (left, top) + aside) * 8).astype(np.int32)  # in eighths of a pixel
            drawn = face.copy()
            cv2.polylines(drawn, list(lines), False, colour, thickness, cv2.LINE_AA, shift=3)
            cv2.addWeighted(drawn, opacity, face, 1 - opacity, 0, dst=face)


def _with_tags(picture: np.ndarray, faces: list[Answer], words: Mapping[str, str], unit: float) -> np.ndarray:
    """Above each face its number, label and probability, in letters that suit its width."""
    image = Image.fromarray(picture)
    drawing = ImageDraw.Draw(image, "RGBA")
    for face in faces:
        if face.box is None:
            continue
        left, top, right, _ = face.box
        probability = face.probability
        said = NO_BASELINE if probability is None else f"{words[str(face.label)]} {probability.max():.0%}"
        text = f"{face.face} {said}"
        font = _font(text, 14 * unit)
        share = TAG_WIDTH * (right - left) / drawing.textlength(text, font=font)
        size = max(min(14 * unit * share, 14 * unit), LEAST_LETTERS)
        font, pad = _font(text, size), 0.3 * size
        width, height = drawing.textlength(text, font=font) + 2 * pad, size + 2 * pad
        x = max(min((left + right - width) / 2, image.width - width), 0)
        y = max(top - height - pad, 0)
        drawing.rectangle((x, y, x + width, y + height), fill=(*PAPER, 190))
        drawing.text((x + pad, y + height / 2), text, fill=INK, font=font, anchor="lm")
    return np.asarray(image)


def _font(text: str, size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    path = None if text.isascii() else font_with(text)
    return ImageFont.load_default(size) if path is None else ImageFont.truetype(path, size)


def _with_panel(picture: np.ndarray, face: Answer, words: Mapping[str, str], unit: float) -> np.ndarray:
    classes, probability = list(words), face.probability
    no_label = "no face found" if face.box is None else NO_BASELINE
    rows = [words[face.label] if face.label else no_label]
    if probability is not None:
        rows += [f"{word} {share:.0%}" for word, share in zip(words.values(), probability, strict=True)]
    image = Image.fromarray(picture)
    drawing = ImageDraw.Draw(image, "RGBA")
    pad, line, bar = 8 * unit, 19 * unit, 90 * unit
    fonts = [_font(row, 14 * unit) for row in rows]
    text_width = max(drawing.textlength(row, font=font) for row, font in zip(rows, fonts, strict=True))
    panel_width = text_width + 3 * pad + (bar if probability is not None else -pad)
    panel_height = line * len(rows) + 2 * pad
    left, top = _free_corner(face, image.width, image.height, panel_width, panel_height)
    drawing.rectangle((left, top, left + panel_width, top + panel_height), fill=(*PAPER, 190))
    for number, (row, font) in enumerate(zip(rows, fonts, strict=True)):
        middle = top + pad + line * (number + 0.5)
        drawing.text((left + pad, middle), row, fill=INK, font=font, anchor="lm")
        if number and probability is not None:
            share = float(probability[number - 1])
            start = left + 2 * pad + text_width
            color = BAR if classes[number - 1] == face.label else OTHER_BAR
            drawing.rectangle(
                (start, middle - line * 0.28, start + max(bar * share, 1), middle + line * 0.28), fill=color
            )
    return np.asarray(image)


def _free_corner(face: Answer, width: int, height: int, panel_width: float, panel_height: float) -> tuple[float, float]:
    """left, top of the panel: in the corner where it hides least of the face."""
    corners = [(0.0, 0.0), (width - panel_width, 0.0), (0.0, height - panel_height)]
    corners.append((width - panel_width, height - panel_height))
    if not face.box:
        return corners[0]
    left, top, right, bottom = face.box

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
        stem = f"_{stem}" if WINDOWS_DEVICE.fullmatch(stem) else stem
        name, number = f"{stem}{suffix}", 1
        while name.lower() in self._taken:
            number += 1
            name = f"{stem}-{number}{suffix}"
        self._taken.add(name.lower())
        return name


def _write_picture(path: Path, rgb: np.ndarray) -> None:
    with written_whole(unheld(path)) as temporary:
        Image.fromarray(within(rgb, JPEG_MAX_SIDE, rgb.size)).save(temporary, format="JPEG", quality=JPEG_QUALITY)
