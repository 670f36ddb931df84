"""What a camera would see: a person who is not in the made-up set, as a video that Chromium takes for a camera."""

import io
from pathlib import Path

import cv2
import made_set
import numpy as np
from PIL import Image

WIDTH, HEIGHT = 640, 480
PERSON = made_set.PEOPLE  # the first who is not in it
FRAMES = 40  # until the person is back where they began


def camera_frames(emotion: str, person: int = PERSON) -> list[np.ndarray]:
    """uint8 [480, 640, 3] each: the person keeps one expression, "neutral" or "anxious", and sways a little."""
    still = _framed(portrait(emotion, person))
    frames = []
    for turn in np.linspace(0, 2 * np.pi, FRAMES, endpoint=False):
        sway = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), 2 * np.sin(turn), 1.04 + 0.03 * np.cos(turn))
        sway[:, 2] += (9 * np.sin(turn), 4 * np.sin(2 * turn))
        frames.append(cv2.warpAffine(still, sway, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE))
    return frames


def portrait(emotion: str, person: int = PERSON) -> np.ndarray:
    """uint8 [512, 384, 3] of the person."""
    return np.asarray(made_set.portrait(person, {"neutral": "중립", "anxious": "불안"}[emotion]))


def jpeg(rgb: np.ndarray, quality: int = 85) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def write_mjpeg(path: Path, frames: list[np.ndarray]) -> Path:
    """For `--use-file-for-fake-video-capture`, which plays it again and again at 30 frames a second."""
    path.write_bytes(b"".join(map(jpeg, frames)))
    return path


def video_file(path: Path, pictures: list[np.ndarray], rate: float = 10.0, code: str = "mp4v") -> Path:
    """A video of pictures uint8 [height, width, 3]."""
    height, width, _ = pictures[0].shape
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), rate, (width, height))
    for picture in pictures:
        writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def _framed(picture: np.ndarray) -> np.ndarray:
    """A portrait in the middle of a wide picture whose sides are out of focus."""
    height, width = picture.shape[:2]
    width = round(width * HEIGHT / height)
    picture = cv2.resize(picture, (width, HEIGHT), interpolation=cv2.INTER_AREA).astype(np.float32)
    side = (WIDTH - width) // 2
    wide = cv2.copyMakeBorder(picture, 0, 0, side, WIDTH - width - side, cv2.BORDER_REPLICATE)
    share = np.zeros((HEIGHT, WIDTH, 1), np.float32)
    share[:, side + 24 : side + width - 24] = 1
    share = cv2.GaussianBlur(share, (0, 0), 12)[..., None]
    return np.round(wide * share + cv2.GaussianBlur(wide, (0, 0), 16) * (1 - share)).astype(np.uint8)
