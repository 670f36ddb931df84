"""Scanning one source: a tree of pictures in a folder or a ZIP archive, or a table of them."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from faceemo.emotions import ENGLISH, KOREAN, name_class, plain_word
from faceemo.errors import FaceemoError
from faceemo.pictures.archive import parse_picture_name
from faceemo.pictures.archive_names import ArchiveName
from faceemo.pictures.labels import TreeLabels, read_tree_labels
from faceemo.pictures.manifest import Manifest, describe
from faceemo.pictures.opening import look_at_all
from faceemo.pictures.people import EACH
from faceemo.pictures.reader import Picture, Seen, digest_of, read_seen
from faceemo.pictures.sources import LabelFiles, Source, TableFile, written_path
from faceemo.pictures.tables import TABLE_SUFFIXES, Table, read_table, table_pictures
from faceemo.pictures.trees import (
    IN_NAMES,
    IN_PLACE,
    Listing,
    emotion_of_folders,
    find_level,
    has_class,
    is_picture_name,
    label_names,
    place_emotion,
    suffix_of,
    word_of,
)

MAX_ID = 40  # characters, because ids become names of folders
OF_ONE_EMOTION = 0.9  # of the pictures in an archive of the set, by their names: a few may be misnamed

UNREAD_ARCHIVES = (".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar", ".alz", ".egg", ".zipx")
UNREAD_PICTURES = frozenset(
    {".heic", ".heif", ".heics", ".hif", ".avif", ".tif", ".tiff", ".gif", ".svg", ".ico", ".tga", ".psd", ".eps"}
    | {".jp2", ".j2k", ".j2c", ".jpf", ".jpx", ".jpm", ".jxl", ".jxr", ".jpeg2000", ".jpg_large", ".jpg!large"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".pcx", ".sgi", ".dds", ".exr", ".hdr"}
    | {".raw", ".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".orf", ".raf", ".rw2", ".pef"}
    | {".srw", ".x3f", ".3fr", ".erf", ".mrw", ".iiq"}
)
# Pictures, videos and archives of kinds that extraction does not read; files without a suffix may be any.
UNREAD_SUFFIXES = (
    UNREAD_PICTURES
    | {".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".wmv", ".mpg", ".mpeg", ".mts", ".m2ts", ".ts", ".flv", ".3gp"}
    | {".ogv", ".vob", ".asf", *UNREAD_ARCHIVES, ""}
)
SAVE_PICTURES = "save pictures as .jpg or .png"


@dataclass(frozen=True)
class ScanOptions:
    """How `faceemo scan` was told to read sources."""

    subject: str | None = None
    """As in Source; None where nothing was said, so that what sources.yaml has of the same place stays, "" to forget
    that."""
    rename: Mapping[str, str] | None = None
    """As in Source; None and empty as for subject."""
    read_all: bool = False
    """Read all picture files, whatever was seen of them."""
    to_judge: bool = False
    """A model is judged on the pictures, and nothing is learnt from them: they are not looked at before they are read,
    since no later scan is compared with this one."""

    def as_before(self, source: Source | None) -> "ScanOptions":
        """With what sources.yaml has of the same place where nothing else was said."""
        subject, rename = (None, {}) if source is None else (source.subject, source.rename)
        return replace(
            self,
            subject=(subject if self.subject is None else self.subject) or None,
            rename=rename if self.rename is None else self.rename,
        )


@dataclass(frozen=True)
class Found:
    """A source as it was found."""

    source: Source
    pictures: list[Picture]
    """Those with a class, in the order of the rows."""
    manifest: Manifest
    """What is known of them, but for what raters in label files saw."""
    words: frozenset[str]
    """The words for classes, plain."""
    size: int
    """Bytes: of an archive, of picture files."""
    is_each: bool = False
    """Whether every picture counts as a person of its own."""
    labels: list[Picture] = field(default_factory=list)
    """The set's label files among the pictures."""
    others: Counter[str] = field(default_factory=Counter)
    """Files that are no pictures of a kind that is read and not among those passed over, by suffix."""
    lost: tuple[str, ...] = ()
    """Folders where a class would stand, whose pictures are all of kinds that are not read."""
    without_class: int = 0
    """Pictures that no folder gives a class to."""
    passed_over: tuple[tuple[Path, str], ...] = ()
    """Places that were not read, and why."""
    unsure_names: tuple[str, ...] = ()
    """As in Listing."""
    not_of_set: str | None = None
    """Why it is no archive of the set though it is called like one."""

    @property
    def classes(self) -> Counter[str]:
        """Pictures of each class."""
        return Counter(self.manifest.table["emotion"].to_pylist())

    @property
    def people(self) -> set[str]:
        """Those known by name; empty where every picture counts as a person of its own."""
        return set() if self.is_each else set(self.manifest.table["subject"].unique().to_pylist()) - {None}

    @property
    def without_person(self) -> int:
        """Pictures of which it is not known who is in them."""
        return self.manifest.table["subject"].null_count

    @property
    def unread(self) -> list[Picture]:
        """Pictures that cannot be read, with the reason in `error`."""
        return [picture for picture in self.pictures if picture.error is not None]


def scan_tree(
    key: str, path: Path, listing: Listing, name: ArchiveName | None, folder: str, options: ScanOptions, root: Path
) -> Found:
    """Scan a folder of pictures, or a ZIP archive of one, with these files in it.

    name: that of an archive of the set, whose emotion all of its pictures have; None for any other tree. folder: what
    pictures belong to whose own folders do not say it.
    Raises FaceemoError if it holds no pictures, no folders name classes, or a word cannot name one.
    """
    every = [file for file in listing.files if is_picture_name(file.name)]
    if not every:
        raise FaceemoError(f"{path}: no pictures in it{what_else(listing)}")
    level = None if name else find_level([file.name for file in every], path)
    emotion = name.emotion if name else place_emotion(path) if level == IN_PLACE else None
    seen = {} if options.read_all else read_seen(key)
    pictures = [file for file in every if level is None or has_class(file.name, level)]
    pictures = _looked_at(key, path, pictures, seen, options)
    labels, files = TreeLabels(), [] if name else label_names(path, listing.files)
    if files:
        labels = read_tree_labels(path, tuple(look_at_all(key, files, seen)))
    words = {emotion or word_of(picture.name, level or IN_NAMES) or "" for picture in pictures}
    is_folder, written = path.is_dir(), written_path(path, root)
    source = Source(
        zip=None if is_folder else written,
        tree=written if is_folder else None,
        emotion=emotion,
        folder=folder,
        images=len(pictures),
        digest=digest_of(pictures),
        labels=LabelFiles(None, digest_of(labels.files)) if labels.files else None,
        level=level,
        subject=options.subject,
        rename=_used(options, words),
        classes=_classes(path, words, options, listing.unsure_names),
    )
    told_of = {file.name for file in files}  # read as labels, or passed over with the reason
    others = [file for file in listing.files if not is_picture_name(file.name) and file.name not in told_of]
    told = {place for place, _ in listing.passed_over} if is_folder else set()
    return Found(
        source,
        pictures,
        _described(key, source, pictures),
        frozenset(map(plain_word, words)),
        sum(picture.size or 0 for picture in pictures) if is_folder else path.stat().st_size,
        options.subject == EACH,
        labels.files,
        Counter(suffix_of(file.name) for file in others if Path(file.path) not in told),
        _lost(others, level, words),
        len(every) - len(pictures),
        (*listing.passed_over, *labels.others),
        listing.unsure_names,
    )


def scan_table(key: str, path: Path, folder: str, options: ScanOptions, root: Path) -> Found:
    """Scan a table of pictures. Raises FaceemoError as read_table does, and if none of its pictures can be read."""
    table = read_table(path)
    seen = {} if options.read_all else read_seen(key)
    pictures = _looked_at(key, path, list(table_pictures(table, path.parent)), seen, options)
    words = set(table.rows["emotion"].to_pylist())
    voted = (name_class(word, options.rename or {}) for word in table.voted)
    source = Source(
        zip=None,
        table=TableFile(written_path(path, root), table.digest),
        emotion=None,
        folder=folder,
        images=len(pictures),
        digest=digest_of(pictures),
        labels=None,
        subject=options.subject,
        rename=_used(options, words.union(table.voted)),
        classes=_classes(path, words, options),
        voted=tuple(sorted(filter(None, set(voted)))),
    )
    return Found(
        source,
        pictures,
        _described(key, source, pictures, table),
        frozenset(map(plain_word, words.union(table.voted))),
        sum(picture.size or 0 for picture in pictures),
        options.subject == EACH and table.rows["subject"].null_count == len(pictures),
    )


def _described(key: str, source: Source, pictures: list[Picture], table: Table | None = None) -> Manifest:
    """What is known of pictures. Raises FaceemoError if --subject finds nobody in any of them."""
    manifest = describe(key, source, [picture.name for picture in pictures], with_votes=False, table=table)
    if source.subject not in (None, EACH) and not manifest.knows_people:
        raise FaceemoError(f"--subject {source.subject!r} matches no picture of {key}, such as {pictures[0].name}")
    return manifest


def why_not_of_set(pictures: list[Picture], name: ArchiveName) -> str | None:
    """Why pictures are not those of an archive of the set with this name; None if they are.

    Most names of the set's pictures begin with the 64 digits of a person, and nearly all of those that tell one of the
    seven emotions, or whose folders do, tell the same one.
    Raises FaceemoError if they are the set's and tell another emotion than the archive's name.
    """
    parsed = [parse_picture_name(picture.name) for picture in pictures]
    if 2 * sum(own.subject is not None for own in parsed) <= len(pictures):
        return "most names of its pictures do not begin with the 64 digits of a person and _"
    told = (own.emotion or emotion_of_folders(picture.name) for own, picture in zip(parsed, pictures, strict=True))
    emotions = Counter(filter(None, told))
    emotion, count = next(iter(emotions.most_common(1)), (name.emotion, 0))
    if count < OF_ONE_EMOTION * emotions.total():
        return "its pictures tell several emotions"
    if emotion != name.emotion:
        raise FaceemoError(
            f"{name.path}: its name says {name.emotion} ({KOREAN[name.emotion]}), but its pictures say {emotion} "
            f"({KOREAN[emotion]}); give it the name that is right, or download it again"
        )
    return None


def own_id(path: Path, kind: str, taken: Iterable[str]) -> str:
    """An id from a name where that has ASCII letters or an emotion, else the first free one like folder-01."""
    stem = unicodedata.normalize("NFC", path.name if kind == "folder" else path.stem)
    stem = "".join(ENGLISH.get(part, part) for part in re.split(r"([\W_]+)", stem))
    name = re.sub(r"[^a-z0-9]+", "-", stem.lower())[:MAX_ID].strip("-")
    if re.search("[a-z]", name):
        return name
    number = 1
    while f"{kind}-{number:02d}" in taken:
        number += 1
    return f"{kind}-{number:02d}"


def names_in_doubt(names: Sequence[str]) -> str:
    """That an archive does not say how these names are encoded, and what to do."""
    return (
        f"the archive does not say how names are encoded ({len(names)} in doubt, the first reads {names[0]}); if that "
        "is wrong, pack it anew with names in UTF-8 (7-Zip: -mcu=on)"
    )


def what_else(listing: Listing) -> str:
    """What is there in place of pictures, for the end of a line."""
    found = Counter(suffix_of(file.name) or "without a suffix" for file in listing.files)
    hidden = Counter(reason for _, reason in listing.passed_over)
    said = [f"{count} {suffix}" for suffix, count in found.most_common(5)]
    said += [f"{count} passed over ({reason})" for reason, count in hidden.items()]
    advice = "; unpack the archive in it" if found[".zip"] else ""
    advice += f"; {SAVE_PICTURES}" if UNREAD_PICTURES & found.keys() else ""
    return f", but {', '.join(said)}{advice}" if said else ""


def _lost(others: list[Picture], level: int | None, words: set[str]) -> tuple[str, ...]:
    """The words for classes that pictures of kinds that are not read alone have."""
    unread = (word_of(file.name, level or IN_NAMES) for file in others if suffix_of(file.name) in UNREAD_SUFFIXES)
    return tuple(sorted(set(filter(None, unread)) - words)) if level and level > IN_NAMES else ()


def _looked_at(key: str, path: Path, pictures: list[Picture], seen: Seen, options: ScanOptions) -> list[Picture]:
    """The pictures as a scan sees them. Raises FaceemoError if none can be read."""
    pictures = pictures if options.to_judge else look_at_all(key, pictures, seen)
    check_readable(path, pictures)
    return pictures


def check_readable(path: Path, pictures: list[Picture]) -> None:
    """Raises FaceemoError if none of the pictures of a source can be read."""
    if all(picture.error is not None for picture in pictures):
        hint = "; paths are relative to the table" if path.suffix.lower() in TABLE_SUFFIXES else ""
        raise FaceemoError(
            f"{path}: none of its {len(pictures)} pictures can be read; the first is {pictures[0].name} "
            f"({pictures[0].error}){hint}"
        )


def _classes(path: Path, words: set[str], options: ScanOptions, unsure_names: Sequence[str] = ()) -> tuple[str, ...]:
    """The classes that words stand for. Raises FaceemoError for a word that cannot name one."""
    names = {word: name_class(word, options.rename or {}) for word in words}
    unnamed = sorted(word for word, name in names.items() if name is None)
    if unnamed:
        raise FaceemoError(
            f"{path}: {', '.join(map(repr, unnamed))} cannot be the name of a class, which has only letters, digits, - "
            f"and _, a letter first; rename it with --rename '{unnamed[0]}=CLASS'"
            + (f"; {names_in_doubt(unsure_names)}" if unsure_names else "")
        )
    return tuple(sorted(filter(None, set(names.values()))))


def _used(options: ScanOptions, words: Iterable[str]) -> dict[str, str]:
    """Of the words that are renamed those that a source has."""
    known = set(map(plain_word, words))
    return {word: name for word, name in (options.rename or {}).items() if word in known}
