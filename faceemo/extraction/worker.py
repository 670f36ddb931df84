"""What a worker does: read a picture, decode it, find the face. Imports only what that needs."""

import platform
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from faceemo.errors import FaceemoError
from faceemo.extraction.archive import Archive, ReadError, file_state
from faceemo.extraction.decode import DecodeError, Picture, turned_over
from faceemo.extraction.everyface import VIEW_FACES, EveryFace, EveryFaceParams, largest_first
from faceemo.extraction.facemesh import LANDMARKS, FaceMesh, face_width, largest_face
from faceemo.extraction.pictures import PictureFile, PictureReader
from faceemo.params import ExtractParams
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

CHUNK_PICTURES = 8  # of a task

Item = TypeVar("Item")
Place = TypeVar("Place", contravariant=True)  # a member of an archive, or a file


class Holder(Protocol[Place]):
    """What pictures lie in: an archive, or folders."""

    def read(self, picture: Place, max_bytes: int, /) -> bytes:
        """The bytes of a picture. Raises ReadError if they cannot be read."""


@dataclass(frozen=True)
class Reading:
    """What a worker found in one picture: sizes of the upright picture, landmarks float32 [1434] if status is ok.

    faces: how many were found. turned: 180 where the face stood upside down after EXIF orientation; landmarks are then
    those of the turned picture. face: which of the faces these landmarks are; 1 is the largest. others: landmarks of
    the next largest, only where every face was asked for.
    """

    status: str
    error: str | None = None
    width: int | None = None
    height: int | None = None
    faces: int | None = None
    landmarks: np.ndarray | None = None
    turned: int = 0
    face: int = 1
    others: tuple[np.ndarray, ...] = ()

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
        others = [
            replace(self, landmarks=landmarks, face=number, others=())
            for number, landmarks in enumerate(self.others, start=2)
        ]
        return [replace(self, others=()), *others] if others else [self]


@dataclass(frozen=True)
class Chunk:
    """A task for a worker: some pictures of an archive of this digest, by their index in Archive.pictures."""

    zip: str
    digest: str
    settings: ExtractParams
    pictures: list[int]

    def one_by_one(self) -> list["Chunk"]:
        """A task for each picture."""
        return [replace(self, pictures=[index]) for index in self.pictures]


@dataclass(frozen=True)
class FileChunk:
    """A task for a worker: some pictures in files, or in archives that are not of the set.

    root: the folder or archive that all of them lie in, None where there is none.
    """

    pictures: list[PictureFile]
    settings: ExtractParams
    root: str | None = None

    def one_by_one(self) -> list["FileChunk"]:
        """A task for each picture."""
        return [replace(self, pictures=[picture]) for picture in self.pictures]


def batches(items: list[Item], size: int) -> Iterator[list[Item]]:
    """The items in their order, `size` at a time."""
    return (items[start : start + size] for start in range(0, len(items), size))


_worker = threading.local()


def read_task(task: Chunk | FileChunk) -> list[Reading]:
    """A reading of each picture of either kind of task, in its order."""
    return read_chunk(task) if isinstance(task, Chunk) else read_files(task)


def read_files(chunk: FileChunk) -> list[Reading]:
    """Read, decode and measure picture files; a file that cannot be read is a read_error, as a member would be."""
    if getattr(_worker, "root", "") != chunk.root:
        _worker.reader = PictureReader(None if chunk.root is None else Path(chunk.root))
        _worker.root = chunk.root
    return [read_picture(_worker.reader, picture, chunk.settings) for picture in chunk.pictures]


def worker_mesh(settings: ExtractParams) -> FaceMesh:
    """This thread's FaceMesh for these settings, built on first use and kept."""
    wanted = (VIEW_FACES if isinstance(settings, EveryFaceParams) else settings.max_faces, settings.engine)
    meshes = vars(_worker).setdefault("meshes", {})
    if wanted not in meshes:
        meshes[wanted] = FaceMesh(*wanted)
    return meshes[wanted]


def read_chunk(chunk: Chunk) -> list[Reading]:
    """Read, decode and measure the pictures of a chunk; the archive and FaceMesh stay open for the next one."""
    wanted = (chunk.zip, chunk.digest, *file_state(chunk.zip))  # a cluster's worker outlives a changed archive
    if getattr(_worker, "opened", None) != wanted:
        _worker.archive = _open_archive(Path(chunk.zip), chunk.digest)
        _worker.pictures = _worker.archive.pictures
        _worker.opened = wanted
    return [read_picture(_worker.archive, _worker.pictures[index], chunk.settings) for index in chunk.pictures]


def _open_archive(path: Path, digest: str) -> Archive:
    """Raises FaceemoError if another archive lies there: on a cluster each machine opens a copy of its own."""
    archive = Archive(path)
    if archive.digest() != digest:
        archive.close()
        raise FaceemoError(f"{path} on {platform.node()} is not the archive that was scanned; copy it there again")
    return archive


def read_picture(holder: Holder[Place], picture: Place, settings: ExtractParams) -> Reading:
    """A reading of one picture, whatever it holds: a bad picture is a status, never an exception."""
    try:
        data = holder.read(picture, settings.max_bytes)
    except ReadError as error:
        return Reading(Status.READ_ERROR, str(error))
    return measure(data, settings, check_upside_down=True)


def measure(data: bytes, settings: ExtractParams, check_upside_down: bool = False) -> Reading:
    """The landmarks of the largest face in one encoded picture, or of every face, by this thread's FaceMesh.

    check_upside_down: look whether the face stands upside down; not for a camera, which shows faces as they are.
    """
    try:
        picture = Picture(data, settings.max_pixels)
        faces, turned = _find_faces(picture, settings, check_upside_down)
    except DecodeError as error:
        return Reading(Status.DECODE_ERROR, str(error))
    return _reading(faces, picture.width, picture.height, settings, turned)


def measure_pixels(rgb: np.ndarray, settings: ExtractParams) -> Reading:
    """As `measure`, of uint8 [height, width, 3], upright, C-contiguous: a frame of a video."""
    height, width, _ = rgb.shape
    return _reading(_finder(settings, width, height).find(rgb), width, height, settings)


def _finder(settings: ExtractParams, width: int, height: int) -> FaceMesh | EveryFace:
    """What finds faces in a picture of this size."""
    mesh = worker_mesh(settings)
    return EveryFace(mesh, width, height) if isinstance(settings, EveryFaceParams) else mesh


def _wanted(faces: np.ndarray, width: int, height: int, settings: ExtractParams) -> np.ndarray:
    """float32 [wanted, 478, 3]: of the faces found [faces, 478, 3] those that the settings ask for, largest first."""
    if isinstance(settings, EveryFaceParams):
        return largest_first(faces, width, height)
    return largest_face(faces, width, height)[None]


def _reading(faces: np.ndarray, width: int, height: int, settings: ExtractParams, turned: int = 0) -> Reading:
    if not len(faces):
        return Reading(Status.NO_FACE, None, width, height, 0)
    largest, *others = (face.reshape(-1) for face in _wanted(faces, width, height, settings))
    return Reading(Status.OK, None, width, height, len(faces), largest, turned, others=tuple(others))


def _find_faces(picture: Picture, settings: ExtractParams, check_upside_down: bool) -> tuple[np.ndarray, int]:
    """float32 [faces, 478, 3], looked for at the smallest scale that leaves the faces that are wanted large enough.

    And 180 if they are those of the picture turned, else 0.
    """
    finder = _finder(settings, picture.width, picture.height)
    side = min(picture.width, picture.height)
    first = 1 if settings.full_resolution else max(r for r in picture.reductions if r == 1 or side / r >= FIRST_SIDE)
    pixels = picture.pixels(first)
    faces, score = finder.find_scored(pixels)
    turned = 0
    if check_upside_down and score < UNSURE_SCORE:
        upright, score = finder.find_scored(turned_over(pixels))
        if len(upright) and score >= UPRIGHT_SCORE:
            faces, turned = upright, 180
    if first == 1:
        return faces, turned
    if not len(faces):
        return finder.find(picture.pixels()), turned
    wanted = _wanted(faces, picture.width, picture.height, settings)
    width = min(face_width(face, picture.width) for face in wanted)
    again = max(r for r in picture.reductions if r == 1 or width / r >= FACE_WIDTH)
    if again >= first:
        return faces, turned
    pixels = picture.pixels(again)
    pixels = turned_over(pixels) if turned else pixels
    larger = finder.find_again(pixels, faces) if isinstance(finder, EveryFace) else finder.find(pixels)
    return (larger if len(larger) else faces), turned
