"""A trained model on new faces.

from faceemo import EmotionModel

model = EmotionModel.load("models/emotion.pt")
model.predict("photo.jpg")          # "anxious", or None where no face is found
model.predict_proba([image, rgb])   # float32 [2, classes], in the order of model.classes_
for answer in model.answer(model.find_faces("group.jpg")):
    print(answer.label, answer.probability, answer.box)
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch

from faceemo.emotions import NEUTRAL
from faceemo.errors import FaceemoError
from faceemo.extraction.engines.choice import ENGINE_DISTANCE, choose_engine, installed_engines
from faceemo.extraction.everyface import every_face
from faceemo.extraction.facemesh import COORDINATES, LANDMARKS
from faceemo.extraction.worker import Reading, batches
from faceemo.features.geometry import normalize
from faceemo.features.normalize import engine_of
from faceemo.params import ExtractParams, NormalizeParams, parse_section
from faceemo.paths import MODEL_FILE
from faceemo.prediction.readings import PictureLike, PicturesLike, is_one, read
from faceemo.status import Status
from faceemo.training.model import COMES_ALONG_FILE, Deferring, TrainedModel, load_model, model_file
from faceemo.training.recipe import CROP, FACES_AT_ONCE, MESH

NO_NEUTRAL = "{} takes no neutral face: neutral is none of its classes"
# What a person's neutral face is answered otherwise than neutral is taken off every answer to that person, by this
# share: the best on people never seen, from 0.4 to 0.6 about alike (docs/recipes.md).
NEUTRAL_SHARE = 0.5


@dataclass(frozen=True)
class Answer:
    """What a model says of one face, or of a picture without any."""

    reading: Reading
    label: str | None = None
    """The most probable class; None unless the face was judged."""
    probability: np.ndarray | None = None
    """float32 [classes]; None unless the face was judged."""

    @property
    def status(self) -> str:
        """That of the reading, or `no_baseline` for a face that was found and not judged."""
        found = self.reading.status
        return Status.NO_BASELINE if found == Status.OK and self.probability is None else found

    @property
    def face(self) -> int | None:
        """Which of its picture's faces this is, 1 the largest; None without a face."""
        return self.reading.face if self.reading.status == Status.OK else None

    @property
    def box(self) -> tuple[float, float, float, float] | None:
        """left, top, right, bottom of the face's landmarks, in pixels of the upright picture; None without a face."""
        return self.reading.box if self.reading.status == Status.OK else None


class EmotionModel:
    """A trained emotion classifier for pictures, with the landmarks and the normalisation of the pipeline inside.

    classes_: str [classes], the emotions in the order of the probabilities.
    members: the emotions that make up each class, by its name: of a group several.
    judges_change: the model was trained with a `normalize.baseline`: it judges by how a face differs from the same
        person's neutral face, or mean face, the `baseline` of the methods here, and needs one.
    takes_baseline: so may another model with the class neutral: there a person's neutral face corrects the answers.
    engines: those that found the landmarks of its training; one of them finds them here if it is installed.
    Safe to use from several threads.
    """

    def __init__(self, trained: TrainedModel) -> None:
        """Raises FaceemoError if the parts of the model do not fit each other."""
        extract = trained.settings["extract"]["settings"]
        self.engines = engines_of_training(trained)
        engine = next((engine for engine in installed_engines() if engine in self.engines), "auto")
        extract = {**extract, "engine": engine, "scheduler": None, "crops": CROP in trained.columns}
        self.extract_settings: ExtractParams = parse_section(ExtractParams, extract, "the model")
        self.normalize_settings: NormalizeParams = parse_section(
            NormalizeParams, trained.settings["normalize"], "the model"
        )
        self.trained = trained
        self.classes_ = np.array(trained.classes)
        self.members = trained.members
        self.judges_change = self.normalize_settings.baseline != "none"
        self.takes_baseline = self.judges_change or NEUTRAL in trained.classes
        self._network = trained.predictor()

    @classmethod
    def load(cls, path: str | Path | None = None, balanced: bool = False) -> "EmotionModel":
        """Read a model file; needs no GPU.

        path: of a file that `dvc repro` wrote, or "faceemo" for the model that comes along; None: models/emotion.pt
            where it is, else the one that comes along. balanced: answers without the shares that classes had among the
            faces learnt from, so that rare ones are answered as readily as common ones (docs/recipes.md says when).
        Raises FaceemoError if it is missing, no model, or one of another version of faceemo.
        """
        path = model_file(path) if path is not None else default_model()
        trained = load_model(path)
        try:
            return cls(trained.balanced() if balanced else trained)
        except (FaceemoError, AttributeError, KeyError, TypeError):  # settings of another version
            raise FaceemoError(
                f"{path}: not a model of this version of faceemo; train it again with 'dvc repro'"
            ) from None

    def predict(self, pictures: PicturesLike, baseline: np.ndarray | None = None) -> str | np.ndarray | None:
        """The emotion of the largest face.

        pictures: one picture or several, of any sizes: paths of files, files open in binary mode, Pillow images, or
            arrays, upright, uint8 [height, width, 3], RGB, or [height, width], grey. A list of one counts as several.
        baseline: see `mean_face`; a model that judges change needs one, others may take one (see takes_baseline).
        Returns a class, None where no face is found; for several pictures an object array [pictures] of these.
        Raises FaceemoError for a file that cannot be read, ValueError for another array, TypeError for anything else.
        """
        labels = [answer.label for answer in self._answers(pictures, baseline)]
        return labels[0] if is_one(pictures) else np.array(labels, object)

    def predict_proba(self, pictures: PicturesLike, baseline: np.ndarray | None = None) -> np.ndarray:
        """Calibrated probabilities of the largest face.

        pictures, baseline: as for `predict`.
        Returns float32 [classes] for one picture and [pictures, classes] for several, in the order of classes_; NaN
        where no face is found.
        """
        answers = self._answers(pictures, baseline)
        probability = np.full((len(answers), len(self.classes_)), np.nan, np.float32)
        for row, answer in zip(probability, answers, strict=True):
            if answer.probability is not None:
                row[:] = answer.probability
        return probability[0] if is_one(pictures) else probability

    def mean_face(self, pictures: PicturesLike) -> np.ndarray:
        """The baseline of one person from pictures of their neutral face.

        pictures: as for `predict`. Returns float32 [1434] for a model that judges change; for others [classes], twice
        if it may leave faces to the model that it began as.
        Raises FaceemoError if no face is found in any of them.
        """
        return self.baseline_from(self._read(pictures))

    def find_face(self, picture: PictureLike) -> Reading:
        """The landmarks of the largest face of one picture, given and refused as for `predict`.

        A Reading: status, "ok" or "no_face"; width and height of the upright picture; landmarks, float32 [1434].
        """
        return read(picture, self.extract_settings)

    def find_faces(self, picture: PictureLike) -> list[Reading]:
        """The landmarks of every face of one picture, the largest first; at most 20. See `answer`."""
        found = read(picture, every_face(self.extract_settings))
        return found.each_face() if found.status == Status.OK else []

    def every_face_settings(self) -> ExtractParams:
        """As extract_settings, for readings that hold every face of a picture.

        Raises FaceemoError for a model that judges change: nothing says which face is whose.
        """
        if self.judges_change:
            raise FaceemoError(
                "this model judges how a face differs from the same person's, and nothing says who is who among all "
                "faces of a picture; take a model of single pictures (normalize.baseline: none)"
            )
        return every_face(self.extract_settings)

    def answer(
        self, readings: Sequence[Reading], baselines: np.ndarray | Sequence[np.ndarray | None] | None = None
    ) -> list[Answer]:
        """What the model says of faces: an answer to each reading, also to those without a face.

        readings: of find_face, find_faces or an extraction.

        baselines: of mean_face or baseline_from, one for all faces, or one or None for each reading. By a model that
            judges change a face without one is not judged.
        Raises FaceemoError if a model takes no baseline and gets one, and if a probability is not finite.
        """
        each: Sequence[np.ndarray | None]
        each = [baselines] * len(readings) if baselines is None or isinstance(baselines, np.ndarray) else baselines
        judged = [
            index
            for index, (reading, baseline) in enumerate(zip(readings, each, strict=True))
            if reading.status == Status.OK and (baseline is not None or not self.judges_change)
        ]
        probability: dict[int, np.ndarray] = {}
        for some in batches(judged, FACES_AT_ONCE):
            inputs = self.inputs([readings[index] for index in some])
            stacked = None
            if baselines is not None:
                own = (each[index] for index in some)
                stacked = np.stack([self._ideal if one is None else one for one in own])
            probability.update(zip(some, self.probabilities(inputs, stacked), strict=True))
        return [
            Answer(reading, str(self.classes_[row.argmax()]), row)
            if (row := probability.get(index)) is not None
            else Answer(reading)
            for index, reading in enumerate(readings)
        ]

    def inputs(self, readings: Sequence[Reading]) -> dict[str, np.ndarray]:
        """What the network reads of N faces whose status is ok: arrays [N, ...] by the column of data/features."""
        read = {MESH: self.features, CROP: _crops}
        return {column: read[column](readings) for column in self.trained.columns}

    def left_to_start(self, readings: Sequence[Reading]) -> np.ndarray:
        """bool [N], of N readings whose status is ok: the faces that look more like those that the model which this one
        began as has learnt from, which therefore answers for them (docs/recipes.md).
        """
        if not readings or not isinstance(self._network, Deferring):
            return np.zeros(len(readings), bool)
        with torch.inference_mode():
            return self._network.left(torch.from_numpy(_crops(readings))).numpy()

    def features(self, readings: Sequence[Reading]) -> np.ndarray:
        """float32 [N, 1434] of N readings whose status is ok, without a baseline: the pipeline's, bit for bit."""
        found = np.empty((len(readings), COORDINATES), np.float32)
        for some in batches(list(range(len(readings))), FACES_AT_ONCE):
            landmarks = np.stack([readings[index].mesh for index in some])
            width, height = np.array([(readings[index].width, readings[index].height) for index in some]).T
            found[some] = normalize(landmarks, width, height, self.normalize_settings)
        return found

    def probabilities(self, inputs: Mapping[str, np.ndarray], baseline: np.ndarray | None = None) -> np.ndarray:
        """Calibrated probabilities float32 [N, classes] of what `inputs` gives for N faces.

        baseline: of `mean_face`, for all of them or [N, ...] for a person each.
        Raises FaceemoError if a baseline is missing or not taken, and if a probability is not finite.
        """
        self._check_baseline(baseline)
        if baseline is not None and self.judges_change and MESH in inputs:
            inputs = {**inputs, MESH: (inputs[MESH] - baseline).astype(np.float32)}
        logits = self._logits(inputs)
        if baseline is not None and not self.judges_change:
            changes = torch.from_numpy(baseline - self._ideal).unflatten(-1, (-1, len(self.classes_)))
            change = changes[..., 0, :]
            if isinstance(self._network, Deferring):  # what is left is set right by the start's neutral face
                left = self._network.left(torch.from_numpy(inputs[CROP]))
                change = torch.where(left[:, None], changes[..., 1, :], change)
            logits = logits - NEUTRAL_SHARE * change
        probability = logits.softmax(dim=1).numpy()
        if not np.isfinite(probability).all():  # NaN in predict_proba stands for "no face"
            raise FaceemoError("the model's probabilities are not finite numbers; train it again with 'dvc repro'")
        return probability

    def compared(self, readings: Sequence[Reading]) -> np.ndarray:
        """What of N readings whose status is ok a baseline is a mean of.

        float32 [N, 1434], features, for a model that judges change; for others [N, classes], logits over temperature,
        or twice as many: its own, and with the answers of the model that it began as.
        """
        if self.judges_change:
            return self.features(readings)
        inputs = self.inputs(readings)
        if not isinstance(self._network, Deferring):
            return self._logits(inputs).numpy()
        with torch.inference_mode():
            return (self._network.each(*self._columns(inputs)) / self.trained.temperature).flatten(1).numpy()

    def baseline_from(self, readings: Iterable[Reading]) -> np.ndarray:
        """As `mean_face`, of readings of the pictures."""
        found = [reading for reading in readings if reading.status == Status.OK]
        if not found:
            raise FaceemoError("no face found in the pictures of the neutral face; take others, lit from the front")
        return self.neutral_baseline(self.compared(found).mean(axis=0))

    def neutral_baseline(self, mean: np.ndarray) -> np.ndarray:
        """The baseline of one person from the mean of `compared` over neutral faces.

        That mean itself; but a model with `baseline: person` was trained on the mean of all of a person's faces, so
        how far neutral faces lay from that on average is taken off.
        """
        return mean if self.trained.neutral is None else mean - self.trained.neutral.numpy()

    def baseline_in_pixels(self, reading: Reading, baseline: np.ndarray) -> np.ndarray:
        """float64 [478, 2]: where a reading's landmarks would lie if its features were the baseline [1434].

        Features come from pixels by a linear map of the face's own, and that map takes the baseline there too.
        """
        ones = np.ones((LANDMARKS, 1))
        features = self.features([reading])
        here, there = (np.hstack([points.reshape(LANDMARKS, 3), ones]) for points in (features, baseline))
        to_pixels, *_ = np.linalg.lstsq(here, reading.points, rcond=None)
        return there @ to_pixels

    def _answers(self, pictures: PicturesLike, baseline: np.ndarray | None) -> list[Answer]:
        self._check_baseline(baseline)
        return self.answer(self._read(pictures), baseline)

    def _logits(self, inputs: Mapping[str, np.ndarray]) -> torch.Tensor:
        """float32 [N, classes], divided by the temperature."""
        with torch.inference_mode():
            return self._network(*self._columns(inputs)) / self.trained.temperature

    def _columns(self, inputs: Mapping[str, np.ndarray]) -> list[torch.Tensor]:
        return [torch.from_numpy(inputs[column]) for column in self.trained.columns]

    @property
    def _ideal(self) -> np.ndarray:
        """float32, the baseline of a model of single pictures that changes nothing."""
        ideal = (self.classes_ == NEUTRAL).astype(np.float32)
        return np.tile(ideal, 1 if self.trained.start is None else 2)

    def _check_baseline(self, baseline: np.ndarray | None) -> None:
        if baseline is None and self.judges_change:
            raise FaceemoError(
                "this model judges how a face differs from the same person's: it needs a baseline (mean_face)"
            )
        if baseline is not None and not self.takes_baseline:
            raise FaceemoError(NO_NEUTRAL.format("this model"))
        width = COORDINATES if self.judges_change else len(self._ideal)
        if baseline is not None and baseline.shape[-1] != width:
            raise FaceemoError("this baseline is of another model: take it anew with mean_face")

    def _read(self, pictures: PicturesLike) -> list[Reading]:
        several = cast(Iterable[PictureLike], [pictures] if is_one(pictures) else pictures)
        return [self.find_face(picture) for picture in several]


def _crops(readings: Sequence[Reading]) -> np.ndarray:
    """uint8 [N, side, side] of readings whose status is ok."""
    return np.stack([cast(np.ndarray, reading.crop) for reading in readings])


def default_model() -> Path:
    """models/emotion.pt where it is, else the model that comes along."""
    return MODEL_FILE if MODEL_FILE.exists() else COMES_ALONG_FILE


def engines_of_training(trained: TrainedModel) -> list[str]:
    """The engines that found the landmarks a model was trained on."""
    sources = trained.settings.get("sources") or {"": trained.settings["extract"]}
    return sorted({engine_of(source) for source in sources.values()})


def engine_note(model: EmotionModel) -> str | None:
    """A note for people if landmarks are found by another engine than in the model's training, None if they are not.

    Raises FaceemoError if no engine is installed.
    """
    engine = choose_engine(model.extract_settings.engine)
    if engine in model.engines:
        return None
    return (
        f"note: the model was trained on landmarks by {' and '.join(model.engines)}, here {engine} finds them: they "
        f"differ by {ENGINE_DISTANCE} % of the distance between the irises"
    )
