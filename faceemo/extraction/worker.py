"""What a worker does: read a picture, decode it, find the face. Imports only what that needs."""

import contextlib
import functools
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from faceemo.extraction.crop import crop_of
from faceemo.extraction.decode import MAX_PIXELS, DecodeError, EncodedPicture, turned_over
from faceemo.extraction.everyface import VIEW_FACES, EveryFace, EveryFaceParams, largest_first
from faceemo.extraction.executors import default_workers
from faceemo.extraction.facemesh import LANDMARKS, FaceMesh, face_width, within
from faceemo.params import ExtractParams
from faceemo.pictures.archive import ReadError
from faceemo.pictures.reader import Picture, PictureReader
from faceemo.status import Status

# FaceMesh looks at a 128 x 128 view to find a face and at a 192 x 192 crop to place its points, so a larger picture
# only costs. Decode so that the short side stays above FIRST_SIDE; if the face then is narrower than FACE_WIDTH, again
# larger. Mean distance to the landmarks of the full picture, in % of the distance between the irises, on 120 photos of
# 3088 x 2316: faces 160 to 190 px wide at 1/4: 0.99, 190 to 230 px: 0.90, the same faces at 1/2: 0.64. Shifting the
# full picture by three pixels moves them by 0.59.
FIRST_SIDE = 480
FACE_WIDTH = 160

# FaceMesh also finds faces that stand upside down, and lays an upright mesh on them; but its detector is less sure of
# them (204 upright photos 0.82 to 0.99, turned by 180 degrees 0.57 to 0.86). So a picture below UNSURE_SCORE is looked
# at again turned, and stands upside down if that reaches UPRIGHT_SCORE. docs/upside-down.md has the measurement.
UNSURE_SCORE = 0.85
UPRIGHT_SCORE = 0.87

# FaceMesh needs some room around a face. So a picture in which it finds none is looked at once more with a border in
# its mean colour: in 35,034 pictures of 48 x 48 cut close to the face (FER+) it then finds 0.990 instead of 0.935, with
# one that repeats the edge 0.974. Of 585 faces in photos cut to 56 to 76 % of their size it then finds all; median of
# their distances to the landmarks of the whole photos, in % of that between the irises: 4.0, with a black border 5.2.
BORDER = 4  # of the picture's width and height to that of its border
BORDER_SIDE = 1024  # a larger picture is shown reduced then: a face that fills it is large enough

TASK_PICTURES = 8

Item = TypeVar("Item")


@dataclass(frozen=True)
class Reading:
    """What a worker found in one picture."""

    status: str
    error: str | None = None
    width: int | None = None
    """Pixels of the upright picture."""
    height: int | None = None
    faces: int | None = None
    """How many were found."""
    landmarks: np.ndarray | None = None
    """float32 [1434], if status is ok: x0 y0 z0 x1 ... as FaceMesh gives them."""
    turned: int = 0
    """180 where the face stood upside down after EXIF orientation; landmarks and crop are of the turned picture."""
    face: int = 1
    """Which of the picture's faces this is; 1 is the largest."""
    crop: np.ndarray | None = None
    """uint8 [64, 64], grey: the face laid onto the mean mesh (see crop); None unless asked for and status is ok."""
    others: tuple["Reading", ...] = ()
    """Readings of the next largest faces, only where every face was asked for."""

    @property
    def mesh(self) -> np.ndarray:
        """float32 [478, 3]: the landmarks; only if status is ok."""
        assert self.landmarks is not None, self.status
        return self.landmarks.reshape(LANDMARKS, 3)

    @property
    def points(self) -> np.ndarray:
        """float64 [478, 2]: x and y of the landmarks in pixels of the upright picture; only if status is ok."""
        return self.mesh[:, :2] * np.array([self.width, self.height])

    @property
    def box(self) -> tuple[float, float, float, float]:
        """left, top, right, bottom of the landmarks in pixels of the upright picture; only if status is ok."""
        points = self.points
        left, top = points.min(axis=0)
        right, bottom = points.max(axis=0)
        return float(left), float(top), float(right), float(bottom)

    def each_face(self) -> list["Reading"]:
        """A reading of each face that this one holds, the largest first; itself where there are no others."""
        return [replace(self, others=()), *self.others] if self.others else [self]


@dataclass(frozen=True)
class Task:
    """Some pictures for a worker to read."""

    pictures: list[Picture]
    settings: ExtractParams
    root: str | None = None
    """The folder or archive that all of them lie in; None where there is none."""

    def one_by_one(self) -> list["Task"]:
        """A task for each picture."""
        return [replace(self, pictures=[picture]) for picture in self.pictures]


def batches(items: list[Item], size: int) -> Iterator[list[Item]]:
    """The items in their order, `size` at a time."""
    return (items[start : start + size] for start in range(0, len(items), size))


_worker = threading.local()


def read_task(task: Task) -> list[Reading]:
    """A reading of each picture of a task, in its order. Archives stay open for this worker's next task."""
    if getattr(_worker, "root", "") != task.root:
        _worker.reader = PictureReader(None if task.root is None else Path(task.root))
        _worker.root = task.root
    return [read_picture(_worker.reader, picture, task.settings) for picture in task.pictures]


_idle_meshes: defaultdict[tuple[int, str], list[FaceMesh]] = defaultdict(list)
_turns = threading.BoundedSemaphore(default_workers())


@contextlib.contextmanager
def borrowed_mesh(settings: ExtractParams) -> Iterator[FaceMesh]:
    """A FaceMesh for these settings that is this thread's alone meanwhile, and afterwards serves another.

    A thread waits for it while as many are in use as there are cores: more would be no faster, and each takes 30 MB.
    """
    wanted = (VIEW_FACES if isinstance(settings, EveryFaceParams) else 1, settings.engine)
    with _turns:
        try:
            mesh = _idle_meshes[wanted].pop()
        except IndexError:
            mesh = FaceMesh(*wanted)
        try:
            yield mesh
        finally:
            _idle_meshes[wanted].append(mesh)


def read_picture(reader: PictureReader, picture: Picture, settings: ExtractParams) -> Reading:
    """A reading of one picture, whatever it holds: a bad picture is a status, never an exception."""
    try:
        data = reader.read(picture)
    except ReadError as error:
        return Reading(Status.READ_ERROR, str(error))
    return measure(data, settings, check_upside_down=True)


def measure(
    data: bytes, settings: ExtractParams, check_upside_down: bool = False, max_pixels: int = MAX_PIXELS
) -> Reading:
    """The landmarks of the face in one encoded picture, or of every face.

    check_upside_down: look whether the face stands upside down; not for a camera, which shows faces as they are.
    max_pixels: a larger picture is a decode_error.
    """
    try:
        picture = EncodedPicture(data, max_pixels)
        with borrowed_mesh(settings) as mesh:
            found = _find_faces(picture, mesh, settings, check_upside_down)
    except DecodeError as error:
        return Reading(Status.DECODE_ERROR, str(error))
    return _reading(found, picture.width, picture.height, settings)


def measure_pixels(rgb: np.ndarray, settings: ExtractParams) -> Reading:
    """As `measure`, of uint8 [height, width, 3], upright, C-contiguous: a frame of a video."""
    height, width, _ = rgb.shape
    with borrowed_mesh(settings) as mesh:
        found = _look(_finder(mesh, settings, width, height).find_scored, rgb)
        if not len(found.faces):
            found = _look_with_border(rgb, mesh)
    return _reading(found, width, height, settings)


@dataclass(frozen=True)
class _Found:
    """Faces, and the pixels that they were found in."""

    faces: np.ndarray
    """float32 [faces, 478, 3]"""
    rgb: np.ndarray
    """uint8 [height, width, 3], at any scale."""
    turned: int = 0
    """180 where these are those of the picture turned."""


def _finder(mesh: FaceMesh, settings: ExtractParams, width: int, height: int) -> FaceMesh | EveryFace:
    """What finds faces in a picture of this size."""
    return EveryFace(mesh, width, height) if isinstance(settings, EveryFaceParams) else mesh


def _wanted(faces: np.ndarray, width: int, height: int, settings: ExtractParams) -> np.ndarray:
    """float32 [wanted, 478, 3]: of the faces found [faces, 478, 3] those that the settings ask for, largest first."""
    return largest_first(faces, width, height) if isinstance(settings, EveryFaceParams) else faces[:1]


def _reading(found: _Found, width: int, height: int, settings: ExtractParams) -> Reading:
    """The reading of a picture that is so wide and high at full size."""
    if not len(found.faces):
        return Reading(Status.NO_FACE, None, width, height, 0)
    first, *others = [
        Reading(
            Status.OK,
            width=width,
            height=height,
            faces=len(found.faces),
            landmarks=face.reshape(-1),
            turned=found.turned,
            face=number,
            crop=crop_of(found.rgb, face) if settings.crops else None,
        )
        for number, face in enumerate(_wanted(found.faces, width, height, settings), start=1)
    ]
    return replace(first, others=tuple(others)) if others else first


def _find_faces(picture: EncodedPicture, mesh: FaceMesh, settings: ExtractParams, check_upside_down: bool) -> _Found:
    """The faces of a picture, looked for at the smallest scale that leaves those that are wanted large enough."""
    finder = _finder(mesh, settings, picture.width, picture.height)
    side = min(picture.width, picture.height)
    first = max(r for r in picture.reductions if r == 1 or side / r >= FIRST_SIDE)
    rgb = picture.pixels(first)
    found = _look(finder.find_scored, rgb, check_upside_down)
    if not len(found.faces):
        if first > 1 and len(faces := finder.find(whole := picture.pixels())):
            return _Found(faces, whole)
        return _look_with_border(rgb, mesh, check_upside_down)
    if first == 1:
        return found
    wanted = _wanted(found.faces, picture.width, picture.height, settings)
    width = min(face_width(face, picture.width) for face in wanted)
    again = max(r for r in picture.reductions if r == 1 or width / r >= FACE_WIDTH)
    if again >= first:
        return found
    rgb = picture.pixels(again)
    rgb = turned_over(rgb) if found.turned else rgb
    larger = finder.find_again(rgb, found.faces) if isinstance(finder, EveryFace) else finder.find(rgb)
    return replace(found, faces=larger, rgb=rgb) if len(larger) else found


def _look(
    find: Callable[[np.ndarray], tuple[np.ndarray, float]], rgb: np.ndarray, check_upside_down: bool = False
) -> _Found:
    """What is found in a picture; in the picture turned over, if it is to be checked and the face stands upright there.

    find: as FaceMesh.find_scored.
    """
    faces, score = find(rgb)
    if check_upside_down and score < UNSURE_SCORE:
        turned = turned_over(rgb)
        upright, score = find(turned)
        if len(upright) and score >= UPRIGHT_SCORE:
            return _Found(upright, turned, 180)
    return _Found(faces, rgb)


def _look_with_border(rgb: np.ndarray, mesh: FaceMesh, check_upside_down: bool = False) -> _Found:
    """As _look, in the picture with a border; landmarks and pixels are those of the picture without it."""
    return _look(functools.partial(_find_with_border, mesh), rgb, check_upside_down)


def _find_with_border(mesh: FaceMesh, rgb: np.ndarray) -> tuple[np.ndarray, float]:
    """As FaceMesh.find_scored."""
    shown = within(rgb, BORDER_SIDE, BORDER_SIDE**2)
    height, width, _ = shown.shape
    across, down = width // BORDER, height // BORDER
    bordered = cv2.copyMakeBorder(shown, down, down, across, across, cv2.BORDER_CONSTANT, value=cv2.mean(shown))
    bordered.flags.writeable = False  # MediaPipe copies what could still change
    faces, score = mesh.find_scored(bordered)
    scale = np.array([1 + 2 * across / width, 1 + 2 * down / height, 1 + 2 * across / width], np.float32)
    return faces * scale - np.array([across / width, down / height, 0], np.float32), score
