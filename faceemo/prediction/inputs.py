"""What people hand to `faceemo predict`: pictures, folders, archives and videos, read as one stream.

Pictures go the way of the pipeline, in parallel processes. Frames of a video are decoded here, one after another, and
looked at in parallel threads.
"""

import functools
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from faceemo.errors import FaceemoError, too_long
from faceemo.extraction.decode import EncodedPicture, turned_over
from faceemo.extraction.executors import Workers, default_workers, in_order, open_workers
from faceemo.extraction.rescue import read_in_order
from faceemo.extraction.worker import TASK_PICTURES, Reading, Task, batches, measure_pixels, read_task
from faceemo.params import ExtractParams
from faceemo.pictures.archive import PICTURE_SUFFIXES, is_extra, parse_picture_name
from faceemo.pictures.places import CAMERA, expand_places
from faceemo.pictures.reader import Picture, PictureReader
from faceemo.pictures.scan_source import SAVE_PICTURES, UNREAD_ARCHIVES, UNREAD_PICTURES, UNREAD_SUFFIXES, what_else
from faceemo.pictures.tables import SPREADSHEET_SUFFIXES, TABLE_SUFFIXES
from faceemo.pictures.trees import Listing, files_below, members_below, suffix_of
from faceemo.prediction.frames import VIDEO_SUFFIXES, VideoFrames
from faceemo.status import Status

HEIC_SUFFIXES = (".heic", ".heif", ".hif", ".avif")  # not read, but each is a row that says what to do
READ_SUFFIXES = (*PICTURE_SUFFIXES, *HEIC_SUFFIXES, *VIDEO_SUFFIXES, ".zip")
DRAWN_MARK = ".faceemo-drawn"  # a file in every folder that faceemo draws into
FRAMES_AHEAD = 2  # decoded and not yet looked at: a frame of 4K has 25 MB


@dataclass(frozen=True)
class Input:
    """One picture or frame and what was found in it."""

    path: str
    """A file, or `archive.zip/member`."""
    seconds: float | None
    """From the start of a video; None for a picture."""
    subject: str | None
    """Who a picture's name says is in it; None if it does not say."""
    reading: Reading
    pixels: Callable[[], np.ndarray]
    """Gives uint8 [height, width, 3], RGB, upright (turned as the reading says), full size; of what was decoded."""
    video: int | None = None
    """Of a frame, which of the videos it is of, counted from 0: the same file may come twice."""


def find_inputs(paths: list[Path], note: Callable[[str], None] = lambda text: None) -> list[Path]:
    """The files to read: folders become the pictures, archives and videos below them, in the order of their names.

    A pattern like *.jpg, which the shells of Windows leave to programs, becomes the files that match.
    note: called with a line about what is passed over: folders that faceemo has drawn into, hidden ones and those of
        systems, and kinds of pictures that are not read.
    Raises FaceemoError for a path that is not there, for a table and for a folder without any of these.
    """
    files: list[Path] = []
    for path in expand_places(paths):
        if path.is_dir():
            files += _files_below(path, note)
        elif path.is_file() and path.suffix.lower() in (*TABLE_SUFFIXES, *SPREADSHEET_SUFFIXES):
            raise FaceemoError(
                f"{path}: a table, not a picture; name the pictures or their folder, or judge what the table labels "
                "with 'faceemo evaluate'"
            )
        elif path.is_file():
            files.append(path)
        elif path.exists():
            raise FaceemoError(f"{path}: neither a file nor a folder")
        else:
            missing = f"no such file or folder{f'; {CAMERA}' if path.name.isdigit() else ''}"
            raise FaceemoError(f"{path}: {too_long(path) or missing}")
    return files


def _files_below(folder: Path, note: Callable[[str], None]) -> list[Path]:
    listing = files_below(folder)
    everything = [Path(file.path) for file in listing.files]
    drawn_folders = {parent for parent in {path.parent for path in everything} if (parent / DRAWN_MARK).exists()} - {
        folder
    }
    readable = [path for path in everything if path.name.lower().endswith(READ_SUFFIXES)]
    drawn = Counter(path.parent for path in readable if path.parent in drawn_folders)
    for path, count in sorted(drawn.items()):
        note(f"note: passed over what faceemo drew in {path} ({count}); name that folder itself to judge it")
    _note_passed_over(folder, listing, note)
    _note_unread(folder, [path.name for path in everything if not path.name.lower().endswith(READ_SUFFIXES)], note)
    files = [path for path in readable if path.parent not in drawn_folders]
    if not files:
        known = " ".join((*PICTURE_SUFFIXES, *VIDEO_SUFFIXES, ".zip"))
        raise FaceemoError(f"{folder}: no pictures, archives or videos below this folder ({known})")
    return files


def _note_passed_over(place: Path, listing: Listing, note: Callable[[str], None]) -> None:
    for reason, count in Counter(reason for _, reason in listing.passed_over).items():
        note(f"note: passed over in {place}: {count} ({reason})")


def _note_unread(place: Path, names: list[str], note: Callable[[str], None]) -> None:
    """A note of how many pictures, videos and archives there are among these names of files that are not read."""
    found = Counter(suffix for name in names if (suffix := suffix_of(name)) in UNREAD_SUFFIXES)
    if found:
        counts = ", ".join(f"{count} {suffix or 'without a suffix'}" for suffix, count in sorted(found.items()))
        advice = [SAVE_PICTURES] * (not UNREAD_PICTURES.isdisjoint(found))
        advice += ["unpack what is packed"] * (not found.keys().isdisjoint(UNREAD_ARCHIVES))
        note(f"note: not read in {place}: {'; '.join([counts, *advice])}")


def is_readable(path: Path) -> bool:
    """Whether this is a picture, archive or video by its name, and a file."""
    return path.name.lower().endswith(READ_SUFFIXES) and path.is_file() and not is_extra(path.as_posix())


def count_inputs(files: list[Path], note: Callable[[str], None] = lambda text: None) -> int | None:
    """How many inputs the files hold, or None if there is a video, whose length is an estimate.

    note: called with a line about what is not read in an archive.
    """
    count = 0
    for file in files:
        if not _is_video(file):
            pictures, listing = _pictures_at(file)
            count += len(pictures)
            if not pictures:
                note(f"note: {file}: no pictures in it{what_else(listing)}")
                continue
            _note_passed_over(file, listing, note)
            read = {picture.index for picture in pictures}
            _note_unread(file, [one.name for one in listing.files if one.index not in read], note)
    return None if any(map(_is_video, files)) else count


def read_inputs(
    files: list[Path], settings: ExtractParams, workers: int | None = None, every: int = 1
) -> Iterator[Input]:
    """A reading of every picture and frame in the files, in their order; one of an archive that cannot be opened.

    every: of a video, the first frame of so many.
    Raises FaceemoError for an archive that changes meanwhile, WorkerDiedError when workers die.
    """
    pictures = {file: _pictures_at(file)[0] for file in dict.fromkeys(files) if not _is_video(file)}
    runs = [(is_video, list(some)) for is_video, some in itertools.groupby(files, _is_video)]
    threads, videos = workers or default_workers(), itertools.count()
    with (
        open_workers(None, workers, sum(map(len, pictures.values()))) as opened,
        ThreadPoolExecutor(threads) as executor,
        PictureReader() as reader,
    ):
        for is_video, some in runs:
            if not is_video:
                yield from read_pictures([one for file in some for one in pictures[file]], settings, opened, reader)
                continue
            for path in some:
                number, frames = next(videos), VideoFrames(path, every)
                look = functools.partial(_look_at_frame, path, number, settings)
                yield from in_order(executor, look, frames, threads + FRAMES_AHEAD)
                if frames.error:
                    broken = Reading(Status.DECODE_ERROR, frames.error)
                    yield Input(_shown(path), None, None, broken, no_pixels, number)


def _look_at_frame(path: Path, number: int, settings: ExtractParams, frame: tuple[float, np.ndarray]) -> Input:
    seconds, rgb = frame
    return Input(_shown(path), seconds, None, measure_pixels(rgb, settings), lambda: rgb, number)


def read_pictures(
    pictures: list[Picture], settings: ExtractParams, workers: Workers, reader: PictureReader
) -> Iterator[Input]:
    tasks = [Task(batch, settings) for batch in batches(pictures, TASK_PICTURES)]
    readings = itertools.chain.from_iterable(read_in_order(workers, read_task, tasks))
    for picture, reading in zip(pictures, readings, strict=True):

        def pixels(picture: Picture = picture, turned: int = reading.turned) -> np.ndarray:
            upright = EncodedPicture(reader.read(picture)).pixels()
            return turned_over(upright) if turned else upright

        yield Input(picture.name, None, parse_picture_name(picture.name).subject, reading, pixels)


def _pictures_at(file: Path) -> tuple[list[Picture], Listing]:
    """The pictures in an archive, or the one that a file is, under the names that are shown; what is in an archive."""
    if file.suffix.lower() != ".zip":
        return [Picture(_shown(file), str(file))], Listing([], [])
    try:
        listing = members_below(file)
    except FaceemoError as error:  # it becomes one reading
        return [Picture(_shown(file), str(file), error=str(error).removeprefix(f"{file}: "))], Listing([], [])
    found = [one for one in listing.files if one.name.lower().endswith((*PICTURE_SUFFIXES, *HEIC_SUFFIXES))]
    return [replace(one, name=f"{_shown(file)}/{one.name}") for one in found], listing


def no_pixels() -> np.ndarray:
    """For an Input without a picture: uint8 [0, 0, 3]."""
    return np.zeros((0, 0, 3), np.uint8)


def _shown(path: Path) -> str:
    """The path as text that any file can hold: bytes that are no UTF-8, which POSIX allows in names, are escaped."""
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES
