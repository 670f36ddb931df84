"""The command `faceemo evaluate`: the pipeline on other labelled pictures, with models that have not seen them."""

import contextlib
import itertools
import os
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from faceemo.console import progress
from faceemo.durable import write_json
from faceemo.emotions import class_text
from faceemo.errors import FaceemoError
from faceemo.extraction.facemesh import silence_native_log
from faceemo.extraction.worker import Reading, batches
from faceemo.features.baselines import Faces, fit_baselines
from faceemo.fonts import missing_letters
from faceemo.outputs import check_out, check_plots_folder, said_to, written_to
from faceemo.paths import COMES_ALONG
from faceemo.pictures.people import EACH, subject_reader
from faceemo.pictures.scan_source import ScanOptions
from faceemo.prediction.annotate import check_drawing_folder
from faceemo.prediction.baselines import PeoplesBaselines, names_say_who
from faceemo.prediction.inputs import Input, find_inputs, no_pixels, read_inputs
from faceemo.prediction.labelled import LabelledPictures, find_labelled, read_labelled
from faceemo.prediction.mistakes import draw_mistakes
from faceemo.prediction.model import NO_NEUTRAL, EmotionModel, engine_note
from faceemo.prediction.verdict import comparison_lines, draw_plots, model_lines, pictures_line
from faceemo.status import Status
from faceemo.training.metrics import Outcome, differences, log_losses, plain, score
from faceemo.training.model import COMES_ALONG_FILE
from faceemo.training.recipe import FACES_AT_ONCE
from faceemo.training.targets import Targets

TRUTHS = ("label", "majority")  # that of folder, table or archive; that of the raters
COMPARED = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "calibration_error")


@dataclass(frozen=True)
class EvaluateOptions:
    """What to judge on, which models, and where the numbers go; as the command's arguments of these names."""

    paths: list[Path]
    models: list[Path]
    own: ScanOptions = field(default_factory=ScanOptions)
    neutral: list[Path] | None = None
    seen: bool = False
    out: Path | None = None
    plots: Path | None = None
    mistakes: Path | None = None
    workers: int | None = None


@dataclass
class Judged:
    """One model and what it said of N pictures."""

    name: str
    model: EmotionModel
    targets: Targets
    """By the model's classes."""
    seen: np.ndarray
    """bool [N]: of people that it was trained on."""
    asked: np.ndarray
    """bool [N]: those to judge."""
    status: np.ndarray
    """object [N]: what became of those asked, "" for others."""
    probability: np.ndarray
    """float32 [N, classes], NaN for pictures without an answer."""
    left_to_start: int = 0
    """How many of them the model leaves to the one that it began as."""

    @property
    def answered(self) -> np.ndarray:
        """bool [N]"""
        return self.status == Status.OK

    @property
    def is_ever_wrong(self) -> bool:
        """Whether an answer is not what folder, table or archive says."""
        faces = self.faces("label")
        return bool((self.probability[faces].argmax(axis=1) != self.truth("label")[faces]).any())

    def truth(self, name: str) -> np.ndarray:
        """int64 [N]: the class of each picture by one of TRUTHS, below 0 for none."""
        return self.targets.named if name == "label" else self.targets.majority

    def faces(self, truth: str) -> np.ndarray:
        """bool [N]: those with an answer and with a class by one of TRUTHS."""
        return self.answered & (self.truth(truth) >= 0)

    def needed(self, pictures: LabelledPictures, given_neutral: bool) -> np.ndarray:
        """bool [N]: the pictures to read, those that baselines are made of among them."""
        kind = self.model.normalize_settings.baseline
        if kind == "none" or given_neutral:
            return self.asked
        same_people = np.isin(pictures.person, pictures.person[self.asked])
        return self.asked | (same_people & (pictures.neutral if kind == "neutral" else True))


def evaluate(options: EvaluateOptions) -> None:
    """Judge models on labelled pictures, print how good they are, and write it where it was asked for.

    Raises FaceemoError for what cannot be read or written, and if there is no picture that a model can be judged on.
    """
    silence_native_log()  # first, since it makes another stderr
    with contextlib.redirect_stdout(said_to(options.out) if options.out else sys.stdout):  # its progress too
        _check_places(options)
        pictures, judged = _answers(options)
        numbers = _print_scores(pictures, judged)
        if not options.mistakes and any(one.is_ever_wrong for one in judged):
            print("--mistakes DIR draws what was wrong, the surest first", flush=True)
    if options.out:
        with written_to(options.out) as temporary:
            write_json(temporary, numbers)
    written = [options.out] if options.out else []
    if options.plots:
        for note in dict.fromkeys(missing_letters(one.model.trained.classes) for one in judged):
            if note:
                print(note, file=sys.stderr, flush=True)
    for number, one in enumerate(judged, 1):
        stem = "" if len(judged) == 1 else f"{number}-{Path(one.name).stem}-"
        truth = one.truth("label")
        faces = one.faces("label")
        if options.plots and faces.any():
            draw_plots(options.plots, stem, one.probability[faces], truth[faces], one.model.trained.classes)
            written += [options.plots] * (options.plots not in written)
        if options.mistakes:
            folder = options.mistakes / stem.rstrip("-")
            if draw_mistakes(folder, one.model, pictures, one.probability, truth, options.workers):
                written.append(folder)
    if written:
        print(f"wrote {', '.join(map(str, written))}", file=said_to(options.out) if options.out else None)
    if not any(one.answered.any() for one in judged):
        raise FaceemoError("no face to judge: see above what became of the pictures")


def _check_places(options: EvaluateOptions) -> None:
    """Raises FaceemoError for what would fail only after all is judged."""
    for path in options.models:
        if options.models.count(path) > 1:
            raise FaceemoError(f"--model {path} is given twice")
    if options.out:
        check_out(options.out, [*options.paths, *options.models, *(options.neutral or [])])
    if options.plots:
        check_plots_folder(options.plots)


def _answers(options: EvaluateOptions) -> tuple[LabelledPictures, list[Judged]]:
    """The pictures, and every model's answers; models whose landmarks are found alike share one reading of them."""
    models = {_name_of(path): EmotionModel.load(path) for path in options.models}
    if options.neutral and not any(model.takes_baseline for model in models.values()):
        raise FaceemoError(f"--neutral: {NO_NEUTRAL.format(next(iter(models)))}")
    neutral_files = find_inputs(options.neutral) if options.neutral else []
    for note in sorted({note for model in models.values() if (note := engine_note(model))}):
        print(note, file=sys.stderr, flush=True)
    pictures = find_labelled(options.paths, options.own)
    if options.mistakes:
        check_drawing_folder("--mistakes", options.mistakes, {Path(one.path) for one in pictures.every})
    print(pictures_line(pictures), *pictures.left_out, sep="\n", flush=True)
    judged = [ask(name, model, pictures, options.seen) for name, model in models.items()]
    for settings in dict.fromkeys(one.model.extract_settings for one in judged):
        sharing = [one for one in judged if one.model.extract_settings == settings]
        wanted = np.any([one.needed(pictures, bool(neutral_files)) for one in sharing], axis=0)
        neutral: list[Input] = []
        if neutral_files and any(one.model.takes_baseline for one in sharing):
            neutral = list(read_inputs(neutral_files, settings, options.workers))
        readings = read_labelled(pictures, wanted, settings, options.workers)
        for one in sharing:
            given = None
            if neutral and one.model.takes_baseline:
                subject = subject_of_inputs(options.own.subject, options.neutral or [])
                given = given_baselines(one.model, pictures, neutral, subject)
            answer_all(one, pictures, readings, given)
    return pictures, judged


def _name_of(path: Path) -> str:
    return COMES_ALONG if path == COMES_ALONG_FILE else str(path)


def ask(name: str, model: EmotionModel, pictures: LabelledPictures, with_seen: bool) -> Judged:
    """A model and the pictures of classes that it knows, of which it is asked.

    with_seen: also about people that it was trained on. Raises FaceemoError if none is left.
    """
    targets = pictures.targets(model.members)
    people, number = np.unique(pictures.person, return_index=True)
    known = dict(zip(people, model.trained.has_seen(pictures.subject[number]), strict=True))
    seen = np.array([known[person] for person in pictures.person], bool)
    if not targets.judged.any():
        raise FaceemoError(
            f"{name} knows {', '.join(itertools.starmap(class_text, model.members.items()))}, and the pictures are of "
            f"{', '.join(sorted(set(pictures.emotion)))}; --rename WORD=CLASS says what a word means"
        )
    asked = targets.judged if with_seen else targets.judged & ~seen
    if not asked.any():
        raise FaceemoError(f"{name} was trained on everybody in the pictures; --seen judges them all the same")
    probability = np.full((len(pictures), len(model.classes_)), np.nan, np.float32)
    return Judged(name, model, targets, seen, asked, np.full(len(pictures), "", object), probability)


GivenBaseline = Callable[[int, Reading], np.ndarray | None]
"""A baseline as of EmotionModel.mean_face for a picture by its index and its reading; None for somebody without."""


def answer_all(
    one: Judged, pictures: LabelledPictures, readings: list[Reading | None], given: GivenBaseline | None
) -> None:
    """Fill in what the model says. given: baselines from --neutral; without, they are those of the pictures themselves.

    readings: of the pictures needed, at least.
    """
    model, asked = one.model, np.flatnonzero(one.asked)
    baselines: dict[int, np.ndarray | None] | None = None
    if model.judges_change or given is not None:
        needed = np.flatnonzero(one.needed(pictures, given is not None))
        faces = np.array([at for at in needed if readings[at].status == Status.OK], np.int64)
        baselines = {}
        if given is not None:
            baselines = {at: given(at, readings[at]) for at in faces.tolist()}
        elif len(faces):
            subjects = [pictures.subject[at] if pictures.is_known[at] else None for at in faces]
            features = model.features([readings[at] for at in faces])
            some = Faces(subjects, features, pictures.neutral[faces], pictures.disputed[faces])
            fitted = fit_baselines([some], model.normalize_settings)
            if fitted is not None:
                baselines = dict(zip(faces.tolist(), fitted.of(some), strict=True))
    with progress(len(asked), f"evaluate: {one.name}", "faces") as advance:
        for batch in batches(asked.tolist(), FACES_AT_ONCE):
            own = None if baselines is None else [baselines.get(at) for at in batch]
            for at, answer in zip(batch, model.answer([readings[at] for at in batch], own), strict=True):
                one.status[at] = answer.status
                if answer.probability is not None:
                    one.probability[at] = answer.probability
            answered = [readings[at] for at in batch if one.status[at] == Status.OK]
            one.left_to_start += int(model.left_to_start(answered).sum())
            advance(len(batch))


def given_baselines(
    model: EmotionModel,
    pictures: LabelledPictures,
    inputs: list[Input],
    subject: Callable[[Input], str | None],
) -> GivenBaseline:
    """The baselines from pictures of neutral faces, as read_baselines has them; no picture counts in its own.

    subject: who is in an input.
    """
    entries = [replace(entry, path=_same_place(entry.path), subject=subject(entry)) for entry in inputs]
    one_person = not names_say_who(entries)
    if one_person:
        entries = [replace(entry, subject="") for entry in entries]
    baselines = PeoplesBaselines(model, entries)

    def given(index: int, reading: Reading) -> np.ndarray | None:
        person = "" if one_person else pictures.subject[index]
        return baselines(Input(_same_place(_place(pictures, index)), None, person, reading, no_pixels))

    return given


def _place(pictures: LabelledPictures, index: int) -> str:
    """Where a picture is: its file, or `archive.zip/member`."""
    one = pictures.every[index]
    return one.path if one.index is None else f"{one.path}/{one.name.rpartition('.zip/')[2]}"


def subject_of_inputs(pattern: str | None, places: list[Path]) -> Callable[[Input], str | None]:
    """Who is in an input below one of the places, by --subject: in its path below the place, or with the place's name.

    Without a pattern, and where every picture is a person, it is whom a name of the AI-Hub set tells.
    """
    if pattern in (None, EACH):
        return lambda entry: entry.subject
    read = subject_reader(pattern, "")

    def subject(entry: Input) -> str | None:
        for place in places:
            if Path(entry.path).is_relative_to(place):
                below = Path(entry.path).relative_to(place).as_posix()
                return read(below) or read(f"{place.name}/{below}")
        return None

    return subject


def _same_place(path: str) -> str:
    return unicodedata.normalize("NFC", os.path.realpath(path))


def _print_scores(pictures: LabelledPictures, judged: list[Judged]) -> dict:
    """Print how good the models are; returns all numbers, as --out has them."""
    scores = {one.name: plain(scores_of(one, pictures)) for one in judged}
    compared = plain(compare(judged, pictures.person)) if len(judged) > 1 else None
    counted = "people" if pictures.is_known.any() else "pictures"
    for name, found in scores.items():
        print("\n".join(model_lines(name, found, counted)))
    if compared:
        print("\n".join(comparison_lines(compared, counted)))
    print(f"in brackets: 95 % over {counted if counted == 'people' else 'pictures, not people'}", flush=True)
    return {
        "sources": pictures.places,
        "pictures": len(pictures),
        "people": len(set(pictures.subject[pictures.is_known])),
        "intervals_over": counted,
        "models": scores,
        "compared": compared,
    }


def scores_of(one: Judged, pictures: LabelledPictures) -> dict:
    """How good one model's answers are, by each of TRUTHS, and what was left out."""
    seen = one.targets.judged & one.seen
    return {
        "classes": list(one.model.trained.classes),
        "members": one.model.members,
        "unknown_classes": dict(sorted(Counter(pictures.emotion[~one.targets.judged]).items())),
        "seen": {
            "known": one.model.trained.people is not None,
            "people": len(set(pictures.person[seen])),
            "pictures": int(seen.sum()),
            "judged": bool((seen & one.asked).any()),
        },
        "left_to_start": one.left_to_start,
        "status": {name: int((one.status == name).sum()) for name in Status},
        **{truth: _score_by(one, truth, pictures.person) for truth in TRUTHS},
    }


def _score_by(one: Judged, name: str, person: np.ndarray) -> dict | None:
    """By one of TRUTHS; None where no picture asked has a class in it."""
    truth, faces = one.truth(name), one.faces(name)
    asked = one.asked & (truth >= 0)
    if not asked.any():
        return None
    right = np.count_nonzero(one.probability[faces].argmax(axis=1) == truth[faces])
    return {
        **score(one.probability[faces], truth[faces], person[faces], one.model.trained.classes),
        "all_pictures": {"images": int(asked.sum()), "accuracy": right / int(asked.sum())},
    }


def compare(judged: list[Judged], person: np.ndarray) -> dict:
    """Several models on the pictures that all of them judge, and what each has more than the first, by TRUTHS."""
    found: dict[str, dict | None] = {}
    for truth in TRUTHS:
        faces = np.flatnonzero(np.all([one.faces(truth) for one in judged], axis=0))
        found[truth] = _compare_on(judged, truth, faces, person[faces]) if len(faces) else None
    return found


def _compare_on(judged: list[Judged], truth: str, faces: np.ndarray, person: np.ndarray) -> dict:
    """On these faces [F] of these people [F]."""
    models, outcomes = {}, {}
    for one in judged:
        target, probability = one.truth(truth)[faces], one.probability[faces]
        whole = score(probability, target, person, one.model.trained.classes)
        models[one.name] = {metric: whole[metric] for metric in COMPARED}
        outcomes[one.name] = Outcome(target, probability.argmax(axis=1) == target, log_losses(probability, target))
    first, *others = outcomes
    return {
        "images": len(faces),
        "people": len(set(person)),
        "models": models,
        "differences": {name: differences(outcomes[first], outcomes[name], person) for name in others},
    }
