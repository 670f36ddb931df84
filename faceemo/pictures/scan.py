"""Find what the pipeline can work on: archives of the AI-Hub set, and trees and tables of one's own."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from faceemo.console import progress
from faceemo.emotions import KOREAN
from faceemo.errors import FaceemoError, too_long
from faceemo.pictures.archive_names import ArchiveName, folder_in_name, read_archive_name
from faceemo.pictures.labels import holds_labels
from faceemo.pictures.places import expand_places
from faceemo.pictures.reader import Picture, digest_of
from faceemo.pictures.scan_source import (
    SAVE_PICTURES,
    UNREAD_ARCHIVES,
    UNREAD_PICTURES,
    Found,
    ScanOptions,
    check_readable,
    own_id,
    scan_table,
    scan_tree,
    what_else,
    why_not_of_set,
)
from faceemo.pictures.sources import LabelFiles, Source, locate, written_path
from faceemo.pictures.table_lines import SAVE_CSV
from faceemo.pictures.tables import SPREADSHEET_SUFFIXES, TABLE_SUFFIXES
from faceemo.pictures.trees import (
    Listing,
    NoClassesError,
    archive_emotion,
    files_below,
    is_picture_name,
    members_below,
    suffix_of,
)

# What browsers and downloaders name a file that is not whole yet: `….zip.part`, `….zip.crdownload`, `….zip.irx603`.
_UNFINISHED = re.compile(r"\.zip\.!?\w+$|\.(part|partial|crdownload|download|aria2)$")
# What people and servers lay beside an archive, named after it: checksums, signatures, notes.
_BESIDE = re.compile(r"\.(sha\d+|md5|crc32|asc|sig|txt|md|json|xml|html|log)$")
# Of an archive in several: `….zip.part0`, `….zip.001`, `….z01`.
_PART = re.compile(r"\.(zip|7z)\.(part)?\d+$|\.z\d\d$|\.part\d+\.rar$")


@dataclass(frozen=True)
class Scan:
    """What a scan found."""

    found: dict[str, Found]
    """By id."""
    passed_over: list[tuple[Path, str]]
    """Places that were not read, and why."""

    @property
    def sources(self) -> dict[str, Source]:
        """Those found, by id."""
        return {key: one.source for key, one in self.found.items()}


@dataclass(frozen=True)
class _Place:
    """A folder, archive or table that may become a source."""

    path: Path
    listing: Listing | None = None
    """What is in it; None for a table."""
    name: ArchiveName | None = None
    """Of an archive of the set, label archives among them."""
    not_of_set: str | None = None
    """As in Found."""
    is_named: bool = True
    """Whether it was named itself, and not found in a folder."""


@dataclass
class _Places:
    """What lies in the places that were named."""

    of_set: dict[Path, _Place] = field(default_factory=dict)
    """Archives of the set by resolved path: folders may overlap."""
    own: dict[Path, _Place] = field(default_factory=dict)
    """Trees and tables of one's own by resolved path."""
    not_asked: list[ArchiveName] = field(default_factory=list)
    """Archives whose names say other emotions than were asked for."""
    faults: list[tuple[Path, str]] = field(default_factory=list)
    """Archives that cannot be read or are not whole yet, and why."""
    passed_over: list[tuple[Path, str]] = field(default_factory=list)
    """Other places that are no sources, and why."""
    unread: Counter[str] = field(default_factory=Counter)
    """Pictures of kinds that are not read in folders without others, by suffix."""


def scan(
    places: list[Path],
    emotions: tuple[str, ...] | None = None,
    root: Path = Path(),
    options: ScanOptions = ScanOptions(),  # noqa: B008 - it is frozen
    earlier: Mapping[str, Source] = MappingProxyType({}),
) -> Scan:
    """Find what the pipeline can work on in folders, archives and tables.

    A folder with archives of the set stands for these. Any other is a tree of pictures, as a ZIP archive is that is not
    of the set; what lies in an archive decides, not its name alone. Of archives central directories alone are read, and
    of the set only those of `emotions` are taken. earlier: the sources of the last scan, whose options stay for the
    same places and for those moved.
    Raises FaceemoError if a place is missing or cannot be read, nothing is found, one of `emotions` has no archive, or
    two sources have the same id or the same pictures. An archive in a folder that cannot be read, or in which nothing
    names a class, is passed over.
    """
    there = _Places()
    places = expand_places(places)
    for place in places:
        _look_at(place, emotions, there)
    found = _take_archives(there, root, options)
    if emotions is not None and not there.own:
        _check_asked(emotions, there, found, places)
    own = _take_own(there, root, options, earlier)
    if not found and not own:
        raise FaceemoError(_why_nothing(places, there))
    _check_options(found, own, options, emotions)
    for key in own.keys() & found.keys():
        one, other = found[key].source.path, own[key].source.path
        raise FaceemoError(f"{one} and {other} would both be {key}; rename one of them")
    _check_apart(own)
    every = {**found, **own}
    below = [what for one in every.values() for what in one.passed_over]
    return Scan(every, sorted({*there.faults, *there.passed_over, *below}))


def _why_nothing(places: list[Path], there: _Places) -> str:
    """Why nothing was found, and what to do."""
    if there.faults:
        (path, reason), *others = there.faults
        return f"{path}: {reason}" + (f"; {len(others)} more cannot be read" if others else "")
    where = ", ".join(map(str, places))
    if there.unread:
        counts = ", ".join(f"{count} {suffix}" for suffix, count in there.unread.most_common())
        return f"{where}: no pictures of a kind that is read, but {counts}; {SAVE_PICTURES}"
    cause = "".join(f"; {path}: {reason}" for path, reason in there.passed_over[:1])
    return (
        f"no pictures and no source archive like [원천]EMOIMG_중립_TRAIN_01.zip found below {where}{cause}; name a "
        "folder or ZIP archive of pictures in folders such as happy and sad, or a table (.csv, .tsv, .parquet)"
    )


def _look_at(place: Path, emotions: tuple[str, ...] | None, there: _Places) -> None:
    """Add what a place that was named is or holds."""
    if place.is_dir():
        _look_into(place, emotions, there)
    elif not place.is_file():
        raise FaceemoError(f"{place}: {_why_missing(place)}")
    elif place.suffix.lower() in TABLE_SUFFIXES:
        there.own[place.resolve()] = _Place(place)
    elif place.suffix.lower() in SPREADSHEET_SUFFIXES:
        raise FaceemoError(f"{place}: a spreadsheet; {SAVE_CSV} and name that")
    elif reason := _why_no_archive(place.name.lower()):
        raise FaceemoError(f"{place}: {reason}")
    elif place.suffix.lower() != ".zip":
        raise FaceemoError(f"{place}: neither a folder, a ZIP archive nor a table ({', '.join(TABLE_SUFFIXES)})")
    else:
        for one in _opened(place, place.parent, emotions, there):
            (there.of_set if one.name else there.own)[place.resolve()] = one


def _why_no_archive(name: str) -> str | None:
    """What a file that is named like an archive and cannot be read as one is, by its name in lower case."""
    if _PART.search(name):
        return "one part of an archive; join all its parts into one .zip"
    if name.endswith(UNREAD_ARCHIVES):
        return "an archive of a kind that is not read; unpack it, or pack it anew as .zip"
    is_whole = _BESIDE.search(name) or is_picture_name(name) or name.endswith((".zip", *TABLE_SUFFIXES))
    if _UNFINISHED.search(name) and not is_whole:
        return "looks like an unfinished download; wait for it, or download it again"
    return None


def _why_missing(place: Path) -> str:
    if long := too_long(place):
        return long
    return "no such folder, archive or table" if not os.path.lexists(place) else "neither a folder nor a regular file"


def _look_into(folder: Path, emotions: tuple[str, ...] | None, there: _Places) -> None:
    listing = files_below(folder)
    not_asked = len(there.not_asked)
    faults: list[tuple[Path, str]] = []
    tables: list[tuple[Path, str]] = []
    archives: list[_Place] = []
    with progress(len(listing.files), f"{folder}: looking", "files") as advance:
        for file in listing.files:
            path, name = Path(file.path), file.name.lower()
            if name.endswith(".zip"):
                try:
                    archives += [replace(one, is_named=False) for one in _opened(path, folder, emotions, there)]
                except FaceemoError as error:  # one damaged archive is no reason to stop at the others
                    faults.append((path, str(error).removeprefix(f"{path}: ")))
            elif reason := _why_no_archive(name):
                faults.append((path, reason))
            elif name.endswith(TABLE_SUFFIXES):
                tables.append((path, "a table in a folder; name it itself to scan it"))
            advance(1)
    there.faults += faults
    pictures = sum(is_picture_name(file.name) for file in listing.files)
    holds_set = len(there.not_asked) > not_asked or any(one.name and not one.name.is_labels for one in archives)
    if pictures and not holds_set:
        among = [(one.path, f"an archive among pictures; {_remedy(one)}") for one in archives]
        passed_over = [*listing.passed_over, *faults, *tables, *among]
        there.own[folder.resolve()] = _Place(folder, listing._replace(passed_over=passed_over))
        return
    there.passed_over += [*tables, *listing.passed_over]
    there.unread += Counter(suffix for file in listing.files if (suffix := suffix_of(file.name)) in UNREAD_PICTURES)
    if pictures:
        what = "1 picture" if pictures == 1 else f"{pictures} pictures"
        there.passed_over.append((folder, f"{what} beside archives of the set; name their folder itself"))
    for one in archives:
        if one.name:
            there.of_set[one.path.resolve()] = one
        elif holds_set:
            cause = f": {one.not_of_set}" if one.not_of_set else ""
            there.passed_over.append((one.path, f"no archive of the set{cause}; {_remedy(one)}"))
        else:
            there.own[one.path.resolve()] = one


def _remedy(one: _Place) -> str:
    return "unpack it to use its labels" if one.name and one.name.is_labels else "name it itself to scan it"


def _opened(path: Path, top: Path, emotions: tuple[str, ...] | None, there: _Places) -> list[_Place]:
    """An archive, as one of the set or as a tree of one's own; none if its emotion is not asked for.

    A name of the set is not enough: the pictures must be the set's too (see why_not_of_set), or label files lie there
    instead of pictures. Raises FaceemoError if the archive or none of its pictures can be read, if it holds nothing of
    use, and if its pictures are the set's of another emotion than its name says.
    """
    name = read_archive_name(path, top)
    if name and emotions is not None and name.emotion not in emotions:
        there.not_asked.append(name)
        there.passed_over.append((path, f"{name.emotion}, not asked for"))
        return []
    listing = members_below(path)
    pictures = [file for file in listing.files if is_picture_name(file.name)]
    if name and (name.is_labels or not pictures) and holds_labels(path):
        return [_Place(path, listing, replace(name, is_labels=True))]
    if pictures:
        check_readable(path, pictures)
        reason = why_not_of_set(pictures, name) if name else None
        if reason or not (name and name.is_labels):
            return [_Place(path, listing, None if reason else name, reason)]
    what = "label files" if name and name.is_labels else "pictures"
    raise FaceemoError(f"{path}: no {what} in it{what_else(listing)}")


def _take_archives(there: _Places, root: Path, options: ScanOptions) -> dict[str, Found]:
    """The sources among archives of the set, with the labels that lie among these."""
    options = replace(options, subject=None, rename=options.rename if options.to_judge else None)  # names say it all
    archives = [(one.name, one.listing) for one in there.of_set.values() if one.name and one.listing]
    labels = [(name, digest_of(listing.files)) for name, listing in archives if name.is_labels]
    found: dict[str, Found] = {}
    paths: dict[str, Path] = {}  # by id and by digest
    ordered = sorted(archives, key=lambda one: (one[0].id, str(one[0].path)))
    sources = [one for one in ordered if not one[0].is_labels]
    with progress(len(sources), "names of pictures", "archives") as advance:
        for name, listing in sources:
            one = scan_tree(name.id, name.path, listing, name, name.folder, options, root)
            for key, what in ((name.id, f"would both be {name.id}"), (one.source.digest, "hold the same pictures")):
                if key in paths:
                    raise FaceemoError(f"{paths[key]} and {name.path} {what}; scan only one of them")
                paths[key] = name.path
            found[name.id] = replace(one, source=replace(one.source, labels=_labels_of(name, labels, root)))
            advance(1)
    used = {one.source.labels.zip for one in found.values() if one.source.labels}
    unused = (name.path for name, _ in labels if written_path(name.path, root) not in used)
    there.passed_over += [(path, "labels without a source archive") for path in unused]
    return found


def _labels_of(source: ArchiveName, labels: list[tuple[ArchiveName, str]], root: Path) -> LabelFiles | None:
    """Of label archives and their digests that of the same emotion and set; one archive of labels serves all parts."""
    found: dict[str, Path] = {}
    for name, digest in labels:
        if (name.emotion, name.set) == (source.emotion, source.set):
            found.setdefault(digest, name.path)
    if len(found) > 1:
        raise FaceemoError(f"{' and '.join(map(str, found.values()))} both hold labels of {source.id}; scan only one")
    return next((LabelFiles(written_path(path, root), digest) for digest, path in found.items()), None)


def _check_asked(emotions: tuple[str, ...], there: _Places, found: Mapping[str, Found], places: list[Path]) -> None:
    """Raises FaceemoError if one of the emotions asked for has no archive, not even one that is not whole yet."""
    held = {one.source.emotion for one in found.values()}
    begun = {_emotion_of(path) for path, _ in there.faults}
    for emotion in emotions:
        if emotion not in held | begun:
            others = {name.emotion for name in there.not_asked if not name.is_labels}
            known = ", ".join(sorted(others.union(filter(None, held)))) or "nothing"
            called = (f"; {path}: {reason}" for path, reason in there.passed_over if _emotion_of(path) == emotion)
            raise FaceemoError(
                f"--emotions: no archive of {emotion} ({KOREAN[emotion]}) with pictures below "
                f"{', '.join(map(str, places))}; there are archives of {known}; name its folder too, or leave it out"
                f"{next(called, '')}"
            )


def _emotion_of(path: Path) -> str | None:
    return archive_emotion(unicodedata.normalize("NFC", path.name))


def _take_own(there: _Places, root: Path, options: ScanOptions, earlier: Mapping[str, Source]) -> dict[str, Found]:
    """The sources among trees and tables of one's own."""
    found: dict[str, Found] = {}
    for one in sorted(there.own.values(), key=lambda one: one.path):
        place = one.path
        try:
            str(place.resolve()).encode()
        except UnicodeEncodeError:
            raise FaceemoError(f"{place}: its name is not UTF-8; rename it") from None
        kind = "table" if one.listing is None else "folder" if place.is_dir() else "zip"
        key = own_id(place, kind, found)
        if key in found:
            raise FaceemoError(f"{found[key].source.path} and {place} would both be {key}; rename one of them")
        kept = options.as_before(_before(key, written_path(place, root), earlier))
        if one.listing is None:
            found[key] = scan_table(key, place, folder_in_name(place), kept, root)
        else:
            try:
                tree = scan_tree(key, place, one.listing, None, folder_in_name(place), kept, root)
            except NoClassesError as error:
                if one.is_named:
                    raise
                there.faults.append((place, str(error).removeprefix(f"{place}: ")))
                continue
            found[key] = replace(tree, not_of_set=one.not_of_set)
    return found


def _before(key: str, path: str, earlier: Mapping[str, Source]) -> Source | None:
    """What the last scan had of this place, or under its id where that is gone: it was moved here."""
    same = [source for source in earlier.values() if not source.is_of_set and source.path == path]
    moved = [source for name, source in earlier.items() if name == key and not locate(source.path).exists()]
    return next(iter(same + moved), None)


def _check_options(
    archives: dict[str, Found], own: dict[str, Found], options: ScanOptions, emotions: tuple[str, ...] | None
) -> None:
    """Raises FaceemoError if options are not for what was found."""
    words = sorted({word for one in own.values() for word in one.words})
    if options.to_judge:  # a model may have other words than the set
        words += sorted({word for one in archives.values() for word in one.words} - set(words))
    for name, is_lost in (("--subject", options.subject and not own), ("--rename", options.rename and not words)):
        if is_lost:
            raise FaceemoError(f"{name} is for folders, ZIP archives and tables of your own; none was found")
    unknown = [word for word in options.rename or () if word not in words]
    if unknown:
        raise FaceemoError(f"--rename: no class is called {unknown[0]!r}; the words are {', '.join(words)}")
    if own and emotions is not None:
        called = next((one for one in own.values() if one.not_of_set), None)
        cause = f", and {called.source.path} is none: {called.not_of_set}" if called else ""
        raise FaceemoError(
            f"--emotions is for archives of the set only{cause}; for your own pictures set 'emotions' in params.yaml"
        )


def _check_apart(own: dict[str, Found]) -> None:
    """Raises FaceemoError if two sources of one's own have the same pictures."""
    if len(own) < 2:
        return
    digests: dict[str, str] = {}
    owners: dict[tuple[str, int | None], str] = {}
    for one in own.values():
        path = one.source.path
        looked_at = any(picture.crc is not None for picture in one.pictures)  # names alone make nothing the same
        other = digests.setdefault(one.source.digest, path) if looked_at else path
        for place in _places_of(one.pictures):
            other = owners.setdefault(place, path) if other == path else other
        if other != path:
            raise FaceemoError(f"{other} and {path} hold the same pictures; scan only one of them")


def _places_of(pictures: list[Picture]) -> Iterator[tuple[str, int | None]]:
    return ((os.path.realpath(one.path), one.index) for one in pictures if one.error is None)
