import dataclasses
import hashlib
import itertools
import os
import re
import signal
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from made_targets import by_number, single, targets_of
from torch import nn

import faceemo.training.train
from faceemo.console import Interrupted, progress
from faceemo.errors import FaceemoError
from faceemo.params import LabelParams, Params, load_params
from faceemo.training.dataset import Dataset
from faceemo.training.devices import batch_sizes, describe_devices, find_devices
from faceemo.training.mirror import mirrored_features
from faceemo.training.model import load_model, mlp, save_model
from faceemo.training.standardize import fit_standardization, standardize
from faceemo.training.targets import Targets
from faceemo.training.tensors import TrainingTensors, class_weights, make_loss
from faceemo.training.train import Training, make_optimizer, run_epoch, train

PARAMS = load_params(Path(__file__).parents[2] / "params.yaml")
PLAIN = {
    "network": "mlp",
    "whiten": None,
    "optimizer": "adam",
    "weight_decay": 0.0,
    "schedule": "constant",
    "label_smoothing": 0.0,
    "standardize": True,
    "mirror": False,
    "class_weights": False,
    "best_epoch": True,
    "patience": None,
}


@pytest.fixture(autouse=True)
def ctrl_c_is_heeded():
    """As at a terminal: what a shell starts in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """So small a network is not worth a second thread, which on a busy machine is waited for at every step."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def params(seed: int = 1, lr: float = 0.001, epochs: int = 3, batch_size: int = 16, **options) -> Params:
    return dataclasses.replace(
        PARAMS,
        seed=seed,
        lr=lr,
        epochs=epochs,
        batch_size=batch_size,
        train=dataclasses.replace(PARAMS.train, **{**PLAIN, **options}),
    )


def dataset(target: np.ndarray, split: list[str], targets: Targets | None = None) -> Dataset:
    """Faces that are each a person of their own."""
    count = len(target)
    classes = ("neutral", "anxious")
    rows = {
        "image": [f"{n}.jpg" for n in range(count)],
        "emotion": [classes[int(number)] for number in target],
        "subject": [hashlib.sha256(str(n).encode()).hexdigest() for n in range(count)],
        "status": ["ok"] * count,
    }
    return Dataset(
        classes,
        pa.table(rows),
        np.array(split, object),
        np.array(target, np.int64),
        targets or by_number(target, classes),
        row_of=np.arange(count),
        settings={"normalize": {"units": "equal"}, "extract": {"max_faces": 1}},
        face=np.zeros((478, 3)),
    )


def separable(
    count: int = 80, shift: float = 1.0, seed: int = 0, valid_target: str = "true"
) -> tuple[Dataset, np.ndarray]:
    """Noise; a tenth of the features are `shift` higher in class 1. Half of the faces are for training."""
    random = np.random.default_rng(seed)
    target = np.arange(count) % 2
    features = random.normal(size=(count, 1434))
    features[:, :143] += shift * target[:, None]
    split = ["train"] * (count // 2) + ["valid"] * (count // 4) + ["test"] * (count - count // 2 - count // 4)
    if valid_target == "swapped":
        target = np.where(np.array(split) == "valid", 1 - target, target)
    return dataset(target, split), features.astype(np.float32)


def fitted(data: Dataset, features: np.ndarray, tmp_path: Path, **options) -> Training:
    return train(data, features.astype(np.float32), params(**options), tmp_path / "interrupted.pt")


def valid_loss(training: Training, data: Dataset) -> float:
    valid = data.valid
    logits, target = torch.from_numpy(training.logits[valid]), torch.from_numpy(data.targets.valid[valid])
    return nn.functional.cross_entropy(logits, target).item()


@pytest.mark.parametrize("devices", [1, 2, 4])
@pytest.mark.parametrize("batch_size", [2, 3, 8, 16, 31])
def test_every_batch_gives_each_device_two_rows_or_more_whatever_the_remainder(devices, batch_size):
    for rows in range(2 * devices, 200):
        sizes = batch_sizes(rows, batch_size, devices)
        assert all(size % devices == 0 and size >= 2 * devices for size in sizes)
        assert max(sizes) - min(sizes) in (0, devices)
        assert rows - devices < sum(sizes) <= rows
        if batch_size >= 4 * devices:
            assert len(sizes) == -(-rows // batch_size) or rows < batch_size + 2 * devices
        for size in sizes:  # as nn.DataParallel hands a batch out
            shares = torch.zeros(size, 1).chunk(devices)
            assert len(shares) == devices
            assert min(len(share) for share in shares) >= 2


def test_batches_are_as_large_as_asked_for():
    assert batch_sizes(512, 128, 1) == batch_sizes(512, 128, 4) == [128] * 4
    assert batch_sizes(513, 128, 1) == [103, 103, 103, 102, 102]
    assert batch_sizes(513, 128, 2) == [104, 102, 102, 102, 102]
    assert batch_sizes(10, 128, 1) == [10]


@pytest.mark.parametrize(("rows", "devices"), [(0, 1), (1, 1), (3, 2), (7, 4)])
def test_too_few_rows_for_one_batch_is_one_clear_line(rows, devices):
    with pytest.raises(FaceemoError, match=f"{rows} pictures .* too few for {devices} device") as error:
        batch_sizes(rows, 128, devices)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "options", [{}, {"optimizer": "adamw", "weight_decay": 0.01, "schedule": "cosine", "mirror": True}]
)
def test_a_separable_problem_is_learned(tmp_path, options):
    data, features = separable()
    if options.get("mirror"):  # the same difference on both sides of the face
        order, sign = mirrored_features()
        features = (features + features[:, order] * sign) / np.sqrt(2)
    training = fitted(data, features, tmp_path, epochs=8, **options)
    test = data.test
    assert (training.logits[test].argmax(axis=1) == data.targets.learnt[test]).mean() > 0.9
    assert training.history[-1].train_loss < training.history[0].train_loss
    assert training.history[training.best_epoch - 1].valid_accuracy > 0.9


def test_the_model_has_seen_the_people_of_training_and_validation_and_no_others(tmp_path):
    data, features = separable()
    model = fitted(data, features, tmp_path).model
    assert model.has_seen(data.column("subject")) == [split != "test" for split in data.split]
    again, other = (fitted(*separable(), tmp_path, seed=seed).model for seed in (1, 2))
    assert again.salt == model.salt != other.salt and torch.equal(again.people, model.people)
    for path, one in ((tmp_path / "a.pt", model), (tmp_path / "b.pt", again)):
        save_model(path, one)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


def test_the_same_seed_gives_the_same_history_and_weights_and_another_seed_others(tmp_path):
    options = {"epochs": 2, "mirror": True}
    first = fitted(*separable(shift=0.1), tmp_path, seed=3, **options)
    torch.rand(7)  # what happened before must not matter
    again = fitted(*separable(shift=0.1), tmp_path, seed=3, **options)
    other = fitted(*separable(shift=0.1), tmp_path, seed=4, **options)
    assert again.history == first.history
    np.testing.assert_array_equal(again.logits, first.logits)
    for name, value in first.model.state_dict.items():
        assert torch.equal(again.model.state_dict[name], value)
    assert other.history != first.history
    assert not torch.equal(other.model.state_dict["0.weight"], first.model.state_dict["0.weight"])


def test_the_history_has_every_epoch_and_the_kept_one_is_named(tmp_path, capsys):
    training = fitted(*separable(), tmp_path, epochs=3)
    assert [epoch.epoch for epoch in training.history] == [1, 2, 3]
    assert capsys.readouterr().out.startswith("kept epoch")


def test_the_best_epoch_on_valid_is_restored(tmp_path):
    """Validation labels are swapped, so that the more is learned the worse valid becomes."""
    data, features = separable(valid_target="swapped")
    training = fitted(data, features, tmp_path, epochs=5, best_epoch=True)
    scores = [epoch.score for epoch in training.history]
    assert training.best_epoch == 1 + scores.index(max(scores)) < 5
    assert valid_loss(training, data) == pytest.approx(training.history[training.best_epoch - 1].valid_loss, rel=1e-4)
    assert valid_loss(training, data) < 0.9 * training.history[-1].valid_loss


def test_the_last_epoch_is_kept_when_asked_for(tmp_path):
    data, features = separable(valid_target="swapped")
    training = fitted(data, features, tmp_path, epochs=4, best_epoch=False)
    assert training.best_epoch == len(training.history) == 4
    assert valid_loss(training, data) == pytest.approx(training.history[-1].valid_loss, rel=1e-4)


@pytest.mark.parametrize("best_epoch", [True, False])
def test_patience_stops_so_many_epochs_after_the_best(tmp_path, best_epoch):
    training = fitted(*separable(valid_target="swapped"), tmp_path, epochs=12, patience=2, best_epoch=best_epoch)
    scores = [epoch.score for epoch in training.history]
    best = 1 + scores.index(max(scores))
    assert len(training.history) == best + 2 < 12
    assert training.best_epoch == (best if best_epoch else best + 2)


def test_patience_does_not_stop_while_valid_gets_better(tmp_path):
    data, features = separable(shift=3.0)
    training = fitted(data, features, tmp_path, epochs=6, lr=1e-4, patience=1)
    assert len(training.history) > 3


def test_the_model_holds_what_its_logits_were_made_with(tmp_path):
    data, features = separable()
    training = fitted(data, features, tmp_path, epochs=2)
    model = training.model
    with torch.no_grad():
        logits = model.build()((torch.from_numpy(features) - model.mean) / model.std)
    np.testing.assert_allclose(logits, training.logits, atol=1e-4)
    assert training.logits.shape == (80, 2)
    assert (model.network, model.classes) == ("mlp", data.classes)
    assert model.settings == {**data.settings, "emotions": {name: [name] for name in data.classes}}
    assert not any(name.startswith("module.") for name in model.state_dict)


def test_without_standardisation_features_go_in_as_they_are(tmp_path):
    data, features = separable()
    training = fitted(data, features, tmp_path, epochs=1, standardize=False)
    model = training.model
    np.testing.assert_array_equal(training.inputs, features)
    assert not model.mean.any() and (model.std == 1).all()


def test_standardisation_gives_the_training_rows_mean_0_and_deviation_1():
    features = np.random.default_rng(0).normal(3, 2, (300, 1434)).astype(np.float32)
    indices = np.arange(0, 300, 3)
    mean, std = fit_standardization(features, indices, mirror=False)
    assert mean.dtype == std.dtype == np.float32
    standardize(features, mean, std)
    np.testing.assert_allclose(features[indices].mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(features[indices].std(axis=0), 1, atol=1e-4)


def test_standardisation_is_learned_on_training_rows_only(tmp_path):
    data, features = separable()
    shifted = features.copy()
    shifted[40:] += 100  # valid and test
    first, second = (fitted(data, one, tmp_path, epochs=1).model for one in (features, shifted))
    assert torch.equal(first.mean, second.mean) and torch.equal(first.std, second.std)


def test_standardisation_over_more_rows_than_one_block_is_that_of_all():
    features = np.random.default_rng(0).normal(3, 2, (20000, 3)).astype(np.float32)
    mean, std = fit_standardization(features, np.arange(20000), mirror=False)
    np.testing.assert_allclose(mean, features.mean(axis=0, dtype=np.float64), rtol=1e-5)
    np.testing.assert_allclose(std, features.std(axis=0, dtype=np.float64), rtol=1e-5)


def test_standardisation_with_mirrored_copies_is_that_of_faces_and_mirror_images_together():
    features = np.random.default_rng(0).normal(1, 2, (50, 1434)).astype(np.float32)
    order, sign = mirrored_features()
    mean, std = fit_standardization(features, np.arange(50), mirror=True)
    both = np.concatenate([features, features[:, order] * sign]).astype(np.float64)
    np.testing.assert_allclose(mean, both.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(std, both.std(axis=0), atol=1e-5)
    np.testing.assert_array_equal(mean[order] * sign, mean)
    np.testing.assert_array_equal(std[order], std)


def test_a_feature_that_never_changes_stays_finite():
    features = np.full((10, 1434), 0.3, np.float32)
    standardize(features, *fit_standardization(features, np.arange(10), mirror=False))
    assert np.abs(features).max() < 1


def criterion_rows(answers: list[list[int] | None], logits: torch.Tensor, target: str, **options) -> float:
    """The training loss of faces whose raters chose neutral and anxious, of logits [N, 2]."""
    classes = ("neutral", "anxious")
    labels = LabelParams(target, min_agreement=0)
    targets = targets_of(["neutral"] * len(answers), single(*classes), answers, (*classes, "sad"), labels)
    y, criterion = make_loss(targets, np.flatnonzero(targets.trained), params(**options).train)
    rows = torch.from_numpy(np.flatnonzero(targets.trained))
    return criterion(logits[rows], y[rows]).item()


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.2}, {"label_smoothing": 0.2, "class_weights": True}])
def test_unanimous_votes_cost_what_a_class_costs(options):
    answers = [[3, 0, 0], [0, 3, 0], [3, 0, 0], [0, 0, 3], None]
    logits = torch.tensor([[2.0, 0.0], [1.0, 0.5], [0.0, 1.0], [5.0, 0.0], [5.0, 0.0]])
    votes, majority = (criterion_rows(answers, logits, target, **options) for target in ("votes", "majority"))
    assert votes == pytest.approx(majority, rel=1e-5)


def test_a_picture_counts_by_the_share_of_its_votes_for_the_chosen_classes():
    logits = torch.tensor([[2.0, 0.0], [1.0, 0.5]])
    first, second = (-torch.log_softmax(logits, dim=1)).tolist()
    found = criterion_rows([[2, 1, 0], [1, 0, 2]], logits, "votes")
    assert found == pytest.approx((2 / 3 * first[0] + 1 / 3 * first[1] + second[0] / 3) / (4 / 3))


@pytest.mark.slow
def test_a_tie_is_learnt_from_but_not_compared(tmp_path):
    split = ["train"] * 8 + ["valid"] * 4
    features = np.random.default_rng(0).normal(size=(12, 1434))
    answers = [[1, 1, 0]] * 6 + [[3, 0, 0], [0, 3, 0]] * 3
    classes = ("neutral", "anxious")
    targets = targets_of(["neutral"] * 12, single(*classes), answers, (*classes, "sad"), LabelParams("votes", 0))
    data = dataset(np.zeros(12), split, targets)
    assert len(data.train) == 8
    training = fitted(data, features, tmp_path, epochs=60, lr=0.003, batch_size=8)
    assert training.history[-1].train_accuracy == 1
    share = torch.softmax(torch.from_numpy(training.logits), dim=1)[:8, 1].numpy()
    assert share[6] < 0.4 < share[:6].mean() < 0.6 < share[7]


def interrupt_after(epochs: int):
    """A progress bar at which somebody presses Ctrl-C after so many epochs."""

    @contextmanager
    def bar(*args, **kwargs):
        with progress(*args, **kwargs) as advance:
            calls = 0

            def advance_or_interrupt(count: int, **postfix) -> None:
                nonlocal calls
                calls += 1
                advance(count, **postfix)
                if calls == epochs:
                    signal.raise_signal(signal.SIGINT)

            yield advance_or_interrupt

    return bar


def test_ctrl_c_leaves_the_best_model_so_far_and_says_where(tmp_path, monkeypatch):
    monkeypatch.setattr(faceemo.training.train, "progress", interrupt_after(3))
    data, features = separable()
    path = tmp_path / "models" / "interrupted.pt"
    with pytest.raises(Interrupted, match=r"model of epoch \d is in .*models/interrupted\.pt"):
        train(data, features, params(epochs=50), path)
    model = load_model(path)
    emotions = {name: [name] for name in params().emotions}
    assert model.classes == data.classes and model.settings == {**data.settings, "emotions": emotions}
    with torch.no_grad():
        predicted = model.build()(torch.from_numpy(features)).argmax(dim=1).numpy()  # train has standardised them
    assert (predicted == data.targets.learnt)[data.train].mean() > 0.8


def test_epochs_are_told_one_by_one(tmp_path):
    told = []
    training = train(
        *separable(), params(epochs=3), tmp_path / "interrupted.pt", lambda history: told.append(list(history))
    )
    assert told == [training.history[:n] for n in (1, 2, 3)]


def test_a_training_that_diverges_is_one_line_that_names_lr_and_the_epoch(tmp_path):
    with pytest.raises(FaceemoError) as error:
        fitted(*separable(), tmp_path, lr=1e30, epochs=50)
    assert re.fullmatch(
        r"training diverged in epoch \d+: the loss is not a finite number; lower 'lr', now 1e\+30", str(error.value)
    )


def test_ctrl_c_gives_the_model_that_a_run_of_so_many_epochs_gives(tmp_path, monkeypatch):
    whole = fitted(*separable(), tmp_path, epochs=2).model
    monkeypatch.setattr(faceemo.training.train, "progress", interrupt_after(2))
    with pytest.raises(Interrupted):
        fitted(*separable(), tmp_path, epochs=9)
    kept = load_model(tmp_path / "interrupted.pt")
    assert all(torch.equal(kept.state_dict[name], value) for name, value in whole.state_dict.items())


def test_ctrl_c_before_the_first_epoch_is_over_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(*_):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(faceemo.training.train, "predict_logits", interrupted)
    with pytest.raises(Interrupted, match="no epoch was finished"):
        fitted(*separable(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def rates_of(chosen: Params, steps: int) -> list[float]:
    optimizer, schedule = make_optimizer(mlp(2), chosen, steps)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def test_the_cosine_schedule_falls_from_lr_to_almost_nothing():
    rates = rates_of(params(lr=0.01, schedule="cosine"), 40)
    assert rates[0] == 0.01
    assert rates[20] == pytest.approx(0.005)
    assert all(later < earlier for earlier, later in itertools.pairwise(rates))
    assert rates[-1] < 0.01 * 0.01


def test_the_rate_has_fallen_by_its_share_after_each_epoch_and_to_nothing_at_the_end():
    (data, features), chosen = separable(), params(lr=0.01, epochs=2, schedule="cosine")
    x, y = torch.from_numpy(features), torch.from_numpy(data.targets.learnt)
    rows = torch.arange(len(x))
    tensors = TrainingTensors(x, y, y, rows, rows[:0], y[:0], nn.CrossEntropyLoss(), mirror=None)
    network, sizes = mlp(2), batch_sizes(len(x), 16, 1)
    optimizer, schedule = make_optimizer(network, chosen, len(sizes) * chosen.epochs)
    rates = []
    for _ in range(chosen.epochs):
        run_epoch(network, tensors, sizes, optimizer, schedule)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.005, 0.0], abs=1e-9)


def test_the_constant_schedule_stays_at_lr():
    assert rates_of(params(lr=0.01, schedule="constant"), 10) == pytest.approx([0.01] * 10)


@pytest.mark.parametrize(("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_the_optimizer_is_the_asked_one(name, kind):
    network = mlp(2)
    optimizer, _ = make_optimizer(network, params(optimizer=name, lr=0.02, weight_decay=0.03), 10)
    assert type(optimizer) is kind
    (group,) = optimizer.param_groups
    assert (group["lr"], group["weight_decay"], group["betas"], group["eps"]) == (0.02, 0.03, (0.9, 0.999), 1e-8)
    assert {id(weight) for weight in group["params"]} == {id(weight) for weight in network.parameters()}


def test_class_weights_are_inverse_to_how_often_a_class_comes():
    weights = class_weights(np.array([60, 30, 10]))
    assert weights[1] / weights[0] == pytest.approx(2)
    assert weights[2] / weights[0] == pytest.approx(6)
    assert (60 * weights[0] + 30 * weights[1] + 10 * weights[2]).item() == pytest.approx(100)


def rare_class_probability(tmp_path: Path, **options) -> float:
    """What faces that tell nothing are given for a class that has one picture in eight; the mean of two seeds."""
    target = (np.arange(96) % 8 == 7).astype(int)
    split = ["train"] * 64 + ["valid"] * 16 + ["test"] * 16
    means = []
    for seed in (1, 2):
        data, features = dataset(target, split), np.zeros((96, 1434))
        training = fitted(data, features, tmp_path, seed=seed, lr=0.01, epochs=10, best_epoch=False, **options)
        means.append(torch.softmax(torch.from_numpy(training.logits), dim=1)[:, 1].mean().item())
    return sum(means) / 2


@pytest.mark.slow
def test_class_weights_make_a_rare_class_count_more(tmp_path):
    plain = rare_class_probability(tmp_path, class_weights=False)
    weighted = rare_class_probability(tmp_path, class_weights=True)
    assert plain < 0.3
    assert weighted > plain + 0.1


def test_label_smoothing_makes_the_model_less_sure(tmp_path):
    sure, smooth = (fitted(*separable(), tmp_path, epochs=6, label_smoothing=s, best_epoch=False) for s in (0.0, 0.3))
    assert np.ptp(smooth.logits, axis=1).mean() < 0.8 * np.ptp(sure.logits, axis=1).mean()


@pytest.mark.slow
def test_mirrored_copies_let_a_model_know_the_other_side(tmp_path):
    """What is learned on the left half of the face alone is known on the right one too."""
    order, sign = mirrored_features()
    on_the_left = np.zeros(1434)
    on_the_left[3 * 33 : 3 * 56] = 1.0
    random = np.random.default_rng(0)
    target = np.arange(120) % 2
    features = random.normal(size=(120, 1434)) + on_the_left * target[:, None]
    test = slice(90, None)
    features[test] = features[test][:, order] * sign
    accuracy = {}
    for mirror in (False, True):
        data = dataset(target, ["train"] * 80 + ["valid"] * 10 + ["test"] * 30)
        training = fitted(data, features, tmp_path, epochs=8, mirror=mirror, best_epoch=False)
        accuracy[mirror] = (training.logits[test].argmax(axis=1) == target[test]).mean()
    assert accuracy[True] > 0.85 > 0.75 > accuracy[False]


def test_an_idle_nvidia_gpu_is_told_with_the_remedy(tmp_path, monkeypatch):
    cpu = [torch.device("cpu")]
    monkeypatch.setattr(torch.version, "cuda", None)  # as in PyTorch's CPU build
    monkeypatch.setenv("PATH", str(tmp_path))
    assert len(describe_devices(cpu).splitlines()) == 1
    tool = tmp_path / ("nvidia-smi.bat" if os.name == "nt" else "nvidia-smi")
    tool.touch()
    tool.chmod(0o755)
    first, remedy = describe_devices(cpu).splitlines()
    assert first.startswith("training on the CPU")
    assert "install the CUDA build" in remedy


def test_devices_are_all_gpus_or_the_cpu():
    devices = find_devices()
    assert len(devices) == max(torch.cuda.device_count(), 1)
    assert {device.type for device in devices} == {"cuda" if torch.cuda.is_available() else "cpu"}


@pytest.mark.parametrize("baseline", ["person", "none"])
def test_a_model_that_judges_change_keeps_how_neutral_faces_differ(tmp_path, baseline):
    random = np.random.default_rng(0)
    target, split = np.arange(48) % 2, ["train"] * 32 + ["valid"] * 8 + ["test"] * 8
    settings = {"normalize": {"baseline": baseline}, "extract": {}}
    faces, features = dataclasses.replace(dataset(target, split), settings=settings), random.normal(size=(48, 1434))
    neutral = fitted(faces, features, tmp_path, epochs=1).model.neutral
    if baseline == "person":
        np.testing.assert_allclose(neutral.numpy(), features[:32:2].mean(axis=0), atol=1e-6)
    else:
        assert neutral is None


@pytest.mark.slow
@pytest.mark.parametrize("network", [None, "mlp"])
@pytest.mark.parametrize("mirror", [True, False])
def test_a_whitened_network_is_kept_as_one_that_takes_features(tmp_path, capsys, mirror, network):
    data, features = separable()
    training = fitted(data, features, tmp_path, whiten=10, mirror=mirror, network=network, epochs=6)
    model = training.model
    assert model.network == (network or "mlp_dropout")
    with torch.no_grad():
        logits = model.build()((torch.from_numpy(features) - model.mean) / model.std)
    np.testing.assert_allclose(training.logits, logits.numpy(), atol=1e-5)
    test = data.test
    assert (training.logits[test].argmax(axis=1) == data.targets.learnt[test]).mean() > 0.8
    assert "whiten" not in capsys.readouterr().out


@pytest.mark.slow
def test_there_are_no_more_components_than_half_the_faces_to_learn_from(tmp_path, capsys):
    fitted(*separable(), tmp_path, whiten=300, epochs=1)
    assert "train.whiten: 20 components, not 300: there are 40 faces to learn from\n" in capsys.readouterr().out


def test_changes_of_a_person_are_not_whitened(tmp_path, capsys):
    found = {}
    for whiten in (10, None):
        data, features = separable()
        data = dataclasses.replace(data, settings={"normalize": {"baseline": "neutral"}, "extract": {}})
        found[whiten] = fitted(data, features, tmp_path, whiten=whiten, network=None, epochs=1)
    np.testing.assert_array_equal(found[10].logits, found[None].logits)
    assert found[10].model.network == "mlp"
    assert capsys.readouterr().out.count("train.whiten is for models without baseline: not used\n") == 1
