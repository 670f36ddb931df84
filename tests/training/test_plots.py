import csv
import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from made_targets import by_number
from PIL import Image

from faceemo.emotions import KOREAN
from faceemo.fonts import font_with
from faceemo.training import plots
from faceemo.training.dataset import Dataset
from faceemo.training.model import TrainedModel, mlp
from faceemo.training.plots import plot_confusion, plot_history, plot_importance, write_history, write_run
from faceemo.training.train import Epoch, Training

PICTURES = ("history", "confusion", "reliability", "classes", "importance")


def run_of(classes: tuple[str, ...], epochs: int) -> tuple[Dataset, Training, np.ndarray]:
    """A made-up training run: ten people with a picture of each class, probabilities that lean to the truth."""
    random = np.random.default_rng(0)
    target = np.tile(np.arange(len(classes)), 10)
    count = len(target)
    rows = {
        "emotion": [classes[number] for number in target],
        "subject": [hashlib.sha256(str(n // len(classes)).encode()).hexdigest() for n in range(count)],
        "status": ["ok"] * count,
    }
    split = np.array(["train"] * (4 * len(classes)) + ["test"] * (6 * len(classes)), object)
    dataset = Dataset(
        classes,
        pa.table(rows),
        split,
        target,
        by_number(target, classes),
        row_of=np.arange(count),
        settings={},
        face=random.normal(size=(478, 3)),
    )
    inputs = random.normal(size=(count, 1434)).astype(np.float32)
    logits = (random.normal(size=(count, len(classes))) + 2 * np.eye(len(classes))[target]).astype(np.float32)
    torch.manual_seed(0)
    model = TrainedModel(
        "mlp",
        classes,
        mlp(len(classes)).state_dict(),
        torch.zeros(1434),
        torch.ones(1434),
        temperature=1.0,
        settings={},
    )
    history = [Epoch(n, 1 / n, 1 - 0.5 / n, 1.2 / n, 1 - 0.6 / n, 1 - 0.7 / n) for n in range(1, epochs + 1)]
    training = Training(model, history, epochs, logits, inputs)
    return dataset, training, torch.softmax(torch.from_numpy(logits), dim=1).numpy()


def table_of(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def assert_picture(path: Path) -> None:
    with Image.open(path) as picture:
        picture.verify()
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert 300 <= picture.width <= 2000 and 300 <= picture.height <= 2000
        pixels = np.asarray(picture.convert("L"))
    assert pixels.min() < 100 and pixels.max() == 255
    assert 0.002 < np.mean(pixels < 200) < 0.9  # something is drawn, and not everywhere


@pytest.mark.slow
@pytest.mark.parametrize(
    ("classes", "epochs"), [(("neutral", "anxious"), 12), (tuple(KOREAN), 12), (("neutral", "anxious", "happy"), 1)]
)
def test_a_run_leaves_every_picture_and_table(tmp_path, classes, epochs):
    dataset, training, probability = run_of(classes, epochs)
    folder = tmp_path / "plots"
    write_run(folder, dataset, training, probability)
    expected = {*(f"{name}.png" for name in PICTURES), "predictions.csv"}
    assert {path.name for path in folder.iterdir()} == expected
    for name in PICTURES:
        assert_picture(folder / f"{name}.png")

    header, *rows = table_of(folder / "predictions.csv")
    assert header == ["actual", "predicted"]
    test = dataset.test
    assert [actual for actual, _ in rows] == [classes[number] for number in dataset.targets.learnt[test]]
    assert [predicted for _, predicted in rows] == [classes[number] for number in probability[test].argmax(axis=1)]


@pytest.mark.slow
def test_the_same_run_gives_the_same_bytes(tmp_path):
    _, training, _ = run_of(("neutral", "anxious"), 3)
    for name in ("first.png", "second.png"):
        plot_history(tmp_path / name, training.history, best=2)
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()


def test_history_is_a_row_an_epoch(tmp_path):
    _, training, _ = run_of(("neutral", "anxious"), 5)
    write_history(tmp_path / "history.csv", training.history)
    header, *rows = table_of(tmp_path / "history.csv")
    assert header == ["epoch", "train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "valid_macro_f1"]
    assert [int(row[0]) for row in rows] == [1, 2, 3, 4, 5]
    assert [float(row[3]) for row in rows] == [epoch.valid_loss for epoch in training.history]


@pytest.mark.slow
def test_importance_looks_at_faces_of_every_archive(tmp_path, monkeypatch):
    """Rows lie archive by archive: the first ones are all of one emotion."""
    dataset, training, probability = run_of(("neutral", "anxious", "happy"), 1)
    test = dataset.test
    training.inputs[test, 0] = test
    seen = []
    monkeypatch.setattr(plots, "IMPORTANCE_ROWS", len(test) // 2)
    monkeypatch.setattr(plots, "landmark_importance", lambda network, x: seen.extend(x[:, 0]) or np.ones(478))
    write_run(tmp_path, dataset, training, probability)
    assert len(set(seen)) == len(test) // 2
    assert set(dataset.targets.learnt[np.array(seen, int)]) == {0, 1, 2}


def test_an_older_runs_tables_are_replaced(tmp_path):
    path = tmp_path / "history.csv"
    for epochs in (9, 2):
        write_history(path, run_of(("neutral", "anxious"), epochs)[1].history)
    assert [row[0] for row in table_of(path)] == ["epoch", "1", "2"]
    assert path.read_bytes().count(b"\r") == 0


def test_a_class_that_is_never_predicted_or_seen_is_drawn_too(tmp_path):
    plot_confusion(tmp_path / "confusion.png", np.array([0, 0, 1]), np.array([0, 0, 0]), ("a", "b", "c"))
    assert_picture(tmp_path / "confusion.png")


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_a_network_that_answers_all_faces_alike_is_drawn_without_a_warning(tmp_path):
    dataset, training, probability = run_of(("neutral", "anxious"), 3)
    weights = {name: torch.zeros_like(value) for name, value in training.model.state_dict.items()}
    training = dataclasses.replace(training, model=dataclasses.replace(training.model, state_dict=weights))
    write_run(tmp_path, dataset, training, np.full_like(probability, 0.5))
    for name in PICTURES:
        assert_picture(tmp_path / f"{name}.png")


def test_important_landmarks_are_painted_at_their_place(tmp_path):
    random = np.random.default_rng(0)
    face = random.uniform(-1, 1, (478, 3))
    face[7, :2] = (-0.8, -0.8)  # up and to the left: y grows downwards
    importance = np.full(478, 0.01)
    importance[7] = 1.0
    plot_importance(tmp_path / "importance.png", face, importance)
    with Image.open(tmp_path / "importance.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    drawing = pixels[:, : int(0.75 * pixels.shape[1])]  # left of the colour bar
    dark_red = (drawing[..., 0] > 90) & (drawing[..., 1] < 30) & (drawing[..., 2] < 60)
    rows, columns = np.nonzero(dark_red)
    assert len(rows) > 20
    assert rows.mean() < 0.35 * drawing.shape[0]
    assert columns.mean() < 0.35 * drawing.shape[1]


@pytest.mark.slow
def test_classes_in_hangul_are_drawn_by_name_or_number_without_a_warning(tmp_path, recwarn, caplog):
    """Whether this machine has a font for them or not."""
    for number, classes in enumerate([("neutral", "지루함"), ("neutral", "지루함", "happy"), ("neutral", "ᚠᚢᚦ")]):
        dataset, training, probability = run_of(classes, 2)
        folder = tmp_path / str(number)
        write_run(folder, dataset, training, probability)
        assert table_of(folder / "predictions.csv")[1][0] in classes
        for name in PICTURES:
            assert_picture(folder / f"{name}.png")
    assert not [one.message for one in recwarn] and not caplog.records


@pytest.mark.skipif(font_with("지루함") is None, reason="no font with Hangul")
def test_a_name_in_hangul_is_in_the_picture(tmp_path):
    target, pictures = np.array([0, 1]), set()
    for number, name in enumerate(["지루함", "놀라움", "class-2"]):
        plot_confusion(tmp_path / f"{number}.png", target, target, ("neutral", name))
        pictures.add((tmp_path / f"{number}.png").read_bytes())
    assert len(pictures) == 3
