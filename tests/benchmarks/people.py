"""Recipes judged on people they have never seen: over folds of people, or on the people of another folder.

    python -m tests.benchmarks.people LANDMARKS_DIR [LANDMARKS_DIR ...] [--recipes plain neutral ...] [--states 0 1 2]
    python -m tests.benchmarks.people LANDMARKS_DIR --against LANDMARKS_DIR --recipes plain ...
    python -m tests.benchmarks.people TRAIN_DIR --test OTHER_DIR [--rename happiness=happy] [--emotions neutral happy]
        [--together]

A LANDMARKS_DIR holds Parquet files with emotion, subject, status, width, height and landmarks, as data/landmarks does;
any class names will do, but for `neutral`, which the recipe of that name needs.

Recipes, all of landmarks: `plain` (params.yaml without baseline and whitening), `whitened` (train.whiten: 300),
`whitened mlp` (the same with the network of `plain`), `neutral` (minus the mean of each person's neutral faces),
`neutral 1` (minus one of them, drawn anew for each state), `person` (minus each person's own mean face). Each is
trained on all people of the other folds, so nothing is chosen on the fold that is judged. StratifiedGroupKFold(5,
shuffle=True) over people, a state each; accuracy is pooled over the folds.

Differences to `plain` are paired by picture, on the pictures that both judge; their 95 % intervals resample people.
Several folders are judged each by itself; then the differences of all their pictures are taken together. With
--against the same pictures' landmarks, taken in another way (say by the other engine), are judged too, and
each recipe is compared with itself on those. With --test a recipe is trained on everybody of TRAIN_DIR and judged on
the pictures of OTHER_DIR; its accuracy and the recall of each class have intervals over the people judged. --together:
then the networks of all recipes together too, by the mean of their log probabilities, on the pictures that all judge.
"""

import argparse
import dataclasses
import functools
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy.special import log_softmax

from faceemo.emotions import NEUTRAL
from faceemo.extraction.facemesh import COORDINATES, LANDMARKS
from faceemo.features.baselines import Faces, fit_baselines, subtract_baselines
from faceemo.features.geometry import normalize
from faceemo.params import NormalizeParams, Params, load_params
from faceemo.pictures.manifest import Raters
from faceemo.rows import present_rows
from faceemo.training.dataset import Dataset
from faceemo.training.folds import FoldRun, over_folds, trainer
from faceemo.training.metrics import LEVEL, draw
from faceemo.training.targets import make_targets

ROOT = Path(__file__).parents[2]
FOLDS = 5
COLUMNS = ["image", "emotion", "subject", "width", "height", "landmarks"]

RECIPES = {
    "plain": {"train": {"network": "mlp", "whiten": None}},
    "whitened": {"train": {"network": "mlp_dropout", "whiten": 300}},
    "whitened mlp": {"train": {"network": "mlp", "whiten": 300}},
    "neutral": {"train": {"network": "mlp"}, "normalize": {"baseline": "neutral"}},
    "neutral 1": {"train": {"network": "mlp"}, "normalize": {"baseline": "neutral"}},
    "person": {"train": {"network": "mlp"}, "normalize": {"baseline": "person"}},
}


def with_settings(params: Params, settings: dict) -> Params:
    """Params with some keys replaced, sections by their own keys."""
    values = {
        key: dataclasses.replace(getattr(params, key), **value) if isinstance(value, dict) else value
        for key, value in settings.items()
    }
    return dataclasses.replace(params, **values)


def read_landmarks(folder: Path, emotions: list[str] | None, renamed: dict[str, str]) -> pa.Table:
    table = pa.concat_tables(
        pq.read_table(path, columns=[*COLUMNS, "status"]) for path in sorted(folder.rglob("*.parquet"))
    )
    table = table.filter(pc.equal(table["status"], "ok")).drop_columns(["status"])
    names = [renamed.get(name, name) for name in table["emotion"].to_pylist()]
    table = table.set_column(table.schema.get_field_index("emotion"), "emotion", pa.array(names))
    landmarks = table["landmarks"].cast(pa.list_(pa.float32()))  # some folders hold lists of a fixed size
    table = table.set_column(table.schema.get_field_index("landmarks"), "landmarks", landmarks)
    return table.filter(pc.is_in(table["emotion"], pa.array(emotions))) if emotions else table


def features_of(table: pa.Table, settings: NormalizeParams, one_neutral: np.random.Generator | None) -> list:
    """float32 [1434] of each picture, minus the baseline of settings; None for a face without one.

    one_neutral: draws the one neutral picture that each person is left with as a baseline.
    """
    landmarks = present_rows(table["landmarks"], COORDINATES).reshape(-1, LANDMARKS, 3)
    features = normalize(landmarks, table["width"].to_numpy(), table["height"].to_numpy(), settings)
    subjects = table["subject"].to_pylist()
    neutral = np.array(table["emotion"].to_pylist(), object) == NEUTRAL
    if one_neutral is not None:
        return minus_one_neutral(np.array(subjects, object), features, neutral, one_neutral)
    faces = Faces(subjects, features, neutral)
    baselines = fit_baselines([faces], settings)
    return list(features) if baselines is None else subtract_baselines(faces, baselines)


def minus_one_neutral(
    subject: np.ndarray, features: np.ndarray, neutral: np.ndarray, random: np.random.Generator
) -> list:
    """As features_of, minus one other neutral picture of the same person, drawn for each picture."""
    left = []
    for index, row in enumerate(features):
        others = np.flatnonzero(neutral & (subject == subject[index]))
        others = others[others != index]
        left.append(row - features[random.choice(others)] if len(others) else None)
    return left


@dataclass(frozen=True)
class Answers:
    """What networks of several states said of the pictures that a recipe judges."""

    judged: np.ndarray
    """int64 [J], their indices."""
    logits: np.ndarray
    """float32 [states, J, classes]"""

    @property
    def predicted(self) -> np.ndarray:
        """int64 [states, J], their classes."""
        return self.logits.argmax(axis=2)


def answer(
    table: pa.Table, classes: np.ndarray, params: Params, recipe: str, states: list[int], unseen: set | None
) -> Answers | None:
    """What a recipe says of the pictures, each judged by a network that has not seen its person.

    unseen: the people to judge by training on all others; None for folds of people.
    Returns None where no two classes are left to tell apart, since a person's only neutral picture has no baseline.
    """
    found = []
    for state in states:
        random = np.random.default_rng(state) if recipe == "neutral 1" else None
        features = features_of(table, params.normalize, random)
        judged = np.array([index for index, row in enumerate(features) if row is not None])
        if unseen is None and len(set(table["emotion"].take(judged).to_pylist())) < 2:
            return None
        chosen = np.stack([features[index] for index in judged])
        params = dataclasses.replace(params, seed=state)
        dataset = make_dataset(table.take(judged), classes, params)
        if unseen is None:
            asked = np.arange(len(judged))
            found.append(over_folds(dataset, trainer({"features": chosen}, params), FOLDS, state))
            continue
        split = np.array(["test" if subject in unseen else "train" for subject in dataset.column("subject")], object)
        asked = np.flatnonzero(split == "test")
        found.append(trainer({"features": chosen}, params)(dataclasses.replace(dataset, split=split))[asked])
    return Answers(judged[asked], np.array(found))


def together(answers: list[Answers]) -> Answers:
    """What the networks of several recipes say together of the pictures that all of them judge."""
    judged = functools.reduce(np.intersect1d, (one.judged for one in answers))
    logits = np.mean([log_softmax(one.logits[:, np.isin(one.judged, judged)], axis=2) for one in answers], axis=0)
    return Answers(judged, logits)


def make_dataset(
    table: pa.Table, classes: np.ndarray, params: Params, votes: np.ndarray | None = None, raters: int = 0
) -> Dataset:
    """Everybody in no split. votes: int8 [N, classes] of so many raters of each picture; None: nobody was asked."""
    column = pa.array([None] * len(table) if votes is None else votes.tolist(), pa.list_(pa.int8()))
    asked = Raters() if votes is None else Raters(tuple(classes), raters)
    members = {name: (name,) for name in classes}
    targets = make_targets(table["emotion"].to_pylist(), pa.chunked_array([column]), asked, members, params.labels)
    return Dataset(
        members,
        table.select(["emotion", "subject"]),
        np.full(len(table), "", object),
        targets.named,
        targets,
        np.arange(len(table)),
        settings={"normalize": dataclasses.asdict(params.normalize), "extract": {"settings": {"crops": False}}},
        face=np.zeros((LANDMARKS, 3)),
    )


def in_both(table: pa.Table, other: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Those rows of two tables whose picture is in both, in the order of its name."""
    shared = pa.array(set(table["image"].to_pylist()) & set(other["image"].to_pylist()))
    return tuple(rows.filter(pc.is_in(rows["image"], shared)).sort_by("image") for rows in (table, other))


def paired(answers: Answers, other: Answers, target: np.ndarray, subject: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much more often each picture that both judge is right, and its subject."""
    both, own, others = np.intersect1d(answers.judged, other.judged, return_indices=True)
    right = [(one.predicted[:, where] == target[both]).mean(axis=0) for one, where in ((answers, own), (other, others))]
    return right[0] - right[1], subject[both]


def interval_over_people(values: np.ndarray, subject: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean of values [N] of these people's pictures."""
    _, number = np.unique(subject, return_inverse=True)
    sums, counts = draw(np.bincount(number, values), np.bincount(number))
    return tuple(np.quantile(sums / counts, LEVEL))


def print_difference(name: str, difference: np.ndarray, subject: np.ndarray) -> None:
    low, high = interval_over_people(difference, subject)
    print(f"{name}: {difference.mean():+.3f} [{low:+.3f}, {high:+.3f}] over {len(difference)} pictures", flush=True)


def run_folds(tables: dict[str, pa.Table], args: argparse.Namespace, base: Params) -> None:
    """Every recipe on every table over folds of people, and the differences between them."""
    pairs = [(name, "plain") for name in args.recipes if name != "plain" and "plain" in args.recipes]
    together: dict[tuple[str, str], list] = {pair: [] for pair in pairs}
    answers: dict[tuple[str, str], Answers] = {}
    for place, table in tables.items():
        subject = np.array(table["subject"].to_pylist())
        classes, target = np.unique(table["emotion"].to_pylist(), return_inverse=True)
        print(f"{place}: {len(target)} pictures of {len(set(subject))} people; {', '.join(classes)}", flush=True)
        for name in args.recipes:
            begin = time.perf_counter()
            found = answer(table, classes, with_settings(base, RECIPES[name]), name, args.states, None)
            if found is None:
                print(f"{name:14} no two classes have a baseline here", flush=True)
                continue
            answers[place, name] = found
            run = FoldRun(found.logits, subject[found.judged], {"performed": target[found.judged]}, tuple(classes))
            result = run.scores("performed")
            print(
                f"{name:14} accuracy {result['accuracy']:.3f} (sd {result['accuracy_std']:.3f})  balanced "
                f"{result['balanced_accuracy']:.3f}  macro F1 {result['macro_f1']:.3f}  of {len(found.judged)} pictures"
                f"  [{time.perf_counter() - begin:.0f} s]",
                flush=True,
            )
        for name, other in [(name, other) for name, other in pairs if (place, name) in answers]:
            difference = paired(answers[place, name], answers[place, other], target, subject)
            together[name, other].append(difference)
            print_difference(f"{name} minus {other}", *difference)
    if args.against:
        for name in args.recipes:
            one, two = (answers[place, name] for place in tables)
            print_difference(f"{name} minus {name} (against)", *paired(one, two, target, subject))
    elif len(tables) > 1:
        for (name, other), parts in together.items():
            differences, subjects = (np.concatenate(part) for part in zip(*parts, strict=True))
            print_difference(f"together: {name} minus {other}", differences, subjects)


def run_across(table: pa.Table, test: pa.Table, args: argparse.Namespace, base: Params) -> None:
    """Every recipe trained on one table and judged on the other."""
    unseen = set(test["subject"].to_pylist())
    people = len(set(table["subject"].to_pylist()))
    both = pa.concat_tables([table.select(COLUMNS), test.select(COLUMNS)])
    subject = np.array(both["subject"].to_pylist())
    classes, target = np.unique(both["emotion"].to_pylist(), return_inverse=True)
    print(f"trained on {len(table)} pictures of {people} people, judged on {len(unseen)} other people")
    answers = {}
    for name in [*args.recipes, *(["together"] if args.together else [])]:
        if name == "together":
            found = together(list(answers.values()))
        else:
            found = answer(both, classes, with_settings(base, RECIPES[name]), name, args.states, unseen)
        answers[name] = found
        right = (found.predicted == target[found.judged]).mean(axis=0)
        low, high = interval_over_people(right, subject[found.judged])
        print(f"{name:14} accuracy {right.mean():.3f} [{low:.3f}, {high:.3f}] of {len(right)} pictures", flush=True)
        for number, emotion in enumerate(classes):
            own = target[found.judged] == number
            if own.any():
                low, high = interval_over_people(right[own], subject[found.judged][own])
                print(f"    recall of {emotion:12} {right[own].mean():.3f} [{low:.3f}, {high:.3f}] of {own.sum()}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("landmarks", type=Path, nargs="+")
    parser.add_argument("--against", type=Path)
    parser.add_argument("--test", type=Path)
    parser.add_argument("--together", action="store_true")
    parser.add_argument("--rename", nargs="+", default=[], metavar="NAME=EMOTION")
    parser.add_argument("--emotions", nargs="+")
    parser.add_argument("--states", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--recipes", nargs="+", choices=list(RECIPES), default=["plain", "neutral"])
    args = parser.parse_args()
    if args.together and not args.test:
        parser.error("--together needs --test")
    renamed = dict(pair.split("=") for pair in args.rename)
    base = load_params(ROOT / "params.yaml")
    tables = {folder.name: read_landmarks(folder, args.emotions, renamed) for folder in args.landmarks}
    if args.test:
        (table,) = tables.values()
        run_across(table, read_landmarks(args.test, args.emotions, renamed), args, base)
        return
    if args.against:
        ((place, table),) = tables.items()
        pair = in_both(table, read_landmarks(args.against, args.emotions, renamed))
        tables = dict(zip((place, f"{place} (against)"), pair, strict=True))
    run_folds(tables, args, base)


if __name__ == "__main__":
    main()
