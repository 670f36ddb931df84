"""The training loop: features as one tensor on the device, batches by index, the best epoch kept."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import f1_score
from torch import nn

from faceemo.console import Interrupted, progress
from faceemo.emotions import NEUTRAL
from faceemo.errors import FaceemoError
from faceemo.extraction.facemesh import COORDINATES
from faceemo.params import Params, TrainParams
from faceemo.training.dataset import Dataset
from faceemo.training.devices import batch_sizes, find_devices
from faceemo.training.model import NETWORKS, TrainedModel, save_model
from faceemo.training.seen import hash_people, salt_of
from faceemo.training.standardize import fit_standardization, mean_of_rows, standardize
from faceemo.training.tensors import TrainingTensors, make_tensors
from faceemo.training.whiten import Whitening, make_whitening

EVALUATION_ROWS = 2048


@dataclass(frozen=True)
class Epoch:
    """Losses are mean cross entropies; train_* are measured while learning, with dropout, valid_* after the epoch."""

    epoch: int
    train_loss: float
    train_accuracy: float
    valid_loss: float
    valid_accuracy: float
    valid_macro_f1: float

    @property
    def score(self) -> tuple[float, float]:
        """What decides which epoch is best: macro F1 on the valid split, the loss there between equals."""
        return self.valid_macro_f1, -self.valid_loss


@dataclass(frozen=True)
class Training:
    """What training gives: the model, its epochs, and its logits float32 [N, classes] for all faces of the dataset.

    inputs: float32 [N, 1434], the features of all faces as the network takes them, (feature - mean) / std.
    """

    model: TrainedModel
    history: list[Epoch]
    best_epoch: int
    logits: np.ndarray
    inputs: np.ndarray


def train(
    dataset: Dataset,
    features: np.ndarray,
    params: Params,
    interrupted_path: Path | None,
    after_epoch: Callable[[list[Epoch]], None] = lambda history: None,
) -> Training:
    """Train on the people of the train split; the epoch with the best macro F1 on the valid split is kept.

    features: float32 [N, 1434] of the dataset's faces. They are used up: their array becomes Training.inputs, since
    500,000 faces take 3 GB. `after_epoch` is given the epochs so far after each. On Ctrl-C the best model so far is
    written to `interrupted_path`, if any, and Interrupted raised.
    Raises FaceemoError if there is too little to train on, or if the training diverges.
    """
    torch.manual_seed(params.seed)
    devices = find_devices()
    prepared = _prepare(dataset, features, params.train)
    tensors = make_tensors(dataset, features, prepared.whitening, params.train, devices[0])
    name = params.train.network or ("mlp" if prepared.whitening is None else "mlp_dropout")
    so_far = _SoFar(NETWORKS[name](len(dataset.classes), tensors.x.shape[1]).to(devices[0]))
    interrupted = False
    try:
        _learn(so_far, tensors, params, devices, after_epoch)
    except KeyboardInterrupt:
        if not so_far.kept:
            raise Interrupted("no epoch was finished") from None
        interrupted = True
    model = _trained_model(name, so_far.weights, prepared, dataset, params)
    if interrupted:
        if interrupted_path is None:
            raise Interrupted
        save_model(interrupted_path, model)
        raise Interrupted(f"the model of epoch {so_far.kept} is in {interrupted_path.as_posix()}")
    history, kept = so_far.history, so_far.kept
    print(f"kept epoch {kept} of {len(history)}: valid macro F1 {history[kept - 1].valid_macro_f1:.3f}")
    everything = torch.from_numpy(features)
    logits = predict_logits(model.build().to(devices[0]), everything, torch.arange(len(everything))).cpu().numpy()
    if not np.isfinite(logits).all():
        raise _diverged(kept, params.lr)
    return Training(model, history, kept, logits, inputs=features)


@dataclass(frozen=True)
class _Prepared:
    """How features became the inputs of a network: (feature - mean) / std, then whitened if asked.

    neutral: as in TrainedModel.
    """

    mean: np.ndarray
    std: np.ndarray
    whitening: Whitening | None
    neutral: torch.Tensor | None


def _prepare(dataset: Dataset, features: np.ndarray, settings: TrainParams) -> _Prepared:
    """Fit the preparation on the faces to learn from, and standardise all features [N, 1434] in place if asked."""
    neutral = mean_neutral_face(dataset, features)
    mean, std = np.zeros(COORDINATES, np.float32), np.ones(COORDINATES, np.float32)
    if settings.standardize:
        mean, std = fit_standardization(features, dataset.train, settings.mirror)
        standardize(features, mean, std)
    return _Prepared(mean, std, make_whitening(dataset, features, settings), neutral)


def _trained_model(
    network: str, weights: dict[str, torch.Tensor], prepared: _Prepared, dataset: Dataset, params: Params
) -> TrainedModel:
    weights = {name: value.cpu() for name, value in weights.items()}
    if prepared.whitening is not None:
        weights = prepared.whitening.fold(weights)
    seen = set(dataset.column("subject")[np.union1d(dataset.train, dataset.valid)]) - {None}
    return TrainedModel(
        network,
        dataset.classes,
        state_dict=weights,
        mean=torch.from_numpy(prepared.mean),
        std=torch.from_numpy(prepared.std),
        temperature=1.0,
        settings={**dataset.settings, "emotions": {name: list(own) for name, own in params.emotions.items()}},
        neutral=prepared.neutral,
        salt=salt_of(weights),
        people=hash_people(seen, salt_of(weights)),
    )


@dataclass
class _SoFar:
    """A network while it learns: its epochs, and the number and weights of the one that is kept; 0 before the first."""

    network: nn.Module
    history: list[Epoch] = field(default_factory=list)
    kept: int = 0
    weights: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def peak(self) -> int:
        """The first epoch with the best score."""
        return max(self.history, key=lambda epoch: epoch.score).epoch

    def keep(self) -> None:
        """Keep the last epoch."""
        self.kept, self.weights = self.history[-1].epoch, copy.deepcopy(self.network.state_dict())


def _learn(
    so_far: _SoFar,
    tensors: TrainingTensors,
    params: Params,
    devices: list[torch.device],
    after_epoch: Callable[[list[Epoch]], None],
) -> None:
    network = nn.DataParallel(so_far.network, devices) if len(devices) > 1 else so_far.network
    sizes = batch_sizes(len(tensors.rows), params.batch_size, len(devices))
    optimizer, scheduler = make_optimizer(network, params, len(sizes) * params.epochs)
    with progress(params.epochs, "train", "epochs") as advance:
        for number in range(1, params.epochs + 1):
            loss, accuracy = run_epoch(network, tensors, sizes, optimizer, scheduler)
            logits = predict_logits(network, tensors.x, tensors.valid_rows)
            epoch = _measured(number, loss, accuracy, logits, tensors.valid_y)
            so_far.history.append(epoch)
            after_epoch(so_far.history)
            if not math.isfinite(loss + epoch.valid_loss):
                raise _diverged(number, params.lr)
            if so_far.peak == number or not params.train.best_epoch:
                so_far.keep()
            advance(1, loss=f"{loss:.3f}", valid_macro_f1=f"{epoch.valid_macro_f1:.3f}")
            if params.train.patience is not None and number - so_far.peak >= params.train.patience:
                break


def _diverged(epoch: int, lr: float) -> FaceemoError:
    return FaceemoError(f"training diverged in epoch {epoch}: the loss is not a finite number; lower 'lr', now {lr:g}")


def mean_neutral_face(dataset: Dataset, features: np.ndarray) -> torch.Tensor | None:
    """float32 [1434], the mean of the neutral faces that are learnt from, where features are changes of a person.

    None where they are not, and without such faces.
    """
    if dataset.settings.get("normalize", {}).get("baseline") != "person" or NEUTRAL not in dataset.classes:
        return None
    indices = dataset.train
    faces = indices[dataset.targets.learnt[indices] == dataset.classes.index(NEUTRAL)]
    return torch.from_numpy(mean_of_rows(features, faces)) if len(faces) else None


@torch.no_grad()
def predict_logits(network: nn.Module, x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Logits [rows, classes] of these rows of the network's inputs x [N, inputs], with dropout off."""
    network.eval()
    device = next(network.parameters()).device
    classes = network(x[rows[:1]].to(device)).shape[1]
    # In one block: if each part were kept, small blocks would lie between large freed ones, and 500 MB stay taken.
    logits = torch.empty(len(rows), classes, device=device)
    for start in range(0, len(rows), EVALUATION_ROWS):
        some = rows[start : start + EVALUATION_ROWS]
        logits[start : start + len(some)] = network(x[some].to(device))
    return logits


def run_epoch(
    network: nn.Module,
    tensors: TrainingTensors,
    sizes: list[int],
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
) -> tuple[float, float]:
    """One pass over the faces to learn from, in random order, in batches of these sizes: mean loss and accuracy."""
    network.train()
    x, rows = tensors.x, tensors.rows
    order = rows[torch.randperm(len(rows)).to(rows.device)]
    loss_sum = torch.zeros((), device=x.device)
    hits = torch.zeros((), device=x.device, dtype=torch.long)
    compared = torch.zeros((), device=x.device, dtype=torch.long)
    for batch in order[: sum(sizes)].split(sizes):
        features, target = x.index_select(0, batch), tensors.y.index_select(0, batch)
        if tensors.mirror is not None:  # the order is random, so the first half is a random half
            half = len(batch) // 2
            features[:half] = tensors.mirror(features[:half])
        logits = network(features)
        loss = tensors.criterion(logits, target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        scheduler.step()
        loss_sum += loss.detach() * len(batch)
        truth = tensors.learnt.index_select(0, batch)
        hits += (logits.detach().argmax(1) == truth).sum()
        compared += (truth >= 0).sum()
    return loss_sum.item() / sum(sizes), hits.item() / max(compared.item(), 1)


def make_optimizer(
    network: nn.Module, params: Params, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Adam or AdamW, and a learning rate that stays or falls to zero along a cosine over `steps`."""
    kind = torch.optim.AdamW if params.train.optimizer == "adamw" else torch.optim.Adam
    # fused: a fifth of the default's time on a CPU, where it is otherwise a third of the whole step
    optimizer = kind(network.parameters(), params.lr, weight_decay=params.train.weight_decay, fused=True)
    if params.train.schedule == "cosine":
        return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    return optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)


def _measured(number: int, loss: float, accuracy: float, logits: torch.Tensor, target: torch.Tensor) -> Epoch:
    """valid_* are 0 where no face of the valid split has a class, as in a fold where raters saw other emotions."""
    if not len(target):
        return Epoch(number, loss, accuracy, 0.0, 0.0, 0.0)
    predicted = logits.argmax(1)
    return Epoch(
        epoch=number,
        train_loss=loss,
        train_accuracy=accuracy,
        valid_loss=nn.functional.cross_entropy(logits, target).item(),
        valid_accuracy=(predicted == target).float().mean().item(),
        valid_macro_f1=float(f1_score(target.cpu(), predicted.cpu(), average="macro", zero_division=0)),
    )
