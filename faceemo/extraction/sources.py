"""data/sources.yaml: what the pipeline works on, as `faceemo scan` found it."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated

import yaml

from faceemo.durable import write_text_whole
from faceemo.emotions import KOREAN, class_name
from faceemo.errors import FaceemoError
from faceemo.extraction.people import check_pattern
from faceemo.params import choice, integer, optional, parse_section
from faceemo.paths import PARAMS_FILE, SAMPLE_FOLDER, SOURCES_FILE
from faceemo.plainyaml import read_yaml, shown

SAMPLE_NOTE = "data/sample is synthetic, all of it made from two portraits: it proves the plumbing, not accuracy"
HEADER = "# Written by `faceemo scan`: what the pipeline works on. Scan again when something of it changes or moves.\n"

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


def _subject(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be a regular expression or 'each', not {shown(value)}")
    try:
        check_pattern(value)
    except FaceemoError as error:
        raise ValueError(str(error)) from None
    return value


def _rename(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(
        isinstance(old, str) and isinstance(new, str) and class_name(new) == new for old, new in value.items()
    ):
        raise ValueError(f"must map words to classes, not {shown(value)}")
    return value


def _classes(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) and class_name(name) == name for name in value):
        raise ValueError(f"must be a list of classes, not {shown(value)}")
    return tuple(value)


@dataclass(frozen=True)
class Labels:
    """Label JSON: its archive's path as written in sources.yaml, null where it lies among the pictures; its digest."""

    zip: Annotated[str | None, optional(_path)]
    digest: Annotated[str, _digest]


@dataclass(frozen=True)
class TableFile:
    """A table of pictures: its path as written in sources.yaml, and the sha256 of its bytes."""

    path: Annotated[str, _path]
    digest: Annotated[str, _digest]


@dataclass(frozen=True)
class Source:
    """An archive of the set, or a source of one's own: a tree of folders, a ZIP of one, or a table.

    One of zip, tree and table is there; paths are relative to the project where they lie below it, with posix
    separators. emotion: of an archive of the set; None for a source of one's own, which has several.
    digest: of the pictures alone. attempt: at reading them; raised where some that could not be read can be read now
    (see retry).
    level: which folders name the classes (see trees). subject: how names tell who is who (see people).
    rename: classes by the words that stand for them. classes: those of a source of one's own.
    """

    zip: Annotated[str | None, optional(_path)]
    emotion: Annotated[str | None, optional(choice(*KOREAN))]
    folder: Annotated[str, choice("training", "validation")]
    images: Annotated[int, integer(1)]
    digest: Annotated[str, _digest]
    labels: Labels | None
    attempt: Annotated[int, integer(1)] = 1
    tree: Annotated[str | None, optional(_path)] = None
    table: TableFile | None = None
    level: Annotated[int | None, optional(integer(0))] = None
    subject: Annotated[str | None, optional(_subject)] = None
    rename: Annotated[Mapping[str, str], _rename] = field(default_factory=dict)
    classes: Annotated[tuple[str, ...], _classes] = ()

    @property
    def path(self) -> str:
        """Where it is, as written in sources.yaml."""
        path = self.zip or self.tree or (self.table.path if self.table else None)
        assert path is not None, "one of zip, tree and table is there"
        return path


def write_sources(sources: dict[str, Source], path: Path = SOURCES_FILE) -> None:
    """Write data/sources.yaml, whole or not at all."""
    places = ("zip", "tree", "table")
    values = {}
    for key, source in sources.items():
        fields = asdict(source)
        values[key] = {name: fields.pop(name) for name in places} | fields
    values = {"sources": values}
    write_text_whole(path, HEADER + yaml.safe_dump(values, allow_unicode=True, sort_keys=False, width=1000))


def read_sources(path: Path = SOURCES_FILE) -> dict[str, Source]:
    """Read data/sources.yaml. Raises FaceemoError if it is missing or not what `faceemo scan` writes."""
    try:
        values = read_yaml(path)
        if not isinstance(values, dict) or not isinstance(values.get("sources"), dict) or not values["sources"]:
            raise ValueError("'sources' must be a mapping of ids to sources")
        for key in values["sources"]:
            if not isinstance(key, str) or not _ID.fullmatch(key):
                raise ValueError(f"{shown(key)} cannot be a source's id")
        return {key: _parse_source(key, value, str(path)) for key, value in values["sources"].items()}
    except FileNotFoundError:
        raise FaceemoError(f"{path} is not here; run 'faceemo scan' on your archives, folders or tables") from None
    except ValueError as error:
        reason = f"{path}: {error}"
    except FaceemoError as error:
        reason = str(error)
    raise FaceemoError(f"{reason}; this is not what 'faceemo scan' writes; run it again")


def last_sources() -> dict[str, Source]:
    """The sources of the last scan; none where there was none that can be read."""
    try:
        return read_sources()
    except (FaceemoError, OSError):
        return {}


def _parse_source(key: str, value: object, where: str) -> Source:
    source = parse_section(Source, value, where, f"sources.{key}.")
    if sum(place is not None for place in (source.zip, source.tree, source.table)) != 1:
        raise ValueError(f"sources.{key} must have one of zip, tree and table")
    if (source.emotion is None) == (source.level is None and source.table is None):
        raise ValueError(f"sources.{key} must have an emotion, or a level or table that tells several")
    if source.labels and source.labels.zip is None and source.level is None:
        raise ValueError(f"sources.{key}.labels.zip must be a path, not null")
    return source


def held_emotions(sources: Mapping[str, Source]) -> set[str]:
    """What archives, folders and tables are named after; in archives of the set raters may have seen more."""
    return {name for source in sources.values() for name in (*source.classes, source.emotion) if name}


def check_emotions(emotions: Mapping[str, tuple[str, ...]], sources: Mapping[str, Source]) -> None:
    """Raises FaceemoError if a class of params.yaml has an emotion that the sources cannot hold, naming those known.

    Archives of the set hold any of the seven: raters may have seen another one than their name says.
    """
    known = held_emotions(sources)
    if any(source.emotion is not None for source in sources.values()):
        known |= set(KOREAN)
    for members in emotions.values():
        for name in members:
            if name not in known:
                raise FaceemoError(
                    f"{PARAMS_FILE}: emotions: no source holds {name!r}; known are {', '.join(sorted(known))}"
                )


def holds_sample(sources: dict[str, Source]) -> bool:
    """Whether pictures of the project's own sample are among the sources; SAMPLE_NOTE says what that means."""
    return any(PurePosixPath(source.path).is_relative_to(SAMPLE_FOLDER.as_posix()) for source in sources.values())


def locate(written: str, root: Path = Path()) -> Path:
    """The archive, folder or table that sources.yaml names.

    `dvc exp run --temp` and `--queue` work in a copy of the project below its .dvc/tmp, without what git ignores; that
    is then taken from the project itself.
    """
    path = root / written
    if path.exists():
        return path
    for folder in root.resolve().parents:
        if folder.name == ".dvc" and (folder.parent / written).exists():
            return folder.parent / written
    return path


def written_path(path: Path, root: Path) -> str:
    """A path as sources.yaml has it: relative to the project where it lies below it, with posix separators."""
    absolute, project = path.resolve(), root.resolve()
    return (absolute.relative_to(project) if absolute.is_relative_to(project) else absolute).as_posix()
