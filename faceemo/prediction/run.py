"""The command `faceemo predict`: what people name, judged and written."""

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from faceemo.console import printable, progress
from faceemo.errors import FaceemoError
from faceemo.extraction.everyface import MOST_FACES
from faceemo.extraction.executors import WorkerDiedError
from faceemo.extraction.facemesh import silence_native_log
from faceemo.fonts import missing_letters
from faceemo.outputs import STDOUT, check_out, said_to
from faceemo.prediction.annotate import annotate, check_drawing_folder
from faceemo.prediction.baselines import BaselineOf, mean_so_far, read_baselines
from faceemo.prediction.formats import format_of, write_predictions
from faceemo.prediction.inputs import count_inputs, find_inputs, no_pixels, read_inputs
from faceemo.prediction.model import NO_NEUTRAL, EmotionModel, engine_note
from faceemo.prediction.predict import Prediction, predict_inputs
from faceemo.status import Status

SMALLER = "; --faces all looks for smaller faces too"


@dataclass(frozen=True)
class PredictOptions:
    """What to judge, with which model, and where the answers go; as the command's arguments of these names."""

    paths: list[Path]
    model: Path
    format: str | None = None
    out: Path | None = None
    annotate: Path | None = None
    neutral: list[Path] | None = None
    faces: str = "largest"
    every: int = 1
    balanced: bool = False
    workers: int | None = None


def predict(options: PredictOptions) -> None:
    """Judge every picture and frame, and write a row for each.

    Raises FaceemoError for what cannot be read or written, and if no face at all was judged.
    """
    silence_native_log()
    torch.set_num_threads(1)  # the cores are busy reading
    name = format_of(options.format, options.out)
    files = find_inputs(options.paths, _say)
    if options.out:
        check_out(options.out, [*files, options.model, *(options.neutral or [])])
    if options.annotate:
        check_drawing_folder("--annotate", options.annotate, files)
    model = EmotionModel.load(options.model, options.balanced)
    if note := engine_note(model):
        _say(note)
    classes = model.classes_.tolist()
    settings = model.every_face_settings() if options.faces == "all" else model.extract_settings
    tally = _Tally()
    try:
        inputs = read_inputs(files, settings, options.workers, options.every)
        if not options.annotate:
            inputs = (replace(entry, pixels=no_pixels) for entry in inputs)  # a frame of 4K has 25 MB
        predictions = predict_inputs(model, inputs, _baselines(model, options))
        if options.annotate:
            if note := missing_letters(classes):
                _say(note)
            predictions = annotate(predictions, classes, options.annotate, options.every)
        with _progress(options.out, count_inputs(files, _say)) as advance:
            write_predictions(tally.count(predictions, advance), classes, name, options.out)
    except WorkerDiedError as error:
        raise FaceemoError(str(error)) from None
    if tally.crowded and options.faces == "all":
        _say(tally.crowded_note())
    takes_all = options.faces == "largest" and not options.neutral and not model.judges_change
    smaller = SMALLER if takes_all and tally.statuses[Status.NO_FACE] else ""
    if not tally.statuses[Status.OK]:
        found = ", ".join(f"{count} {status}" for status, count in tally.statuses.items()) or "no pictures"
        raise FaceemoError(f"no face to judge: {found}{tally.first_error}{smaller}")
    if smaller:
        _say(f"note: {tally.statuses[Status.NO_FACE]} no_face{smaller}")
    if options.out:
        counts = ", ".join(f"{count} {status}" for status, count in tally.statuses.most_common())
        print(f"wrote {options.out}: {counts}", file=said_to(options.out), flush=True)


def _progress(out: Path | None, total: int | None) -> AbstractContextManager[Callable[..., None] | None]:
    """How far it is, unless the rows themselves show that on the terminal or on the way to another program."""
    if out is None or (out in STDOUT and sys.stdout.isatty()):
        return contextlib.nullcontext()
    return progress(total, "predict", "pictures", to=said_to(out))


def _say(note: str) -> None:
    print(printable(note), file=sys.stderr, flush=True)


@dataclass
class _Tally:
    """Rows by status, and the files that show more faces than are judged, with how many.

    first_error: of the first row that has one, for the end of a line; "" without.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    first_error: str = ""
    crowded: dict[str, int] = field(default_factory=dict)

    def count(self, predictions: Iterable[Prediction], advance: Callable[[int], None] | None) -> Iterator[Prediction]:
        """Pass predictions on. advance: called for each picture."""
        for prediction in predictions:
            reading, path = prediction.input.reading, prediction.input.path
            self.statuses.update(answer.status for answer in prediction.answers)
            if reading.error and not self.first_error:
                self.first_error = f"; the first is {path}: {reading.error}"
            if reading.faces is not None and reading.faces > MOST_FACES:
                self.crowded.setdefault(path, reading.faces)
            if advance:
                advance(1)
            yield prediction

    def crowded_note(self) -> str:
        path, faces = next(iter(self.crowded.items()))
        more = f", and too many in {len(self.crowded) - 1} more files" if len(self.crowded) > 1 else ""
        return f"note: {faces} faces found in {path}{more}; the {MOST_FACES} largest of a picture are judged"


def _baselines(model: EmotionModel, options: PredictOptions) -> BaselineOf | None:
    """What faces are compared with: from --neutral, or from the input itself; None for nothing."""
    if options.neutral and not model.takes_baseline:
        raise FaceemoError(f"--neutral: {NO_NEUTRAL.format(options.model)}")
    if options.neutral and options.faces == "all":
        raise FaceemoError("--neutral is of one person, or of those that names tell; --faces all knows nobody")
    if options.neutral:
        settings = model.extract_settings
        return read_baselines(model, read_inputs(find_inputs(options.neutral), settings, options.workers))
    if model.normalize_settings.baseline == "neutral":
        raise FaceemoError(
            f"{options.model} judges how a face differs from the same person's neutral face: give pictures of it with "
            "--neutral"
        )
    if model.normalize_settings.baseline == "person":
        least = model.normalize_settings.least_pictures
        _say(
            f"note: {options.model} judges how a face differs from the same person's mean face. Without --neutral that "
            f"is the mean of the input so far, from picture {least} of a person on: it should show one person, or say "
            "in its names who is who"
        )
        return mean_so_far(model)
    return None
