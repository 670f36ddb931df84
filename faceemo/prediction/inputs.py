"""What people hand to `faceemo predict`: pictures, folders, archives and videos, read as one stream.

Pictures go the way of the pipeline, in parallel processes. Frames of a video are decoded here, one after another, and
looked at in parallel threads.
"""

import functools
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from faceemo.errors import FaceemoError
from faceemo.extraction.archive import PICTURE_SUFFIXES, Archive, Member, is_macos_extra, parse_picture_name
from faceemo.extraction.decode import Picture, turned_over
from faceemo.extraction.executors import default_workers, in_order, open_workers
from faceemo.extraction.pictures import PictureFile, member_picture
from faceemo.extraction.rescue import read_in_order
from faceemo.extraction.worker import (
    CHUNK_PICTURES,
    Chunk,
    FileChunk,
    Reading,
    batches,
    measure_pixels,
    read_task,
)
from faceemo.params import ExtractParams
from faceemo.status import Status

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm")
HEIC_SUFFIXES = (".heic", ".heif", ".hif", ".avif")  # not read, but each is a row that says what to do
OTHER_SUFFIXES = (".gif", ".tif", ".tiff")  # pictures that are not read
DRAWN_MARK = ".faceemo-drawn"  # a file in every folder that faceemo draws into
FRAMES_PER_SECOND = 30.0  # of a video that does not tell
FRAMES_AHEAD = 2  # decoded and not yet looked at: a frame of 4K has 25 MB
SHORT_OF_FRAMES = 0.95  # a video that gives less of the frames it claims was cut; some containers only estimate


@dataclass(frozen=True)
class Input:
    """One picture or frame and what was found in it.

    path: a file, or `archive.zip/member`. seconds: from the start of a video, None for a picture.
    subject: the person that a picture's name tells, if it does.
    video: of a frame, which of the videos it is of, counted from 0: the same file may come twice.
    pixels: gives uint8 [height, width, 3], RGB, upright (turned as the reading says), full size; only for a reading
        that decoded.
    """

    path: str
    seconds: float | None
    subject: str | None
    reading: Reading
    pixels: Callable[[], np.ndarray]
    video: int | None = None


@dataclass(frozen=True)
class _Pictures:
    """A run of pictures that one task reads: names as shown, and how to get each one's bytes again."""

    names: list[str]
    task: Chunk | FileChunk
    data: Callable[[int], bytes]


def find_inputs(paths: list[Path], note: Callable[[str], None] = lambda text: None) -> list[Path]:
    """The files to read: folders become the pictures, archives and videos below them, in the order of their names.

    Folders below them that faceemo has drawn into and pictures of kinds that it does not read are passed over, and
    `note` is told.
    Raises FaceemoError for a path that is not there and for a folder without any of these.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += _files_below(path, note)
        elif path.exists():
            files.append(path)
        else:
            raise FaceemoError(f"{path}: no such file or folder")
    return files


def _files_below(folder: Path, note: Callable[[str], None]) -> list[Path]:
    everything = sorted(folder.rglob("*"))
    drawn_folders = {path.parent for path in everything if path.name == DRAWN_MARK} - {folder}
    files: list[Path] = []
    drawn: Counter[Path] = Counter()
    for path in filter(is_readable, everything):
        if found := drawn_folders.intersection(path.parents):
            drawn[min(found)] += 1
        else:
            files.append(path)
    for path, count in drawn.items():
        note(f"note: passed over what faceemo drew in {path} ({count}); name that folder itself to judge it")
    if others := [path for path in everything if path.suffix.lower() in OTHER_SUFFIXES and path.is_file()]:
        first = f"{len(others)} in {folder}, the first {others[0].name}"
        note(f"note: passed over pictures that are not of a kind that is read: {first}; save them as .png or .jpg")
    if not files:
        known = " ".join((*PICTURE_SUFFIXES, *VIDEO_SUFFIXES, ".zip"))
        raise FaceemoError(f"{folder}: no pictures, archives or videos below this folder ({known})")
    return files


def is_readable(path: Path) -> bool:
    """Whether this is a picture, archive or video by its name, and a file."""
    known = (*PICTURE_SUFFIXES, *HEIC_SUFFIXES, *VIDEO_SUFFIXES, ".zip")
    return path.suffix.lower() in known and path.is_file() and not is_macos_extra(path.as_posix())


def count_inputs(files: list[Path]) -> int | None:
    """How many inputs the files hold, or None if there is a video, whose length is an estimate."""
    if any(map(_is_video, files)):
        return None
    return sum(map(_count_pictures, files))


def _count_pictures(file: Path) -> int:
    if not _is_archive(file):
        return 1
    try:
        with Archive(file) as archive:
            return len(archive.pictures) + len(_heic_members(archive))
    except FaceemoError:  # it becomes one reading
        return 1


def read_inputs(files: list[Path], settings: ExtractParams, workers: int | None = None) -> Iterator[Input]:
    """A reading of every picture and frame in the files, in their order; one of an archive that cannot be opened.

    Raises FaceemoError for an archive that changes meanwhile, WorkerDiedError when workers die.
    """
    videos = itertools.count()
    for is_video, group in itertools.groupby(files, _is_video):
        if is_video:
            for path in group:
                yield from _read_video(path, next(videos), settings, workers)
        else:
            yield from _read_pictures(list(group), settings, workers)


def _read_pictures(files: list[Path], settings: ExtractParams, workers: int | None) -> Iterator[Input]:
    runs = list(_runs(files, settings))
    with open_workers(None, workers, len(runs)) as opened:
        results = read_in_order(opened, read_task, [run.task for run in runs])
        for run, readings in zip(runs, results, strict=True):
            for index, (name, reading) in enumerate(zip(run.names, readings, strict=True)):

                def pixels(run: _Pictures = run, index: int = index, turned: int = reading.turned) -> np.ndarray:
                    upright = Picture(run.data(index), settings.max_pixels).pixels()
                    return turned_over(upright) if turned else upright

                yield Input(name, None, parse_picture_name(name).subject, reading, pixels)


def _runs(files: list[Path], settings: ExtractParams) -> Iterator[_Pictures]:
    for is_archive, group in itertools.groupby(files, _is_archive):
        if is_archive:
            for path in group:
                yield from _archive_runs(path, settings)
        else:
            for paths in batches(list(group), CHUNK_PICTURES):

                def file_data(index: int, paths: list[Path] = paths) -> bytes:
                    return paths[index].read_bytes()

                names = [_shown(path) for path in paths]
                pictures = [PictureFile(name, str(path)) for name, path in zip(names, paths, strict=True)]
                yield _Pictures(names, FileChunk(pictures, settings), file_data)


def _archive_runs(path: Path, settings: ExtractParams) -> Iterator[_Pictures]:
    try:
        with Archive(path) as archive:
            digest, names = archive.digest(), [member.name for member in archive.pictures]
            heic = [
                member_picture(f"{_shown(path)}/{member.name}", path, index, member)
                for index, member in _heic_members(archive)
            ]
    except FaceemoError as error:
        broken = PictureFile(_shown(path), str(path), error=str(error).removeprefix(f"{path}: "))
        yield _Pictures([broken.name], FileChunk([broken], settings), lambda index: b"")
        return

    for indices in batches(list(range(len(names))), CHUNK_PICTURES):

        def member_data(index: int, indices: list[int] = indices) -> bytes:
            archive, pictures = _kept_open(path)
            return archive.read(pictures[indices[index]], settings.max_bytes)

        shown = [f"{_shown(path)}/{names[index]}" for index in indices]
        yield _Pictures(shown, Chunk(str(path), digest, settings, indices), member_data)
    for pictures in batches(heic, CHUNK_PICTURES):
        yield _Pictures([picture.name for picture in pictures], FileChunk(pictures, settings), lambda index: b"")


def _heic_members(archive: Archive) -> list[tuple[int, Member]]:
    """Those members, with their indices, that the archive does not count among its pictures."""
    members = enumerate(archive.members)
    return [one for one in members if one[1].name.lower().endswith(HEIC_SUFFIXES) and not is_macos_extra(one[1].name)]


@functools.lru_cache(maxsize=1)
def _kept_open(path: Path) -> tuple[Archive, list[Member]]:
    """An archive and its pictures, open until another is asked for."""
    archive = Archive(path)
    return archive, archive.pictures


def _read_video(path: Path, number: int, settings: ExtractParams, workers: int | None) -> Iterator[Input]:
    video = cv2.VideoCapture(str(path))
    claimed = video.get(cv2.CAP_PROP_FRAME_COUNT)
    count = 0

    def frames() -> Iterator[tuple[float, np.ndarray]]:
        rate = video.get(cv2.CAP_PROP_FPS) or FRAMES_PER_SECOND
        before = -math.inf
        while True:
            there, bgr = video.read()
            if not there:
                return
            seconds = video.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if seconds <= before:  # a stream that has no clock
                seconds = before + 1 / rate
            before = seconds
            yield seconds, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)

    def look(frame: tuple[float, np.ndarray]) -> Input:
        seconds, rgb = frame
        reading = measure_pixels(rgb, settings)
        return Input(_shown(path), seconds, None, reading, lambda: rgb, number)

    threads = workers or default_workers()
    try:
        with ThreadPoolExecutor(threads) as executor:
            for found in in_order(executor, look, frames(), threads + FRAMES_AHEAD):
                count += 1
                yield found
    finally:
        video.release()
    if count < SHORT_OF_FRAMES * claimed or not count:
        why = f"ended after {count} of {claimed:.0f} frames" if count else "no video in a known format"
        yield Input(
            _shown(path), None, None, Reading(Status.DECODE_ERROR, why), lambda: np.zeros((0, 0, 3), np.uint8), number
        )


def _shown(path: Path) -> str:
    """The path as text that any file can hold: bytes that are no UTF-8, which POSIX allows in names, are escaped."""
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def _is_archive(path: Path) -> bool:
    return path.suffix.lower() == ".zip"
