"""What a network learnt from few people knows of others, and of the pictures of other projects (train.start).

    python -m tests.benchmarks.starts [--people N] [--draws 5] [--rounds 1] [--across PROJECT ...]
        --settings train.network=mlp_dropout "train.network=both train.start=faceemo lr=0.0003" ...

In a project whose features are made. Each settings, KEY=VALUE pairs of params.yaml, is trained on N people drawn anew
for each of the draws (the same ones for all settings), or on the people of all folds but one, and judged on everybody
else, in each of the rounds with other people and seeds: as folder, table or archive names the pictures, and as most
raters saw them. A picture counts by the share of the networks that did not learn from its person which are right.
Differences to the first settings are paired, with 95 % intervals over people. --across: other projects with features;
their pictures of classes with the same names are judged by every model, without the class shares that it learnt; beside
it the network alone, without the start that it keeps, and the start itself. --neutral: every picture is judged once
more beside the other neutral ones of its person, and that is compared with the same network without.
"""

import argparse
import contextlib
import dataclasses
import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from scipy.special import log_softmax
from sklearn.model_selection import StratifiedGroupKFold

from faceemo.emotions import NEUTRAL
from faceemo.params import Params, load_params
from faceemo.paths import FEATURES_FOLDER, PARAMS_FILE
from faceemo.prediction.model import NEUTRAL_SHARE
from faceemo.training.dataset import Dataset, load_dataset, load_inputs
from faceemo.training.metrics import Outcome, differences, score
from faceemo.training.model import Deferring, TrainedModel, load_model, model_file
from faceemo.training.recipe import RECIPES, Inputs
from faceemo.training.train import network_of, predict_logits, train

TRUTHS = ("named", "majority")
MOST = 3000  # pictures of another project that are judged


@dataclass
class Runs:
    """How often each of N pictures was right and its mean log loss, by a truth."""

    count: np.ndarray
    right: np.ndarray
    loss: np.ndarray

    def add(self, logits: np.ndarray, faces: np.ndarray, target: np.ndarray) -> None:
        """Count the answers to these faces, NaN for none, where a face has a class in target [N]."""
        judged = (target[faces] >= 0) & ~np.isnan(logits[:, 0])
        faces, wanted, logits = faces[judged], target[faces][judged], logits[judged]
        self.count[faces] += 1
        self.right[faces] += logits.argmax(axis=1) == wanted
        self.loss[faces] -= log_softmax(logits, axis=1)[np.arange(len(faces)), wanted]

    def outcome(self, target: np.ndarray) -> Outcome:
        faces = self.count > 0
        count = self.count[faces]
        return Outcome(target[faces], self.right[faces] / count, self.loss[faces] / count)


@dataclass(frozen=True)
class Elsewhere:
    """The test pictures of another project."""

    name: str
    dataset: Dataset
    inputs: Inputs
    faces: np.ndarray


def read_elsewhere(project: Path) -> Elsewhere:
    """Its test split where folders make it, without pictures whose person is in training too; else everybody."""
    with contextlib.chdir(project):
        params = load_params()
        by_folder = params.split.by == "folder"
        dataset = load_dataset(FEATURES_FOLDER, params.emotions, params.split if by_folder else None, params.labels)
        inputs = load_inputs(FEATURES_FOLDER, dataset, RECIPES["both"].columns)
    faces = np.arange(len(dataset.row_of))
    if by_folder:
        known = set(dataset.column("subject")[dataset.train])
        faces = dataset.indices("test", dataset.targets.learnt)
        faces = faces[[one not in known for one in dataset.column("subject")[faces]]]
    return Elsewhere(project.name, dataset, inputs, np.random.default_rng(0).permutation(faces)[:MOST])


def splits(dataset: Dataset, people: int | None, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Indices of the faces to learn from: of so many people each time, or of all folds but one."""
    subject = dataset.column("subject")
    if people is None:
        splitter = StratifiedGroupKFold(draws, shuffle=True, random_state=seed)
        for learnt, _ in splitter.split(subject, dataset.targets.named, subject):
            yield learnt
        return
    random, everybody = np.random.default_rng(seed), sorted(set(subject))
    for _ in range(draws):
        yield np.flatnonzero(np.isin(subject, random.choice(everybody, people, replace=False)))


def learn(dataset: Dataset, inputs: Inputs, params: Params, learnt: np.ndarray) -> TrainedModel:
    split = np.full(len(dataset.split), "test", object)
    split[dataset.row_of[learnt]] = "train"
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        model = train(dataclasses.replace(dataset, split=split), inputs, params, None).model
    return model.balanced() if params.train.class_weights else model


def answers(model: TrainedModel, inputs: Inputs, faces: np.ndarray) -> np.ndarray:
    columns = [torch.from_numpy(np.ascontiguousarray(inputs[name][faces])) for name in model.columns]
    return predict_logits(model.predictor(), columns, torch.arange(len(faces))).numpy()


@torch.no_grad()
def beside_neutral(
    model: TrainedModel, inputs: Inputs, faces: np.ndarray, subject: np.ndarray, neutral: np.ndarray
) -> np.ndarray:
    """Logits [N, classes] of faces, corrected by their person's other neutral pictures as EmotionModel does; NaN
    without one. subject, neutral: [N], of these faces.
    """
    each = [answers(dataclasses.replace(model, start=None), inputs, faces)] * 2
    left = np.zeros(len(faces), bool)
    predictor = model.predictor()
    if isinstance(predictor, Deferring):
        columns = [torch.from_numpy(np.ascontiguousarray(inputs[name][faces])) for name in model.columns]
        each = list(predictor.each(*columns).unbind(1))
        left = predictor.left(columns[predictor.crop]).numpy()
    corrected, ideal = np.full(each[0].shape, np.nan, np.float32), np.array(model.classes) == NEUTRAL
    for index, person in enumerate(subject):
        own = np.flatnonzero(neutral & (subject == person))
        own = own[own != index]
        if len(own):
            logits = np.asarray(each[int(left[index])])
            corrected[index] = logits[index] - NEUTRAL_SHARE * (logits[own].mean(axis=0) - ideal)
    return corrected


def across(model: TrainedModel, place: Elsewhere) -> tuple[float, float]:
    """Accuracy and balanced accuracy on another project, by the majority of raters where there are any."""
    learnt = place.dataset.targets.learnt[place.faces]
    names = np.array(place.dataset.classes)[learnt]
    faces = np.isin(names, model.classes) & (learnt >= 0)
    target = np.array([model.classes.index(name) for name in names[faces]])
    logits = answers(model.balanced(), place.inputs, place.faces[faces])
    found = score(np.exp(log_softmax(logits, axis=1)), target, np.arange(len(target)).astype(str), model.classes)
    return found["accuracy"], found["balanced_accuracy"]


def print_difference(what: str, before: Runs, after: Runs, target: np.ndarray, subject: np.ndarray) -> None:
    """On the pictures that both judge."""
    both = (before.count > 0) & (after.count > 0)
    if not both.any():
        return
    first, other = (
        dataclasses.replace(one, count=np.where(both, one.count, 0)).outcome(target) for one in (before, after)
    )
    told = [
        f"{name} {mean:+.3f} [{low:+.3f}, {high:+.3f}]"
        for name, (mean, low, high) in differences(first, other, subject[both]).items()
    ]
    print(f"    {what}: {other.right.mean():.3f} of {both.sum()}: {', '.join(told)}", flush=True)


def said(place: Elsewhere, values: tuple[float, float]) -> str:
    return f"{place.name} {values[0]:.3f} balanced {values[1]:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", nargs="+", required=True)
    parser.add_argument("--people", type=int)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--neutral", action="store_true")
    parser.add_argument("--across", nargs="+", type=Path, default=[])
    args = parser.parse_args()
    places = [read_elsewhere(project.resolve()) for project in args.across]
    runs: dict[str, dict[str, Runs]] = {}
    for settings in args.settings:
        pairs = (pair.split("=", 1) for pair in settings.split())
        params = load_params(PARAMS_FILE, {key: yaml.safe_load(value) for key, value in pairs})
        dataset = load_dataset(FEATURES_FOLDER, params.emotions, None, params.labels)
        inputs = load_inputs(FEATURES_FOLDER, dataset, RECIPES[network_of(dataset, params)].columns)
        subject = dataset.column("subject").astype(str)
        targets = {"named": dataset.targets.named, "majority": dataset.targets.majority}
        found, beside = ({truth: Runs(*np.zeros((3, len(subject)))) for truth in TRUTHS} for _ in range(2))
        elsewhere, alone = [], []
        rounds = (splits(dataset, args.people, args.draws, args.seed + number) for number in range(args.rounds))
        for number, learnt in enumerate(itertools.chain.from_iterable(rounds)):
            model = learn(dataset, inputs, dataclasses.replace(params, seed=args.seed + number), learnt)
            unseen = np.setdiff1d(np.arange(len(subject)), learnt)
            logits = answers(model, inputs, unseen)
            for truth, target in targets.items():
                found[truth].add(logits, unseen, target)
            if args.neutral:
                neutral = np.array(dataset.classes)[targets["named"][unseen]] == NEUTRAL
                logits = beside_neutral(model, inputs, unseen, subject[unseen], neutral)
                for truth, target in targets.items():
                    beside[truth].add(logits, unseen, target)
            elsewhere.append([across(model, place) for place in places])
            alone.append([across(dataclasses.replace(model, start=None), place) for place in places])
        runs[settings] = found
        outcomes = {truth: found[truth].outcome(targets[truth]) for truth in TRUTHS if (targets[truth] >= 0).any()}
        words = [f"{truth} {one.right.mean():.3f}" for truth, one in outcomes.items()]
        if places:
            words += map(said, places, np.mean(elsewhere, axis=0))
        print(f"{settings}: {', '.join(words)}", flush=True)
        for truth in TRUTHS:
            if settings != args.settings[0]:
                print_difference(
                    f"{truth}, minus the first", runs[args.settings[0]][truth], found[truth], targets[truth], subject
                )
            if args.neutral:
                print_difference(
                    f"{truth}, beside a neutral face", found[truth], beside[truth], targets[truth], subject
                )
        start = params.train.start
        if start and places:
            print(f"    alone: {', '.join(map(said, places, np.mean(alone, axis=0)))}", flush=True)
            given = load_model(model_file(start))
            print(f"    its start: {', '.join(said(place, across(given, place)) for place in places)}", flush=True)


if __name__ == "__main__":
    main()
