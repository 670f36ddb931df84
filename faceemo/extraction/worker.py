"""What a worker does: read a picture, decode it, find the face. Imports only what that needs."""

import platform
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from faceemo.errors import FaceemoError
from faceemo.extraction.archive import Archive, Member, ReadError, file_state
from faceemo.extraction.decode import DecodeError, Picture, turned_over
from faceemo.extraction.facemesh import FaceMesh, face_width, largest_face
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


@dataclass(frozen=True)
class Reading:
    """What a worker found in one picture: sizes of the upright picture, landmarks float32 [1434] if status is ok.

    turned: 180 where the face stood upside down although EXIF was heeded; landmarks are those of the picture turned so.
    """

    status: str
    error: str | None = None
    width: int | None = None
    height: int | None = None
    faces: int | None = None
    landmarks: np.ndarray | None = None
    turned: int = 0


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
    """A task for a worker: some pictures in files or archives of anybody's making.

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
    mesh = worker_mesh(chunk.settings)
    if getattr(_worker, "root", "") != chunk.root:
        _worker.reader = PictureReader(chunk.root and Path(chunk.root))
        _worker.root = chunk.root
    return [read_picture(_worker.reader, picture, mesh, chunk.settings) for picture in chunk.pictures]


def worker_mesh(settings: ExtractParams) -> FaceMesh:
    """This thread's FaceMesh, built on first use and kept."""
    wanted = (settings.max_faces, settings.engine)
    if getattr(_worker, "mesh_of", None) != wanted:
        _worker.mesh = FaceMesh(*wanted)
        _worker.mesh_of = wanted
    return _worker.mesh


def read_chunk(chunk: Chunk) -> list[Reading]:
    """Read, decode and measure the pictures of a chunk; the archive and FaceMesh stay open for the next one."""
    wanted = (chunk.zip, chunk.digest, *file_state(chunk.zip))  # a cluster's worker outlives a changed archive
    if getattr(_worker, "opened", None) != wanted:
        _worker.archive = _open_archive(Path(chunk.zip), chunk.digest)
        _worker.pictures = _worker.archive.pictures
        _worker.opened = wanted
    mesh = worker_mesh(chunk.settings)
    return [read_picture(_worker.archive, _worker.pictures[index], mesh, chunk.settings) for index in chunk.pictures]


def _open_archive(path: Path, digest: str) -> Archive:
    """Raises FaceemoError if another archive lies there: on a cluster each machine opens a copy of its own."""
    archive = Archive(path)
    if archive.digest() != digest:
        archive.close()
        raise FaceemoError(
            f"{path} on {platform.node()} is another archive than the one that was scanned; copy it there again"
        )
    return archive


def read_picture(
    holder: Archive | PictureReader, picture: Member | PictureFile, mesh: FaceMesh, settings: ExtractParams
) -> Reading:
    """A reading of one picture, whatever it holds: a bad picture is a status, never an exception."""
    try:
        data = holder.read(picture, settings.max_bytes)
    except ReadError as error:
        return Reading(Status.READ_ERROR, str(error))
    return measure(data, mesh, settings, heed_upside_down=True)


def measure(data: bytes, mesh: FaceMesh, settings: ExtractParams, heed_upside_down: bool = False) -> Reading:
    """The landmarks of the largest face in one encoded picture.

    heed_upside_down: look whether the face stands upside down; not for a camera's frames, which are shown as they lie.
    """
    try:
        picture = Picture(data, settings.max_pixels)
        faces, turned = _find_faces(picture, mesh, settings.full_resolution, heed_upside_down)
    except DecodeError as error:
        return Reading(Status.DECODE_ERROR, str(error))
    return _reading(faces, picture.width, picture.height, turned)


def read_bytes(data: bytes, settings: ExtractParams) -> Reading:
    """A reading of one encoded picture, with this thread's FaceMesh."""
    return measure(data, worker_mesh(settings), settings)


def measure_pixels(rgb: np.ndarray, mesh: FaceMesh) -> Reading:
    """The landmarks of the largest face in uint8 [height, width, 3], upright, C-contiguous: a frame of a video."""
    height, width, _ = rgb.shape
    return _reading(mesh.find(rgb), width, height)


def _reading(faces: np.ndarray, width: int, height: int, turned: int = 0) -> Reading:
    if not len(faces):
        return Reading(Status.NO_FACE, None, width, height, 0)
    return Reading(Status.OK, None, width, height, len(faces), largest_face(faces, width, height).reshape(-1), turned)


def _find_faces(
    picture: Picture, mesh: FaceMesh, full_resolution: bool, heed_upside_down: bool
) -> tuple[np.ndarray, int]:
    """float32 [faces, 478, 3], looked for at the smallest scale that leaves the largest face large enough.

    And 180 if they are those of the picture turned, else 0.
    """
    side = min(picture.width, picture.height)
    first = 1 if full_resolution else max(r for r in picture.reductions if r == 1 or side / r >= FIRST_SIDE)
    pixels = picture.pixels(first)
    faces, score = mesh.find_scored(pixels)
    turned = 0
    if heed_upside_down and score < UNSURE_SCORE:
        upright, score = mesh.find_scored(turned_over(pixels))
        if len(upright) and score >= UPRIGHT_SCORE:
            faces, turned = upright, 180
    if first == 1:
        return faces, turned
    if not len(faces):
        return mesh.find(picture.pixels()), turned
    width = face_width(largest_face(faces, picture.width, picture.height), picture.width)
    again = max(r for r in picture.reductions if r == 1 or width / r >= FACE_WIDTH)
    if again >= first:
        return faces, turned
    pixels = picture.pixels(again)
    larger = mesh.find(turned_over(pixels) if turned else pixels)
    return (larger if len(larger) else faces), turned
