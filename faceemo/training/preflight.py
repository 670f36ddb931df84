"""Whether a run can end in a model, checked before the work by params.yaml, sources.yaml and names of pictures."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from faceemo.emotions import NEUTRAL
from faceemo.errors import FaceemoError
from faceemo.extraction.archive import Archive, Named, first_by_hash, parse_picture_name
from faceemo.extraction.opening import check_people, pictures_at
from faceemo.extraction.schema import SCHEMA
from faceemo.extraction.sources import Source, check_emotions, held_emotions, locate
from faceemo.extraction.tables import read_table
from faceemo.features.annotations import describer, read_annotations
from faceemo.params import Params
from faceemo.paths import PARAMS_FILE
from faceemo.training.split import SPLITS, split_of_rows, too_few_people
from faceemo.training.targets import make_targets

NAMED = pa.schema([SCHEMA.field(name) for name in ("image", "emotion", "subject", "sex", "age")])


@dataclass
class _Found:
    """By split and class, what the pictures that were looked at hold: faces, and those that can have a baseline; by
    class its people.
    """

    faces: set[tuple[str, str]] = field(default_factory=set)
    judged: set[tuple[str, str]] = field(default_factory=set)
    people: dict[str, set[str]] = field(default_factory=dict)


def check_run(params: Params, sources: Mapping[str, Source]) -> None:
    """Raises FaceemoError for what would stop a later stage: a class that no source holds, a split without people of a
    class, no known people, no neutral faces for normalize.baseline.

    Every picture is taken for a face that shows what its archive, folder or table says, or its raters where that is
    not enough. So what is refused here would fail later; what passes may fail still. A source that is not there now,
    as on a drive that was taken away after extraction, counts as one that has everybody.
    """
    check_emotions(params.emotions, sources)
    held = held_emotions(sources)
    absent = [name for name, members in params.emotions.items() if not held.intersection(members)]
    asks_raters = params.labels.target != "archive" and any(one.labels or one.table for one in sources.values())
    if absent and not asks_raters:
        raise FaceemoError(_not_scanned(absent[0], held))
    if params.normalize.baseline == "neutral" and NEUTRAL not in held:
        raise FaceemoError(
            f"{PARAMS_FILE}: normalize.baseline is neutral, and no neutral pictures were scanned; scan the neutral "
            "archives too, whatever 'emotions' names, or set it to none"
        )
    pictures = _pictures_for_baselines(params, sources)
    found = _look(params, sources, pictures)
    missing = _missing(params, found)
    if missing and asks_raters:
        for key, source in sources.items():
            if source.labels or source.table:
                _add_rated(found, key, source, params, pictures)
        missing = _missing(params, found)
    if missing:
        split, name = missing[0]
        raise FaceemoError(_not_scanned(name, held) if name in absent else _cause(split, name, found, params, sources))


def next_line(params: Params, sources: Mapping[str, Source], asked: tuple[str, ...] | None) -> str:
    """What to do after a scan: the command that trains on what was found, or why nothing can be trained on yet.

    asked: the emotions that were scanned for; None: any.
    """
    held = held_emotions(sources)
    members = [member for entry in params.emotions.values() for member in entry]
    absent = [member for member in members if member not in held]
    told = f"no pictures of {', '.join(absent)} were found, which 'emotions' in {PARAMS_FILE} names; " if absent else ""
    if asked is not None and set(asked) != set(members):
        chosen = list(asked)
    elif absent:
        chosen = [member for member in members if member in held] + sorted(held.difference(members))
    else:
        chosen = []
    if len(chosen) == 1:
        return f"{told}only {chosen[0]} was found, and a model needs two classes to tell apart; scan others too"
    quoted = (name if name.isascii() else f"'{name}'" for name in chosen)  # as dvc's -S takes a list
    command = f'dvc exp run -S "emotions=[{",".join(quoted)}]"' if chosen else "dvc repro"
    entries = {name: (name,) for name in chosen} or params.emotions
    try:
        check_run(replace(params, emotions=entries), sources)
    except FaceemoError as error:
        return f"not ready for {command}: {error}"
    stays = f" (dvc repro alone still learns {', '.join(params.emotions)})" if chosen and not absent else ""
    return f"{told}next: {command}{stays}"


def _missing(params: Params, found: _Found) -> list[tuple[str, str]]:
    pairs = ((split, name) for split in SPLITS for name in params.emotions)
    return [pair for pair in pairs if pair not in found.judged]


def _look(params: Params, sources: Mapping[str, Source], pictures: Counter[str] | None) -> _Found:
    """What names and tables tell; archives of a class are opened until it has people in every split."""
    found = _Found()
    class_of = {member: name for name, members in params.emotions.items() for member in members}
    for key, source in sources.items():
        name = class_of.get(source.emotion or "")
        if source.emotion and (name is None or all((split, name) in found.judged for split in SPLITS)):
            continue
        rows = _named(key, source, params.limit)
        if rows is None:
            held = held_emotions({key: source}) & class_of.keys()
            everything = {(split, class_of[word]) for split in SPLITS for word in held}
            found.faces |= everything
            found.judged |= everything
            continue
        subjects, emotions = rows["subject"].to_pylist(), rows["emotion"].to_pylist()
        splits = split_of_rows(subjects, rows["folder"].to_pylist(), params.split)
        for subject, emotion, split in zip(subjects, emotions, splits, strict=True):
            if (name := class_of.get(emotion)) is None:
                continue
            found.faces.add((split, name))
            found.people.setdefault(name, set()).update({subject} - {None})
            if _has_baseline(subject, emotion, params, pictures):
                found.judged.add((split, name))
    return found


def _pictures_for_baselines(params: Params, sources: Mapping[str, Source]) -> Counter[str] | None:
    """How many pictures each person has for a baseline; None without a baseline, or where a source is not there."""
    baseline = params.normalize.baseline
    if baseline == "none":
        return None
    counts: Counter[str] = Counter()
    for key, source in sources.items():
        if baseline == "neutral" and source.emotion not in (NEUTRAL, None):
            continue
        rows = _named(key, source, params.limit)
        if rows is None:
            return None
        for subject, emotion in zip(rows["subject"].to_pylist(), rows["emotion"].to_pylist(), strict=True):
            counts[subject] += subject is not None and (baseline == "person" or emotion == NEUTRAL)
    return counts


def _has_baseline(subject: str | None, emotion: str | None, params: Params, pictures: Counter[str] | None) -> bool:
    own = params.normalize.baseline == "neutral" and emotion == NEUTRAL  # a face is no baseline of its own
    return pictures is None or pictures[subject or ""] - own >= params.normalize.least_pictures


def _add_rated(found: _Found, key: str, source: Source, params: Params, pictures: Counter[str] | None) -> None:
    """Add what raters saw in a source's pictures."""
    rows = _named(key, source, params.limit)
    if rows is None:
        everything = {(split, name) for split in SPLITS for name in params.emotions}
        found.faces |= everything
        found.judged |= everything
        return
    annotations = read_annotations(key, source)
    if not annotations.raters.classes:
        return
    labels = annotations.find(rows["image"].to_pylist())
    votes = pa.chunked_array([pa.array([label and label.votes for label in labels], pa.list_(pa.int8()))])
    emotions, subjects = rows["emotion"].to_pylist(), rows["subject"].to_pylist()
    targets = make_targets(emotions, votes, annotations.raters, params.emotions, params.labels)
    splits = split_of_rows(subjects, rows["folder"].to_pylist(), params.split)
    based = np.array([_has_baseline(*one, params, pictures) for one in zip(subjects, emotions, strict=True)], bool)
    names = list(params.emotions)
    for split in SPLITS:
        seen = targets.valid if split == "valid" else targets.learnt
        taken = (splits == split) & (targets.trained if split == "train" else True)
        found.faces |= {(split, names[number]) for number in np.unique(seen[taken & (seen >= 0)])}
        found.judged |= {(split, names[number]) for number in np.unique(seen[taken & based & (seen >= 0)])}


def _named(key: str, source: Source, limit: int | None) -> pa.Table | None:
    """The rows that extraction will write, as far as names and tables tell them; None if the source is not there."""
    path = locate(source.path)
    if not path.exists():
        return None
    if source.emotion is not None:
        try:
            with Archive(path) as archive:
                pictures: Sequence[Named] = archive.pictures
        except FaceemoError:  # the stage that reads it says so
            return None
    else:
        pictures = list(pictures_at(path, source.level, read_table(path) if source.table else None))
        check_people(key, source, (picture.name for picture in pictures))
    names = [pictures[index].name for index in first_by_hash(pictures, limit)]
    subjects = [parse_picture_name(name).subject for name in names]
    columns = {"image": names, "emotion": [source.emotion] * len(names), "subject": subjects}
    rows = pa.table({**dict.fromkeys(NAMED.names, [None] * len(names)), **columns}, schema=NAMED)
    return describer(key, source)(rows)


def _not_scanned(name: str, held: set[str]) -> str:
    return (
        f"{PARAMS_FILE}: emotions: no scanned source has {name!r}; there are {', '.join(sorted(held))}; run "
        "'faceemo scan' on its pictures too, or take it out"
    )


def _cause(split: str, name: str, found: _Found, params: Params, sources: Mapping[str, Source]) -> str:
    folders = {source.folder for source in sources.values() if source.emotion is not None}
    if (split, name) in found.faces:
        kind, least = params.normalize.baseline, params.normalize.least_pictures
        needed = (
            f"{least} neutral pictures of a person beside the one judged"
            if kind == "neutral"
            else f"{least} pictures of a person"
        )
        return (
            f"nobody with {name} in the {split} split can have a baseline (normalize.baseline: {kind}, which needs "
            f"{needed}); scan more archives of the same people, raise 'limit', or set normalize.baseline to none"
        )
    if split == "test" and params.split.by == "folder" and folders == {"training"}:
        return (
            "split.by is folder, so that people of the set's Validation folder are the test split, and nothing of it "
            "was scanned; scan it too, or set split.by to person"
        )
    return too_few_people(split, [name], len(found.people.get(name, ())), params.split)
