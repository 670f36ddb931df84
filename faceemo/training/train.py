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
from faceemo.training.mirror import Mirror
from faceemo.training.model import NETWORKS, TrainedModel, save_model
from faceemo.training.seen import hash_people, salt_of
from faceemo.training.standardize import fit_standardization, standardize
from faceemo.training.targets import Targets
from faceemo.training.whiten import Whitening, fit_whitening

EVALUATION_ROWS = 8192


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


@dataclass(frozen=True)
class Lessons:
    """What epochs work on, as tensors on the device of the network.

    x: float32 [M, inputs], the faces to learn from and those to choose the epoch by, as the network takes them while it
    learns. y: int64 [M] or float32 [M, classes], what loss_of compares their logits with.
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
    loss_of: nn.Module
    mirror: Callable[[torch.Tensor], torch.Tensor] | None


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
    neutral = mean_neutral_face(dataset, features)
    mean, std = np.zeros(COORDINATES, np.float32), np.ones(COORDINATES, np.float32)
    if params.train.standardize:
        mean, std = fit_standardization(features, dataset.train, params.train.mirror)
        standardize(features, mean, std)
    whitening = make_whitening(dataset, features, params.train)
    lessons = _make_lessons(dataset, features, whitening, params.train, devices[0])
    name = params.train.network or ("mlp" if whitening is None else "mlp_dropout")
    network = NETWORKS[name](len(dataset.classes), lessons.x.shape[1]).to(devices[0])

    so_far = _SoFar()
    try:
        _learn(network, lessons, params, devices, so_far, after_epoch)
        interrupted = False
    except KeyboardInterrupt:
        if not so_far.kept:
            raise Interrupted("no epoch was finished") from None
        interrupted = True

    weights = {name: value.cpu() for name, value in so_far.weights.items()}
    weights = weights if whitening is None else whitening.fold(weights)
    seen = set(dataset.column("subject")[np.union1d(dataset.train, dataset.valid)]) - {None}
    model = TrainedModel(
        name,
        dataset.classes,
        state_dict=weights,
        mean=torch.from_numpy(mean),
        std=torch.from_numpy(std),
        temperature=1.0,
        settings={**dataset.settings, "emotions": {name: list(own) for name, own in params.emotions.items()}},
        neutral=neutral,
        salt=salt_of(weights),
        people=hash_people(seen, salt_of(weights)),
    )
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


@dataclass
class _SoFar:
    """The epochs of a training that may be interrupted; the one that is kept, 0 before the first, and its weights."""

    history: list[Epoch] = field(default_factory=list)
    kept: int = 0
    weights: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def peak(self) -> int:
        """The first epoch with the best score."""
        return max(self.history, key=lambda epoch: epoch.score).epoch

    def keep(self, network: nn.Module) -> None:
        self.kept, self.weights = self.history[-1].epoch, copy.deepcopy(network.state_dict())


def _learn(
    network: nn.Module,
    lessons: Lessons,
    params: Params,
    devices: list[torch.device],
    so_far: _SoFar,
    after_epoch: Callable[[list[Epoch]], None],
) -> None:
    parallel = nn.DataParallel(network, devices) if len(devices) > 1 else network
    sizes = batch_sizes(len(lessons.rows), params.batch_size, len(devices))
    optimizer, schedule = make_optimizer(network, params, len(sizes) * params.epochs)
    with progress(params.epochs, "train", "epochs") as advance:
        for number in range(1, params.epochs + 1):
            loss, accuracy = run_epoch(parallel, lessons, sizes, optimizer, schedule)
            epoch = _measured(
                number, loss, accuracy, predict_logits(parallel, lessons.x, lessons.valid_rows), lessons.valid_y
            )
            so_far.history.append(epoch)
            after_epoch(so_far.history)
            if not math.isfinite(loss + epoch.valid_loss):
                raise _diverged(number, params.lr)
            if so_far.peak == number or not params.train.best_epoch:
                so_far.keep(network)
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
    faces = features[indices[dataset.targets.learnt[indices] == dataset.classes.index(NEUTRAL)]]
    return torch.from_numpy(faces.mean(axis=0)) if len(faces) else None


def make_whitening(dataset: Dataset, features: np.ndarray, settings: TrainParams) -> Whitening | None:
    """The whitening of standardised features that settings.whiten asks for; None without, and for changes of a person.

    Half as many components as there are faces to learn from are the most that it takes.
    """
    if settings.whiten is None:
        return None
    if dataset.settings.get("normalize", {}).get("baseline", "none") != "none":
        print("train.whiten is for models without baseline: not used", flush=True)
        return None
    components = min(settings.whiten, len(dataset.train) // 2)
    if components < settings.whiten:
        print(
            f"train.whiten: {components} components, not {settings.whiten}: there are {len(dataset.train)} faces to "
            "learn from",
            flush=True,
        )
    return fit_whitening(features, dataset.train, dataset.targets.learnt, components, settings.mirror)


def _make_lessons(
    dataset: Dataset,
    features: np.ndarray,
    whitening: Whitening | None,
    settings: TrainParams,
    device: torch.device,
) -> Lessons:
    """features: standardised, float32 [N, 1434]."""
    indices, valid, targets = dataset.train, dataset.valid, dataset.targets
    faces = np.arange(len(features))
    if whitening is not None:  # only for these: the others wait for the folded network
        faces = np.union1d(indices, valid)
        features = whitening.transform(features, faces)
    y, loss_of = make_loss(targets, indices, settings)
    return Lessons(
        x=torch.from_numpy(features).to(device),
        y=y[faces].to(device),
        learnt=torch.from_numpy(targets.learnt[faces]).to(device),
        rows=torch.from_numpy(np.searchsorted(faces, indices)).to(device),
        valid_rows=torch.from_numpy(np.searchsorted(faces, valid)).to(device),
        valid_y=torch.from_numpy(targets.valid[valid]).to(device),
        loss_of=loss_of.to(device),
        mirror=make_mirror(whitening, device) if settings.mirror else None,
    )


def make_mirror(whitening: Whitening | None, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
    """What turns a batch of the network's inputs into those of the mirrored faces."""
    if whitening is None:
        return Mirror(device)
    mirror = torch.from_numpy(whitening.mirror).float().to(device)
    return lambda components: components @ mirror


@torch.no_grad()
def predict_logits(network: nn.Module, x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Logits [rows, classes] of these rows of the network's inputs x [N, inputs], with dropout off."""
    network.eval()
    device = next(network.parameters()).device
    return torch.cat([network(x[some].to(device)) for some in rows.split(EVALUATION_ROWS)])


def run_epoch(
    network: nn.Module,
    lessons: Lessons,
    sizes: list[int],
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> tuple[float, float]:
    """One pass over the faces to learn from, in random order, in batches of these sizes: mean loss and accuracy."""
    network.train()
    x, rows = lessons.x, lessons.rows
    order = rows[torch.randperm(len(rows)).to(rows.device)]
    loss_sum = torch.zeros((), device=x.device)
    hits = torch.zeros((), device=x.device, dtype=torch.long)
    compared = torch.zeros((), device=x.device, dtype=torch.long)
    for batch in order[: sum(sizes)].split(sizes):
        features, target = x.index_select(0, batch), lessons.y.index_select(0, batch)
        if lessons.mirror is not None:  # the order is random, so the first half is a random half
            half = len(batch) // 2
            features[:half] = lessons.mirror(features[:half])
        logits = network(features)
        loss = lessons.loss_of(logits, target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        loss_sum += loss.detach() * len(batch)
        truth = lessons.learnt.index_select(0, batch)
        hits += (logits.detach().argmax(1) == truth).sum()
        compared += (truth >= 0).sum()
    return loss_sum.item() / sum(sizes), hits.item() / max(compared.item(), 1)


def make_loss(targets: Targets, indices: np.ndarray, settings: TrainParams) -> tuple[torch.Tensor, nn.Module]:
    """The target of every face, int64 [N] or float32 [N, classes], and the loss of logits against it.

    indices: the faces to learn from. Shares of votes are smoothed and weighted here, as CrossEntropyLoss itself does
    with a class, so that their sum is a picture's weight, 1 on average.
    """
    classes, smoothing = targets.votes.shape[1], settings.label_smoothing
    if targets.shares is None:
        counts = np.bincount(targets.learnt[indices], minlength=classes)
        weights = _class_weights(counts) if settings.class_weights else None
        return torch.from_numpy(targets.learnt), nn.CrossEntropyLoss(weights, label_smoothing=smoothing)
    weight = targets.weight[:, None] / targets.weight[indices].mean()
    y = torch.from_numpy((targets.shares * (1 - smoothing) + smoothing / classes) * weight)
    if settings.class_weights:  # by votes: of a class that is seldom the most voted one there may be many
        y *= _class_weights((targets.shares * weight)[indices].sum(axis=0))
    return y, nn.CrossEntropyLoss()


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


def _class_weights(counts: np.ndarray) -> torch.Tensor:
    """Inverse to how often each class occurs, 1 on average over the pictures or votes counted; 0 for an absent class.

    A fold may leave a class of few people without any to train on.
    """
    present = counts > 0
    weights = np.zeros(len(counts), np.float32)
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return torch.from_numpy(weights)


def _measured(number: int, loss: float, accuracy: float, logits: torch.Tensor, target: torch.Tensor) -> Epoch:
    """valid_* are 0 where no face of the valid split has a class, as in a fold of people whom raters saw otherwise."""
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
