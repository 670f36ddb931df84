"""The training loop: all faces as tensors on the device, batches by index, the last epoch of the cosine kept."""

import copy
import functools
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import f1_score
from torch import nn

from faceemo.console import Interrupted, progress
from faceemo.emotions import NEUTRAL
from faceemo.errors import FaceemoError
from faceemo.params import Params
from faceemo.paths import COMES_ALONG
from faceemo.training.dataset import Dataset
from faceemo.training.devices import batch_sizes, find_devices, has_bfloat16, threads_kept
from faceemo.training.domains import fit_domain, fit_margin
from faceemo.training.model import Deferring, TrainedModel, load_model, model_file, save_model
from faceemo.training.networks import Network
from faceemo.training.preflight import check_network, check_start
from faceemo.training.recipe import CROP, FACES_AT_ONCE, MESH, RECIPES, Inputs, choose_network
from faceemo.training.seen import hash_people, salt_of
from faceemo.training.standardize import mean_of_rows
from faceemo.training.tensors import Preparation, TrainingTensors, class_shares, make_tensors, prepare

WARM_UP = 0.2  # of all steps
LONG_SECONDS = 600.0  # a training above that is announced with its length


@dataclass(frozen=True)
class Epoch:
    """Losses are mean cross entropies; train_* are measured while learning, with dropout, valid_* after the epoch."""

    epoch: int
    train_loss: float
    train_accuracy: float
    valid_loss: float
    valid_accuracy: float
    valid_macro_f1: float


@dataclass(frozen=True)
class Training:
    """What training gives."""

    model: TrainedModel
    history: list[Epoch]
    logits: np.ndarray
    """float32 [N, classes], of the dataset's faces; NaN for those that it has learnt from."""
    learnt_valid: bool = False
    """Whether the model has learnt from the valid people too, after history and their logits (see calibrate)."""

    def answering(self, inputs: Inputs, balanced: bool) -> "Training":
        """The same with the logits that the model answers with: some faces are left to its start.

        inputs: what it was trained on. balanced: without the shares of what it learnt, in model and logits.
        """
        model = self.model.balanced() if balanced else self.model
        logits = self.logits - self.model.lean.numpy() if balanced else self.logits.copy()
        predictor = model.predictor()
        if isinstance(predictor, Deferring):
            for some in torch.from_numpy(np.flatnonzero(~np.isnan(logits[:, 0]))).split(FACES_AT_ONCE):
                columns = [torch.from_numpy(inputs[column])[some] for column in model.columns]
                left = predictor.left(columns[predictor.crop])
                logits[some] = predictor.settle(torch.from_numpy(logits)[some], left, columns).numpy()
        return replace(self, model=model, logits=logits)


def train(
    dataset: Dataset,
    inputs: Inputs,
    params: Params,
    interrupted_path: Path | None,
    after_epoch: Callable[[list[Epoch]], None] = lambda history: None,
) -> Training:
    """Train on the people of the train split; those of the valid split are watched, and choose nothing.

    inputs: of the dataset's faces, the columns of the recipe that params name; they are not changed. `after_epoch` is
    given the epochs so far after each. On Ctrl-C the model of the last finished epoch is written to `interrupted_path`,
    if any, and Interrupted raised.
    Raises FaceemoError if there is too little to train on, or if the training diverges.
    """
    name = network_of(dataset, params)
    recipe, classes, devices = RECIPES[name], len(dataset.classes), find_devices()
    with threads_kept() as threads:
        torch.manual_seed(params.seed)
        start = load_start(params)
        shared: tuple[str, ...] = ()
        if start is not None:
            shared = shared_columns(recipe.columns, dataset.settings["normalize"], start)
            judges = dataset.column("subject")[dataset.test]
            notes = seen_note(start, judges, "test people"), start_note(name, params, start, shared)
            for note in filter(None, notes):
                print(note, flush=True)
        preparation = prepare(dataset, inputs, recipe, params.train, start if MESH in shared else None)
        tensors = make_tensors(dataset, inputs, recipe, preparation, params.train, devices[0])
        network = _begin(recipe.build(classes, _mesh_width(preparation)), preparation)
        if start is not None:
            begin_as(network, dataset.classes, start, shared)
        so_far = _SoFar(network.to(devices[0]))
        try:
            _learn(so_far, tensors, params, devices, threads if recipe.is_heavy else None, after_epoch)
            model = _trained_model(name, so_far.weights, preparation, dataset, inputs, params)
            model = model if start is None else leave_to(start, model, dataset, inputs)
            columns = [torch.from_numpy(inputs[column]) for column in recipe.columns]
            judged = np.flatnonzero(dataset.split[dataset.row_of] != "train")
            with progress(len(judged), "train: answers", "faces") as advance:
                answers = predict_logits(model.build().to(devices[0]), columns, torch.from_numpy(judged), advance)
        except KeyboardInterrupt:
            if not so_far.weights:
                raise Interrupted("no epoch was finished") from None
            if interrupted_path is None:
                raise Interrupted from None
            save_model(interrupted_path, _trained_model(name, so_far.weights, preparation, dataset, inputs, params))
            where = interrupted_path.as_posix()
            raise Interrupted(f"the model of epoch {len(so_far.history)} is in {where}") from None
    if not answers.isfinite().all():
        raise _diverged(params.epochs, params.lr)
    logits = np.full((len(dataset.row_of), len(dataset.classes)), np.nan, np.float32)
    logits[judged] = answers.cpu().numpy()
    return Training(model, so_far.history, logits)


def load_start(params: Params) -> TrainedModel | None:
    """The model that params let a training begin as. Raises FaceemoError if it cannot be read."""
    check_start(params.train)
    return None if params.train.start is None else load_model(model_file(params.train.start))


def seen_note(start: TrainedModel, subjects: Iterable[str | None], whose: str) -> str | None:
    """A line where a training would be judged by people that the model it begins as has learnt from; None without.

    subjects: who judges it; whose: these people in words.
    """
    seen = sum(start.has_seen(set(subjects)))
    return f"train.start has learnt from {seen} of the {whose}: they make this model look better" if seen else None


def network_of(dataset: Dataset, params: Params) -> str:
    """The name of the recipe that params name for a dataset.

    Raises FaceemoError if it reads crops and there are none, and if it reads nothing of what a baseline changes.
    """
    baseline = dataset.settings["normalize"]["baseline"]
    whitens = params.train.whiten is not None and baseline == "none"
    name = choose_network(params.train.network, dataset.has_crops, whitens)
    check_network(name, dataset.has_crops, baseline)
    return name


def _mesh_width(preparation: Preparation) -> int:
    if preparation.whitening is not None:
        return preparation.whitening.directions.shape[1]
    return 0 if preparation.standardization is None else len(preparation.standardization.mean)


def _begin(network: Network, preparation: Preparation) -> Network:
    """A network with random weights, its standardisation set where it takes features as they are."""
    if preparation.standardization is not None and preparation.whitening is None:
        mean, std = preparation.standardization.mean, preparation.standardization.std
        network.branches[MESH].load_state_dict(
            {"mean": torch.from_numpy(mean), "std": torch.from_numpy(std)}, strict=False
        )
    return network


def shared_columns(columns: Sequence[str], normalize: Mapping[str, str], start: TrainedModel) -> tuple[str, ...]:
    """The columns that a network reads as its start does, whose branches can therefore begin as the start's.

    Features of landmarks that were normalised in another way are others: the change of a face is not the face.
    """
    is_alike = start.settings["normalize"] == normalize
    return tuple(name for name in columns if name in start.columns and (is_alike or name != MESH))


def start_note(name: str, params: Params, start: TrainedModel, shared: Sequence[str]) -> str | None:
    """A line where the model file that was named has parts that a network of this name cannot begin as; else None."""
    if params.train.start == COMES_ALONG:
        return None
    if MESH in start.columns and MESH in RECIPES[name].columns and MESH not in shared:
        what = "has read landmarks that were normalised otherwise, so its part for these is not taken"
    elif not shared:
        what = f"reads nothing that {name} reads"
    else:
        return None
    end = "" if shared else "; this training begins with random weights"
    return f"train.start: {params.train.start} {what}{end}"


@torch.no_grad()
def begin_as(network: Network, classes: Sequence[str], start: TrainedModel, shared: Sequence[str]) -> None:
    """Give a network for these classes the weights of a trained one: of the branches of shared_columns, and in the head
    of classes with the same name; the rest stays as it is, all of it where they share no branch.
    """
    if not shared:
        return
    other = start.weighted()
    own_rows = [number for number, name in enumerate(classes) if name in start.classes]
    other_rows = [start.classes.index(classes[number]) for number in own_rows]
    places, other_places = network.places(), other.places()
    for column in shared:
        network.branches[column].load_state_dict(other.branches[column].state_dict())
        for own, theirs in zip(own_rows, other_rows, strict=True):
            network.head.weight[own, places[column]] = other.head.weight[theirs, other_places[column]]
    for own, theirs in zip(own_rows, other_rows, strict=True):
        network.head.bias[own] = other.head.bias[theirs]


def _folded(weights: dict[str, torch.Tensor], preparation: Preparation) -> dict[str, torch.Tensor]:
    """The weights of a network that takes components, changed to take features."""
    whitening = preparation.whitening
    if whitening is None:
        return weights
    layer = f"branches.{MESH}.layers.0"
    weight, bias = whitening.fold(weights[f"{layer}.weight"], weights[f"{layer}.bias"])
    return {
        **weights,
        f"{layer}.weight": weight,
        f"{layer}.bias": bias,
        f"branches.{MESH}.mean": torch.from_numpy(whitening.standardization.mean),
        f"branches.{MESH}.std": torch.from_numpy(whitening.standardization.std),
    }


def _trained_model(
    name: str,
    weights: dict[str, torch.Tensor],
    preparation: Preparation,
    dataset: Dataset,
    inputs: Inputs,
    params: Params,
) -> TrainedModel:
    weights = _folded({key: value.cpu() for key, value in weights.items()}, preparation)
    seen = dataset.people(np.union1d(dataset.train, dataset.valid))
    domain = fit_domain(inputs[CROP], dataset.train) if CROP in RECIPES[name].columns else None
    return TrainedModel(
        name,
        dataset.classes,
        state_dict=weights,
        temperature=1.0,
        shares=tuple(class_shares(dataset.targets, dataset.train).tolist()),
        mirror=params.train.mirror,
        settings={**dataset.settings, "emotions": {one: list(own) for one, own in dataset.members.items()}},
        neutral=mean_neutral_face(dataset, inputs),
        salt=salt_of(weights),
        people=hash_people(seen, salt_of(weights)),
        domain=domain,
    )


def leave_to(start: TrainedModel, model: TrainedModel, dataset: Dataset, inputs: Inputs) -> TrainedModel:
    """The model with the one that it began as, to which it leaves the faces that look more like that one's.

    As it is where the start cannot answer: both must read crops and judge single pictures, the start may read nothing
    that the model does not, and two classes at least must have the same names.
    """
    normalize = model.settings["normalize"]
    reads_alike = set(start.columns) == set(shared_columns(model.columns, normalize, start))
    if model.domain is None or start.domain is None or not reads_alike or normalize["baseline"] != "none":
        return model
    if len(set(model.classes) & set(start.classes)) < 2:
        return model
    subject = dataset.column("subject")[dataset.train]
    margin = fit_margin(inputs[CROP], dataset.train, subject, start.domain)
    return replace(model, start=replace(start, start=None), margin=margin)


@dataclass
class _SoFar:
    """A network while it learns."""

    network: Network
    history: list[Epoch] = field(default_factory=list)
    weights: dict[str, torch.Tensor] = field(default_factory=dict)
    """Of the last finished epoch; empty before the first."""


def _learn(
    so_far: _SoFar,
    tensors: TrainingTensors,
    params: Params,
    devices: list[torch.device],
    threads: int | None,
    after_epoch: Callable[[list[Epoch]], None],
) -> None:
    """threads: at most so many for heavy work, which also takes half precision; None for light work."""
    so_far.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # which its stub lacks
    network: nn.Module = so_far.network
    network = nn.DataParallel(network, devices) if len(devices) > 1 else network
    sizes = batch_sizes(len(tensors.rows), params.batch_size, len(devices))
    optimizer, scheduler = make_optimizer(network, params, len(sizes) * params.epochs, threads is not None)
    half = torch.autocast(devices[0].type, torch.bfloat16, enabled=threads is not None and has_bfloat16(devices[0]))
    if threads is not None:
        _announce(so_far.network, tensors, sizes, params, half, threads)
    faces = sum(sizes) + len(tensors.valid_rows)  # that an epoch looks at
    with progress(params.epochs * faces, "train", "faces") as advance:
        for number in range(1, params.epochs + 1):
            state = {"epoch": f"{number} of {params.epochs}"}
            if so_far.history:
                state["valid_macro_f1"] = f"{so_far.history[-1].valid_macro_f1:.3f}"
            after_batch = functools.partial(advance, **state)
            loss, accuracy = run_epoch(network, tensors, sizes, optimizer, scheduler, half, after_batch)
            columns = [column.rows for column in tensors.columns]
            valid = predict_logits(network, columns, tensors.valid_rows, after_batch)
            epoch = _measured(number, loss, accuracy, valid, tensors)
            so_far.weights = copy.deepcopy(so_far.network.state_dict())
            so_far.history.append(epoch)
            after_epoch(so_far.history)
            if not math.isfinite(loss + epoch.valid_loss):
                raise _diverged(number, params.lr)


def _announce(
    network: Network, tensors: TrainingTensors, sizes: list[int], params: Params, half: torch.autocast, threads: int
) -> None:
    """Time some steps of a copy, choose how many threads a CPU works with, and say how long a long training will take.

    On a busy machine one thread is several times as fast as two, which wait for each other.
    """
    rows = tensors.rows[: sizes[0]]

    def step() -> float:
        started = time.perf_counter()
        with half:
            logits = trial(*tensors.batch(rows)).float()
        tensors.criterion(logits, tensors.y.index_select(0, rows)).backward()
        torch.cuda.synchronize() if rows.is_cuda else None
        return time.perf_counter() - started

    found: dict[int, float] = {}
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        trial = copy.deepcopy(network).train()
        for count in sorted({1} if rows.is_cuda else {1, threads}):
            torch.set_num_threads(count)
            first = step()  # warms up, and tells threads that only wait for each other
            found[count] = first if found and first > 2 * found[1] else min(step(), step())
    best = min(found, key=lambda count: found[count])
    torch.set_num_threads(best)
    total = found[best] * len(sizes) * params.epochs
    if total > LONG_SECONDS:
        print(
            f"{len(tensors.rows)} crops and {params.epochs} epochs take about {total / 3600:.1f} hours on "
            f"{rows.device.type}; train.network: mlp learns from the landmarks alone, in minutes",
            flush=True,
        )


def _diverged(epoch: int, lr: float) -> FaceemoError:
    return FaceemoError(f"training diverged in epoch {epoch}: the loss is not a finite number; lower 'lr', now {lr:g}")


def mean_neutral_face(dataset: Dataset, inputs: Inputs) -> torch.Tensor | None:
    """float32 [1434], the mean of the neutral faces that are learnt from, where features are changes of a person.

    None where they are not, and without such faces.
    """
    if dataset.settings.get("normalize", {}).get("baseline") != "person" or NEUTRAL not in dataset.classes:
        return None
    indices = dataset.train
    faces = indices[dataset.targets.learnt[indices] == dataset.classes.index(NEUTRAL)]
    return torch.from_numpy(mean_of_rows(inputs[MESH], faces)) if len(faces) else None


@torch.no_grad()
def predict_logits(
    network: nn.Module,
    columns: list[torch.Tensor],
    rows: torch.Tensor,
    after_batch: Callable[[int], None] = lambda size: None,
) -> torch.Tensor:
    """Logits float32 [rows, classes] of these rows of the columns, each [N, ...], with dropout off.

    after_batch: called with its size.
    """
    network.eval()
    device = next(network.parameters()).device

    def logits_of(some: torch.Tensor) -> torch.Tensor:
        return network(*(column[some.to(column.device)].to(device) for column in columns))

    classes = logits_of(torch.zeros(1, dtype=torch.long)).shape[1]  # there may be no rows
    # In one block: if each part were kept, small blocks would lie between large freed ones, and 500 MB stay taken.
    logits = torch.empty(len(rows), classes, device=device)
    for start in range(0, len(rows), FACES_AT_ONCE):
        some = rows[start : start + FACES_AT_ONCE]
        logits[start : start + len(some)] = logits_of(some)
        after_batch(len(some))
    return logits


def run_epoch(
    network: nn.Module,
    tensors: TrainingTensors,
    sizes: list[int],
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
    half: torch.autocast,
    after_batch: Callable[[int], None],
) -> tuple[float, float]:
    """One pass over the faces to learn from, in random order, in batches of these sizes: mean loss and accuracy.

    after_batch: called with its size.
    """
    network.train()
    rows = tensors.rows
    order = rows[torch.randperm(len(rows)).to(rows.device)]
    loss_sum = torch.zeros((), device=rows.device)
    hits = torch.zeros((), device=rows.device, dtype=torch.long)
    compared = torch.zeros((), device=rows.device, dtype=torch.long)
    for batch in order[: sum(sizes)].split(sizes):
        with half:
            logits = network(*tensors.batch(batch)).float()
        loss = tensors.criterion(logits, tensors.y.index_select(0, batch))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        scheduler.step()
        loss_sum += loss.detach() * len(batch)
        truth = tensors.learnt.index_select(0, batch)
        hits += (logits.detach().argmax(1) == truth).sum()
        compared += (truth >= 0).sum()
        after_batch(len(batch))
    return loss_sum.item() / sum(sizes), hits.item() / max(compared.item(), 1)


def make_optimizer(
    network: nn.Module, params: Params, steps: int, warms_up: bool = False
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW, and a learning rate that falls to zero along a cosine over `steps`.

    warms_up: it rises over the first fifth of them before, as convolutions need that learn at a high rate; where
    that is a step or less, there is nothing to rise over.
    """
    # fused: a fifth of the default's time on a CPU, where it is otherwise a third of the whole step
    decay = params.train.weight_decay
    optimizer = torch.optim.AdamW(network.parameters(), params.lr, weight_decay=decay, fused=True)
    if warms_up and WARM_UP * steps > 1:
        return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, params.lr, steps, pct_start=WARM_UP)
    return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)


def _measured(number: int, loss: float, accuracy: float, logits: torch.Tensor, tensors: TrainingTensors) -> Epoch:
    """valid_* are 0 where no face of the valid split has a class, as in a fold where raters saw other emotions."""
    target = tensors.valid_y
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
