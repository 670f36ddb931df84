"""The training loop: features as one tensor on the device, batches by index, the best epoch kept."""

import copy
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
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
from faceemo.training.mirror import Mirror, mirrored_features
from faceemo.training.model import NETWORKS, TrainedModel, save_model
from faceemo.training.seen import hash_people, salt_of
from faceemo.training.targets import Targets
from faceemo.training.whiten import BLOCK_ROWS, Whitening, fit_whitening

EVALUATION_ROWS = 8192
STD_FLOOR = 1e-3  # of features of size 1; a coordinate that never moved in training must not decide alone


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
    """What training gives: the model, its epochs, and its logits float32 [N, classes] for all faces of the dataset."""

    model: TrainedModel
    history: list[Epoch]
    best_epoch: int
    logits: np.ndarray


def train(
    dataset: Dataset,
    params: Params,
    interrupted_path: Path | None,
    after_epoch: Callable[[list[Epoch]], None] = lambda history: None,
) -> Training:
    """Train on the people of the train split; the epoch with the best macro F1 on the valid split is kept.

    dataset.features are standardised in place and moved to the device as one tensor. `after_epoch` is given the epochs
    so far after each. On Ctrl-C the best model so far is written to `interrupted_path`, if any, and Interrupted raised.
    Raises FaceemoError if there is too little to train on, or if the training diverges.
    """
    torch.manual_seed(params.seed)
    devices = find_devices()
    indices, targets = dataset.train, dataset.targets
    neutral = mean_neutral_face(dataset, indices)
    mean, std = np.zeros(COORDINATES, np.float32), np.ones(COORDINATES, np.float32)
    if params.train.standardize:
        mean, std = fit_standardization(dataset.features, indices, params.train.mirror)
        standardize(dataset.features, mean, std)
    whitening = make_whitening(dataset, params.train)
    inputs, faces = dataset.features, np.arange(len(dataset.features))
    if whitening is not None:  # only for these: the others wait for the folded network
        faces = np.union1d(indices, dataset.valid)
        inputs = whitening.transform(dataset.features, faces)
    x = torch.from_numpy(inputs).to(devices[0])
    y, loss_of = make_loss(targets, indices, params.train)
    y, loss_of = y[faces].to(devices[0]), loss_of.to(devices[0])
    learnt = torch.from_numpy(targets.learnt[faces]).to(devices[0])
    rows = torch.from_numpy(np.searchsorted(faces, indices)).to(devices[0])
    valid_rows = torch.from_numpy(np.searchsorted(faces, dataset.valid)).to(devices[0])
    valid_y = torch.from_numpy(targets.valid[dataset.valid]).to(devices[0])

    name = params.train.network or ("mlp" if whitening is None else "mlp_dropout")
    network = NETWORKS[name](len(dataset.classes), x.shape[1]).to(devices[0])
    parallel = nn.DataParallel(network, devices) if len(devices) > 1 else network
    sizes = batch_sizes(len(rows), params.batch_size, len(devices))
    optimizer, schedule = make_optimizer(network, params, len(sizes) * params.epochs)
    mirror = make_mirror(whitening, devices[0]) if params.train.mirror else None

    history: list[Epoch] = []
    best: dict[str, torch.Tensor] = {}
    best_epoch = peak = 0  # the epoch that is kept, and the one with the best score
    try:
        with progress(params.epochs, "train", "epochs") as advance:
            for number in range(1, params.epochs + 1):
                loss, accuracy = run_epoch(parallel, x, y, learnt, rows, sizes, optimizer, schedule, loss_of, mirror)
                epoch = _measured(number, loss, accuracy, predict_logits(parallel, x, valid_rows), valid_y)
                history.append(epoch)
                after_epoch(history)
                if not math.isfinite(loss + epoch.valid_loss):
                    raise _diverged(number, params.lr)
                better = not best or epoch.score > history[peak - 1].score
                if better:
                    peak = number
                if better or not params.train.best_epoch:
                    best, best_epoch = copy.deepcopy(network.state_dict()), number
                advance(1, loss=f"{loss:.3f}", valid_macro_f1=f"{epoch.valid_macro_f1:.3f}")
                if params.train.patience is not None and number - peak >= params.train.patience:
                    break
        interrupted = False
    except KeyboardInterrupt:
        if not best:
            raise Interrupted("no epoch was finished") from None
        interrupted = True

    weights = {name: value.cpu() for name, value in best.items()}
    weights = weights if whitening is None else whitening.fold(weights)
    seen = set(dataset.column("subject")[np.union1d(indices, dataset.valid)]) - {None}
    model = TrainedModel(
        name,
        dataset.classes,
        state_dict=weights,
        mean=torch.from_numpy(mean),
        std=torch.from_numpy(std),
        temperature=1.0,
        settings=dataset.settings,
        neutral=neutral,
        salt=salt_of(weights),
        people=hash_people(seen, salt_of(weights)),
    )
    if interrupted and interrupted_path is None:
        raise Interrupted
    if interrupted:
        save_model(interrupted_path, model)
        raise Interrupted(f"the model of epoch {best_epoch} is in {interrupted_path.as_posix()}")
    print(f"kept epoch {best_epoch} of {len(history)}: valid macro F1 {history[best_epoch - 1].valid_macro_f1:.3f}")
    everything = torch.from_numpy(dataset.features)
    logits = predict_logits(model.build().to(devices[0]), everything, torch.arange(len(everything))).cpu().numpy()
    if not np.isfinite(logits).all():
        raise _diverged(best_epoch, params.lr)
    return Training(model, history, best_epoch, logits)


def _diverged(epoch: int, lr: float) -> FaceemoError:
    return FaceemoError(f"training diverged in epoch {epoch}: the loss is not a finite number; lower 'lr', now {lr:g}")


def mean_neutral_face(dataset: Dataset, indices: np.ndarray) -> torch.Tensor | None:
    """float32 [1434], the mean of the neutral faces among those at `indices`, where features are changes of a person.

    None where they are not, and without such faces.
    """
    if dataset.settings.get("normalize", {}).get("baseline") != "person" or NEUTRAL not in dataset.classes:
        return None
    faces = dataset.features[indices[dataset.targets.learnt[indices] == dataset.classes.index(NEUTRAL)]]
    return torch.from_numpy(faces.mean(axis=0)) if len(faces) else None


def make_whitening(dataset: Dataset, settings: TrainParams) -> Whitening | None:
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
    return fit_whitening(dataset.features, dataset.train, dataset.targets.learnt, components, settings.mirror)


def make_mirror(whitening: Whitening | None, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
    """What turns a batch of the network's inputs into those of the mirrored faces."""
    if whitening is None:
        return Mirror(device)
    mirror = torch.from_numpy(whitening.mirror).float().to(device)
    return lambda components: components @ mirror


def find_devices() -> list[torch.device]:
    """All CUDA devices, or the CPU."""
    return [torch.device("cuda", i) for i in range(torch.cuda.device_count())] or [torch.device("cpu")]


def describe_devices(devices: list[torch.device]) -> str:
    """One line that names the devices, and what to do where a GPU lies idle for want of the right PyTorch."""
    if devices[0].type == "cuda":
        return f"training on {', '.join(f'{device} ({torch.cuda.get_device_name(device)})' for device in devices)}"
    line = f"training on the CPU ({torch.get_num_threads()} threads)"
    if torch.version.cuda is None and shutil.which("nvidia-smi"):
        line += (
            "\nan NVIDIA driver is installed, but this PyTorch has no CUDA: install the CUDA build that "
            "https://pytorch.org/get-started/locally/ gives for your system to train on the GPU"
        )
    return line


def batch_sizes(rows: int, batch_size: int, devices: int) -> list[int]:
    """Sizes of an epoch's batches: as even as can be, multiples of the device count, two rows or more a device.

    BatchNorm cannot learn from one row, and DataParallel gives the last device the smallest share. Up to devices - 1
    rows are left out, other ones in each epoch. Raises FaceemoError if there are too few rows for one batch.
    """
    units = rows // devices
    if units < 2:
        raise FaceemoError(f"{rows} pictures to train on are too few for {devices} device(s); add archives")
    batches = min(-(-rows // batch_size), units // 2)
    return [devices * (units // batches + (number < units % batches)) for number in range(batches)]


@torch.no_grad()
def predict_logits(network: nn.Module, x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Logits [rows, classes] of these rows of the network's inputs x [N, inputs], with dropout off."""
    network.eval()
    device = next(network.parameters()).device
    return torch.cat([network(x[some].to(device)) for some in rows.split(EVALUATION_ROWS)])


def run_epoch(
    network: nn.Module,
    x: torch.Tensor,
    y: torch.Tensor,
    learnt: torch.Tensor,
    rows: torch.Tensor,
    sizes: list[int],
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    loss_of: nn.Module,
    mirror: Callable[[torch.Tensor], torch.Tensor] | None,
) -> tuple[float, float]:
    """One pass over these rows of x [N, inputs] and y [N] or [N, classes] in random order: mean loss and accuracy.

    learnt: int64 [N], the class that a prediction is compared with, below 0 for none.
    """
    network.train()
    order = rows[torch.randperm(len(rows)).to(rows.device)]
    loss_sum = torch.zeros((), device=x.device)
    hits = torch.zeros((), device=x.device, dtype=torch.long)
    compared = torch.zeros((), device=x.device, dtype=torch.long)
    for batch in order[: sum(sizes)].split(sizes):
        features, target = x.index_select(0, batch), y.index_select(0, batch)
        if mirror is not None:  # the order is random, so the first half is a random half
            half = len(batch) // 2
            features[:half] = mirror(features[:half])
        logits = network(features)
        loss = loss_of(logits, target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        loss_sum += loss.detach() * len(batch)
        truth = learnt.index_select(0, batch)
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


def fit_standardization(features: np.ndarray, indices: np.ndarray, mirror: bool) -> tuple[np.ndarray, np.ndarray]:
    """Mean and std, float32 [1434], of these rows of features [N, 1434], and of their mirror images if asked."""
    total = np.zeros(features.shape[1])
    squares = np.zeros(features.shape[1])
    for start in range(0, len(indices), BLOCK_ROWS):
        some = features[indices[start : start + BLOCK_ROWS]].astype(np.float64)
        total += some.sum(axis=0)
        squares += np.square(some).sum(axis=0)
    mean, square = total / len(indices), squares / len(indices)
    if mirror:
        order, sign = mirrored_features()
        mean, square = (mean + mean[order] * sign) / 2, (square + square[order]) / 2
    std = np.sqrt(np.maximum(square - mean**2, 0))
    return mean.astype(np.float32), np.maximum(std, STD_FLOOR).astype(np.float32)


def standardize(features: np.ndarray, mean: np.ndarray, std: np.ndarray) -> None:
    """Make features [N, 1434] (features - mean) / std, in place."""
    np.subtract(features, mean, out=features)
    np.divide(features, std, out=features)


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
    """Inverse to how often each class comes, 1 on average over the pictures or votes counted."""
    return torch.from_numpy(counts.sum() / (len(counts) * counts)).float()


def _measured(number: int, loss: float, accuracy: float, logits: torch.Tensor, target: torch.Tensor) -> Epoch:
    predicted = logits.argmax(1)
    return Epoch(
        epoch=number,
        train_loss=loss,
        train_accuracy=accuracy,
        valid_loss=nn.functional.cross_entropy(logits, target).item(),
        valid_accuracy=(predicted == target).float().mean().item(),
        valid_macro_f1=float(f1_score(target.cpu(), predicted.cpu(), average="macro", zero_division=0)),
    )
