"""Whether a network agrees with most raters more often than one of them does, over folds of people.

    python -m tests.benchmarks.one_rater [--network both] [--start faceemo] [--folds 5]

In a project whose features are made, of pictures with raters' votes. Every picture is judged by a network that has not
seen its people, learnt as params.yaml says but for the options; one rater agrees with the most voted class of a picture
as often as that class has votes. Pictures on which two classes lead are left out. Intervals are over people.
"""

import argparse
import dataclasses

import numpy as np

from faceemo.params import load_params
from faceemo.paths import FEATURES_FOLDER
from faceemo.training.dataset import load_dataset, load_inputs
from faceemo.training.folds import over_folds, trainer
from faceemo.training.recipe import RECIPES
from faceemo.training.train import network_of
from tests.benchmarks.people import print_difference


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default=None)
    parser.add_argument("--start", default=None)
    parser.add_argument("--folds", type=int, default=5)
    options = parser.parse_args()
    params = load_params()
    train = dataclasses.replace(params.train, network=options.network, start=options.start)
    params = dataclasses.replace(params, train=train)
    dataset = load_dataset(FEATURES_FOLDER, params.emotions, None, params.labels)
    inputs = load_inputs(FEATURES_FOLDER, dataset, RECIPES[network_of(dataset, params)].columns)
    answer = over_folds(dataset, trainer(inputs, params), options.folds, params.seed).argmax(axis=1)
    shares = dataset.targets.shares
    led = np.sort(shares, axis=1)
    judged = np.flatnonzero((led[:, -1] > led[:, -2]) & (dataset.column("subject") != None))  # noqa: E711 - elementwise
    right, rater = (answer == shares.argmax(axis=1))[judged].astype(float), shares.max(axis=1)[judged]
    subject = dataset.column("subject")[judged].astype(str)
    print(f"{len(set(subject))} people")
    for name, values in {
        "the network": right,
        "one rater": rater,
        "the network minus one rater": right - rater,
    }.items():
        print_difference(name, values, subject)


if __name__ == "__main__":
    main()
