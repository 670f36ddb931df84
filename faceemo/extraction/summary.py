"""What `faceemo scan` says of what it found, in lines for a terminal."""

from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import PurePosixPath

from faceemo.console import printable
from faceemo.extraction.archive_names import part_of
from faceemo.extraction.own import OwnOptions, OwnScan
from faceemo.extraction.retry import Unread
from faceemo.extraction.scan import Scan
from faceemo.extraction.sources import Source, holds_sample
from faceemo.paths import SOURCES_FILE


def scan_lines(
    result: Scan,
    unread: Mapping[str, Unread],
    kept: Mapping[str, int],
    options: OwnOptions,
    earlier: Mapping[str, Source],
) -> Iterator[str]:
    """A table of the sources, people, what is missing or passed over, and what the last scan had and this one has not.

    unread: by id, what could not be read when it was extracted. kept: by id, rows of landmarks that hold where others
    do not. options: those asked for. earlier: the sources of the last scan.
    """
    yield from _table(result)
    yield from _people(result)
    for path, reason in result.passed_over:
        yield f"passed over: {printable(path)} ({reason})"
    for key, found in unread.items():
        if found.again or key not in result.own:  # what cannot be read of one's own is told below
            yield f"{key}: {_told_unread(found)}"
    for key, rows in kept.items():
        if rows:
            yield f"{key}: the landmarks of {_pictures(rows)} stay; dvc repro reads only others"
    for key, one in result.own.items():
        yield from _own_lines(key, one, options)
    dropped = [key for key in earlier if key not in result.sources]
    if dropped:
        places = sorted({_place(earlier[key]) for key in dropped})
        yield (
            f"no longer in {SOURCES_FILE.as_posix()}: {', '.join(dropped)}; to keep them, name their places too: "
            f"{', '.join(map(printable, places))}"
        )


def _place(source: Source) -> str:
    """What a scan is told to find a source: the folder of an archive of the set, else the source itself."""
    return source.path if source.emotion is None else PurePosixPath(source.path).parent.as_posix()


def _table(result: Scan) -> Iterator[str]:
    width = max(map(len, result.sources))
    yield f"{'id':{width}}  pictures  other files        MB  labels  place"
    for key, source in result.sources.items():
        megabytes = result.sizes[key] / 1e6
        labels = "yes" if source.labels else "no"
        counts = f"{source.images:8}  {result.others[key]:11}  {megabytes:8.1f}"
        yield f"{key:{width}}  {counts}  {labels:6}  {printable(source.path)}"
    pictures, others = sum(source.images for source in result.sources.values()), sum(result.others.values())
    yield f"{'together':{width}}  {pictures:8}  {others:11}  {sum(result.sizes.values()) / 1e6:8.1f}"


def _people(result: Scan) -> Iterator[str]:
    """People in archives of the set; those of Validation, and of other parts, as far as they are known."""
    training, validation = (result.subjects.get(folder, set()) for folder in ("training", "validation"))
    if result.subjects:
        nobody = f", {result.nobodys} pictures whose names do not say who it is" if result.nobodys else ""
        yield f"{len(training | validation)} people in the names of the pictures{nobody}"
    if training & validation:
        yield (
            f"{len(training & validation)} of {len(validation)} people of Validation are in Training too; 'split.by: "
            "person' keeps people apart, 'split.by: folder' counts them in subjects.overlap"
        )
    alone = _emotions_of_one_part(result.sources)
    if alone and not holds_sample(result.sources):
        yield (
            f"one part only of {', '.join(alone)}: the parts _01 to _04 of an emotion hold different people, so one "
            "has about a quarter of the 1,100"
        )


def _emotions_of_one_part(sources: Mapping[str, Source]) -> list[str]:
    training = [source for source in sources.values() if source.emotion is not None and source.folder == "training"]
    grouped = {
        emotion: list(group) for emotion, group in groupby(training, key=lambda source: source.emotion)
    }  # in the order of their ids, which begin with the emotion
    return [emotion for emotion, (one, *others) in grouped.items() if not others and part_of(one.path) is not None]


def _own_lines(key: str, one: OwnScan, options: OwnOptions) -> Iterator[str]:
    yield f"{key}: " + ", ".join(f"{count} {name}" for name, count in sorted(one.classes.items()))
    if options.subject is None and one.source.subject:
        yield f"{key}: --subject {one.source.subject!r} as in the last scan; --subject= forgets it"
    if options.rename is None and one.source.rename:
        renamed = ",".join(f"{word}={name}" for word, name in one.source.rename.items())
        yield f"{key}: --rename {renamed} as in the last scan; --rename= forgets it"
    if one.people is None:
        yield f"{key}: every picture counts as a person of its own"
    elif one.people:
        yield f"{key}: {one.people} people" + (f", {_pictures(one.nobodys)} of unknown people" if one.nobodys else "")
    if one.loose:
        yield f"{key}: {_pictures(one.loose)} passed over: no folder names a class"
    if one.unread:
        first = one.unread[0]
        count = _pictures(len(one.unread))
        yield f"{key}: {count} cannot be read, the first is {printable(first.name)} ({first.error})"


def _told_unread(found: Unread) -> str:
    told = f"{_pictures(found.pictures)} could not be read when it was extracted"
    if not found.again:
        return f"{told}, and still cannot be read; if the archive is damaged, download it again and scan again"
    return f"{told}; some can now, so dvc repro extracts {found.again} of {found.again + found.kept} shards again"


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"
