"""A trained model on new faces.

from faceemo import EmotionModel

model = EmotionModel.load("models/emotion.pt")
model.predict("photo.jpg")          # "anxious", or None where no face is found
model.predict_proba([image, rgb])   # float32 [2, classes], in the order of model.classes_
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch

from faceemo.errors import FaceemoError
from faceemo.extraction.engines.choice import ENGINE_DISTANCE, choose_engine, installed_engines
from faceemo.extraction.facemesh import LANDMARKS
from faceemo.extraction.worker import Reading
from faceemo.features.geometry import normalize
from faceemo.features.normalize import engine_of
from faceemo.params import ExtractParams, NormalizeParams, parse_section
from faceemo.paths import MODEL_FILE
from faceemo.prediction.inputs import Input
from faceemo.prediction.readings import Picture, Pictures, is_one, read
from faceemo.status import Status
from faceemo.training.model import TrainedModel, load_model

BATCH = 16  # faces that go through the network together

BaselineOf = Callable[[Input, np.ndarray], np.ndarray | None]  # of an input and its features [1434]: [1434], or None


class EmotionModel:
    """A trained emotion classifier for pictures, with the landmarks and the normalisation of the pipeline inside.

    classes_: str [classes], the emotions in the order of the probabilities.
    members: the emotions that make up each class, by its name: of a group several.
    judges_change: the model was trained with a `normalize.baseline`: it judges by how a face differs from the same
        person's neutral face, or mean face, the `baseline` of the methods here.
    engines: those that found the landmarks of its training; one of them finds them here if it is installed.
    Safe to use from several threads.
    """

    def __init__(self, trained: TrainedModel) -> None:
        """Raises FaceemoError if the parts of the model do not fit each other."""
        extract = trained.settings["extract"]["settings"]
        self.engines = engines_of_training(trained)
        engine = next((engine for engine in installed_engines() if engine in self.engines), "auto")
        extract = {**extract, "engine": engine, "scheduler": None}
        self.extract_settings: ExtractParams = parse_section(ExtractParams, extract, "the model")
        self.normalize_settings: NormalizeParams = parse_section(
            NormalizeParams, trained.settings["normalize"], "the model"
        )
        self.trained = trained
        self.classes_ = np.array(trained.classes)
        self.members = trained.members
        self.judges_change = self.normalize_settings.baseline != "none"
        self._network = trained.build()

    @classmethod
    def load(cls, path: str | Path = MODEL_FILE) -> "EmotionModel":
        """Read a model file that `dvc repro` wrote; needs no GPU.

        Raises FaceemoError if it is missing, no model, or one of another version of faceemo.
        """
        trained = load_model(Path(path))
        try:
            return cls(trained)
        except (FaceemoError, AttributeError, KeyError, TypeError):  # settings of another version
            raise FaceemoError(
                f"{path}: not a model of this version of faceemo; train it again with 'dvc repro'"
            ) from None

    def predict(self, pictures: Pictures, baseline: np.ndarray | None = None) -> str | np.ndarray | None:
        """The emotion of the largest face.

        pictures: one picture or several, of any sizes: paths of files, Pillow images, or arrays, upright, uint8
            [height, width, 3], RGB, or [height, width], grey.
        baseline: see `mean_face`; only for a model that judges change.
        Returns a class, None where no face is found; for several pictures an object array of these.
        Raises FaceemoError for a file that cannot be read, ValueError for another array, TypeError for anything else.
        """
        probability = self.predict_proba(pictures, baseline)
        if probability.ndim == 1:
            return self.label(probability)
        return np.array([self.label(row) for row in probability], object)

    def predict_proba(self, pictures: Pictures, baseline: np.ndarray | None = None) -> np.ndarray:
        """Calibrated probabilities of the largest face, float32 [classes], or [pictures, classes]; NaN for no face.

        pictures, baseline: as for `predict`.
        """
        readings = self._find_faces(pictures)
        probability = np.full((len(readings), len(self.classes_)), np.nan, np.float32)
        found = [index for index, reading in enumerate(readings) if reading.status == Status.OK]
        if found:
            probability[found] = self.judge(self.features(*(readings[index] for index in found)), baseline)
        return probability[0] if is_one(pictures) else probability

    def mean_face(self, pictures: Pictures) -> np.ndarray:
        """The baseline of one person from pictures of their neutral face: float32 [1434].

        pictures: as for `predict`. Raises FaceemoError if no face is found in any of them.
        """
        return self.baseline_from(self._find_faces(pictures))

    def baseline_from(self, readings: Iterable[Reading]) -> np.ndarray:
        """As `mean_face`, of readings of the pictures."""
        found = [reading for reading in readings if reading.status == Status.OK]
        if not found:
            raise FaceemoError("no face found in the pictures of the neutral face; take others, lit from the front")
        return self.neutral_baseline(self.features(*found).mean(axis=0))

    def neutral_baseline(self, features: np.ndarray) -> np.ndarray:
        """The baseline of one person from the features [1434] of their neutral face, or the mean of some.

        That mean itself; but a model with `baseline: person` was trained on the mean of all of a person's faces, so
        how far neutral faces lay from that on average is taken off.
        """
        return features if self.trained.neutral is None else features - self.trained.neutral.numpy()

    def find_face(self, picture: Picture) -> Reading:
        """The landmarks of the largest face of one picture, given and refused as for `predict`.

        A Reading: status, "ok" or "no_face"; width and height of the upright picture; landmarks, float32 [1434].
        """
        return read(picture, self.extract_settings)

    def _find_faces(self, pictures: Pictures) -> list[Reading]:
        several = cast(Iterable[Picture], [pictures] if is_one(pictures) else pictures)
        return [self.find_face(picture) for picture in several]

    def features(self, *readings: Reading) -> np.ndarray:
        """float32 [readings, 1434] of readings whose status is ok, without a baseline: the pipeline's, bit for bit."""
        landmarks = np.stack([reading.mesh for reading in readings])
        width, height = np.array([(reading.width, reading.height) for reading in readings]).T
        return normalize(landmarks, width, height, self.normalize_settings)[0]

    def judge(self, features: np.ndarray, baseline: np.ndarray | None = None) -> np.ndarray:
        """Probabilities float32 [N, classes] of features [N, 1434] without a baseline.

        baseline: [1434], or [N, 1434] for a person each. A model that judges change needs one, others take none.
        Raises FaceemoError if a baseline is missing or not taken, and if a probability is not finite.
        """
        if self.judges_change != (baseline is not None):
            raise FaceemoError(
                "this model judges how a face differs from the same person's: it needs a baseline (mean_face)"
                if self.judges_change
                else "this model judges single pictures: it takes no baseline"
            )
        if baseline is not None:
            features = (features - baseline).astype(np.float32)
        with torch.inference_mode():
            logits = self._network((torch.from_numpy(features) - self.trained.mean) / self.trained.std)
            probability = (logits / self.trained.temperature).softmax(dim=1).numpy()
        if not np.isfinite(probability).all():  # NaN stands for "no face" in what is told of a picture
            raise FaceemoError("the model's probabilities are not finite numbers; train it again with 'dvc repro'")
        return probability

    def label(self, probability: np.ndarray) -> str | None:
        """The class of probabilities [classes]; None if they are NaN."""
        return None if np.isnan(probability[0]) else str(self.classes_[probability.argmax()])


def engines_of_training(trained: TrainedModel) -> list[str]:
    """The engines that found the landmarks a model was trained on."""
    sources = trained.settings.get("sources") or {"": trained.settings["extract"]}
    return sorted({engine_of(source) for source in sources.values()})


def engine_note(model: EmotionModel) -> str | None:
    """What to know where another engine finds landmarks than in a model's training; None where it is the same.

    Raises FaceemoError if no engine is installed.
    """
    engine = choose_engine(model.extract_settings.engine)
    if engine in model.engines:
        return None
    return (
        f"note: the model was trained on landmarks by {' and '.join(model.engines)}, here {engine} finds them: they "
        f"differ by {ENGINE_DISTANCE} % of the distance between the irises"
    )


def check_every_face(model: EmotionModel) -> None:
    """Raises FaceemoError for a model that judges change: nothing tells which face is whose."""
    if model.judges_change:
        raise FaceemoError(
            "this model judges how a face differs from the same person's, and nothing tells who is who among all faces "
            "of a picture; take a model of single pictures (normalize.baseline: none)"
        )


@dataclass(frozen=True)
class Prediction:
    """A face of an input, or an input without any, and what the model says of it.

    label, probability: None unless a face was judged; float32 [classes].
    """

    input: Input
    label: str | None = None
    probability: np.ndarray | None = None

    @property
    def status(self) -> str:
        """That of the reading, or `no_baseline` for a face that was found and not judged."""
        found = self.input.reading.status
        return Status.NO_BASELINE if found == Status.OK and self.label is None else found

    @property
    def box(self) -> tuple[float, float, float, float] | None:
        """left, top, right, bottom of the face's landmarks, in pixels of the upright picture; None without a face."""
        return self.input.reading.box if self.face else None

    @property
    def face(self) -> int | None:
        """Which of its picture's faces this is, 1 the largest; None without a face."""
        reading = self.input.reading
        return reading.face if reading.status == Status.OK else None


def predict_inputs(
    model: EmotionModel, inputs: Iterable[Input], baseline_of: BaselineOf | None = None
) -> Iterator[Prediction]:
    """A prediction for every face of every input and for every input without one, in order, the largest face first.

    baseline_of: for a model that judges change: what each face is compared with; a face without is not judged.
    """
    faces = (face for entry in inputs for face in _each_face(entry))
    while batch := list(itertools.islice(faces, BATCH)):
        found = [entry for entry in batch if entry.reading.status == Status.OK]
        probabilities = iter(_judge_faces(model, found, baseline_of))
        for entry in batch:
            probability = next(probabilities) if entry.reading.status == Status.OK else None
            label = None if probability is None else model.label(probability)
            yield Prediction(entry, label, probability)


def by_picture(predictions: Iterable[Prediction]) -> Iterator[list[Prediction]]:
    """The predictions of each picture or frame together."""
    group: list[Prediction] = []
    for prediction in predictions:
        if group and prediction.face in (None, 1):
            yield group
            group = []
        group.append(prediction)
    if group:
        yield group


def _each_face(entry: Input) -> Iterator[Input]:
    for reading in entry.reading.each_face():
        yield entry if reading is entry.reading else replace(entry, reading=reading)


def _judge_faces(
    model: EmotionModel, found: list[Input], baseline_of: BaselineOf | None
) -> Sequence[np.ndarray | None]:
    """Probabilities [classes] of inputs with a face, None for one without a baseline."""
    if not found:
        return []
    features = model.features(*(entry.reading for entry in found))
    if baseline_of is None:
        return list(model.judge(features))
    baselines = [baseline_of(entry, row) for entry, row in zip(found, features, strict=True)]
    known = {index: baseline for index, baseline in enumerate(baselines) if baseline is not None}
    probabilities: list[np.ndarray | None] = [None] * len(found)
    if known:
        judged = model.judge(features[list(known)], np.stack(list(known.values())))
        for index, probability in zip(known, judged, strict=True):
            probabilities[index] = probability
    return probabilities


def baseline_in_pixels(reading: Reading, features: np.ndarray, baseline: np.ndarray) -> np.ndarray:
    """float64 [478, 2]: where the landmarks of a reading would lie if its features [1434] were the baseline [1434].

    Features come from pixels by a linear map of the face's own, so that map is what takes the baseline there.
    """
    ones = np.ones((LANDMARKS, 1))
    here, there = (np.hstack([points.reshape(LANDMARKS, 3), ones]) for points in (features, baseline))
    to_pixels, *_ = np.linalg.lstsq(here, reading.points, rcond=None)
    return there @ to_pixels
