"""What epochs work on: the columns of all faces, how they are mirrored, targets and loss, on the network's device."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from faceemo.params import TrainParams
from faceemo.training.dataset import Dataset
from faceemo.training.model import TrainedModel
from faceemo.training.recipe import MESH, MIRRORS, Inputs, Mirror, Recipe
from faceemo.training.standardize import Standardization, fit_standardization
from faceemo.training.targets import Targets
from faceemo.training.whiten import Whitening, fit_whitening


@dataclass(frozen=True)
class Column:
    """What the network takes of one column while it learns."""

    rows: torch.Tensor
    """[N, ...], of all faces of the dataset, on the device."""
    mirror: Mirror
    """Turns rows of it into those of the mirrored faces."""


@dataclass(frozen=True)
class TrainingTensors:
    """What epochs work on, of the N faces of a dataset."""

    columns: list[Column]
    """In the order in which the network takes them."""
    y: torch.Tensor
    """int64 [N] or float32 [N, classes], what `criterion` compares logits with."""
    learnt: torch.Tensor
    """int64 [N], the class that an answer is compared with, below 0 for none."""
    rows: torch.Tensor
    """int64, the faces that are learnt from."""
    valid_rows: torch.Tensor
    """int64, the faces that the network is watched on, of which valid_y int64 are the classes."""
    valid_y: torch.Tensor
    criterion: nn.Module
    mirror: bool
    """Whether half of every batch is mirrored."""

    def batch(self, rows: torch.Tensor) -> list[torch.Tensor]:
        """Each column of these faces; the first half of them mirrored if asked: their order is random."""
        taken = [column.rows.index_select(0, rows) for column in self.columns]
        half = len(rows) // 2
        if self.mirror and half:
            for column, one in zip(self.columns, taken, strict=True):
                one[:half] = column.mirror(one[:half])
        return taken


@dataclass(frozen=True)
class Preparation:
    """How features of landmarks become what the network takes; None where it does not read them."""

    standardization: Standardization | None = None
    whitening: Whitening | None = None


def prepare(
    dataset: Dataset, inputs: Inputs, recipe: Recipe, settings: TrainParams, start: TrainedModel | None = None
) -> Preparation:
    """Fit the preparation on the faces to learn from, or take that of the model that their branch begins as.

    Raises FaceemoError if the faces of each class are all alike.
    """
    if MESH not in recipe.columns:
        return Preparation()
    if start is not None and MESH in start.columns:
        mean, std = (start.state_dict[f"branches.{MESH}.{name}"].float().numpy() for name in ("mean", "std"))
        return Preparation(Standardization(mean, std))
    features = inputs[MESH]
    standardization = fit_standardization(features, dataset.train, settings.mirror)
    if settings.whiten is None:
        return Preparation(standardization)
    if dataset.settings.get("normalize", {}).get("baseline", "none") != "none":
        print("train.whiten is for models without baseline: not used", flush=True)
        return Preparation(standardization)
    components = min(settings.whiten, len(dataset.train) // 2)
    if components < settings.whiten:
        print(
            f"train.whiten: {components} components, not {settings.whiten}: there are {len(dataset.train)} faces to "
            "learn from",
            flush=True,
        )
    whitening = fit_whitening(
        features, standardization, dataset.train, dataset.targets.learnt, components, settings.mirror
    )
    return Preparation(standardization, whitening)


def make_tensors(
    dataset: Dataset,
    inputs: Inputs,
    recipe: Recipe,
    preparation: Preparation,
    settings: TrainParams,
    device: torch.device,
) -> TrainingTensors:
    """The tensors of a dataset. Arrays of `inputs` are shared on a CPU, never changed."""
    indices, valid, targets = dataset.train, dataset.valid, dataset.targets
    y, criterion = make_loss(targets, indices, settings.label_smoothing)
    return TrainingTensors(
        columns=[_column(name, inputs[name], preparation.whitening, device) for name in recipe.columns],
        y=y.to(device),
        learnt=torch.from_numpy(targets.learnt).to(device),
        rows=torch.from_numpy(indices).to(device),
        valid_rows=torch.from_numpy(valid).to(device),
        valid_y=torch.from_numpy(targets.valid[valid]).to(device),
        criterion=criterion.to(device),
        mirror=settings.mirror,
    )


def _column(name: str, values: np.ndarray, whitening: Whitening | None, device: torch.device) -> Column:
    if name != MESH or whitening is None:
        return Column(torch.from_numpy(values).to(device), MIRRORS[name]().to(device))
    parity = torch.zeros(0) if whitening.parity is None else torch.from_numpy(whitening.parity).float().to(device)
    return Column(torch.from_numpy(whitening.transform(values)).to(device), lambda components: components * parity)


def make_loss(targets: Targets, indices: np.ndarray, smoothing: float) -> tuple[torch.Tensor, nn.Module]:
    """The target of every face, int64 [N] or float32 [N, classes], and the loss of logits against it.

    indices: the faces to learn from. Shares of votes are smoothed and weighted here, as CrossEntropyLoss itself does
    with a class, so that their sum is a picture's weight, 1 on average.
    """
    if targets.shares is None:
        return torch.from_numpy(targets.learnt), nn.CrossEntropyLoss(label_smoothing=smoothing)
    weight = targets.weight[:, None] / targets.weight[indices].mean()
    y = torch.from_numpy((targets.shares * (1 - smoothing) + smoothing / targets.shares.shape[1]) * weight)
    return y, nn.CrossEntropyLoss()


def class_shares(targets: Targets, indices: np.ndarray) -> np.ndarray:
    """float64 [classes]: how much of what is learnt from these faces each class is, adding up to 1; none is 0.

    By votes where votes are learnt, since a class that rarely wins may still have many.
    """
    classes = targets.votes.shape[1]
    if targets.shares is None:
        counts = np.bincount(targets.learnt[indices], minlength=classes).astype(float)
    else:
        counts = (targets.shares[indices] * targets.weight[indices, None]).sum(axis=0, dtype=float)
    counts = np.maximum(counts, 1e-3 * counts.sum() / classes)  # of a class that a fold leaves without anybody
    return counts / counts.sum()
