import dataclasses
import itertools
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from made_datasets import NORMALIZE, dataset_of, person, single, targets_of
from torch import nn

from faceemo.console import Interrupted, progress
from faceemo.errors import FaceemoError
from faceemo.params import LabelParams, Params, load_params
from faceemo.training.dataset import Dataset
from faceemo.training.devices import batch_sizes, describe_devices, find_devices, has_bfloat16, threads_kept
from faceemo.training.mirror import mirrored_features
from faceemo.training.model import load_model, save_model
from faceemo.training.recipe import RECIPES
from faceemo.training.standardize import fit_standardization
from faceemo.training.targets import Targets
from faceemo.training.tensors import class_shares, make_loss
from faceemo.training.train import Training, make_optimizer, network_of, train

ROOT = Path(__file__).parents[2]
PARAMS = load_params(ROOT / "params.yaml")
PLAIN = {"network": "mlp", "whiten": None, "weight_decay": 0.0, "label_smoothing": 0.0, "mirror": False}
TWO = ("neutral", "anxious")
SAVE = """
import sys
from pathlib import Path
from test_train import fitted, separable
from faceemo.training.model import save_model
save_model(Path(sys.argv[1]), fitted(*separable(), epochs=2, whiten=20, mirror=True, network=None).model)
"""


@pytest.fixture(autouse=True)
def ctrl_c_is_heeded():
    """As at a terminal: what a shell starts in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def params(seed: int = 1, lr: float = 0.001, epochs: int = 3, batch_size: int = 16, **options: object) -> Params:
    settings = dataclasses.replace(PARAMS.train, **{**PLAIN, **options})
    return dataclasses.replace(PARAMS, seed=seed, lr=lr, epochs=epochs, batch_size=batch_size, train=settings)


def dataset(target: np.ndarray, split: list[str], targets: Targets | None = None, **settings: object) -> Dataset:
    """Faces that are each a person of their own."""
    rows = [
        {"emotion": TWO[number], "subject": person(index), "split": part}
        for index, (number, part) in enumerate(zip(target, split, strict=True))
    ]
    found = dataset_of(rows, TWO, **settings)
    return found if targets is None else dataclasses.replace(found, targets=targets)


def separable(count: int = 80, shift: float = 1.0, swapped: bool = False) -> tuple[Dataset, np.ndarray]:
    """Noise; a tenth of the features are `shift` higher in class 1. Half of the faces are for training.

    swapped: the valid faces have the other class, so that the more is learnt the worse they become.
    """
    target = np.arange(count) % 2
    features = np.random.default_rng(0).normal(size=(count, 1434))
    features[:, :143] += shift * target[:, None]
    split = ["train"] * (count // 2) + ["valid"] * (count // 4) + ["test"] * (count - count // 2 - count // 4)
    target = np.where(np.array(split) == "valid", 1 - target, target) if swapped else target
    return dataset(target, split), features.astype(np.float32)


def fitted(data: Dataset, features: np.ndarray, interrupted: Path | None = None, **options: object) -> Training:
    return train(data, {"features": features.astype(np.float32)}, params(**options), interrupted)


def answers(training: Training, data: Dataset, *columns: np.ndarray) -> np.ndarray:
    """The logits of the trained model for columns [N, ...], NaN for faces that it has learnt from."""
    with torch.no_grad():
        found = training.model.build()(*map(torch.from_numpy, columns)).numpy()
    return np.where((data.split == "train")[:, None], np.nan, found)


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


@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.01, "label_smoothing": 0.1, "mirror": True}])
def test_a_separable_problem_is_learned_and_nothing_of_the_callers_is_changed(options):
    data, features = separable()
    if options.get("mirror"):  # the same difference on both sides of the face
        order, sign = mirrored_features()
        features = (features + features[:, order] * sign) / np.sqrt(2)
    features = features.astype(np.float32)
    before = features.copy()
    training = fitted(data, features, epochs=8, **options)
    np.testing.assert_array_equal(features, before)
    test = data.test
    assert (training.logits[test].argmax(axis=1) == data.targets.learnt[test]).mean() > 0.9
    assert training.history[-1].train_loss < training.history[0].train_loss
    assert training.history[-1].valid_accuracy > 0.9


def test_the_model_has_seen_the_people_of_training_and_validation_and_no_others():
    data, features = separable()
    model = fitted(data, features).model
    assert model.has_seen(data.column("subject")) == [split != "test" for split in data.split]
    other = fitted(data, features, seed=2).model
    assert model.salt != other.salt


def test_the_same_seed_gives_the_same_history_and_weights_and_another_seed_others():
    options = {"epochs": 2, "mirror": True}
    first = fitted(*separable(shift=0.1), seed=3, **options)
    torch.rand(7)  # what happened before must not matter
    again = fitted(*separable(shift=0.1), seed=3, **options)
    other = fitted(*separable(shift=0.1), seed=4, **options)
    assert again.history == first.history
    np.testing.assert_array_equal(again.logits, first.logits)
    assert all(torch.equal(again.model.state_dict[name], value) for name, value in first.model.state_dict.items())
    assert other.history != first.history
    assert not np.array_equal(other.logits, first.logits)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_file_on_any_number_of_cores(tmp_path):
    for threads in (1, 2):
        found = {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
        environment = {**os.environ, **found, "PYTHONPATH": os.pathsep.join(map(str, [ROOT, *sys.path]))}
        command = [sys.executable, "-c", SAVE, str(tmp_path / f"{threads}.pt")]
        subprocess.run(command, cwd=Path(__file__).parent, env=environment, check=True, timeout=300)
    assert (tmp_path / "1.pt").read_bytes() == (tmp_path / "2.pt").read_bytes()


def test_a_cpu_works_with_one_thread_and_has_as_many_as_before_again():
    before = torch.get_num_threads()
    with pytest.raises(KeyError), threads_kept() as threads:
        assert (threads, torch.get_num_threads()) == (before, 1)
        raise KeyError
    assert torch.get_num_threads() == before


def test_the_last_epoch_is_kept_and_the_history_has_every_epoch():
    data, features = separable(swapped=True)
    training = fitted(data, features, epochs=4)
    assert [epoch.epoch for epoch in training.history] == [1, 2, 3, 4]
    logits, target = torch.from_numpy(training.logits[data.valid]), torch.from_numpy(data.targets.valid[data.valid])
    loss = nn.functional.cross_entropy(logits, target).item()
    assert loss == pytest.approx(training.history[-1].valid_loss, rel=1e-4)
    assert loss > 1.1 * training.history[0].valid_loss


def test_the_model_holds_what_its_logits_were_made_with():
    data, features = separable()
    training = fitted(data, features, epochs=2)
    model = training.model
    np.testing.assert_allclose(answers(training, data, features.astype(np.float32)), training.logits, atol=1e-4)
    assert training.logits.shape == (80, 2)
    assert (model.network, model.classes, model.columns) == ("mlp", data.classes, ("features",))
    assert model.settings == {**data.settings, "emotions": {name: [name] for name in data.classes}}
    assert not any(name.startswith("module.") for name in model.state_dict)


def test_faces_without_a_valid_split_are_learnt_from_too():
    data, features = separable()
    training = fitted(dataclasses.replace(data, split=np.where(data.split == "valid", "train", data.split)), features)
    assert training.history[-1].train_accuracy > 0.8


def test_standardisation_gives_the_training_rows_mean_0_and_deviation_1():
    features = np.random.default_rng(0).normal(3, 2, (300, 1434)).astype(np.float32)
    indices = np.arange(0, 300, 3)
    found = fit_standardization(features, indices, mirror=False)
    assert found.mean.dtype == found.std.dtype == np.float32
    standardised = found.apply(features)[indices]
    np.testing.assert_allclose(standardised.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(standardised.std(axis=0), 1, atol=1e-4)


def test_standardisation_is_learned_on_training_rows_only():
    data, features = separable()
    shifted = features.copy()
    shifted[40:] += 100  # valid and test
    first, second = (fitted(data, one, epochs=1).model.state_dict for one in (features, shifted))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_standardisation_over_more_rows_than_one_block_is_that_of_all():
    features = np.random.default_rng(0).normal(3, 2, (20000, 3)).astype(np.float32)
    found = fit_standardization(features, np.arange(20000), mirror=False)
    np.testing.assert_allclose(found.mean, features.mean(axis=0, dtype=np.float64), rtol=1e-5)
    np.testing.assert_allclose(found.std, features.std(axis=0, dtype=np.float64), rtol=1e-5)


def test_standardisation_with_mirrored_copies_is_that_of_faces_and_mirror_images_together():
    features = np.random.default_rng(0).normal(1, 2, (50, 1434)).astype(np.float32)
    order, sign = mirrored_features()
    found = fit_standardization(features, np.arange(50), mirror=True)
    both = np.concatenate([features, features[:, order] * sign]).astype(np.float64)
    np.testing.assert_allclose(found.mean, both.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(found.std, both.std(axis=0), atol=1e-5)
    np.testing.assert_array_equal(found.mean[order] * sign, found.mean)
    np.testing.assert_array_equal(found.std[order], found.std)


def test_a_feature_that_never_changes_stays_finite():
    features = np.full((10, 1434), 0.3, np.float32)
    assert np.abs(fit_standardization(features, np.arange(10), mirror=False).apply(features)).max() < 1


def rated(seen: list[list[int] | None], target: str) -> Targets:
    """Of faces whose raters chose neutral, anxious or sad."""
    return targets_of(["neutral"] * len(seen), single(*TWO), seen, (*TWO, "sad"), LabelParams(target))


def loss_of(seen: list[list[int] | None], logits: torch.Tensor, target: str, smoothing: float = 0.0) -> float:
    """The training loss of logits [N, 2]."""
    targets = rated(seen, target)
    rows = np.flatnonzero(targets.trained)
    y, criterion = make_loss(targets, rows, smoothing)
    return criterion(logits[rows], y[rows]).item()


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_unanimous_votes_cost_what_a_class_costs(smoothing):
    seen = [[3, 0, 0], [0, 3, 0], [3, 0, 0], [0, 0, 3], None]
    logits = torch.tensor([[2.0, 0.0], [1.0, 0.5], [0.0, 1.0], [5.0, 0.0], [5.0, 0.0]])
    votes, majority = (loss_of(seen, logits, target, smoothing) for target in ("votes", "majority"))
    assert votes == pytest.approx(majority, rel=1e-5)


def test_a_picture_counts_by_the_share_of_its_votes_for_the_chosen_classes():
    logits = torch.tensor([[2.0, 0.0], [1.0, 0.5]])
    first, second = (-torch.log_softmax(logits, dim=1)).tolist()
    found = loss_of([[2, 1, 0], [1, 0, 2]], logits, "votes")
    assert found == pytest.approx((2 / 3 * first[0] + 1 / 3 * first[1] + second[0] / 3) / (4 / 3))


def test_the_shares_of_the_classes_are_of_what_is_learnt_and_none_is_nothing():
    votes = rated([[3, 0, 0], [2, 1, 0], [1, 0, 2]], "votes")
    weights = np.array([1, 1, 1 / 3])
    expected = np.array([1 + 2 / 3 + 1 / 3, 1 / 3]) / weights.sum()
    np.testing.assert_allclose(class_shares(votes, np.arange(3)), expected, rtol=1e-6)
    np.testing.assert_allclose(
        class_shares(rated([[3, 0, 0], [0, 3, 0]] * 2, "majority"), np.arange(3)), [2 / 3, 1 / 3]
    )
    assert 0 < class_shares(votes, np.arange(1))[1] < 0.001


@pytest.mark.slow
def test_a_tie_is_learnt_from_but_not_compared():
    seen = [[1, 1, 0]] * 6 + [[3, 0, 0], [0, 3, 0]] * 3
    data = dataset(np.zeros(12, int), ["train"] * 8 + ["valid"] * 4, rated(seen, "votes"))
    assert len(data.train) == 8
    features = np.random.default_rng(0).normal(size=(12, 1434))
    training = fitted(data, features, epochs=60, lr=0.003, batch_size=8)
    assert training.history[-1].train_accuracy == 1
    with torch.no_grad():
        learnt = training.model.build()(torch.from_numpy(features[:8].astype(np.float32)))
    share = learnt.softmax(dim=1)[:, 1].numpy()
    assert share[6] < 0.4 < share[:6].mean() < 0.6 < share[7]


def interrupt_after(epochs: int):
    """What presses Ctrl-C when so many epochs are over."""

    def press(history: list) -> None:
        if len(history) == epochs:
            signal.raise_signal(signal.SIGINT)

    return press


def test_ctrl_c_leaves_the_model_that_a_run_of_so_many_steps_gives_and_says_where(tmp_path):
    data, features = separable()
    path = tmp_path / "models" / "interrupted.pt"
    histories = []
    with pytest.raises(Interrupted, match=r"model of epoch 3 is in .*models/interrupted\.pt"):
        train(
            data,
            {"features": features},
            params(epochs=50),
            path,
            lambda history: (histories.append(list(history)), interrupt_after(3)(history)),
        )
    model = load_model(path)
    assert model.classes == data.classes and model.settings["emotions"] == {name: [name] for name in TWO}
    with torch.no_grad():
        logits = model.build()(torch.from_numpy(features))
    target = torch.from_numpy(data.targets.valid[data.valid])
    loss = nn.functional.cross_entropy(logits[data.valid], target).item()
    assert loss == pytest.approx(histories[-1][2].valid_loss, rel=1e-4)


def test_ctrl_c_while_the_trained_network_answers_leaves_its_model(tmp_path, monkeypatch):
    def pressed(total: int, what: str, unit: str):
        if what == "train: answers":
            signal.raise_signal(signal.SIGINT)
        return progress(total, what, unit)

    monkeypatch.setattr("faceemo.training.train.progress", pressed)
    data, features = separable()
    with pytest.raises(Interrupted, match=r"model of epoch 3 is in .*interrupted\.pt"):
        fitted(data, features, tmp_path / "interrupted.pt")
    assert load_model(tmp_path / "interrupted.pt").classes == data.classes


def test_epochs_are_said_one_by_one():
    said = []
    data, features = separable()
    training = train(data, {"features": features}, params(), None, lambda history: said.append(list(history)))
    assert said == [training.history[:n] for n in (1, 2, 3)]


def test_a_training_that_diverges_is_one_line_that_names_lr_and_the_epoch():
    with pytest.raises(FaceemoError) as error:
        fitted(*separable(), lr=1e30, epochs=50)
    assert re.fullmatch(
        r"training diverged in epoch \d+: the loss is not a finite number; lower 'lr', now 1e\+30", str(error.value)
    )


def test_ctrl_c_before_the_first_epoch_is_over_leaves_nothing(tmp_path):
    class Column(dict):
        def __getitem__(self, name: str) -> np.ndarray:
            signal.raise_signal(signal.SIGINT)
            return super().__getitem__(name)

    data, features = separable()
    with pytest.raises(KeyboardInterrupt):
        train(data, Column(features=features), params(), tmp_path / "interrupted.pt")
    assert list(tmp_path.iterdir()) == []


def test_the_rate_falls_along_a_cosine_from_lr_to_almost_nothing():
    chosen = params(lr=0.01, weight_decay=0.03)
    network = RECIPES["mlp"].build(2)
    optimizer, schedule = make_optimizer(network, chosen, 40)
    rates = []
    for _ in range(40):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[0] == 0.01
    assert rates[20] == pytest.approx(0.005)
    assert all(later < earlier for earlier, later in itertools.pairwise(rates))
    assert rates[-1] < 0.01 * 0.01
    assert type(optimizer) is torch.optim.AdamW
    (group,) = optimizer.param_groups
    assert (group["weight_decay"], group["betas"], group["eps"]) == (0.03, (0.9, 0.999), 1e-8)
    assert {id(weight) for weight in group["params"]} == {id(weight) for weight in network.parameters()}


@pytest.mark.parametrize("steps", range(1, 8))
def test_a_network_of_crops_learns_in_however_few_steps(steps):
    optimizer, schedule = make_optimizer(nn.Linear(2, 1), params(lr=0.01), steps, warms_up=True)
    rates = []
    for _ in range(steps):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert max(rates) > 0.005


def test_label_smoothing_makes_the_model_less_sure():
    data, features = separable()
    sure, smooth = (fitted(data, features, epochs=6, label_smoothing=share) for share in (0.0, 0.3))
    assert np.ptp(smooth.logits[data.test], axis=1).mean() < 0.8 * np.ptp(sure.logits[data.test], axis=1).mean()


@pytest.mark.slow
def test_mirrored_copies_let_a_model_know_the_other_side():
    """What is learned on the left half of the face alone is known on the right one too."""
    order, sign = mirrored_features()
    on_the_left = np.zeros(1434)
    on_the_left[3 * 33 : 3 * 56] = 1.0
    random = np.random.default_rng(0)
    target = np.arange(120) % 2
    features = random.normal(size=(120, 1434)) + on_the_left * target[:, None]
    test = slice(90, None)
    features[test] = features[test][:, order] * sign
    data = dataset(target, ["train"] * 80 + ["valid"] * 10 + ["test"] * 30)
    plain, mirrored = (
        (fitted(data, features, epochs=8, mirror=mirror).logits[test].argmax(axis=1) == target[test]).mean()
        for mirror in (False, True)
    )
    assert mirrored > 0.85 > 0.75 > plain


def test_an_idle_nvidia_gpu_is_said_with_the_remedy(tmp_path, monkeypatch):
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


def test_whether_half_precision_is_fast_is_known_of_any_device():
    assert {has_bfloat16(device) for device in find_devices()} <= {True, False}


def test_devices_are_all_gpus_or_the_cpu():
    devices = find_devices()
    assert len(devices) == max(torch.cuda.device_count(), 1)
    assert {device.type for device in devices} == {"cuda" if torch.cuda.is_available() else "cpu"}


@pytest.mark.parametrize("baseline", ["person", "none"])
def test_a_model_that_judges_change_keeps_how_neutral_faces_differ(baseline):
    split = ["train"] * 32 + ["valid"] * 8 + ["test"] * 8
    data = dataset(np.arange(48) % 2, split, normalize={"baseline": baseline})
    features = np.random.default_rng(0).normal(size=(48, 1434))
    neutral = fitted(data, features, epochs=1).model.neutral
    if baseline == "person":
        np.testing.assert_allclose(neutral.numpy(), features[:32:2].mean(axis=0), atol=1e-6)
    else:
        assert neutral is None


@pytest.mark.parametrize("network", [None, "mlp"])
@pytest.mark.parametrize("mirror", [True, False])
def test_a_whitened_network_is_kept_as_one_that_takes_features(capsys, mirror, network):
    data, features = separable()
    training = fitted(data, features, whiten=10, mirror=mirror, network=network, epochs=6)
    assert training.model.network == (network or "mlp_dropout")
    np.testing.assert_allclose(answers(training, data, features.astype(np.float32)), training.logits, atol=1e-5)
    assert training.model.state_dict["branches.features.layers.0.weight"].shape == (512, 1434)
    test = data.test
    assert (training.logits[test].argmax(axis=1) == data.targets.learnt[test]).mean() > 0.8
    assert "whiten" not in capsys.readouterr().out


def test_there_are_no_more_components_than_half_the_faces_to_learn_from(capsys):
    fitted(*separable(), whiten=300, epochs=1)
    assert "train.whiten: 20 components, not 300: there are 40 faces to learn from\n" in capsys.readouterr().out


def test_changes_of_a_person_are_not_whitened(capsys):
    data, features = separable()
    data = dataclasses.replace(data, settings={**data.settings, "normalize": {"baseline": "neutral"}})
    found = {whiten: fitted(data, features, whiten=whiten, network=None, epochs=1) for whiten in (10, None)}
    np.testing.assert_array_equal(found[10].logits, found[None].logits)
    assert found[10].model.network == "mlp"
    assert capsys.readouterr().out.count("train.whiten is for models without baseline: not used\n") == 1


@pytest.mark.parametrize(
    ("network", "crops", "whiten", "expected"),
    [
        (None, True, 300, "both"),
        (None, False, 300, "mlp_dropout"),
        (None, False, None, "mlp"),
        ("mlp", True, 300, "mlp"),
        ("cnn", True, 300, "cnn"),
    ],
)
def test_the_network_is_the_asked_one_or_what_the_features_can_feed(network, crops, whiten, expected):
    data = dataset(np.arange(4) % 2, ["train"] * 4, extract={"settings": {"crops": crops}})
    assert network_of(data, params(network=network, whiten=whiten)) == expected


def test_a_network_of_crops_without_crops_is_one_line():
    data = dataset(np.arange(4) % 2, ["train"] * 4)
    with pytest.raises(FaceemoError, match=r"train\.network: both learns from crops, and the features have none"):
        network_of(data, params(network="both"))


def test_a_network_of_crops_alone_with_a_baseline_is_one_line():
    crops = {"settings": {"crops": True}}
    data = dataset(np.arange(4) % 2, ["train"] * 4, extract=crops, normalize={**NORMALIZE, "baseline": "neutral"})
    with pytest.raises(FaceemoError, match=r"cnn reads no landmarks, and normalize\.baseline: neutral changes these"):
        network_of(data, params(network="cnn"))
    assert network_of(data, params(network=None)) == "both"


def test_a_training_begins_as_the_model_that_it_starts_from(tmp_path):
    """With a rate of nothing: classes of the same name answer the same, wherever they stand."""
    data, features = separable()
    first = fitted(data, features, epochs=4, whiten=10, network=None).model
    save_model(tmp_path / "first.pt", first)
    rows = [{"emotion": name, "subject": person(n), "split": "train"} for n, name in enumerate([*TWO, "happy"] * 4)]
    other = dataset_of(rows, ("happy", "anxious", "neutral"))
    options = {"start": str(tmp_path / "first.pt"), "network": "mlp_dropout", "lr": 1e-30, "epochs": 1}
    with torch.no_grad():
        expected = first.build()(torch.from_numpy(features[:12])).numpy()
    begun = fitted(other, features[:12], **options)
    weights = {name for name in first.state_dict if "running" not in name and "num_batches" not in name}
    assert all(
        torch.equal(begun.model.state_dict[name], first.state_dict[name]) for name in weights if "head" not in name
    )
    head = begun.model.state_dict["head.weight"]
    np.testing.assert_array_equal(head[[2, 1]], first.state_dict["head.weight"])
    assert expected.shape == (12, 2) and not torch.equal(head[0], head[1])
    assert begun.model.start is None


def test_a_start_whose_landmarks_were_normalised_otherwise_lends_none_of_its_weights_for_them(tmp_path, capsys):
    data, features = separable()
    start = fitted(data, features + 5, epochs=1).model
    save_model(tmp_path / "start.pt", start)
    changed = dataclasses.replace(data, settings={**data.settings, "normalize": {**NORMALIZE, "baseline": "neutral"}})
    capsys.readouterr()
    begun = fitted(changed, features, epochs=2, start=str(tmp_path / "start.pt")).model
    said = "has read landmarks that were normalised otherwise, so its part for these is not taken; this training begins"
    assert f"train.start: {tmp_path / 'start.pt'} {said} with random weights\n" in capsys.readouterr().out
    mean = begun.state_dict["branches.features.mean"].numpy()
    np.testing.assert_allclose(mean, features[data.train].mean(axis=0), atol=1e-5)
    alike = fitted(data, features, epochs=2, start=str(tmp_path / "start.pt")).model
    assert torch.equal(alike.state_dict["branches.features.mean"], start.state_dict["branches.features.mean"])
    assert "normalised" not in capsys.readouterr().out


def test_a_start_that_reads_nothing_of_what_the_network_reads_is_said(tmp_path, capsys):
    data, features = separable(count=24)
    crops = np.random.default_rng(1).integers(0, 256, (24, 64, 64), dtype=np.uint8)
    with_crops = dataclasses.replace(data, settings={**data.settings, "extract": {"settings": {"crops": True}}})
    start = train(with_crops, {"crop": crops}, params(network="cnn", epochs=1, start=None), None).model
    save_model(tmp_path / "cnn.pt", start)
    capsys.readouterr()
    fitted(data, features, epochs=1, start=str(tmp_path / "cnn.pt"))
    said = (
        f"train.start: {tmp_path / 'cnn.pt'} reads nothing that mlp reads; this training begins with random weights\n"
    )
    assert said in capsys.readouterr().out
    fitted(data, features, epochs=1, start="faceemo")  # the default, which docs say it of
    assert "train.start" not in capsys.readouterr().out


@pytest.mark.filterwarnings("error")
def test_a_network_of_crops_learns_without_valid_people_and_without_a_word_of_torch():
    data, _ = separable(count=24)
    split = np.where(data.split == "valid", "train", data.split)
    data = dataclasses.replace(data, split=split, settings={**data.settings, "extract": {"settings": {"crops": True}}})
    crops = np.random.default_rng(1).integers(0, 256, (24, 64, 64), dtype=np.uint8)
    training = train(data, {"crop": crops}, params(network="cnn", epochs=1, batch_size=8), None)
    assert np.isfinite(training.logits[data.test]).all()
    assert training.history[0].valid_loss == 0


@pytest.mark.slow
def test_a_network_of_crops_learns_from_them_and_is_kept_with_its_preparation_inside():
    data, features = separable(count=48)
    data = dataclasses.replace(data, settings={**data.settings, "extract": {"settings": {"crops": True}}})
    crops = np.random.default_rng(1).integers(0, 60, (48, 64, 64), dtype=np.uint8)
    crops[:, 20:40, 20:40] += (120 * data.targets.learnt).astype(np.uint8)[:, None, None]
    inputs = {"features": np.zeros_like(features), "crop": crops}
    before = crops.copy()
    training = train(data, inputs, params(network="both", epochs=6, lr=0.003, batch_size=8, mirror=True), None)
    np.testing.assert_array_equal(crops, before)
    test = data.test
    assert (training.logits[test].argmax(axis=1) == data.targets.learnt[test]).mean() > 0.9
    np.testing.assert_allclose(answers(training, data, inputs["features"], crops), training.logits, atol=1e-3)
    assert training.model.columns == ("features", "crop")
