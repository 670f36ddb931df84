"""Find the archives of the AI-Hub set, fingerprint them, and keep them in data/sources.yaml."""

import os
import re
import unicodedata
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

import yaml

from faceemo.durable import write_text_whole
from faceemo.emotions import ENGLISH, KOREAN
from faceemo.errors import FaceemoError
from faceemo.extraction.archive import Archive, parse_picture_name
from faceemo.params import choice, integer, parse_section, parsed_by
from faceemo.paths import SAMPLE_FOLDER, SOURCES_FILE
from faceemo.plainyaml import read_yaml, shown

SAMPLE_NOTE = "data/sample is synthetic, all of it made from two portraits: it proves the plumbing, not accuracy"
HEADER = "# Written by `faceemo scan`: the archives that the pipeline works on. Scan again when one changes or moves.\n"

# Folder names as they stand on AI-Hub, in its mirrors and in people's own copies; matched against lower-case text.
_VALIDATION = re.compile(r"(?<![a-z])val(id(ation)?)?(?![a-z])|검증")
_TRAINING = re.compile(r"(?<![a-z])train(ing)?(?![a-z])|학습")
_SAMPLE = re.compile(r"(?<![a-z])sample(?![a-z])|샘플")
_LABELS = re.compile(r"라벨|(?<![a-z])label(s|l?ing)?(?![a-z])|(?<![a-z])[tv]l(?![a-z])")
_PICTURES = re.compile(r"원천|(?<![a-z])[tv]s(?![a-z])")
_PART = re.compile(r"[_\-\s](\d{1,2})$")

_ID = re.compile(r"[a-z0-9-]+")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def _path(value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(f"must be a path, not {shown(value)}")
    return value


def _digest(value: object) -> str:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise ValueError(f"must be 64 hexadecimal digits, not {shown(value)}")
    return value


@dataclass(frozen=True)
class Labels:
    """A label archive: its path as written in sources.yaml, and the digest of its member table."""

    zip: str = parsed_by(_path)
    digest: str = parsed_by(_digest)


@dataclass(frozen=True)
class Source:
    """A source archive.

    zip: relative to the project where it lies below it, with posix separators.
    attempt: at reading its pictures; raised where some that could not be read can be read now (see retry).
    """

    zip: str = parsed_by(_path)
    emotion: str = parsed_by(choice(*KOREAN))
    folder: str = parsed_by(choice("training", "validation"))
    images: int = parsed_by(integer(1))
    digest: str = parsed_by(_digest)
    labels: Labels | None
    attempt: int = parsed_by(integer(1), default=1)


@dataclass(frozen=True)
class Scan:
    """What a scan found: by id the sources, bytes and members that are no pictures; by folder the subjects in the
    names of pictures; archives passed over, and why.
    """

    sources: dict[str, Source]
    sizes: dict[str, int]
    others: dict[str, int]
    subjects: dict[str, set[str]]
    passed_over: list[tuple[Path, str]]


@dataclass(frozen=True)
class _ArchiveName:
    """What the path of an archive says about it."""

    path: Path
    emotion: str
    folder: str  # training | validation
    set: str  # training | validation | sample
    part: int
    is_labels: bool

    @property
    def id(self) -> str:
        return f"{self.emotion}-{self.set}-{self.part:02d}"


def scan(folders: list[Path], emotions: tuple[str, ...] | None = None, root: Path = Path()) -> Scan:
    """Find source archives and their label archives below `folders` (or named themselves).

    Reads central directories only. Raises FaceemoError if a folder is missing, an archive cannot be read, nothing is
    found, or two archives have the same id or the same pictures.
    """
    pictures: list[_ArchiveName] = []
    labels: list[_ArchiveName] = []
    passed_over: list[tuple[Path, str]] = []
    for path, top in _zip_files(folders):
        name = _read_path(path, top)
        if name is None:
            passed_over.append((path, "no emotion of the set in its name"))
        elif emotions is not None and name.emotion not in emotions:
            passed_over.append((path, f"{name.emotion}, not asked for"))
        else:
            (labels if name.is_labels else pictures).append(name)

    sources: dict[str, Source] = {}
    sizes: dict[str, int] = {}
    others: dict[str, int] = {}
    subjects: dict[str, set[str]] = {}
    found: dict[str, Path] = {}  # by id and by digest
    for name in sorted(pictures, key=lambda name: (name.id, str(name.path))):
        with Archive(name.path) as archive:
            images, digest, other = len(archive.pictures), archive.digest(), archive.others
            people = {parse_picture_name(member.name).subject for member in archive.pictures} - {None}
        if not images:
            passed_over.append((name.path, "holds no pictures"))
            continue
        for key, what in ((name.id, f"would both be {name.id}"), (digest, "hold the same pictures")):
            if key in found:
                raise FaceemoError(f"{found[key]} and {name.path} {what}; scan only one of them")
            found[key] = name.path
        sources[name.id] = Source(
            _written_path(name.path, root), name.emotion, name.folder, images, digest, _labels_of(name, labels, root)
        )
        sizes[name.id], others[name.id] = name.path.stat().st_size, other
        subjects.setdefault(name.folder, set()).update(people)
    if not sources:
        where = ", ".join(map(str, folders))
        raise FaceemoError(f"no source archive like [원천]EMOIMG_중립_TRAIN_01.zip found below {where}")
    used = {source.labels.zip for source in sources.values() if source.labels}
    passed_over += [
        (name.path, "labels without a source archive") for name in labels if _written_path(name.path, root) not in used
    ]
    return Scan(sources, sizes, others, subjects, sorted(passed_over))


def write_sources(sources: dict[str, Source], path: Path = SOURCES_FILE) -> None:
    """Write data/sources.yaml, whole or not at all."""
    values = {"sources": {key: asdict(source) for key, source in sources.items()}}
    write_text_whole(path, HEADER + yaml.safe_dump(values, allow_unicode=True, sort_keys=False, width=1000))


def read_sources(path: Path = SOURCES_FILE) -> dict[str, Source]:
    """Read data/sources.yaml. Raises FaceemoError if it is missing or not what `faceemo scan` writes."""
    try:
        values = read_yaml(path)
        if not isinstance(values, dict) or not isinstance(values.get("sources"), dict) or not values["sources"]:
            raise ValueError("'sources' must be a mapping of ids to archives")
        for key in values["sources"]:
            if not isinstance(key, str) or not _ID.fullmatch(key):
                raise ValueError(f"{shown(key)} cannot be an archive's id")
        return {
            key: parse_section(Source, value, str(path), f"sources.{key}.") for key, value in values["sources"].items()
        }
    except FileNotFoundError:
        raise FaceemoError(f"{path} is not here; run 'faceemo scan' on the folders with your archives") from None
    except ValueError as error:
        reason = f"{path}: {error}"
    except FaceemoError as error:
        reason = str(error)
    raise FaceemoError(f"{reason}; this is not what 'faceemo scan' writes; run it again")


def holds_sample(sources: dict[str, Source]) -> bool:
    """Whether archives of the project's own sample are among the sources; SAMPLE_NOTE says what that means."""
    return any(PurePosixPath(source.zip).is_relative_to(SAMPLE_FOLDER.as_posix()) for source in sources.values())


def locate(written: str, root: Path = Path()) -> Path:
    """The archive that sources.yaml names.

    `dvc exp run --temp` and `--queue` work in a copy of the project below its .dvc/tmp, without the archives that git
    ignores; those are then taken from the project itself.
    """
    path = root / written
    if path.exists():
        return path
    for folder in root.resolve().parents:
        if folder.name == ".dvc" and (folder.parent / written).exists():
            return folder.parent / written
    return path


def _zip_files(folders: list[Path]) -> list[tuple[Path, Path]]:
    """Archives, and the folder asked for that each was found below."""
    found: dict[Path, tuple[Path, Path]] = {}  # by resolved path: folders may overlap
    for folder in folders:
        if folder.is_dir():
            for parent, _, files in os.walk(folder):
                paths = (Path(parent) / file for file in files if file.lower().endswith(".zip"))
                found.update({path.resolve(): (path, folder) for path in paths})
        elif folder.is_file():
            found[folder.resolve()] = (folder, folder.parent)
        else:
            raise FaceemoError(f"{folder}: no such folder or archive")
    return sorted(found.values())


def _read_path(path: Path, top: Path) -> _ArchiveName | None:
    """What the archive's name says and, where that is silent, the folders above it up to the parent of `top`."""
    stem = unicodedata.normalize("NFC", path.stem)
    words = re.split(r"[\[\]()（）_\-.\s]+", stem)
    emotion = next((ENGLISH[word] for word in words if word in ENGLISH), None)
    if emotion is None:
        return None
    folders = path.resolve().parent.parts[max(len(top.resolve().parts) - 2, 0) :]
    above = [unicodedata.normalize("NFC", part).lower() for part in reversed(folders)]
    texts = [stem.lower(), *above]  # the nearest word decides
    folder = next(
        ("validation" if _VALIDATION.search(text) else "training" for text in texts if _names_a_folder(text)),
        "training",
    )
    part = _PART.search(stem)
    return _ArchiveName(
        path,
        emotion,
        folder,
        set="sample" if _SAMPLE.search(stem.lower()) else folder,
        part=int(part[1]) if part else 1,
        is_labels=next((not _PICTURES.search(text) for text in texts if _says_what_it_holds(text)), False),
    )


def _names_a_folder(text: str) -> bool:
    return bool(_VALIDATION.search(text) or _TRAINING.search(text))


def _says_what_it_holds(text: str) -> bool:
    return bool(_PICTURES.search(text) or _LABELS.search(text))


def _labels_of(source: _ArchiveName, labels: list[_ArchiveName], root: Path) -> Labels | None:
    """The label archive of the same emotion and set; one archive of labels serves all parts."""
    matching = [name for name in labels if (name.emotion, name.set) == (source.emotion, source.set)]
    found: dict[str, Path] = {}
    for name in matching:
        with Archive(name.path) as archive:
            found.setdefault(archive.digest(), name.path)
    if len(found) > 1:
        raise FaceemoError(f"{' and '.join(map(str, found.values()))} both hold labels of {source.id}; scan only one")
    return next((Labels(_written_path(path, root), digest) for digest, path in found.items()), None)


def _written_path(path: Path, root: Path) -> str:
    absolute, project = path.resolve(), root.resolve()
    return (absolute.relative_to(project) if absolute.is_relative_to(project) else absolute).as_posix()
