"""What to learn where raters disagree: what was performed, the majority of three raters, or their votes.

    python -m tests.benchmarks.raters LANDMARKS_DIR VOTES_CSV [--draws 3] [--states 0 1 2] [--baseline none ...]

LANDMARKS_DIR holds Parquet files of posed expressions, with image, emotion, subject, status, width, height and
landmarks; VOTES_CSV says for each image how many people rated it and which share of them saw each emotion. Three raters
are drawn for each picture from these shares, several times. Each target is trained on all people of the other folds, so
nothing is chosen on the fold that is judged: StratifiedGroupKFold(5) over people, a random_state each. A fold's
temperature is fitted on the other folds.

Judged are people that the network has not seen, against what most of the about 100 raters saw, the emotion that
was performed, and the shares. Intervals resample people. Each of several baselines is printed, then the networks
of all of them together: the mean of their log probabilities.
"""

import argparse
import csv
import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import softmax
from sklearn.metrics import balanced_accuracy_score, f1_score

from faceemo.emotions import NEUTRAL
from faceemo.extraction.facemesh import COORDINATES, LANDMARKS
from faceemo.features.baselines import Faces, fit_baselines, subtract_baselines
from faceemo.features.geometry import normalize
from faceemo.params import LabelParams, NormalizeParams, Params, load_params
from faceemo.rows import present_rows
from faceemo.training.dataset import Dataset
from faceemo.training.evaluate import score_raters
from faceemo.training.folds import over_folds, trainer
from faceemo.training.metrics import calibration_error, fit_temperature
from tests.benchmarks.people import FOLDS, ROOT, interval_over_people, make_dataset, read_landmarks

RATERS = 3
RECIPES = {  # labels.target and train.class_weights
    "archive": ("archive", False),
    "majority": ("majority", False),
    "votes": ("votes", False),
    "votes, class weights": ("votes", True),
}


def read_shares(path: Path, classes: list[str]) -> dict[str, np.ndarray]:
    """Of each rated image the share of raters, float64 [classes], that adds up to 1."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if int(row["raters"])]
    shares = {row["image"]: np.array([float(row[name]) for name in classes]) for row in rows}
    return {image: share / share.sum() for image, share in shares.items()}


def draw_votes(table: pa.Table, shares: dict[str, np.ndarray], draw: int) -> np.ndarray:
    """int8 [N, classes]: three raters of each picture, drawn from its shares."""
    random = np.random.default_rng(draw)
    return np.array([random.multinomial(RATERS, shares[image]) for image in table["image"].to_pylist()], np.int8)


def features_of(table: pa.Table, votes: np.ndarray, classes: list[str], settings: NormalizeParams) -> list:
    """float32 [1434] of each picture, minus the baseline of settings; None for a face without one."""
    landmarks = present_rows(table["landmarks"], COORDINATES).reshape(-1, LANDMARKS, 3)
    features = normalize(landmarks, table["width"].to_numpy(), table["height"].to_numpy(), settings)
    neutral = np.array(table["emotion"].to_pylist(), object) == NEUTRAL
    refused = 2 * (RATERS - votes[:, classes.index(NEUTRAL)]) > RATERS
    faces = Faces(table["subject"].to_pylist(), features, neutral, refused)
    baselines = fit_baselines([faces], settings)
    return list(features) if baselines is None else subtract_baselines(faces, baselines)


def predict_unseen(dataset: Dataset, features: np.ndarray, params: Params) -> tuple[np.ndarray, np.ndarray]:
    """Logits of each face by a network that has not seen its person, and each face's temperature."""
    fit, folds = trainer({"features": features}, params), []

    def fit_predict(fold: Dataset) -> np.ndarray:
        folds.append(fold.split[fold.row_of] == "test")
        return fit(fold)

    logits = over_folds(dataset, fit_predict, FOLDS, params.seed)
    temperature = np.empty((len(logits), 1))
    for unseen in folds:
        known = np.flatnonzero(~unseen & (dataset.targets.valid >= 0))
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
        found.mean(lambda one: calibration_error(one, majority)),
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
    base = load_params(ROOT / "params.yaml")
    table = read_landmarks(args.landmarks, None, {})
    classes = sorted(set(table["emotion"].to_pylist()))
    shares_of = read_shares(args.votes, classes)
    table = table.filter(pc.is_in(table["image"], pa.array(shares_of)))
    measured = []
    for baseline in args.baseline:
        print(f"baseline {baseline}: ", end="")
        measured.append(measure(args, table, classes, base, baseline, shares_of))
        measured[-1].report(shares_of)
        print()
    if len(measured) > 1:
        print(f"{' and '.join(args.baseline)} together: ", end="")
        joined = together(measured)
        joined.report(shares_of)
        for name in args.recipes:
            for baseline, one in zip(args.baseline, measured, strict=True):
                joined.say_minus(one, name, f"{name}: together minus {baseline}", shares_of)


def measure(
    args: argparse.Namespace,
    table: pa.Table,
    classes: list[str],
    base: Params,
    baseline: str,
    shares_of: dict[str, np.ndarray],
) -> "Measured":
    """Every recipe with one baseline."""
    settings = dataclasses.replace(base.normalize, baseline=baseline)
    runs: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in args.recipes}  # by image
    raw: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in args.recipes}
    subject_of, performed_in = {}, {}
    ceilings = []
    for draw in range(args.draws):
        votes = draw_votes(table, shares_of, draw)
        found = features_of(table, votes, classes, settings)
        judged = np.array([index for index, row in enumerate(found) if row is not None])
        rows, features = table.take(judged), np.stack([found[index] for index in judged])
        for name in args.recipes:
            labels, weights = RECIPES[name]
            if labels == "archive" and draw and baseline != "neutral":
                continue  # raters change nothing; they choose the neutral faces of a baseline
            network = "mlp_dropout" if baseline == "none" else "mlp"
            train = dataclasses.replace(base.train, network=network, class_weights=weights)
            params = dataclasses.replace(base, train=train, normalize=settings, labels=LabelParams(labels))
            dataset = make_dataset(rows, classes, params, votes[judged], RATERS)
            faces = rows["image"].to_pylist()
            subject_of |= zip(faces, dataset.column("subject"), strict=True)
            performed_in |= zip(faces, dataset.targets.named, strict=True)
            for state in args.states:
                logits, temperature = predict_unseen(dataset, features, dataclasses.replace(params, seed=state))
                raw[name].append(dict(zip(faces, softmax(logits, axis=1), strict=True)))
                runs[name].append(dict(zip(faces, softmax(logits / temperature, axis=1), strict=True)))
        everybody = dataclasses.replace(dataset, split=np.full(len(dataset.split), "test", object))
        ceilings.append(score_raters(everybody, dataset.targets.named))
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
