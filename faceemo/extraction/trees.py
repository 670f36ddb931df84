"""Trees of pictures, in a folder or in a ZIP archive: which folders name the classes, and the pictures below them.

One level of folders names the classes: `happy/1.jpg` and `happy/kim/1.jpg` have it at level 1, `train/happy/1.jpg` at
level 2. Level 0 means that the pictures' own names say it, as those of the AI-Hub set do.
"""

import os
import re
from collections import Counter
from pathlib import Path

from faceemo.emotions import ENGLISH, KOREAN, class_name
from faceemo.errors import FaceemoError
from faceemo.extraction.archive import PICTURE_SUFFIXES, Archive, is_macos_extra, parse_picture_name
from faceemo.extraction.pictures import PictureFile, member_picture, readable_name

IN_NAMES = 0  # the level of pictures whose own names say the class

# Folder names as they stand on AI-Hub, in its mirrors and in people's own copies; matched against lower-case text.
VALIDATION = re.compile(r"(?<![a-z])val(id(ation)?)?(?![a-z])|검증")
TRAINING = re.compile(r"(?<![a-z])train(ing)?(?![a-z])|학습")
LABELS = re.compile(r"라벨|(?<![a-z])label(s|l?ing)?(?![a-z])|(?<![a-z])[tv]l(?![a-z])")
_TEST = re.compile(r"(?<![a-z])test(ing)?(?![a-z])|테스트|시험")
_SET_FILE = "emoimg"  # in the names of the set's archives and label files
_SEPARATORS = re.compile(r"[\[\]()（）_\-.\s]+")


def files_below(root: Path) -> tuple[list[PictureFile], list[tuple[Path, str]]]:
    """All files below a folder in the order of their names, not looked at; links that were not followed, and why.

    Links are followed, but for one to a folder that it lies in, which has no end.
    """
    found: list[PictureFile] = []
    passed_over: list[tuple[Path, str]] = []
    waiting: list[tuple[str, Path, tuple[str, ...]]] = [("", root, (os.path.realpath(root),))]
    while waiting:
        prefix, folder, above = waiting.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                name, path = f"{prefix}{readable_name(entry.name)}", folder / entry.name
                if is_macos_extra(name):
                    continue
                if not path.is_dir():
                    found.append(PictureFile(name, str(path)))
                    continue
                real = os.path.realpath(path)
                if real in above:
                    passed_over.append((path, "a link to a folder that it lies in"))
                else:
                    waiting.append((f"{name}/", path, (*above, real)))
    return sorted(found, key=lambda file: (file.name, file.path)), sorted(passed_over)


def is_picture_name(name: str) -> bool:
    return name.lower().endswith(PICTURE_SUFFIXES)


def members_below(path: Path) -> tuple[list[PictureFile], list[tuple[Path, str]]]:
    """All files in a ZIP archive, in its order; those passed over since their names lead out of it.

    Raises FaceemoError if the archive cannot be read.
    """
    with Archive(path) as archive:
        members = [one for one in enumerate(archive.members) if not is_macos_extra(one[1].name)]
    found = [member_picture(one.name, path, index, one) for index, one in members if not _leads_out(one.name)]
    leading_out = (Path(f"{path}/{one.name}") for _, one in members if _leads_out(one.name))
    return found, [(place, "its name leads out of the archive") for place in leading_out]


def labels_among(path: Path, files: list[PictureFile]) -> list[PictureFile]:
    """Of the files below a folder or in an archive at `path` the set's label JSON, by name and folders."""
    return [file for file in files if _is_label_name(f"{path.name}/{file.name}".lower())]


def label_files(path: Path) -> list[PictureFile]:
    """The set's label JSON below a folder or in a ZIP archive, not looked at."""
    return labels_among(path, files_at(path))


def files_at(path: Path) -> list[PictureFile]:
    """All files below a folder or in a ZIP archive, not looked at."""
    return (files_below if path.is_dir() else members_below)(path)[0]


def has_class(name: str, level: int) -> bool:
    """Whether a file is a picture that lies below a folder of this level."""
    return is_picture_name(name) and word_of(name, level) is not None


def word_of(name: str, level: int) -> str | None:
    """The word for its class in a picture's name; None for a picture that lies above the folders of classes."""
    if level == IN_NAMES:
        return parse_picture_name(name).emotion
    folders = name.split("/")[:-1]
    return _class_word(folders[level - 1]) if len(folders) >= level else None


def find_level(names: list[str], where: Path) -> int:
    """The level of folders that names the classes of these pictures.

    It is that of the most pictures below folders named after one of the seven emotions. Without such folders it is 0
    where most pictures are named as the AI-Hub set names them, else the first level with two folders or more, not
    counting folders such as `train` and `test`. Raises FaceemoError if there are no folders to name a class.
    """
    folders = [name.split("/")[:-1] for name in names]
    known = Counter(
        level for parts in folders for level, part in enumerate(parts, 1) if class_name(_class_word(part)) in KOREAN
    )
    if known:
        return max(known, key=lambda level: (known[level], -level))
    if 2 * sum(parse_picture_name(name).emotion is not None for name in names) > len(names):
        return IN_NAMES
    own = [{parts[level] for parts in folders if len(parts) > level} for level in range(max(map(len, folders)))]
    own = [{part for part in parts if not _names_a_set(part)} for parts in own]
    for least in (2, 1):
        for level, parts in enumerate(own, 1):
            if len(parts) >= least:
                return level
    raise FaceemoError(
        f"{where}: no folders that name a class; sort its pictures into folders such as happy and sad, or list them in "
        "a table with the columns path and emotion"
    )


def folder_of(name: str) -> str | None:
    """training or validation, if a folder in a picture's name says so, the nearest first; `test` is for validation."""
    for part in reversed(name.lower().split("/")[:-1]):
        if VALIDATION.search(part) or _TEST.search(part):
            return "validation"
        if TRAINING.search(part):
            return "training"
    return None


def archive_emotion(stem: str) -> str | None:
    """The emotion in the name of an archive of the set, in NFC, or of the folder that it was unpacked to."""
    return next((ENGLISH[word] for word in _SEPARATORS.split(stem) if word in ENGLISH), None)


def _class_word(folder: str) -> str:
    return archive_emotion(folder) or folder


def _names_a_set(folder: str) -> bool:
    text = folder.lower()
    return any(pattern.search(text) for pattern in (VALIDATION, TRAINING, _TEST))


def _is_label_name(name: str) -> bool:
    return name.endswith(".json") and (_SET_FILE in name or any(map(LABELS.search, name.split("/"))))


def _leads_out(name: str) -> bool:
    return ".." in name.replace("\\", "/").split("/") or name.startswith("/")
