"""What epochs of training work on: faces, their targets and the loss, as tensors on the network's device."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from faceemo.params import TrainParams
from faceemo.training.dataset import Dataset
from faceemo.training.mirror import Mirror
from faceemo.training.targets import Targets
from faceemo.training.whiten import Whitening


@dataclass(frozen=True)
class TrainingTensors:
    """What epochs work on.

    x: float32 [M, inputs], the faces to learn from and those to choose the epoch by, as the network takes them while it
    learns. y: int64 [M] or float32 [M, classes], what `criterion` compares their logits with.
    learnt: int64 [M], the class that a prediction is compared with, below 0 for none.
    rows: int64, which of x are learnt from; valid_rows: which choose the epoch, with valid_y, their classes.
    mirror: turns a batch of x into the mirrored faces; None: no face is mirrored.
    """

    x: torch.Tensor
    y: torch.Tensor
    learnt: torch.Tensor
    rows: torch.Tensor
    valid_rows: torch.Tensor
    valid_y: torch.Tensor
    criterion: nn.Module
    mirror: Callable[[torch.Tensor], torch.Tensor] | None


def make_tensors(
    dataset: Dataset,
    features: np.ndarray,
    whitening: Whitening | None,
    settings: TrainParams,
    device: torch.device,
) -> TrainingTensors:
    """The tensors of a dataset. features: standardised, float32 [N, 1434]."""
    indices, valid, targets = dataset.train, dataset.valid, dataset.targets
    faces = np.arange(len(features))
    if whitening is not None:  # only for these: the others wait for the folded network
        faces = np.union1d(indices, valid)
        features = whitening.transform(features, faces)
    y, criterion = make_loss(targets, indices, settings)
    return TrainingTensors(
        x=torch.from_numpy(features).to(device),
        y=y[faces].to(device),
        learnt=torch.from_numpy(targets.learnt[faces]).to(device),
        rows=torch.from_numpy(np.searchsorted(faces, indices)).to(device),
        valid_rows=torch.from_numpy(np.searchsorted(faces, valid)).to(device),
        valid_y=torch.from_numpy(targets.valid[valid]).to(device),
        criterion=criterion.to(device),
        mirror=make_mirror(whitening, device) if settings.mirror else None,
    )


def make_mirror(whitening: Whitening | None, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
    """What turns a batch of the network's inputs into those of the mirrored faces."""
    if whitening is None:
        return Mirror(device)
    mirror = torch.from_numpy(whitening.mirror).float().to(device)
    return lambda components: components @ mirror


def make_loss(targets: Targets, indices: np.ndarray, settings: TrainParams) -> tuple[torch.Tensor, nn.Module]:
    """The target of every face, int64 [N] or float32 [N, classes], and the loss of logits against it.

    indices: the faces to learn from. Shares of votes are smoothed and weighted here, as CrossEntropyLoss itself does
    with a class, so that their sum is a picture's weight, 1 on average.
    """
    classes, smoothing = targets.votes.shape[1], settings.label_smoothing
    if targets.shares is None:
        counts = np.bincount(targets.learnt[indices], minlength=classes)
        weights = class_weights(counts) if settings.class_weights else None
        return torch.from_numpy(targets.learnt), nn.CrossEntropyLoss(weights, label_smoothing=smoothing)
    weight = targets.weight[:, None] / targets.weight[indices].mean()
    y = torch.from_numpy((targets.shares * (1 - smoothing) + smoothing / classes) * weight)
    if settings.class_weights:  # by votes, since a class that rarely wins may still have many
        y *= class_weights((targets.shares * weight)[indices].sum(axis=0))
    return y, nn.CrossEntropyLoss()


def class_weights(counts: np.ndarray) -> torch.Tensor:
    """Inverse to how often each class occurs, 1 on average over the pictures or votes counted; 0 for an absent class.

    A fold may leave a class of few people without any to train on.
    """
    present = counts > 0
    weights = np.zeros(len(counts), np.float32)
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return torch.from_numpy(weights)
