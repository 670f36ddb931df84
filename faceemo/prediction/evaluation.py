"""The command `faceemo evaluate`: models judged on labelled pictures, told and written."""

import contextlib
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from faceemo.durable import write_json
from faceemo.errors import FaceemoError
from faceemo.extraction.executors import WorkerDiedError
from faceemo.extraction.facemesh import silence_native_log
from faceemo.extraction.own import OwnOptions
from faceemo.fonts import missing_letters
from faceemo.outputs import check_apart, said_to, written_to
from faceemo.prediction.inputs import Input, find_inputs, read_inputs
from faceemo.prediction.judge import Answer, Question, answer, ask, compare, given_baselines, judge, subject_of_inputs
from faceemo.prediction.labelled import LabelledPictures, find_labelled, read_labelled
from faceemo.prediction.predict import EmotionModel, engine_note
from faceemo.prediction.verdict import comparison_lines, draw, model_lines, pictures_line


@dataclass(frozen=True)
class EvaluateOptions:
    """What to judge on, which models, and where the numbers go; as the command's arguments of these names."""

    paths: list[Path]
    models: list[Path]
    own: OwnOptions = field(default_factory=OwnOptions)
    neutral: list[Path] | None = None
    seen: bool = False
    out: Path | None = None
    plots: Path | None = None
    workers: int | None = None


def evaluate(options: EvaluateOptions) -> None:
    """Judge models on labelled pictures, tell how good they are, and write it where it was asked for.

    Raises FaceemoError for what cannot be read or written, and if there is no picture that a model can be judged on.
    """
    silence_native_log()  # before stderr is taken for anything: it becomes another
    with contextlib.redirect_stdout(said_to(options.out) if options.out else sys.stdout):  # its progress too
        answers, pictures = _asked(options)
        numbers = _tell(answers, pictures)
    if options.out:
        with written_to(options.out) as temporary:
            write_json(temporary, numbers)
    written = [options.out] if options.out else []
    if options.plots:
        for note in dict.fromkeys(missing_letters(answer.question.model.trained.classes) for answer in answers):
            if note:
                print(note, file=sys.stderr, flush=True)
        written += draw(options.plots, answers)
    if written:
        print(f"wrote {', '.join(map(str, written))}", file=said_to(options.out) if options.out else None)
    if not any(answer.judged.any() for answer in answers):
        raise FaceemoError("no face to judge: see above what became of the pictures")


def _asked(options: EvaluateOptions) -> tuple[list[Answer], LabelledPictures]:
    """The models' answers, and the pictures that they were asked about."""
    _check_places(options)
    models = {str(path): EmotionModel.load(path) for path in options.models}
    if options.neutral and not any(model.judges_change for model in models.values()):
        raise FaceemoError(
            f"--neutral is for a model trained with a normalize.baseline; {' and '.join(models)} "
            f"{'judge' if len(models) > 1 else 'judges'} single pictures"
        )
    neutral_files = find_inputs(options.neutral) if options.neutral else []
    for note in sorted({note for model in models.values() if (note := engine_note(model))}):
        print(note, file=sys.stderr, flush=True)
    pictures = find_labelled(options.paths, options.own)
    print(pictures_line(pictures), flush=True)
    questions = [ask(name, model, pictures, options.seen) for name, model in models.items()]
    try:
        return _answers(questions, pictures, neutral_files, options), pictures
    except WorkerDiedError as error:
        raise FaceemoError(str(error)) from None


def _check_places(options: EvaluateOptions) -> None:
    """Raises FaceemoError for what would fail only after all is judged."""
    for path in options.models:
        if options.models.count(path) > 1:
            raise FaceemoError(f"--model {path} is given twice")
    if options.out:
        check_apart(options.out, [*options.paths, *options.models, *(options.neutral or [])])
    if options.plots and options.plots.exists() and not options.plots.is_dir():
        raise FaceemoError(f"--plots {options.plots} is a file; name a folder")


def _answers(
    questions: list[Question], pictures: LabelledPictures, neutral_files: list[Path], options: EvaluateOptions
) -> list[Answer]:
    """Every model's answers; models whose landmarks are found alike share one reading of the pictures."""
    answers: dict[str, Answer] = {}
    for settings in {question.model.extract_settings: None for question in questions}:
        sharing = [question for question in questions if question.model.extract_settings == settings]
        wanted = np.any([question.needed(pictures, bool(neutral_files)) for question in sharing], axis=0)
        neutral: list[Input] = []
        if neutral_files and any(question.model.judges_change for question in sharing):
            neutral = list(read_inputs(neutral_files, settings, options.workers))
        readings = read_labelled(pictures, wanted, settings, options.workers)
        for question in sharing:
            given = None
            if neutral_files and question.model.judges_change:
                subject = subject_of_inputs(options.own.subject, options.neutral or [])
                given = given_baselines(question.model, pictures, neutral, subject)
            answers[question.name] = answer(question, pictures, readings, given)
    return [answers[question.name] for question in questions]


def _tell(answers: list[Answer], pictures: LabelledPictures) -> dict:
    """Print how good the models are; returns all numbers, as --out has them."""
    judged = {answer.question.name: judge(answer, pictures) for answer in answers}
    compared = compare(answers, pictures) if len(answers) > 1 else None
    counted = "people" if pictures.is_known.any() else "pictures"
    for name, found in judged.items():
        print("\n".join(model_lines(name, found, counted)))
    if compared:
        print("\n".join(comparison_lines(compared, counted)))
    print(f"in brackets: 95 % over {counted if counted == 'people' else 'pictures, not people'}", flush=True)
    return {
        "sources": [one.source.path for one in pictures.sources],
        "pictures": len(pictures),
        "people": len(set(pictures.subject[pictures.is_known])),
        "intervals_over": counted,
        "models": judged,
        "compared": compared,
    }
