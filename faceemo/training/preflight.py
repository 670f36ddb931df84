"""Whether a run can end in a model, looked at before the work by params.yaml, sources.yaml and names of pictures."""

import functools
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from faceemo.emotions import KOREAN, NEUTRAL, chosen_classes
from faceemo.errors import FaceemoError
from faceemo.params import READ_CROPS, Params, TrainParams, lone_class
from faceemo.paths import COMES_ALONG, MODEL_FILE, PARAMS_FILE
from faceemo.pictures.manifest import Manifest, read_manifest
from faceemo.pictures.sources import Source, held_classes, seen_classes
from faceemo.training.split import SPLITS, split_of_rows, too_few_people
from faceemo.training.targets import make_targets


def what_is_missing(
    params: Params, sources: Mapping[str, Source], manifests: Mapping[str, Manifest] = MappingProxyType({})
) -> str | None:
    """What training will lack, which more pictures can mend: a class, people of a class in a split, neutral faces.

    None where nothing is known to be missing. Every picture is taken for a face that shows what its archive, folder or
    table says, or its raters where that is not enough: so what is told here would stop training, and what is not may
    stop it still. A source that is not there now, as on a drive that was taken away, counts as one that has everybody.
    manifests: of sources, without raters' answers, where they are read already.
    Raises FaceemoError for what more pictures cannot mend: a network without what it reads, a start that is not there,
    a class that nothing can hold, a source of which nobody is known.
    """
    check_start(params.train)
    check_network(params.train.network, params.extract.crops, params.normalize.baseline)
    held = held_classes(sources)
    classes = chosen_classes(params.emotions, held)
    seen = seen_classes(sources)
    for name in {member for members in classes.values() for member in members}:
        if name not in seen and name not in KOREAN:  # archives of the set may bring those
            raise FaceemoError(
                f"{PARAMS_FILE}: emotions: no source holds {name!r}; known are {', '.join(sorted(seen))}"
            )
    known = manifests if params.limit is None else {}
    look = functools.cache(lambda key: known.get(key) or _look(key, sources[key], params.limit, with_votes=False))
    for key, source in sources.items():
        if not source.is_of_set:
            _check_people(key, look(key))
    if line := lone_class(params.emotions):
        return line
    if len(classes) < 2:
        return f"only {', '.join(classes) or 'nothing'} was scanned, and a model needs two classes; scan others too"
    absent = [name for name, members in classes.items() if not held.intersection(members)]
    asks_raters = params.labels.target != "archive" and any(one.labels or one.table for one in sources.values())
    if absent and not asks_raters:
        return _not_scanned(absent[0], held)
    if params.normalize.baseline == "neutral" and NEUTRAL not in held:
        return (
            f"{PARAMS_FILE}: normalize.baseline is neutral, and no neutral pictures were scanned; scan the neutral "
            "archives too, whatever 'emotions' names, or set it to none"
        )
    preview = _Preview(params, classes, _pictures_for_baselines(params, sources, look))
    for key, source in sources.items():
        if preview.can_learn_from(source):
            preview.add(source, look(key))
    if preview.missing and asks_raters:
        for key, source in sources.items():
            if source.labels or source.table:
                preview.add_rated(_look(key, source, params.limit, with_votes=True))
    if not preview.missing:
        return None
    split, name = preview.missing[0]
    return _not_scanned(name, held) if name in absent else _cause(split, name, preview, sources)


def check_network(network: str | None, has_crops: bool, baseline: str) -> None:
    """Raises FaceemoError if a network lacks what it reads, or reads nothing of what a baseline changes."""
    if network in READ_CROPS and not has_crops:
        raise FaceemoError(
            f"train.network: {network} learns from crops, and the features have none; set extract.crops to true, or "
            "train.network to mlp"
        )
    if network == "cnn" and baseline != "none":
        raise FaceemoError(
            f"train.network: cnn reads no landmarks, and normalize.baseline: {baseline} changes these alone; set "
            "train.network to both, or normalize.baseline to none"
        )


def check_start(settings: TrainParams) -> None:
    """Raises FaceemoError if the model file that train.start names is not there, or is the one that training writes."""
    if settings.start is None or settings.start == COMES_ALONG:
        return
    path = Path(settings.start)
    where = f"{PARAMS_FILE}: train.start: {path.as_posix()}"
    if path.resolve() == MODEL_FILE.resolve():
        raise FaceemoError(f"{where} is what training writes, and dvc removes it before; name a copy of it")
    if not path.exists():
        raise FaceemoError(f"{where} is not there; name a model file, or {COMES_ALONG} for the one that comes along")


def look_ahead(params: Params, sources: Mapping[str, Source]) -> str | None:
    """What to say at the beginning and end of a stage that goes on though training will lack something; None if not.

    Raises FaceemoError as what_is_missing does.
    """
    missing = what_is_missing(params, sources)
    return None if missing is None else f"note: training will stop as things are: {missing}"


def next_line(
    params: Params, sources: Mapping[str, Source], manifests: Mapping[str, Manifest] = MappingProxyType({})
) -> str:
    """What to do after a scan: on the last line the command that works on what was found, or why there is none yet.

    manifests: as for what_is_missing.
    """
    held = held_classes(sources)
    lines = []
    if params.emotions is not None:
        members = {member for entry in params.emotions.values() for member in entry}
        if left := sorted(held - members):
            lines.append(f"'emotions' in {PARAMS_FILE} leaves out {', '.join(left)}; null there learns all classes")
        if absent := sorted(members - held):
            lines.append(f"no pictures of {', '.join(absent)} were found, which 'emotions' in {PARAMS_FILE} names")
    try:
        missing = what_is_missing(params, sources, manifests)
    except FaceemoError as error:
        return "\n".join([*lines, f"not ready for dvc repro: {error}"])
    if missing is not None:
        lines += [f"not enough to train yet: {missing}", "extraction can begin all the same; next:"]
    else:
        lines.append("next:")
    return "\n".join([*lines, "dvc repro"])


def _look(key: str, source: Source, limit: int | None, with_votes: bool) -> Manifest | None:
    """None if the source cannot be read now: the stage that needs it says so."""
    try:
        return read_manifest(key, source, limit, with_votes)[1]
    except FaceemoError:
        return None


def _check_people(key: str, manifest: Manifest | None) -> None:
    """Raises FaceemoError if nobody in a source of one's own is known."""
    if manifest is not None and not manifest.knows_people:
        raise FaceemoError(
            f"{key}: it is not known who is in which picture, but a model is judged on people it has not seen; scan "
            "again with --subject 'REGEX' whose group is the person in a picture's name, or with --subject each to "
            "count every picture as a different person"
        )


class _Preview:
    """What training will find, by split and class, as far as names, tables and raters tell."""

    def __init__(
        self, params: Params, classes: Mapping[str, tuple[str, ...]], pictures: Counter[str | None] | None
    ) -> None:
        """pictures: how many each person has for a baseline; None where that does not matter."""
        self.params = params
        self.faces: set[tuple[str, str]] = set()
        self.judged: set[tuple[str, str]] = set()  # those of faces that can have a baseline
        self.people: dict[str, set[str | None]] = {name: set() for name in classes}
        self._classes = classes
        self._class_of = {member: name for name, members in classes.items() for member in members}
        self._pictures = pictures

    @property
    def missing(self) -> list[tuple[str, str]]:
        """The splits without people of a class, and the class."""
        return [(split, name) for split in SPLITS for name in self._classes if (split, name) not in self.judged]

    def can_learn_from(self, source: Source) -> bool:
        """Whether a source may hold what is missing: each archive of the set is read, and there may be 28."""
        wanted = {name for _, name in self.missing}
        return not source.is_of_set or self._class_of.get(source.emotion or "") in wanted

    def add(self, source: Source, manifest: Manifest | None) -> None:
        """Add what names and tables say; None for a source that cannot be read now."""
        if manifest is None:
            self._add_everybody({self._class_of[word] for word in source.classes if word in self._class_of})
            return
        for subject, emotion, split in zip(*self._columns(manifest), strict=True):
            if name := self._class_of.get(emotion):
                self.faces.add((split, name))
                self.people[name].add(subject)
                if self._has_baseline(subject, emotion):
                    self.judged.add((split, name))

    def add_rated(self, manifest: Manifest | None) -> None:
        """Add what raters saw; None for a source that cannot be read now."""
        if manifest is None:
            self._add_everybody(self._classes)
            return
        if not manifest.raters.classes:
            return
        subjects, emotions, splits = self._columns(manifest)
        votes = manifest.table["votes"]
        targets = make_targets(emotions, votes, manifest.raters, self._classes, self.params.labels)
        based = np.array([self._has_baseline(*one) for one in zip(subjects, emotions, strict=True)], bool)
        names = list(self._classes)
        for split in SPLITS:
            truth = targets.valid if split == "valid" else targets.learnt
            taken = (splits == split) & (truth >= 0) & (targets.trained if split == "train" else True)
            self.faces |= {(split, names[number]) for number in np.unique(truth[taken])}
            self.judged |= {(split, names[number]) for number in np.unique(truth[taken & based])}

    def _add_everybody(self, names: Collection[str]) -> None:
        everything = {(split, name) for split in SPLITS for name in names}
        self.faces |= everything
        self.judged |= everything

    def _columns(self, manifest: Manifest) -> tuple[list[str | None], list[str], np.ndarray]:
        """subjects, emotions and splits of a source's pictures."""
        subjects, emotions, folders = (manifest.table[name].to_pylist() for name in ("subject", "emotion", "folder"))
        return subjects, emotions, split_of_rows(subjects, folders, self.params.split)

    def _has_baseline(self, subject: str | None, emotion: str) -> bool:
        kind = self.params.normalize.baseline
        own = kind == "neutral" and emotion == NEUTRAL  # a face is no baseline of its own
        return self._pictures is None or self._pictures[subject] - own >= self.params.normalize.least_pictures


def _pictures_for_baselines(
    params: Params, sources: Mapping[str, Source], look: Callable[[str], Manifest | None]
) -> Counter[str | None] | None:
    """How many pictures each person has for a baseline; None without a baseline, or where a source is not there."""
    kind = params.normalize.baseline
    if kind == "none":
        return None
    counts: Counter[str | None] = Counter()
    for key, source in sources.items():
        if kind == "neutral" and NEUTRAL not in source.classes:
            continue
        manifest = look(key)
        if manifest is None:
            return None
        columns = (manifest.table[name].to_pylist() for name in ("subject", "emotion"))
        counts.update(
            subject for subject, emotion in zip(*columns, strict=True) if kind == "person" or emotion == NEUTRAL
        )
    counts[None] = 0
    return counts


def _not_scanned(name: str, held: set[str]) -> str:
    return (
        f"{PARAMS_FILE}: emotions: no scanned source has {name!r}; there are {', '.join(sorted(held))}; run "
        "'faceemo scan' on its pictures too, or take it out"
    )


def _cause(split: str, name: str, preview: _Preview, sources: Mapping[str, Source]) -> str:
    """Why a class has nobody in a split, and what to do."""
    params = preview.params
    folders = {source.folder for source in sources.values() if source.is_of_set}
    if (split, name) in preview.faces:
        kind = params.normalize.baseline
        needed = (
            f"{params.normalize.least_pictures} neutral pictures of a person beside the one judged"
            if kind == "neutral"
            else f"{params.normalize.least_pictures} pictures of a person"
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
    return too_few_people(split, [name], len(preview.people[name] - {None}), params.split)
