"""What to learn where raters disagree: the archive's name, the majority of three raters, or their votes.

    python -m tests.benchmarks.raters LANDMARKS_DIR VOTES_CSV [--draws 3] [--states 0 1 2] [--baseline none ...]

LANDMARKS_DIR holds Parquet files of posed expressions, with image, emotion, subject, status, width, height and
landmarks; VOTES_CSV says for each image how many people rated it and which share of them saw each emotion. Three raters
are drawn for each picture from these shares, several times. The pictures go through the pipeline as archives with label
archives: disgust stands for hurt, surprise for embarrassed, fear for anxious. Each target is trained on all people of
the other folds and takes its last epoch, so nothing is chosen on the fold that is judged: StratifiedGroupKFold(5) over
people, a random_state each. The temperature of a fold is fitted on the other folds.

Judged are people that the network has not seen, against what most of the about 100 raters saw, against the emotion that
was performed, and against the shares. Intervals resample people. Of several baselines each is told, then the networks
of all of them together: the mean of their log probabilities.
"""

import argparse
import contextlib
import csv
import dataclasses
import io
import json
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from scipy.special import softmax
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.model_selection import StratifiedGroupKFold

from faceemo.emotions import KOREAN
from faceemo.extraction.archive import Archive
from faceemo.extraction.schema import FORMAT, SCHEMA
from faceemo.extraction.sources import Labels, Source
from faceemo.features.normalize import normalize_sources, open_features
from faceemo.params import LabelParams, Params, load_params
from faceemo.paths import FEATURES_FOLDER, LANDMARKS_FOLDER
from faceemo.training.dataset import Dataset, describe_faces, load_features
from faceemo.training.evaluate import expected_calibration_error, fit_temperature, judge_raters
from faceemo.training.folds import interval_over_people
from faceemo.training.train import train
from tests.benchmarks.people import FOLDS, ROOT

STANDS_FOR = {
    "neutral": "neutral",
    "happiness": "happy",
    "sadness": "sad",
    "anger": "angry",
    "disgust": "hurt",
    "fear": "anxious",
    "surprise": "embarrassed",
}
EMOTIONS = tuple(STANDS_FOR.values())
CLASSES = {name: (name,) for name in EMOTIONS}
RECIPES = {
    "archive": {"labels": "archive"},
    "majority": {"labels": "majority"},
    "votes": {"labels": "votes"},
    "votes, class weights": {"labels": "votes", "class_weights": True},
}


def read_shares(path: Path) -> dict[str, np.ndarray]:
    """Of each rated image the share of raters, float64 [7] in the order of EMOTIONS, that adds up to 1."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if int(row["raters"])]
    shares = {row["image"]: np.array([float(row[name]) for name in STANDS_FOR]) for row in rows}
    return {image: share / share.sum() for image, share in shares.items()}


def write_landmarks(folder: Path, params: Params) -> dict[str, list[str]]:
    """The shards that the stage extract would leave; returns the names of each archive's images."""
    settings = {name: value for name, value in vars(params.extract).items() if name != "scheduler"}
    schema = SCHEMA.with_metadata({"faceemo.extract": json.dumps({"settings": settings, "format": FORMAT})})
    images = {}
    for path in sorted(folder.glob("*.parquet")):
        table = pq.read_table(path)
        (emotion,) = {STANDS_FOR[name] for name in table["emotion"].to_pylist()}
        columns = {name: pa.nulls(len(table), SCHEMA.field(name).type) for name in SCHEMA.names}
        columns |= {name: table[name] for name in table.column_names} | {"emotion": [emotion] * len(table)}
        out = LANDMARKS_FOLDER / emotion / "part-00000.parquet"
        out.parent.mkdir(parents=True)
        pq.write_table(pa.table({name: columns[name] for name in SCHEMA.names}, schema=schema), out)
        images[emotion] = table["image"].to_pylist()
    return images


def draw_labels(images: dict[str, list[str]], shares: dict[str, np.ndarray], draw: int) -> dict[str, Source]:
    """Sources whose label archives hold three raters of each image, drawn from its shares."""
    random = np.random.default_rng(draw)
    sources = {}
    for emotion, names in images.items():
        records = []
        for name in names:
            if name in shares:
                answers = random.choice(len(EMOTIONS), 3, p=shares[name])
                words = [{"faceExp": KOREAN[EMOTIONS[answer]]} for answer in answers]
                records.append({"filename": name, **dict(zip(("annot_A", "annot_B", "annot_C"), words, strict=True))})
        path = Path(f"{emotion}-{draw}.zip")
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("labels.json", json.dumps(records, ensure_ascii=False))
        with Archive(path) as archive:
            labels = Labels(path.as_posix(), archive.digest())
        sources[emotion] = Source(f"{emotion}.zip", emotion, "training", len(names), "", labels)
    return sources


def predict_unseen(dataset: Dataset, features: np.ndarray, params: Params) -> tuple[np.ndarray, np.ndarray]:
    """Logits of each face by a network that has not seen its person, and each face's temperature."""
    subject, performed = dataset.column("subject"), dataset.targets.archive
    logits = np.empty((len(subject), len(EMOTIONS)), np.float32)
    folds = list(
        StratifiedGroupKFold(FOLDS, shuffle=True, random_state=params.seed).split(performed, performed, subject)
    )
    for _, unseen in folds:
        split = np.full(len(dataset.split), "train", object)
        split[dataset.row_of[unseen]] = "valid"  # measured every epoch; with best_epoch off it chooses nothing
        fold = dataclasses.replace(dataset, split=split)
        with contextlib.redirect_stdout(io.StringIO()):
            logits[unseen] = train(fold, features.copy(), params, Path("interrupted.pt")).logits[unseen]
    temperature = np.empty((len(subject), 1))
    for others, unseen in folds:
        known = others[dataset.targets.valid[others] >= 0]
        temperature[unseen] = fit_temperature(logits[known], dataset.targets.valid[known])
    return logits, temperature


@dataclasses.dataclass
class Results:
    """Of a recipe: each run's probabilities [N, 7] of the same N images."""

    runs: list[np.ndarray]

    @classmethod
    def of(cls, runs: list[dict[str, np.ndarray]], images: list[str]) -> "Results":
        """runs: the probabilities [7] of each image, of more images perhaps."""
        return cls([np.array([run[image] for image in images]) for run in runs])

    def right(self, truth: np.ndarray) -> np.ndarray:
        """How often each face was right over the runs, [N]."""
        return np.mean([one.argmax(axis=1) == truth for one in self.runs], axis=0)

    def loss(self, shares: np.ndarray) -> np.ndarray:
        """Log loss of each face against the shares [N, 7], mean over the runs, [N]."""
        return np.mean([-(shares * np.log(np.clip(one, 1e-12, None))).sum(axis=1) for one in self.runs], axis=0)

    def mean(self, measure) -> float:
        return float(np.mean([measure(one) for one in self.runs]))


def say(name: str, found: Results, shares: np.ndarray, performed: np.ndarray) -> None:
    majority = shares.argmax(axis=1)
    columns = [
        found.right(majority).mean(),
        found.mean(lambda one: f1_score(majority, one.argmax(axis=1), average="macro")),
        found.mean(lambda one: balanced_accuracy_score(majority, one.argmax(axis=1))),
        found.loss(shares).mean(),
        found.mean(lambda one: expected_calibration_error(one, majority)),
        found.right(performed).mean(),
        found.mean(lambda one: f1_score(performed, one.argmax(axis=1), average="macro")),
    ]
    print(f"{name:26}" + "".join(f"{value:10.3f}" for value in columns), flush=True)


def say_difference(name: str, values: np.ndarray, other: np.ndarray, subject: np.ndarray) -> None:
    low, high = interval_over_people(values - other, subject)
    print(f"{name}: {np.mean(values - other):+.3f} [{low:+.3f}, {high:+.3f}]")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("landmarks", type=Path)
    parser.add_argument("votes", type=Path)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--states", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--baseline", nargs="+", default=["none"], help="of normalize")
    parser.add_argument("--recipes", nargs="+", choices=list(RECIPES), default=list(RECIPES))
    args = parser.parse_args()
    torch.set_num_threads(1)  # so small a network is not worth a second thread
    base = load_params(ROOT / "params.yaml")
    shares_of = read_shares(args.votes)
    measured = []
    for baseline in args.baseline:
        print(f"baseline {baseline}: ", end="")
        measured.append(measure(args, base, baseline, shares_of))
        measured[-1].report(shares_of)
        print()
    if len(measured) > 1:
        print(f"{' and '.join(args.baseline)} together: ", end="")
        joined = together(measured)
        joined.report(shares_of)
        for name in args.recipes:
            for baseline, one in zip(args.baseline, measured, strict=True):
                joined.say_minus(one, name, f"{name}: together minus {baseline}", shares_of)


def measure(args: argparse.Namespace, base: Params, baseline: str, shares_of: dict[str, np.ndarray]) -> "Measured":
    """Every recipe with one baseline."""
    normalize = dataclasses.replace(base.normalize, baseline=baseline)
    landmarks = args.landmarks.resolve()
    runs: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in args.recipes}  # by image
    raw: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in args.recipes}
    subject_of, performed_in = {}, {}
    ceilings = []
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        images = write_landmarks(landmarks, base)
        for draw in range(args.draws):
            with contextlib.redirect_stdout(io.StringIO()):
                normalize_sources(draw_labels(images, shares_of, draw), LANDMARKS_FOLDER, normalize)
            for name in args.recipes:
                settings = RECIPES[name]
                labels = LabelParams(settings["labels"], min_agreement=0)
                files = [open_features(path) for path in sorted(FEATURES_FOLDER.glob("*.parquet"))]
                dataset = describe_faces(files, CLASSES, base.split, labels)
                if labels.target == "archive" and draw and baseline != "neutral":
                    continue  # raters change nothing; they choose the neutral faces of a baseline
                features = load_features(FEATURES_FOLDER, dataset)
                changes = {"best_epoch": False, "patience": None, "class_weights": settings.get("class_weights", False)}
                params = dataclasses.replace(base, train=dataclasses.replace(base.train, **changes))
                faces = dataset.column("image")
                subject_of |= zip(faces, dataset.column("subject"), strict=True)
                performed_in |= zip(faces, dataset.targets.archive, strict=True)
                for state in args.states:
                    logits, temperature = predict_unseen(dataset, features, dataclasses.replace(params, seed=state))
                    raw[name].append(dict(zip(faces, softmax(logits, axis=1), strict=True)))
                    runs[name].append(dict(zip(faces, softmax(logits / temperature, axis=1), strict=True)))
            everybody = dataclasses.replace(dataset, split=np.full(len(dataset.split), "test", object))
            ceilings.append(judge_raters(everybody, dataset.targets.archive))
    return Measured(runs, raw, ceilings, subject_of, performed_in)


@dataclasses.dataclass
class Measured:
    """Of each recipe its runs, the probabilities [7] of each image; raw: at temperature 1. Whose each image is, and the
    emotion performed in it.
    """

    runs: dict[str, list[dict[str, np.ndarray]]]
    raw: dict[str, list[dict[str, np.ndarray]]]
    ceilings: list[dict]
    subject_of: dict[str, str]
    performed_in: dict[str, int]

    def report(self, shares_of: dict[str, np.ndarray]) -> None:
        """Judge the images that every run has."""
        judged = sorted(set(shares_of).intersection(*(run for several in self.runs.values() for run in several)))
        report(
            *(
                {name: Results.of(several, judged) for name, several in found.items()}
                for found in (self.runs, self.raw)
            ),
            self.ceilings,
            *(np.array([of[image] for image in judged]) for of in (shares_of, self.subject_of, self.performed_in)),
        )

    def say_minus(self, other: "Measured", recipe: str, name: str, shares_of: dict[str, np.ndarray]) -> None:
        """How much more often a recipe is right here than there, on the images that both have."""
        runs = [*self.runs[recipe], *other.runs[recipe]]
        images = sorted(set(shares_of).intersection(*runs))
        majority = np.array([shares_of[image].argmax() for image in images])
        right = [Results.of(one.runs[recipe], images).right(majority) for one in (self, other)]
        say_difference(name, *right, np.array([self.subject_of[image] for image in images]))


def together(measured: list[Measured]) -> Measured:
    """The networks of several baselines together, run by run, of the images that all of them judge."""

    def joined(found: list[dict[str, list[dict[str, np.ndarray]]]]) -> dict[str, list[dict[str, np.ndarray]]]:
        # the archive's names are learnt once where draws change nothing, so the shortest decides
        return {name: list(map(mean_of_logs, *(several[name] for several in found))) for name in found[0]}

    return dataclasses.replace(
        measured[0],
        runs=joined([one.runs for one in measured]),
        raw=joined([one.raw for one in measured]),
        ceilings=[],  # of other pictures
    )


def mean_of_logs(*runs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Probabilities [7] by image from the mean of the runs' log probabilities."""
    shared = set.intersection(*map(set, runs))
    logs = {image: np.mean([np.log(np.clip(run[image], 1e-12, None)) for run in runs], axis=0) for image in shared}
    return {image: softmax(values) for image, values in logs.items()}


def report(
    results: dict[str, Results],
    raw: dict[str, Results],
    ceilings: list[dict],
    shares: np.ndarray,
    subject: np.ndarray,
    performed: np.ndarray,
) -> None:
    majority, rater = shares.argmax(axis=1), shares.max(axis=1)
    print(
        f"{len(subject)} pictures of {len(set(subject))} people; most saw what was performed on "
        f"{np.mean(majority == performed):.3f}\n"
    )
    heads = ("accuracy", "macro F1", "balanced", "log loss", "ECE", "performed", "macro F1")
    print(f"{'':26}" + "".join(f"{head:>10}" for head in heads))
    for name, found in results.items():
        say(name, found, shares, performed)
        say("  temperature 1", raw[name], shares, performed)
    by_class = [rater[majority == number].mean() for number in np.unique(majority)]
    print(f"{'one rater':26}{rater.mean():10.3f}{'':10}{np.mean(by_class):10.3f}")
    if ceilings:
        accuracy, balanced = (
            np.mean([one["raters"][name] for one in ceilings]) for name in ("accuracy", "balanced_accuracy")
        )
        left = np.mean([one["share"] for one in ceilings])
        print(f"{'one of three raters':26}{accuracy:10.3f}{'':10}{balanced:10.3f}  on {left:.0%} of the pictures")
    print()
    for name, found in results.items():
        say_difference(f"{name} minus one rater", found.right(majority), rater, subject)
        if name != "archive" and "archive" in results:
            say_difference(f"{name} minus archive", found.right(majority), results["archive"].right(majority), subject)
            by_shares = raw[name].loss(shares), raw["archive"].loss(shares)
            say_difference(f"{name} minus archive, log loss at temperature 1", *by_shares, subject)


if __name__ == "__main__":
    main()
