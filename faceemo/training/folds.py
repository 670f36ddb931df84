"""Settings compared on people that the network has not seen, over folds of people and several seeds."""

import contextlib
import dataclasses
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import softmax
from sklearn.model_selection import StratifiedGroupKFold

from faceemo.console import progress
from faceemo.errors import FaceemoError
from faceemo.params import Params
from faceemo.training.dataset import Dataset, load_dataset, load_inputs
from faceemo.training.lines import TRUTHS, words_of
from faceemo.training.metrics import Outcome, differences, log_losses, plain, score
from faceemo.training.recipe import RECIPES, Inputs
from faceemo.training.train import load_start, network_of, seen_note, train

METRICS = ("accuracy", "balanced_accuracy", "macro_f1")

# From a dataset to logits float32 [N, classes] of its N faces, learnt from its train split; those need not be answered.
FitPredict = Callable[[Dataset], np.ndarray]


def over_folds(dataset: Dataset, fit_predict: FitPredict, folds: int, seed: int) -> np.ndarray:
    """Logits float32 [N, classes] of each face by a network that learnt from the people of the other folds.

    fit_predict: is given the dataset with one fold as its test split and everybody else in train.
    seed: decides who is in which fold.
    Faces of unknown people are learnt from every time, and their logits are NaN.
    Raises FaceemoError if there are fewer people, or fewer faces of each class, than folds.
    """
    subject = dataset.column("subject")
    known = np.flatnonzero(subject != None)  # noqa: E711 - elementwise
    people = len(set(subject[known]))
    if people < folds:
        raise FaceemoError(f"{people} people cannot be put into {folds} folds; lower --folds")
    stratify = dataset.targets.named[known]
    most = int(np.unique(stratify, return_counts=True)[1].max())
    if most < folds:
        raise FaceemoError(f"{most} pictures of a class cannot be put into {folds} folds; lower --folds")
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")  # it is then missing in some folds
        parts = [known[fold] for _, fold in splitter.split(known, stratify, subject[known])]
    logits = np.full((len(subject), len(dataset.classes)), np.nan, np.float32)
    for fold in parts:
        split = np.full(len(dataset.split), "train", object)
        split[dataset.row_of[fold]] = "test"
        logits[fold] = fit_predict(dataclasses.replace(dataset, split=split))[fold]
    return logits


def trainer(inputs: Inputs, params: Params, after_epoch: Callable[[], None] = lambda: None) -> FitPredict:
    """What trains as the stage does, without a word; inputs: of the dataset's faces."""

    def fit_predict(dataset: Dataset) -> np.ndarray:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            training = train(dataset, inputs, params, None, lambda history: after_epoch())
        return training.answering(inputs, params.train.class_weights).logits

    return fit_predict


@dataclass(frozen=True)
class FoldRun:
    """What networks of several seeds said of N faces."""

    logits: np.ndarray
    """float32 [seeds, N, classes], NaN for faces of unknown people."""
    subject: np.ndarray
    """object [N]"""
    truths: dict[str, np.ndarray]
    """By their names, int64 [N], the class of each face, below 0 for none."""
    classes: tuple[str, ...]

    def faces(self, truth: str) -> np.ndarray:
        """int64, indices of the faces of known people that have a class in a truth."""
        return np.flatnonzero((self.truths[truth] >= 0) & ~np.isnan(self.logits[0, :, 0]))

    def scores(self, truth: str) -> dict[str, float]:
        """METRICS, the mean over the seeds, and with `_std` its standard deviation."""
        faces = self.faces(truth)
        probability, target = softmax(self.logits[:, faces], axis=2), self.truths[truth][faces]
        found = [score(one, target, self.subject[faces], self.classes) for one in probability]
        values = {name: np.array([one[name] for one in found]) for name in METRICS}
        means = {name: float(several.mean()) for name, several in values.items()}
        spread = {
            f"{name}_std": float(several.std(ddof=1)) if len(several) > 1 else 0.0 for name, several in values.items()
        }
        return {**means, **spread}

    def outcome(self, truth: str) -> Outcome:
        """How often each of `faces` was right over the seeds, and its mean log loss."""
        faces = self.faces(truth)
        target, logits = self.truths[truth][faces], self.logits[:, faces]
        losses = [log_losses(one, target) for one in softmax(logits, axis=2)]
        return Outcome(target, (logits.argmax(axis=2) == target).mean(axis=0), np.mean(losses, axis=0))


def compare_over_folds(features_folder: Path, settings: dict[str, Params], folds: int, seeds: int) -> dict:
    """Score each of these parameters by its name over folds of people, the first of them beside the others.

    They may differ in what the stage train reads but for emotions and split. Returns what folds.json holds: for each
    truth (`archive`, what archive, folder or table names; `majority` of the raters, where there are any) the scores by
    name, and for the others their differences to the first, mean, low and high.
    """
    runs: dict[str, FoldRun] = {}
    datasets = {
        name: load_dataset(features_folder, params.emotions, None, params.labels) for name, params in settings.items()
    }
    for name, params in settings.items():
        start = load_start(params)
        if start is not None and (note := seen_note(start, datasets[name].column("subject"), "people of the folds")):
            print(f"{name}: {note}", flush=True)
    epochs = sum(params.epochs for params in settings.values()) * seeds * folds
    with progress(epochs, "folds", "epochs") as advance:
        for name, params in settings.items():
            dataset = datasets[name]
            inputs = load_inputs(features_folder, dataset, RECIPES[network_of(dataset, params)].columns)
            logits = [
                over_folds(
                    dataset, trainer(inputs, dataclasses.replace(params, seed=seed), lambda: advance(1)), folds, seed
                )
                for seed in range(params.seed, params.seed + seeds)
            ]
            truths = {"archive": dataset.targets.named, "majority": dataset.targets.majority}
            runs[name] = FoldRun(np.array(logits), dataset.column("subject"), truths, dataset.classes)
    first, *others = runs
    found = {}
    for truth in ("archive", "majority"):
        faces = runs[first].faces(truth)
        if not len(faces):
            continue
        people, before = runs[first].subject[faces], runs[first].outcome(truth)
        compared = {name: differences(before, runs[name].outcome(truth), people) for name in others}
        found[truth] = {
            "images": len(faces),
            "people": len(set(people)),
            "settings": {name: run.scores(truth) for name, run in runs.items()},
            "differences": {
                name: {metric: one[metric] for metric in ("accuracy", "balanced_accuracy")}
                for name, one in compared.items()
            },
        }
    return plain({"folds": folds, "seeds": seeds, "truths": found})


def fold_lines(result: dict) -> list[str]:
    """What compare_over_folds found, as lines for the terminal."""
    lines = []
    for truth, entry in result["truths"].items():
        width = max(map(len, entry["settings"]))
        size = f"{entry['people']} people, {entry['images']} pictures, {result['seeds']} seeds"
        lines.append(f"{result['folds']} folds of {size}: mean and std over seeds, against {TRUTHS[truth]}")
        for name, found in entry["settings"].items():
            words = [f"{words_of(metric)} {found[metric]:.3f} ({found[f'{metric}_std']:.3f})" for metric in METRICS]
            lines.append(f"  {name:{width}}  {'  '.join(words)}")
        for name, found in entry["differences"].items():
            words = [
                f"{words_of(metric)} {mean:+.3f} [{low:+.3f}, {high:+.3f}]"
                for metric, (mean, low, high) in found.items()
            ]
            lines.append(f"  {name} minus {next(iter(entry['settings']))}, 95 % over people: {'  '.join(words)}")
    return lines
