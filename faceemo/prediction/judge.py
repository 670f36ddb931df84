"""Trained models judged on labelled pictures that they have not seen, and compared with each other."""

import itertools
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from sklearn.metrics import confusion_matrix

from faceemo.emotions import class_text
from faceemo.errors import FaceemoError
from faceemo.extraction.facemesh import COORDINATES
from faceemo.extraction.people import EACH, subject_reader
from faceemo.extraction.worker import Reading, batches
from faceemo.features.baselines import Faces, fit_baselines
from faceemo.prediction.baselines import PeoplesBaselines, tell_whose
from faceemo.prediction.inputs import Input
from faceemo.prediction.intervals import Judged, differences_over_people, intervals_over_people, log_losses
from faceemo.prediction.labelled import LabelledPictures
from faceemo.prediction.predict import EmotionModel
from faceemo.status import Status
from faceemo.training import evaluate
from faceemo.training.targets import Targets

BLOCK = 1024  # faces that are normalised or judged at once
TRUTHS = ("label", "majority")  # that of folder, table or archive; that of the raters
METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "calibration_error")

BaselineOf = Callable[[int, np.ndarray], np.ndarray | None]  # of a picture and its features [1434]: [1434], or None


@dataclass(frozen=True)
class Question:
    """What a model is asked of N pictures.

    targets: by the model's classes. seen: bool [N], of people that it was trained on. asked: bool [N], those to judge.
    """

    name: str
    model: EmotionModel
    targets: Targets
    seen: np.ndarray
    asked: np.ndarray

    def needed(self, pictures: LabelledPictures, given_neutral: bool) -> np.ndarray:
        """bool [N]: the pictures to read, those that baselines are made of among them."""
        kind = self.model.normalize_settings.baseline
        if kind == "none" or given_neutral:
            return self.asked
        same_people = np.isin(pictures.person, pictures.person[self.asked])
        return self.asked | (same_people & (pictures.neutral if kind == "neutral" else True))

    def truth(self, name: str) -> np.ndarray:
        """int64 [N]: the class of each picture by one of TRUTHS, below 0 for none."""
        return self.targets.archive if name == "label" else self.targets.majority


@dataclass(frozen=True)
class Answer:
    """What a model said of N pictures: status of those asked, "" for others; probability [N, classes], NaN without."""

    question: Question
    status: np.ndarray
    probability: np.ndarray

    @property
    def judged(self) -> np.ndarray:
        """bool [N]"""
        return self.status == Status.OK


def ask(name: str, model: EmotionModel, pictures: LabelledPictures, with_seen: bool) -> Question:
    """The question to a model of this name about pictures of the classes that it knows.

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
    return Question(name, model, targets, seen, asked)


def answer(
    question: Question, pictures: LabelledPictures, readings: list[Reading | None], given: BaselineOf | None
) -> Answer:
    """What the model says. given: the baselines from --neutral; without, they are those of the pictures themselves.

    readings: of the pictures needed, at least.
    """
    model = question.model
    status = np.full(len(pictures), "", object)
    for index in np.flatnonzero(question.asked):
        status[index] = readings[index].status
    probability = np.full((len(pictures), len(model.classes_)), np.nan, np.float32)
    read = question.needed(pictures, given is not None)
    faces = np.array([i for i in np.flatnonzero(read) if readings[i].status == Status.OK], np.int64)
    features = np.empty((len(faces), COORDINATES), np.float32)
    for rows in batches(list(range(len(faces))), BLOCK):
        features[rows] = model.features(*(readings[faces[row]] for row in rows))
    baselines = _baselines(model, pictures, faces, features, given)
    chosen = [row for row, index in enumerate(faces) if question.asked[index]]
    known = {} if baselines is None else {row: one for row, one in enumerate(baselines) if one is not None}
    without = [row for row in chosen if baselines is not None and row not in known]
    status[faces[without]] = Status.NO_BASELINE
    for rows in batches([row for row in chosen if status[faces[row]] == Status.OK], BLOCK):
        compared = None if baselines is None else np.stack([known[row] for row in rows])
        probability[faces[rows]] = model.judge(features[rows], compared)
    return Answer(question, status, probability)


def _baselines(
    model: EmotionModel, pictures: LabelledPictures, faces: np.ndarray, features: np.ndarray, given: BaselineOf | None
) -> list[np.ndarray | None] | None:
    """[1434] for each face, None for one without; None altogether for a model of single pictures."""
    if not model.judges_change:
        return None
    if given is not None:
        return [given(index, row) for index, row in zip(faces.tolist(), features, strict=True)]
    subjects = [
        subject if known else None
        for subject, known in zip(pictures.subject[faces], pictures.is_known[faces], strict=True)
    ]
    found = Faces(subjects, features, pictures.neutral[faces], pictures.denied[faces])
    baselines = fit_baselines([found], model.normalize_settings)
    return None if baselines is None else baselines.of(found)


def given_baselines(
    model: EmotionModel,
    pictures: LabelledPictures,
    inputs: Iterable[Input],
    subject: Callable[[Input], str | None],
) -> BaselineOf:
    """The baselines from pictures of neutral faces, as read_baselines has them; no picture counts in its own.

    subject: who is in an input.
    """
    entries = [replace(entry, path=_same_place(entry.path), subject=subject(entry)) for entry in inputs]
    one_person = not tell_whose(entries)
    if one_person:
        entries = [replace(entry, subject="") for entry in entries]
    baselines = PeoplesBaselines(model, entries)

    def baseline(index: int, features: np.ndarray) -> np.ndarray | None:
        person = "" if one_person else pictures.subject[index]
        return baselines.of(person, _same_place(pictures.place(index)), features)

    return baseline


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


def judge(answer: Answer, pictures: LabelledPictures) -> dict:
    """How good the answers are, as plain numbers: by what folder, table or archive say, and by the raters' majority."""
    question = answer.question
    left = ~question.targets.judged
    seen = question.targets.judged & question.seen
    return evaluate.plain(
        {
            "classes": list(question.model.trained.classes),
            "members": question.model.members,
            "unknown_classes": dict(sorted(Counter(pictures.emotion[left]).items())),
            "seen": {
                "known": question.model.trained.people is not None,
                "people": len(set(pictures.person[seen])),
                "pictures": int(seen.sum()),
                "judged": bool((seen & question.asked).any()),
            },
            "status": {name: int((answer.status == name).sum()) for name in Status},
            **{truth: _judge(answer, question.truth(truth), pictures.person) for truth in TRUTHS},
        }
    )


def _judge(answer: Answer, truth: np.ndarray, person: np.ndarray) -> dict | None:
    """None where no picture asked has a class in truth [N]."""
    asked = answer.question.asked & (truth >= 0)
    if not asked.any():
        return None
    faces = np.flatnonzero(asked & answer.judged)
    classes = answer.question.model.trained.classes
    target, probability, who = truth[faces], answer.probability[faces], person[faces]
    predicted = probability.argmax(axis=1)
    found = {"pictures": len(faces), "people": len(set(who)), **evaluate.summary(probability, target, classes)}
    counts = confusion_matrix(target, predicted, labels=range(len(classes))).tolist() if len(faces) else []
    recalls = found.pop("per_class")
    intervals = intervals_over_people(target, predicted, log_losses(probability, target), who, len(classes))
    for (name, one), interval in zip(recalls.items(), intervals.pop("recall"), strict=True):
        recalls[name] = {**one, "recall_interval": interval}
    right = np.count_nonzero(predicted == target)
    return {
        **found,
        **{f"{metric}_interval": interval for metric, interval in intervals.items()},
        "per_class": recalls,
        "confusion": counts,
        "all_pictures": {"pictures": int(asked.sum()), "accuracy": right / int(asked.sum())},
    }


def compare(answers: list[Answer], pictures: LabelledPictures) -> dict:
    """Several models on the pictures that all of them judge, and what each has more than the first, by TRUTHS."""
    found = {}
    for truth in TRUTHS:
        faces = np.flatnonzero(np.all([one.judged & (one.question.truth(truth) >= 0) for one in answers], axis=0))
        found[truth] = _compare(answers, truth, faces, pictures.person[faces]) if len(faces) else None
    return evaluate.plain(found)


def _compare(answers: list[Answer], truth: str, faces: np.ndarray, person: np.ndarray) -> dict:
    """On these faces [F] of these people [F]."""
    models, judged = {}, {}
    for one in answers:
        target, probability = one.question.truth(truth)[faces], one.probability[faces]
        summary = evaluate.summary(probability, target, one.question.model.trained.classes)
        models[one.question.name] = {metric: summary[metric] for metric in METRICS}
        right = probability.argmax(axis=1) == target
        judged[one.question.name] = Judged(target, right, log_losses(probability, target))
    first, *others = judged
    differences = {name: differences_over_people(judged[first], judged[name], person) for name in others}
    return {"pictures": len(faces), "people": len(set(person)), "models": models, "differences": differences}
