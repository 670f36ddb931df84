"""Find what the pipeline can work on: archives of the AI-Hub set, and trees and tables of one's own."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from faceemo.emotions import KOREAN
from faceemo.errors import FaceemoError
from faceemo.extraction.archive import Archive, parse_picture_name
from faceemo.extraction.archive_names import ArchiveName, folder_in_name, read_archive_name
from faceemo.extraction.own import OwnOptions, OwnScan, own_id, scan_table, scan_tree
from faceemo.extraction.sources import Labels, Source, locate, written_path
from faceemo.extraction.tables import TABLE_SUFFIXES
from faceemo.extraction.trees import files_below, is_picture_name


@dataclass(frozen=True)
class Scan:
    """What a scan found: by id the sources, bytes and files that are no pictures; by folder the subjects in the names
    of archives' pictures, and how many of these have none; what was passed over, and why; more about sources of one's
    own.
    """

    sources: dict[str, Source]
    sizes: dict[str, int]
    others: dict[str, int]
    subjects: dict[str, set[str]]
    nobodys: int
    passed_over: list[tuple[Path, str]]
    own: dict[str, OwnScan] = field(default_factory=dict)


def scan(
    places: list[Path],
    emotions: tuple[str, ...] | None = None,
    root: Path = Path(),
    options: OwnOptions = OwnOptions(),  # noqa: B008 - it is frozen
    earlier: Mapping[str, Source] = MappingProxyType({}),
) -> Scan:
    """Find what the pipeline can work on in folders, archives and tables.

    A folder with archives of the set stands for these. Any other is a tree of pictures, as a ZIP archive is that is not
    of the set. Of archives central directories alone are read, and only those of `emotions` are taken. earlier: the
    sources of the last scan, whose options stay for the same places and for those moved. Raises FaceemoError if a
    place is missing or cannot be read, nothing is found, one of `emotions` has no archive, a class to learn is alone,
    or two sources have the same id or the same pictures.
    """
    archives: list[ArchiveName] = []
    passed_over: list[tuple[Path, str]] = []
    own: dict[str, OwnScan] = {}
    of_set = {place for place in places if _holds_set(place)}
    for path, top in _zip_files(places):
        name = read_archive_name(path, top)
        if name is not None:
            archives.append(name)
        elif path not in places and top in of_set:
            passed_over.append((path, "no emotion of the set in its name"))
    for place in _own_places(places, of_set):
        _add_own(own, place, root, options, earlier)
    found = _take_archives(archives, emotions, root)
    if archives and not own:
        _check_asked(emotions, archives, found, places)
    sources = {**found.sources, **{key: one.source for key, one in own.items()}}
    if not sources:
        where = ", ".join(map(str, places))
        raise FaceemoError(
            f"no pictures and no source archive like [원천]EMOIMG_중립_TRAIN_01.zip found below {where}; name a "
            "folder or ZIP archive of pictures in folders such as happy and sad, or a table (.csv, .tsv, .parquet)"
        )
    _check_own(found.sources, own, options, emotions)
    return Scan(
        sources,
        {**found.sizes, **{key: one.size for key, one in own.items()}},
        {**found.others, **{key: one.others for key, one in own.items()}},
        found.subjects,
        found.nobodys,
        sorted([*passed_over, *found.passed_over, *(what for one in own.values() for what in one.passed_over)]),
        own,
    )


def _take_archives(names: list[ArchiveName], emotions: tuple[str, ...] | None, root: Path) -> Scan:
    """The sources among archives of the set, with the labels that lie among these."""
    wanted = [name for name in names if emotions is None or name.emotion in emotions]
    passed_over = [(name.path, f"{name.emotion}, not asked for") for name in names if name not in wanted]
    labels = [name for name in wanted if name.is_labels]
    sources: dict[str, Source] = {}
    sizes: dict[str, int] = {}
    others: dict[str, int] = {}
    subjects: dict[str, set[str]] = {}
    nobodys = 0
    found: dict[str, Path] = {}  # by id and by digest
    for name in sorted(wanted, key=lambda name: (name.id, str(name.path))):
        if name.is_labels:
            continue
        with Archive(name.path) as archive:
            images, digest, other = len(archive.pictures), archive.digest(), archive.others
            people = [parse_picture_name(member.name).subject for member in archive.pictures]
        if not images:
            passed_over.append((name.path, "holds no pictures"))
            continue
        for key, what in ((name.id, f"would both be {name.id}"), (digest, "hold the same pictures")):
            if key in found:
                raise FaceemoError(f"{found[key]} and {name.path} {what}; scan only one of them")
            found[key] = name.path
        sources[name.id] = Source(
            written_path(name.path, root), name.emotion, name.folder, images, digest, _labels_of(name, labels, root)
        )
        sizes[name.id], others[name.id] = name.path.stat().st_size, other
        subjects.setdefault(name.folder, set()).update(filter(None, people))
        nobodys += people.count(None)
    used = {source.labels.zip for source in sources.values() if source.labels}
    passed_over += [
        (name.path, "labels without a source archive") for name in labels if written_path(name.path, root) not in used
    ]
    return Scan(sources, sizes, others, subjects, nobodys, passed_over)


def _check_asked(
    emotions: tuple[str, ...] | None, archives: list[ArchiveName], found: Scan, places: list[Path]
) -> None:
    """Raises FaceemoError if one of the emotions asked for has no archive with pictures."""
    held = {source.emotion for source in found.sources.values()}
    for emotion in emotions or ():
        if emotion not in held:
            there = sorted({name.emotion for name in archives if not name.is_labels})
            raise FaceemoError(
                f"--emotions: no archive of {emotion} ({KOREAN[emotion]}) with pictures below "
                f"{', '.join(map(str, places))}; there are archives of {', '.join(there) or 'nothing'}; name its "
                "folder too, or leave it out"
            )


def _own_places(places: list[Path], of_set: set[Path]) -> list[Path]:
    """The trees, ZIP archives and tables of one's own among the places, each once; of_set: places that hold the set."""
    found: dict[Path, Path] = {}
    for place in places:
        if place.is_dir() and place not in of_set:
            files, _ = files_below(place)
            archives = [Path(file.path) for file in files if file.name.lower().endswith(".zip")]
            own_archives = [path for path in archives if read_archive_name(path, place) is None]
            taken = [place] if any(is_picture_name(file.name) for file in files) else own_archives
        elif place.is_file() and read_archive_name(place, place.parent) is None:
            taken = [place]
        else:
            taken = []
        found.update({path.resolve(): path for path in taken})
    return sorted(found.values())


def _holds_set(folder: Path) -> bool:
    """Whether archives of pictures of the set lie below a folder."""
    names = (read_archive_name(path, top) for path, top in _zip_files([folder]))
    return any(name is not None and not name.is_labels for name in names)


def _add_own(
    own: dict[str, OwnScan], place: Path, root: Path, options: OwnOptions, earlier: Mapping[str, Source]
) -> None:
    try:
        str(place.resolve()).encode()
    except UnicodeEncodeError:
        raise FaceemoError(f"{place}: its name is not UTF-8; rename it") from None
    suffix = place.suffix.lower()
    if not place.is_dir() and suffix not in (".zip", *TABLE_SUFFIXES):
        raise FaceemoError(f"{place}: neither a folder, a ZIP archive nor a table ({', '.join(TABLE_SUFFIXES)})")
    kind = "folder" if place.is_dir() else "zip" if suffix == ".zip" else "table"
    key = own_id(place, kind, own)
    if key in own:
        raise FaceemoError(f"{own[key].source.path} and {place} would both be {key}; rename one of them")
    scan_one = scan_table if kind == "table" else scan_tree
    options = options.as_before(_before(key, written_path(place, root), earlier))
    own[key] = scan_one(key, place, folder_in_name(place), options, root)


def _before(key: str, path: str, earlier: Mapping[str, Source]) -> Source | None:
    """What the last scan had of this place, or under its id where that is gone: it was moved here."""
    same = [source for source in earlier.values() if source.emotion is None and source.path == path]
    moved = [source for name, source in earlier.items() if name == key and not locate(source.path).exists()]
    return next(iter(same + moved), None)


def _check_own(
    archives: dict[str, Source], own: dict[str, OwnScan], options: OwnOptions, emotions: tuple[str, ...] | None
) -> None:
    """Raises FaceemoError if options are not for what was found, or sources of one's own cannot be trained on."""
    words = sorted({word for one in own.values() for word in one.words})
    if options.to_judge:  # a model may have other words than the set
        words += sorted({source.emotion for source in archives.values() if source.emotion} - set(words))
    for name, is_lost in (("--subject", options.subject and not own), ("--rename", options.rename and not words)):
        if is_lost:
            raise FaceemoError(f"{name} is for folders, ZIP archives and tables of your own; none was found")
    unknown = [word for word in options.rename or () if word not in words]
    if unknown:
        raise FaceemoError(f"--rename: no class is called {unknown[0]!r}; the words are {', '.join(words)}")
    if not own:
        return
    if emotions is not None:
        raise FaceemoError(
            "--emotions is for archives of the set only; for your own pictures set 'emotions' in params.yaml"
        )
    _check_apart(archives, own)
    if options.to_judge:
        return
    classes = {name for one in own.values() for name in one.source.classes}
    classes |= {source.emotion for source in archives.values() if source.emotion}
    if len(classes) < 2:
        where = ", ".join(one.source.path for one in own.values())
        raise FaceemoError(f"{where}: only one class, {classes.pop()}; a model needs at least two to tell apart")


def _check_apart(archives: dict[str, Source], own: dict[str, OwnScan]) -> None:
    """Raises FaceemoError if two sources have the same id or pictures."""
    for key in own.keys() & archives.keys():
        raise FaceemoError(f"{archives[key].path} and {own[key].source.path} would both be {key}; rename one of them")
    if len(own) == 1:
        return
    digests: dict[str, str] = {}
    owners: dict[tuple[str, int | None], str] = {}
    for one in own.values():
        path = one.source.path
        looked_at = any(picture.crc is not None for picture in one.pictures)  # names alone make nothing the same
        other = digests.setdefault(one.source.digest, path) if looked_at else path
        for picture in one.pictures:
            place = (os.path.realpath(picture.path), picture.index)
            if other == path and picture.error is None:
                other = owners.setdefault(place, path)
        if other != path:
            raise FaceemoError(f"{other} and {path} hold the same pictures; scan only one of them")


def _zip_files(places: list[Path]) -> list[tuple[Path, Path]]:
    """Archives, and the folder asked for that each was found below."""
    found: dict[Path, tuple[Path, Path]] = {}  # by resolved path: folders may overlap
    for folder in places:
        if folder.is_dir():
            for parent, _, files in os.walk(folder):
                paths = (Path(parent) / file for file in files if file.lower().endswith(".zip"))
                found.update({path.resolve(): (path, folder) for path in paths})
        elif folder.is_file():
            found[folder.resolve()] = (folder, folder.parent)
        else:
            raise FaceemoError(f"{folder}: no such folder, archive or table")
    return sorted(found.values())


def _labels_of(source: ArchiveName, labels: list[ArchiveName], root: Path) -> Labels | None:
    """The label archive of the same emotion and set; one archive of labels serves all parts."""
    matching = [name for name in labels if (name.emotion, name.set) == (source.emotion, source.set)]
    found: dict[str, Path] = {}
    for name in matching:
        with Archive(name.path) as archive:
            found.setdefault(archive.digest(), name.path)
    if len(found) > 1:
        raise FaceemoError(f"{' and '.join(map(str, found.values()))} both hold labels of {source.id}; scan only one")
    return next((Labels(written_path(path, root), digest) for digest, path in found.items()), None)
