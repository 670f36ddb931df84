"""Recipes judged on people they have never seen, over folds of people.

    python -m tests.benchmarks.people LANDMARKS_DIR [--emotions A B ...] [--states 0 1 2] [--recipes default ...]
    python -m tests.benchmarks.people LANDMARKS_DIR --against LANDMARKS_DIR --recipes published ...

LANDMARKS_DIR holds Parquet files with emotion, subject, status, width, height and landmarks, as data/landmarks does;
any class names will do. Recipes: `published` (nose tip, largest coordinate, Adam), `default` (params.yaml) and
`default+person` (minus each person's own mean face). Each is trained on all people of the other folds and takes its
last epoch, so no validation people are needed and nothing is chosen on the fold that is judged.
StratifiedGroupKFold(5, shuffle=True) over people, a random_state each; accuracy is pooled over the five folds. The
difference to `default` is paired by picture, its 95 % interval resamples people. With --against the same pictures'
landmarks, taken in another way (say with extract.full_resolution), are judged too, and each recipe is compared with
itself on those.
"""

import argparse
import contextlib
import dataclasses
import io
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.model_selection import StratifiedGroupKFold

from faceemo.extraction.facemesh import COORDINATES, LANDMARKS
from faceemo.features.geometry import normalize
from faceemo.features.normalize import PersonBaselines
from faceemo.params import Params, load_params
from faceemo.rows import present_rows
from faceemo.training.dataset import Dataset
from faceemo.training.targets import make_targets
from faceemo.training.train import train

ROOT = Path(__file__).parents[2]
FOLDS = 5
RESAMPLES = 4000

# What the README's `dvc exp run -n published` sets.
PUBLISHED = {
    "epochs": 50,
    "labels": {"target": "archive"},
    "normalize": {"units": "image", "center": "nose_tip", "scale": "max_abs"},
    "train": {
        "optimizer": "adam",
        "weight_decay": 0.0,
        "schedule": "constant",
        "label_smoothing": 0.0,
        "standardize": False,
        "mirror": False,
        "class_weights": False,
        "best_epoch": False,
    },
}
RECIPES = {"published": PUBLISHED, "default": {}, "default+person": {"normalize": {"baseline": "person"}}}


def with_settings(params: Params, settings: dict) -> Params:
    """Params with some keys replaced, sections by their own keys."""
    values = {
        key: dataclasses.replace(getattr(params, key), **value) if isinstance(value, dict) else value
        for key, value in settings.items()
    }
    return dataclasses.replace(params, **values)


def read_landmarks(folder: Path, emotions: list[str] | None) -> pa.Table:
    columns = ["image", "emotion", "subject", "status", "width", "height", "landmarks"]
    table = pa.concat_tables(pq.read_table(path, columns=columns) for path in sorted(folder.rglob("*.parquet")))
    table = table.filter(pc.equal(table["status"], "ok")).drop_columns(["status"])
    return table.filter(pc.is_in(table["emotion"], pa.array(emotions))) if emotions else table


def features_of(table: pa.Table, params: Params) -> np.ndarray:
    """float32 [N, 1434], minus each person's mean where the recipe says so."""
    landmarks = present_rows(table["landmarks"], COORDINATES).reshape(-1, LANDMARKS, 3)
    features, _ = normalize(landmarks, table["width"].to_numpy(), table["height"].to_numpy(), params.normalize)
    if params.normalize.baseline == "person":
        subjects = table["subject"].to_pylist()
        people = PersonBaselines()
        people.add(subjects, features)
        features = np.array([row - people.get(subject, 1) for subject, row in zip(subjects, features, strict=True)])
    return features.astype(np.float32)


def judge(table: pa.Table, params: Params, state: int) -> np.ndarray:
    """The class that each picture is taken for by a network that has not seen its person."""
    emotion = np.array(table["emotion"].to_pylist())
    classes, target = np.unique(emotion, return_inverse=True)
    features = features_of(table, params)
    predicted = np.empty(len(target), np.int64)
    params = dataclasses.replace(
        params, seed=state, train=dataclasses.replace(params.train, best_epoch=False, patience=None)
    )
    no_votes = pa.chunked_array([pa.nulls(len(target), pa.list_(pa.int8()))])
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=state)
    for _, test in folds.split(features, target, table["subject"].to_pylist()):
        split = np.full(len(target), "train", object)
        split[test] = "valid"  # measured every epoch; with best_epoch off it chooses nothing
        dataset = Dataset(
            tuple(classes),
            table.select(["emotion", "subject"]),
            split,
            target,
            features.copy(),
            make_targets(emotion.tolist(), no_votes, (), {name: (name,) for name in classes}, params.labels),
            np.arange(len(target)),
            settings={},
            face=np.zeros((478, 3)),
        )
        with contextlib.redirect_stdout(io.StringIO()):
            predicted[test] = train(dataset, params, Path("interrupted.pt")).logits[test].argmax(axis=1)
    return predicted


def interval(difference: np.ndarray, subject: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval of a mean over pictures, resampling people."""
    people, person = np.unique(subject, return_inverse=True)
    sums, counts = np.bincount(person, difference), np.bincount(person)
    draws = np.random.default_rng(0).multinomial(len(people), np.full(len(people), 1 / len(people)), size=RESAMPLES)
    return tuple(np.quantile((draws @ sums) / (draws @ counts), [0.025, 0.975]))


def in_both(table: pa.Table, other: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Those rows of two tables whose picture is in both, in the order of its name."""
    shared = pa.array(set(table["image"].to_pylist()) & set(other["image"].to_pylist()))
    return tuple(rows.filter(pc.is_in(rows["image"], shared)).sort_by("image") for rows in (table, other))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("landmarks", type=Path)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--emotions", nargs="+")
    parser.add_argument("--states", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--recipes", nargs="+", choices=list(RECIPES), default=list(RECIPES))
    args = parser.parse_args()
    tables = [read_landmarks(args.landmarks, args.emotions)]
    if args.against:
        tables = in_both(*tables, read_landmarks(args.against, args.emotions))
    subject = np.array(tables[0]["subject"].to_pylist())
    classes, target = np.unique(tables[0]["emotion"].to_pylist(), return_inverse=True)
    print(f"{len(target)} pictures of {len(set(subject))} people; {', '.join(classes)}", flush=True)
    base = load_params(ROOT / "params.yaml")
    right = {}
    for name in args.recipes:
        for table, suffix in zip(tables, ("", " (against)"), strict=False):
            begin = time.perf_counter()
            predictions = [judge(table, with_settings(base, RECIPES[name]), state) for state in args.states]
            right[name + suffix] = np.array([one == target for one in predictions])
            accuracy = right[name + suffix].mean(axis=1)
            balanced = np.mean([balanced_accuracy_score(target, one) for one in predictions])
            f1 = np.mean([f1_score(target, one, average="macro") for one in predictions])
            spread = accuracy.std(ddof=1) if len(accuracy) > 1 else float("nan")
            print(
                f"{name + suffix:25} accuracy {accuracy.mean():.3f} (sd {spread:.3f})  balanced {balanced:.3f}"
                f"  macro F1 {f1:.3f}  [{time.perf_counter() - begin:.0f} s]",
                flush=True,
            )
    pairs = [(name, "default") for name in args.recipes if name != "default" and "default" in right]
    for name, other in pairs + [(name, f"{name} (against)") for name in args.recipes if args.against]:
        difference = right[name].mean(axis=0) - right[other].mean(axis=0)
        low, high = interval(difference, subject)
        print(f"{name} minus {other}: {difference.mean():+.3f} [{low:+.3f}, {high:+.3f}]")


if __name__ == "__main__":
    main()
