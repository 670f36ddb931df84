"""The model that is kept: calibrated on the valid people and, where people are few, learnt from them too in the end.

Measured on people that were never seen (docs/recipes.md): with 5 to 15 people, learning from the valid ones too makes
0.01 to 0.03 more of the pictures right; with 30, a hundred and 26,000 nothing beyond chance, for twice the time.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from faceemo.console import Interrupted
from faceemo.params import Params
from faceemo.training.dataset import Dataset
from faceemo.training.metrics import fit_temperature
from faceemo.training.model import save_model
from faceemo.training.recipe import Inputs
from faceemo.training.train import Epoch, Training, train

FEW_PEOPLE = 25


def train_calibrated(
    dataset: Dataset,
    inputs: Inputs,
    params: Params,
    interrupted_path: Path,
    after_epoch: Callable[[list[Epoch]], None] = lambda history: None,
    few_people: int = FEW_PEOPLE,
) -> Training:
    """Train on the train split and fit the temperature on the valid one; of few people, then train anew on both.

    Arguments and errors as for train; with fewer people than few_people in both splits the valid ones are learnt from.
    The logits of their faces, and the history, are of the network that has not. On Ctrl-C in the second training the
    model of the first is what is left.
    """
    first = train(dataset, inputs, params, interrupted_path, after_epoch)
    valid = dataset.valid
    temperature = fit_temperature(first.logits[valid], dataset.targets.valid[valid])
    first = dataclasses.replace(first, model=dataclasses.replace(first.model, temperature=temperature))
    people = len(dataset.people(np.union1d(dataset.train, valid)))
    if people >= few_people:
        return first
    print(f"trained again with the valid people, who have calibrated it: {people} people are few", flush=True)
    both = dataclasses.replace(dataset, split=np.where(dataset.split == "valid", "train", dataset.split))
    try:
        last = train(both, inputs, params, None)
    except KeyboardInterrupt:
        save_model(interrupted_path, first.model)
        raise Interrupted(f"the model without the valid people is in {interrupted_path.as_posix()}") from None
    unseen = (dataset.split[dataset.row_of] == "valid")[:, None]
    return Training(
        dataclasses.replace(last.model, temperature=temperature),
        first.history,
        np.where(unseen, first.logits, last.logits),
        learnt_valid=True,
    )
