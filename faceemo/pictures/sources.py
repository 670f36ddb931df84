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
from faceemo.params import choice, integer, optional, parse_section
from faceemo.paths import SAMPLE_FOLDER, SOURCES_FILE
from faceemo.pictures.people import check_pattern
from faceemo.pictures.trees import IN_PLACE
from faceemo.plainyaml import read_yaml, shown

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
class LabelFiles:
    """The set's label JSON that belongs to a source."""

    zip: Annotated[str | None, optional(_path)]
    """The path of its archive as written in sources.yaml; null where it lies among the pictures."""
    digest: Annotated[str, _digest]


@dataclass(frozen=True)
class TableFile:
    """A table of pictures."""

    path: Annotated[str, _path]
    """As written in sources.yaml."""
    digest: Annotated[str, _digest]
    """The sha256 of its bytes."""


@dataclass(frozen=True)
class Source:
    """A tree of pictures, in a folder or in a ZIP archive, or a table of them: one of zip, tree and table is there.

    Paths are relative to the project where they lie below it, with posix separators.
    """

    zip: Annotated[str | None, optional(_path)]
    emotion: Annotated[str | None, optional(choice(*KOREAN))]
    """Of all its pictures, where an archive or folder is named after it; null where there are several."""
    folder: Annotated[str, choice("training", "validation")]
    images: Annotated[int, integer(1)]
    digest: Annotated[str, _digest]
    """Of the pictures alone (see reader.digest_of)."""
    labels: LabelFiles | None
    tree: Annotated[str | None, optional(_path)] = None
    table: TableFile | None = None
    level: Annotated[int | None, optional(integer(IN_PLACE))] = None
    """Which folders name the classes (see trees); null for archives of the AI-Hub set, and for tables."""
    subject: Annotated[str | None, optional(_subject)] = None
    """How names tell who is in a picture (see people)."""
    rename: Annotated[Mapping[str, str], _rename] = field(default_factory=dict)
    """Classes by the words that stand for them."""
    classes: Annotated[tuple[str, ...], _classes] = ()
    """Those that pictures are named after."""
    voted: Annotated[tuple[str, ...], _classes] = ()
    """Those that a table has votes for."""
    repaired: Annotated[int, integer(0)] = 0
    """How often a scan found that pictures which extraction could not read can be read, as in a good copy of a damaged
    archive, which has the same digest: the stage extract tracks this too, and so reads them."""

    @property
    def is_of_set(self) -> bool:
        """Whether it is an archive of the AI-Hub set."""
        return self.emotion is not None and self.level is None

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
    names_one = source.table is None and source.level in (None, IN_PLACE)
    if (source.emotion is not None) != names_one:
        raise ValueError(f"sources.{key} must have an emotion, or a level or table that tells several")
    if source.labels and source.labels.zip is None and source.level is None:
        raise ValueError(f"sources.{key}.labels.zip must be a path, not null")
    return source


def held_classes(sources: Mapping[str, Source]) -> set[str]:
    """What archives, folders and tables are named after; raters may have seen more."""
    return {name for source in sources.values() for name in source.classes}


def seen_classes(sources: Mapping[str, Source]) -> set[str]:
    """What pictures are named after, and the classes that raters may have seen in them."""
    of_set = KOREAN if any(source.is_of_set or source.labels for source in sources.values()) else ()
    return held_classes(sources).union(of_set, *(source.voted for source in sources.values()))


def holds_sample(sources: Mapping[str, Source]) -> bool:
    """Whether pictures of the project's own sample are among the sources."""
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
