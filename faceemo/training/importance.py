"""What a model's answers hang on: landmarks, and parts of the crop."""

from collections.abc import Sequence

import numpy as np
import torch

from faceemo.extraction.facemesh import LANDMARKS
from faceemo.training.devices import threads_kept
from faceemo.training.mirror import mirrored_points
from faceemo.training.model import TrainedModel
from faceemo.training.plots import Importance
from faceemo.training.recipe import CROP, MESH, Inputs

PATCHES = 8  # along a crop's side, that are covered one after another
ROWS = 2000
CROP_ROWS = 128  # of them, each of which is looked at 64 times
GRADIENT_ROWS = 128  # at once: for gradients all activations of their crops are kept


def measure_importance(model: TrainedModel, face: np.ndarray, inputs: Inputs, test: np.ndarray) -> Importance:
    """Of some of the test faces; face: float [478, 3], which it is painted on; test: int64, indices of `inputs`."""
    some = some_of(test, ROWS)
    shown = [inputs[column][some] for column in model.columns]
    return Importance(
        face[:, :2],
        _shares(landmark_importance(model, shown)) if MESH in model.columns else None,
        _shares(crop_importance(model, [one[:CROP_ROWS] for one in shown])) if CROP in model.columns else None,
        inputs[CROP][some].mean(axis=0).round().astype(np.uint8) if CROP in model.columns else None,
    )


def _shares(importance: np.ndarray) -> np.ndarray:
    """Of the largest; nothing below 0 matters."""
    kept = np.clip(importance, 0, None)
    return kept / (kept.max() or 1)


def some_of(indices: np.ndarray, at_most: int) -> np.ndarray:
    """Some of these indices from everywhere among them: rows lie source by source."""
    return np.random.default_rng(0).permutation(indices)[:at_most]


@threads_kept()
def landmark_importance(model: TrainedModel, inputs: Sequence[np.ndarray]) -> np.ndarray:
    """float64 [478]: how strongly the predicted class's logit answers to each landmark, mean absolute gradient.

    inputs: [N, ...] of the model's columns. By standard deviations of the features, so that a landmark
    counts by how much it really moves. Of a model that looks both ways it is that of the faces and their mirror images,
    and as even from left to right as the model is.
    """
    network, place = model.build(), model.columns.index(MESH)
    gradients = []
    for block in zip(*(torch.from_numpy(one).split(GRADIENT_ROWS) for one in inputs), strict=True):
        features = block[place].clone().requires_grad_()
        logits = network(*block[:place], features, *block[place + 1 :])
        gradients += torch.autograd.grad(logits.max(dim=1).values.sum(), features)
    strength = (torch.cat(gradients) * model.state_dict[f"branches.{MESH}.std"]).abs().mean(dim=0)
    found = strength.reshape(LANDMARKS, 3).sum(dim=1).double().numpy()
    return (found + found[mirrored_points()]) / 2 if model.mirror else found


@threads_kept()
@torch.no_grad()
def crop_importance(model: TrainedModel, inputs: Sequence[np.ndarray]) -> np.ndarray:
    """float64 [PATCHES, PATCHES]: by how much the predicted class's log probability falls, on average, where a part of
    the crop is covered with its mean grey (occlusion, Zeiler & Fergus 2014). Of a model that looks both ways as above.

    inputs: [N, ...] of the model's columns.
    """
    network, place = model.build(), model.columns.index(CROP)
    taken = [torch.from_numpy(one) for one in inputs]
    crops = taken[place]
    before = network(*taken).log_softmax(dim=1)
    predicted = before.argmax(dim=1, keepdim=True)
    mean = crops.float().mean(dim=(1, 2), keepdim=True).to(torch.uint8)
    size = crops.shape[1] // PATCHES
    falls = np.zeros((PATCHES, PATCHES))
    for row, column in np.ndindex(PATCHES, PATCHES):
        covered = crops.clone()
        covered[:, row * size : (row + 1) * size, column * size : (column + 1) * size] = mean
        after = network(*taken[:place], covered, *taken[place + 1 :]).log_softmax(dim=1)
        falls[row, column] = (before - after).gather(1, predicted).mean().item()
    return (falls + falls[:, ::-1]) / 2 if model.mirror else falls
