"""Trees of pictures, in a folder or in a ZIP archive: which folders name the classes, and the pictures below them.

One level of folders names the classes: `happy/1.jpg` and `happy/kim/1.jpg` have it at level 1, `train/happy/1.jpg` at
level 2. Level 0 means that the pictures' own names say it, as those of the AI-Hub set do, and level -1 that the folder
or archive itself is named after the class of all its pictures.
"""

import functools
import os
import re
import sys
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from faceemo.console import progress
from faceemo.emotions import ENGLISH, KOREAN, class_name
from faceemo.errors import FaceemoError, too_long
from faceemo.pictures.archive import (
    ENCRYPTED_FLAG,
    MACOS_FOLDER,
    PICTURE_SUFFIXES,
    Archive,
    is_system_file,
    is_system_folder,
    parse_picture_name,
)
from faceemo.pictures.reader import Picture, member_picture, readable_name

IN_NAMES = 0  # the level of pictures whose own names say the class
IN_PLACE = -1  # the level of pictures whose folder or archive is named after their class

# Folder names as they stand on AI-Hub, in its mirrors and in people's own copies; matched against lower-case text.
VALIDATION = re.compile(r"(?<![a-z])val(id(ation)?)?(?![a-z])|검증")
TRAINING = re.compile(r"(?<![a-z])train(ing)?(?![a-z])|학습")
LABELS = re.compile(r"라벨|(?<![a-z])label(s|l?ing)?(?![a-z])|(?<![a-z])[tv]l(?![a-z])")
_TEST = re.compile(r"(?<![a-z])test(ing)?(?![a-z])|테스트|시험")
_SET_FILE = "emoimg"  # in the names of the set's archives and label files
_SEPARATORS = re.compile(r"[\[\]()（）_\-.\s]+")

# How a ZIP archive may be packed and still be read, and names of other ways: APPNOTE.TXT of PKWARE, 4.4.5.
_READ_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_OTHER_METHODS = {9: "Deflate64", 93: "Zstandard", 95: "XZ", 98: "PPMd"}
_HIDDEN_FOLDER = "a hidden or system folder"
_NO_DISK = (0, 0xFFFF)  # as the number of the part of a split archive that a member begins in


class NoClassesError(FaceemoError):
    """Nothing in a folder or archive of pictures names their classes."""


class Listing(NamedTuple):
    """The files of a folder or archive."""

    files: list[Picture]
    """All regular files, whatever they are; those in folders not looked at."""
    passed_over: list[tuple[Path, str]]
    """Places that are not among them, and why."""
    unsure_names: tuple[str, ...] = ()
    """Of files in an archive that does not say how their names are encoded, where that cannot be told either."""


def files_below(root: Path) -> Listing:
    """All regular files below a folder in the order of their names.

    Links are followed, but each folder is read once, whatever leads to it: first by its own name. Hidden files and
    folders and those of systems, such as `.ipynb_checkpoints` and `@eaDir`, hold copies and are passed over, as is a
    folder that cannot be entered. Raises FaceemoError if that is `root` itself.
    """
    found: list[Picture] = []
    passed_over: list[tuple[Path, str]] = []
    folders: list[tuple[str, Path]] = [("", root)]
    links: list[tuple[str, Path]] = []  # to folders, after all that have a name of their own
    top = os.path.realpath(root)
    read: set[str] = set()
    with progress(None, f"{root}: listing", "files", to=sys.stderr) as advance:  # stdout may be for answers alone
        while folders or links:
            prefix, folder = folders.pop() if folders else links.pop(0)
            real = os.path.realpath(folder)
            if real in read or (real != top and Path(top).is_relative_to(real)):
                passed_over.append((folder, "a link to a folder that is read already or that it lies in"))
                continue
            read.add(real)
            try:
                with os.scandir(folder) as listing:
                    entries = sorted(listing, key=lambda entry: entry.name)
            except OSError as error:
                if folder == root:
                    raise FaceemoError(f"{root}: this folder {_why_closed(folder, error)}") from None
                passed_over.append((folder, _why_closed(folder, error)))
                continue
            advance(len(entries))
            for entry in entries:
                name = f"{prefix}{readable_name(entry.name)}"
                is_folder = _is(entry.is_dir)
                if reason := _why_hidden(name, is_folder):
                    passed_over.append((Path(entry.path), reason))
                elif is_folder:
                    (links if entry.is_symlink() else folders).append((f"{name}/", Path(entry.path)))
                elif _is(entry.is_file) and not is_system_file(name):
                    found.append(Picture(name, entry.path))
                elif name.lower().endswith((*PICTURE_SUFFIXES, ".zip")) and not is_system_file(name):
                    passed_over.append((Path(entry.path), "not a regular file, or a link to nothing"))
    return Listing(sorted(found, key=lambda file: (file.name, file.path)), sorted(passed_over))


def members_below(path: Path) -> Listing:
    """All files in a ZIP archive, in its order; what is hidden is passed over as in folders.

    Raises FaceemoError if the archive cannot be read or is one part of several.
    """
    found: list[Picture] = []
    passed_over: list[tuple[Path, str]] = []
    hidden: Counter[str] = Counter()
    with Archive(path) as archive:
        members, unsure_names = members_of(archive), archive.unsure_names
    for member in members:
        *folders, _ = member.name.split("/")
        if ".." in folders:
            passed_over.append((path / member.name, "its name leads out of the archive by '..'; pack it anew"))
        elif system := next(filter(is_system_folder, folders), None):
            hidden[system] += system != MACOS_FOLDER
        elif reason := _why_hidden(member.name, is_folder=False):
            passed_over.append((path / member.name, reason))
        elif not is_system_file(member.name):
            found.append(member)
    passed_over += [(path / name, _HIDDEN_FOLDER) for name, count in hidden.items() if count]
    return Listing(found, passed_over, tuple(unsure_names))


def members_of(archive: Archive) -> list[Picture]:
    """The members of a ZIP archive as its directory has them, with the reason why one cannot be read.

    Raises FaceemoError if the archive is one part of several.
    """
    found: list[Picture] = []
    for index, member in enumerate(archive.members):
        if member.info.volume not in _NO_DISK:
            raise FaceemoError(
                f"{archive.path}: the last part of an archive that was split into .z01 and on; join them with 7-Zip or "
                "'zip -s 0 PART.zip --out WHOLE.zip'"
            )
        picture = member_picture(member.name, archive.path, index, member)
        error = _why_unread(member.info)
        found.append(replace(picture, error=error) if error else picture)
    return found


def _why_unread(info: zipfile.ZipInfo) -> str | None:
    if info.flag_bits & ENCRYPTED_FLAG:
        return "encrypted; unpack the archive with its password"
    if info.compress_type in _READ_METHODS:
        return None
    method = _OTHER_METHODS.get(info.compress_type, f"method {info.compress_type}")
    return f"packed by {method}; unpack the archive, or pack it anew by Deflate"


def _why_closed(folder: Path, error: OSError) -> str:
    """Why a folder cannot be read, and what to do."""
    if long := too_long(folder, error):
        return f"cannot be read: {long}"
    remedy = "; give yourself the right to read it" if isinstance(error, PermissionError) else ""
    return f"cannot be read: {error.strerror or error}{remedy}"


def _is(ask: Callable[[], bool]) -> bool:
    try:
        return ask()
    except OSError:  # a link that leads to itself, or to where we may not go
        return False


def files_at(path: Path) -> list[Picture]:
    """All files below a folder or in a ZIP archive, not looked at."""
    return list_files(path).files


def list_files(path: Path) -> Listing:
    """The files below a folder or in a ZIP archive, not looked at. Raises FaceemoError if it cannot be read."""
    return files_below(path) if path.is_dir() else members_below(path)


def label_names(path: Path, files: list[Picture]) -> list[Picture]:
    """Of the files below a folder or in an archive at `path` those that may be the set's label JSON, by their names."""
    return [file for file in files if _is_label_name(f"{path.name}/{file.name}".lower())]


def is_picture_name(name: str) -> bool:
    """Whether a file is a picture of a kind that is read, by its suffix."""
    return name.lower().endswith(PICTURE_SUFFIXES)


def suffix_of(name: str) -> str:
    """The suffix of a file, by its name, in lower case; of a hidden file without one its name."""
    path = PurePosixPath(name)
    return (path.suffix or (path.name if path.name.startswith(".") else "")).lower()


def has_class(name: str, level: int) -> bool:
    """Whether a file is a picture and has a class at this level."""
    return is_picture_name(name) and (level == IN_PLACE or word_of(name, level) is not None)


def word_of(name: str, level: int) -> str | None:
    """The word for its class in a picture's name; None for a picture that lies above the folders of classes."""
    if level == IN_NAMES:
        return parse_picture_name(name).emotion
    folders = name.split("/")[:-1]
    return _class_word(folders[level - 1]) if len(folders) >= level > 0 else None


def emotion_of_folders(name: str) -> str | None:
    """The one of the seven emotions that a folder in a picture's name is named after, the nearest first."""
    return next(filter(None, map(_emotion_word, reversed(name.split("/")[:-1]))), None)


def find_level(names: list[str], place: Path) -> int:
    """The level of folders that names the classes of these pictures in a folder or archive.

    It is that of the most pictures below folders named after one of the seven emotions. Without such folders it is 0
    where most pictures are named as the AI-Hub set names them, -1 where the place itself is named after one of the
    seven, else the first level with two folders or more, not counting folders such as `train` and `test`.
    Raises NoClassesError if there are no folders to name a class.
    """
    folders = [name.split("/")[:-1] for name in names]
    known = Counter(
        level for parts in folders for level, part in enumerate(parts, 1) if _emotion_word(part) is not None
    )
    if known:
        return max(known, key=lambda level: (known[level], -level))
    if 2 * sum(parse_picture_name(name).emotion is not None for name in names) > len(names):
        return IN_NAMES
    if place_emotion(place) is not None:
        return IN_PLACE
    own = [{parts[level] for parts in folders if len(parts) > level} for level in range(max(map(len, folders)))]
    own = [{part for part in parts if not _names_a_set(part)} for parts in own]
    for least in (2, 1):
        for level, parts in enumerate(own, 1):
            if len(parts) >= least:
                return level
    raise NoClassesError(
        f"{place}: no folders that name a class; sort its pictures into folders such as happy and sad, or list them in "
        "a table with the columns path and emotion"
    )


def folder_of(name: str) -> str | None:
    """training or validation, if a folder in a picture's name says so, the nearest first; `test` is for validation."""
    return _folder_of(name.rpartition("/")[0])


@functools.lru_cache(maxsize=10_000)
def _folder_of(folders: str) -> str | None:
    for part in reversed(folders.lower().split("/")):
        if VALIDATION.search(part) or _TEST.search(part):
            return "validation"
        if TRAINING.search(part):
            return "training"
    return None


def archive_emotion(stem: str) -> str | None:
    """The emotion in the name, in NFC, of an archive of the set or of the folder that it was unpacked to.

    None for a name with several, as of an archive that holds them all.
    """
    found = {ENGLISH[word] for word in _SEPARATORS.split(stem) if word in ENGLISH}
    return found.pop() if len(found) == 1 else None


def place_emotion(place: Path) -> str | None:
    """The one of the seven emotions that a folder or archive is named after."""
    name = unicodedata.normalize("NFC", place.name if place.is_dir() else place.stem)
    return _emotion_word(name)


@functools.lru_cache(maxsize=10_000)
def _emotion_word(folder: str) -> str | None:
    """The one of the seven emotions that a folder is named after."""
    found = class_name(_class_word(folder))
    return found if found in KOREAN else None


@functools.lru_cache(maxsize=10_000)
def _class_word(folder: str) -> str:
    return archive_emotion(folder) or folder


def _names_a_set(folder: str) -> bool:
    text = folder.lower()
    return any(pattern.search(text) for pattern in (VALIDATION, TRAINING, _TEST))


def _is_label_name(name: str) -> bool:
    return name.endswith(".json") and (_SET_FILE in name or any(map(LABELS.search, name.split("/"))))


def _why_hidden(name: str, is_folder: bool) -> str | None:
    """Why a folder or picture is not one of the user's own: AppleDouble files are passed over without a word."""
    base = name.rpartition("/")[2]
    if is_folder:
        return _HIDDEN_FOLDER if is_system_folder(base) else None
    is_hidden = base.startswith(".") and is_picture_name(base) and not is_system_file(base)
    return "a hidden file" if is_hidden else None
