"""What `faceemo scan` says of what it found, in lines for a terminal."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from faceemo.console import printable
from faceemo.paths import SOURCES_FILE
from faceemo.pictures.archive_names import part_of
from faceemo.pictures.copies import find_copies
from faceemo.pictures.scan import Scan
from faceemo.pictures.scan_source import SAVE_PICTURES, UNREAD_PICTURES, Found, ScanOptions, names_in_doubt
from faceemo.pictures.sources import Source, holds_sample, locate

MANY = 3  # places passed over for one reason of which each is named
SUFFIXES = 8  # of other files, the most frequent, that are named


def scan_lines(result: Scan, options: ScanOptions, earlier: Mapping[str, Source]) -> Iterator[str]:
    """A table of the sources, people, what is missing or passed over, and what the last scan had and this one has not.

    options: those asked for. earlier: the sources of the last scan.
    """
    yield from _table(result)
    yield from _people_of_set(result)
    yield from _passed_over(result)
    for key, one in result.found.items():
        yield from _lines_of(key, one, options)
        yield from _left_out(key, one)
    yield from _copies(result)
    yield from _dropped(result, earlier)


def left_out_lines(result: Scan) -> Iterator[str]:
    """What was passed over, cannot be read or is not what its name says."""
    yield from _passed_over(result)
    for key, one in result.found.items():
        yield from _left_out(key, one)


def _dropped(result: Scan, earlier: Mapping[str, Source]) -> Iterator[str]:
    """Sources of the last scan that are not among those of this one."""
    gone = f"no longer in {SOURCES_FILE.as_posix()}"
    passed_over = {os.path.realpath(path) for path, _ in result.passed_over}  # Path.resolve raises for a link to itself
    there = {source.path for source in result.sources.values()}  # under another id it is no loss
    keys = [key for key, source in earlier.items() if key not in result.found and source.path not in there]
    unread = [key for key in keys if os.path.realpath(locate(earlier[key].path)) in passed_over]
    elsewhere = [key for key in keys if key not in unread]
    if unread:
        yield f"{gone}: {', '.join(unread)}, which {'was' if len(unread) == 1 else 'were'} passed over"
    if elsewhere:
        places = map(printable, sorted({_place(earlier[key]) for key in elsewhere}))
        yield f"{gone}: {', '.join(elsewhere)}; to keep them, name their places too: {', '.join(places)}"


def _place(source: Source) -> str:
    """What a scan is told to find a source: the folder of an archive of the set, else the source itself."""
    return PurePosixPath(source.path).parent.as_posix() if source.is_of_set else source.path


def _table(result: Scan) -> Iterator[str]:
    width = max(map(len, (*result.found, "together")))
    yield f"{'id':{width}}  pictures  other files        MB  labels  place"
    for key, one in result.found.items():
        labels = "yes" if one.source.labels else "no"
        counts = f"{one.source.images:8}  {one.others.total():11}  {one.size / 1e6:8.1f}"
        yield f"{key:{width}}  {counts}  {labels:6}  {printable(one.source.path)}"
    every = result.found.values()
    pictures, others = sum(one.source.images for one in every), sum(one.others.total() for one in every)
    yield f"{'together':{width}}  {pictures:8}  {others:11}  {sum(one.size for one in every) / 1e6:8.1f}"


def _people_of_set(result: Scan) -> Iterator[str]:
    """People in archives of the set; those of Validation, and of other parts, as far as they are known."""
    of_set = [one for one in result.found.values() if one.source.is_of_set]
    if not of_set:
        return
    training, validation = (
        set().union(*(one.people for one in of_set if one.source.folder == folder))
        for folder in ("training", "validation")
    )
    unknown = sum(one.without_person for one in of_set)
    rest = f", {unknown} pictures whose names do not say who it is" if unknown else ""
    yield f"{len(training | validation)} people in the names of the pictures{rest}"
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
    """Emotions of which a single numbered part of Training was found."""
    training = [source for source in sources.values() if source.is_of_set and source.folder == "training"]
    counts = Counter(source.emotion for source in training)
    return [
        source.emotion
        for source in training
        if source.emotion and counts[source.emotion] == 1 and part_of(source.path) is not None
    ]


def _passed_over(result: Scan) -> Iterator[str]:
    """Each place, or of many with one reason the first."""
    places: dict[str, list[Path]] = {}
    for path, reason in result.passed_over:
        places.setdefault(reason, []).append(path)
    for reason, paths in places.items():
        if len(paths) > MANY:
            yield f"passed over: {len(paths)} places, the first is {printable(paths[0])} ({reason})"
        else:
            yield from (f"passed over: {printable(path)} ({reason})" for path in paths)


def _copies(result: Scan) -> Iterator[str]:
    for column, what, remedy in (
        ("emotion", "in another class", "keep the one that is right"),
        ("subject", "under another person", "give it one person, or keep one of them"),
    ):
        if copies := find_copies(result.found, column):
            yield printable(
                f"{copies.count} pictures have the same bytes as one {what}, such as {copies.first} and "
                f"{copies.second}: a model would learn and be judged on both; {remedy}"
            )


def _lines_of(key: str, one: Found, options: ScanOptions) -> Iterator[str]:
    if not one.source.is_of_set:
        yield f"{key}: " + ", ".join(f"{count} {name}" for name, count in sorted(one.classes.items()))
        yield from _people_of_own(key, one, options)
    if one.source.voted:
        yield f"{key}: votes for {', '.join(one.source.voted)}"


def _left_out(key: str, one: Found) -> Iterator[str]:
    if one.not_of_set:
        yield f"{key}: taken for pictures of your own, not for an archive of the AI-Hub set: {one.not_of_set}"
    if one.without_class:
        yield f"{key}: {_pictures(one.without_class)} passed over: no folder names a class"
    if one.others:
        yield f"{key}: not read: {_by_suffix(one.others)}"
    if one.lost:
        yield f"{key}: no picture of {', '.join(map(printable, one.lost))} is of a kind that is read"
    if one.unsure_names:
        yield f"{key}: {printable(names_in_doubt(one.unsure_names))}"
    if one.unread:
        first = one.unread[0]
        count = _pictures(len(one.unread))
        yield f"{key}: {count} cannot be read, the first is {printable(first.name)} ({first.error})"


def _by_suffix(others: Counter[str]) -> str:
    said = [f"{count} {printable(suffix) or 'without a suffix'}" for suffix, count in others.most_common(SUFFIXES)]
    rest = others.total() - sum(count for _, count in others.most_common(SUFFIXES))
    said += [f"{rest} others"] if rest else []
    return ", ".join(said) + (f"; {SAVE_PICTURES}" if UNREAD_PICTURES & others.keys() else "")


def _people_of_own(key: str, one: Found, options: ScanOptions) -> Iterator[str]:
    if options.subject is None and one.source.subject:
        yield f"{key}: --subject {one.source.subject!r} as in the last scan; --subject= forgets it"
    if options.rename is None and one.source.rename:
        renamed = ",".join(f"{word}={name}" for word, name in one.source.rename.items())
        yield f"{key}: --rename {renamed} as in the last scan; --rename= forgets it"
    if one.is_each:
        yield f"{key}: every picture counts as a person of its own"
    elif one.people:
        unknown = f", {_pictures(one.without_person)} of unknown people" if one.without_person else ""
        yield f"{key}: {len(one.people)} people{unknown}"


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"
