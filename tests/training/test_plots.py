import csv
import dataclasses
import functools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from made_datasets import dataset_of, person
from PIL import Image

from faceemo.emotions import IN_KOREAN, KOREAN
from faceemo.fonts import font_with
from faceemo.outputs import PLOT_FORMATS
from faceemo.params import load_params
from faceemo.training.dataset import Dataset
from faceemo.training.devices import threads_kept
from faceemo.training.evaluate import evaluate
from faceemo.training.importance import crop_importance, landmark_importance, measure_importance, some_of
from faceemo.training.mirror import mirrored_points
from faceemo.training.model import TrainedModel
from faceemo.training.plots import (
    Importance,
    Words,
    draw,
    plot_confusion,
    plot_history,
    plot_importance,
    read_importance,
    run_plots,
    write_history,
    write_importance,
    write_predictions,
)
from faceemo.training.recipe import RECIPES
from faceemo.training.train import Epoch, Training

PICTURES = ("history", "confusion", "reliability", "classes", "importance")
PARAMS = load_params(Path(__file__).parents[2] / "params.yaml")
HANGUL = pytest.mark.skipif(font_with("지루함") is None, reason="no font with Hangul")


def run_of(
    classes: tuple[str, ...], epochs: int, network: str = "mlp"
) -> tuple[Dataset, Training, dict[str, np.ndarray], np.ndarray]:
    """A made-up training run: ten people with a picture of each class, probabilities that lean to the truth."""
    random = np.random.default_rng(0)
    rows = [
        {"emotion": name, "subject": person(number), "split": ("train", "valid", "test", "test")[number % 4]}
        for number in range(10)
        for name in classes
    ]
    dataset = dataclasses.replace(dataset_of(rows, classes), face=random.normal(size=(478, 3)))
    count, target = len(rows), dataset.targets.learnt
    inputs = {
        "features": random.normal(size=(count, 1434)).astype(np.float32),
        "crop": random.integers(0, 256, (count, 64, 64), dtype=np.uint8),
    }
    logits = (random.normal(size=(count, len(classes))) + 2 * np.eye(len(classes))[target]).astype(np.float32)
    torch.manual_seed(0)
    weights = RECIPES[network].build(len(classes)).state_dict()
    shares = (1 / len(classes),) * len(classes)
    model = TrainedModel(network, classes, weights, 1.0, shares, mirror=True, settings={})
    history = [Epoch(n, 1 / n, 1 - 0.5 / n, 1.2 / n, 1 - 0.6 / n, 1 - 0.7 / n) for n in range(1, epochs + 1)]
    probability = torch.softmax(torch.from_numpy(logits), dim=1).numpy()
    return dataset, Training(model, history, logits), inputs, probability


def draw_run(
    folder: Path,
    run: tuple[Dataset, Training, dict[str, np.ndarray], np.ndarray],
    words: Words | None = None,
    formats: tuple[str, ...] = ("png",),
) -> None:
    """As the stage train and the report do."""
    dataset, training, inputs, probability = run
    model = {"md5": "0" * 32, "network": "mlp", "epoch": 1, "learnt_valid": False}
    evaluation = evaluate(dataset, np.log(probability), 1.0, PARAMS, model)
    importance = measure_importance(training.model, dataset.face, inputs, dataset.test)
    history = [dataclasses.asdict(one) for one in training.history]
    draw(folder, run_plots(evaluation, history, importance), words or Words(dataset.classes), formats)


@pytest.fixture(autouse=True)
def one_thread():
    """Faster for a few faces, and much faster where the cores are busy."""
    with threads_kept():
        yield


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
    ("classes", "epochs", "network"),
    [
        (tuple(KOREAN), 12, "mlp"),
        (("neutral", "anxious"), 1, "both"),
    ],
)
def test_a_run_leaves_every_picture_and_table(tmp_path, classes, epochs, network):
    folder = tmp_path / "plots"
    draw_run(folder, run_of(classes, epochs, network), formats=PLOT_FORMATS)
    assert {path.name for path in folder.iterdir()} == {f"{name}.{one}" for name in PICTURES for one in PLOT_FORMATS}
    for name in PICTURES:
        assert_picture(folder / f"{name}.png")
        assert "</svg>" in (folder / f"{name}.svg").read_text(encoding="utf-8")[-20:]
        assert (folder / f"{name}.pdf").read_bytes().startswith(b"%PDF-")


def test_predictions_are_a_row_a_picture(tmp_path):
    write_predictions(tmp_path / "predictions.csv", np.array([0, 1]), np.array([1, 1]), ("neutral", "지루함"))
    header, *rows = table_of(tmp_path / "predictions.csv")
    assert header == ["actual", "predicted"] and rows == [["neutral", "지루함"], ["지루함", "지루함"]]


@pytest.mark.slow
def test_the_same_run_gives_the_same_bytes(tmp_path):
    run = run_of(("neutral", "anxious"), 3, "both")
    for folder in ("first", "second"):
        draw_run(tmp_path / folder, run, formats=PLOT_FORMATS)
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes(), path.name


def test_history_is_a_row_an_epoch(tmp_path):
    _, training, *_ = run_of(("neutral", "anxious"), 5)
    write_history(tmp_path / "history.csv", training.history)
    header, *rows = table_of(tmp_path / "history.csv")
    assert header == ["epoch", "train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "valid_macro_f1"]
    assert [int(row[0]) for row in rows] == [1, 2, 3, 4, 5]
    assert [float(row[3]) for row in rows] == [epoch.valid_loss for epoch in training.history]


def test_importance_is_of_faces_from_everywhere_the_same_every_time():
    """Rows lie source by source: the first ones are all of one emotion."""
    test = np.arange(1000, 1600)
    some = some_of(test, 60)
    assert len(set(some)) == 60 and set(some) <= set(test)
    assert {one // 100 for one in some} == set(range(10, 16))
    np.testing.assert_array_equal(some_of(test, 60), some)
    assert sorted(some_of(test, 9999)) == sorted(test)


def test_only_the_landmarks_that_the_network_looks_at_are_important_by_how_much_they_move():
    class Weighted(torch.nn.Module):
        """Answers by two features alone."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.zeros(2, 1434)
            self.weight[0, 3 * 61 + 1] = 2.0
            self.weight[1, 3 * 291] = 1.0

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return features @ self.weight.T

    features = np.random.default_rng(0).normal(size=(40, 1434)).astype(np.float32)
    std = torch.ones(1434)
    std[3 * 291] = 3.0
    model = SimpleNamespace(
        build=Weighted, columns=("features",), mirror=False, state_dict={"branches.features.std": std}
    )
    importance = landmark_importance(model, [features])
    assert importance.shape == (478,)
    assert set(np.flatnonzero(importance)) == {61, 291}
    second = (features[:, 291 * 3] > 2 * features[:, 61 * 3 + 1]).mean()
    np.testing.assert_allclose(importance[[61, 291]], [2 * (1 - second), 3 * second], rtol=1e-5)


def test_the_part_of_the_crop_that_decides_is_the_important_one():
    class Corner(torch.nn.Module):
        """Answers by how bright the upper left corner is."""

        def forward(self, crops: torch.Tensor) -> torch.Tensor:
            assert torch.get_num_threads() == 1  # several would wait for each other on a busy machine
            light = crops[:, :8, :8].float().mean((1, 2)) / 16
            return torch.stack([light, -light], dim=1)

    crops = np.full((4, 64, 64), 20, np.uint8)
    crops[:, :8, :8] = 250
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = crop_importance(SimpleNamespace(build=Corner, columns=("crop",), mirror=False), [crops])
    finally:
        torch.set_num_threads(before)
    assert found.shape == (8, 8) and found[0, 0] > 0
    assert np.count_nonzero(found > 1e-6) == 1


def test_an_older_runs_tables_are_replaced(tmp_path):
    path = tmp_path / "history.csv"
    for epochs in (9, 2):
        write_history(path, run_of(("neutral", "anxious"), epochs)[1].history)
    assert [row[0] for row in table_of(path)] == ["epoch", "1", "2"]
    assert path.read_bytes().count(b"\r") == 0


def test_an_epoch_is_learnt_while_excel_shows_the_last_ones(tmp_path, monkeypatch):
    path, history = tmp_path / "history.csv", run_of(("neutral", "anxious"), 3)[1].history
    write_history(path, history[:1])
    monkeypatch.setattr("faceemo.training.plots.is_held", lambda held: held == path)
    write_history(path, history)
    assert [row[0] for row in table_of(path)] == ["epoch", "1"]


def test_a_class_that_is_never_predicted_or_seen_is_drawn_too(tmp_path):
    counts = [[2, 0, 0], [1, 0, 0], [0, 0, 0]]
    draw(tmp_path, {"confusion": functools.partial(plot_confusion, counts)}, Words(("a", "b", "c")))
    assert_picture(tmp_path / "confusion.png")


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_a_network_that_answers_all_faces_alike_is_drawn_without_a_warning(tmp_path):
    dataset, training, inputs, probability = run_of(("neutral", "anxious"), 3)
    weights = {name: torch.zeros_like(value) for name, value in training.model.state_dict.items()}
    training = dataclasses.replace(training, model=dataclasses.replace(training.model, state_dict=weights))
    draw_run(tmp_path, (dataset, training, inputs, np.full_like(probability, 0.5)))
    for name in PICTURES:
        assert_picture(tmp_path / f"{name}.png")


def test_important_landmarks_are_painted_at_their_place(tmp_path):
    random = np.random.default_rng(0)
    face = random.uniform(-1, 1, (478, 2))
    face[7] = (-0.8, -0.8)  # up and to the left: y grows downwards
    importance = np.full(478, 0.01)
    importance[7] = 1.0
    plot = functools.partial(plot_importance, Importance(face, importance, None, None))
    draw(tmp_path, {"importance": plot}, Words(("a", "b")))
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
        folder = tmp_path / str(number)
        draw_run(folder, run_of(classes, 2), formats=PLOT_FORMATS)
        for name in PICTURES:
            assert_picture(folder / f"{name}.png")
    assert not [one.message for one in recwarn] and not caplog.records


@HANGUL
def test_a_name_in_hangul_is_in_the_picture(tmp_path):
    for name in ("지루함", "놀라움", "class-2"):
        draw(tmp_path, {name: functools.partial(plot_confusion, np.eye(2, dtype=int))}, Words(("neutral", name)))
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 3


@HANGUL
def test_plots_speak_korean_where_a_class_does_or_they_are_told_to():
    assert Words(("neutral", "happy")).say("epoch") == "epoch"
    assert Words(("neutral", "지루함")).names == ["중립", "지루함"]
    for classes, language, said in (
        (("neutral", "지루함"), None, "에폭"),
        (("neutral", "지루함"), "en", "epoch"),
        (("neutral", "happy"), "ko", "에폭"),
    ):
        assert Words(classes, language).say("epoch") == said
    words = Words(tuple(IN_KOREAN), "ko")
    assert words.names == list(IN_KOREAN.values())
    axes = plot_history([dataclasses.asdict(Epoch(1, 1.0, 0.5, 1.0, 0.5, 0.5))], True, words).axes
    assert [one.get_title() for one in axes] == [f"에폭별 {what}(검증까지 학습하기 전)" for what in ("손실", "정확도")]


def test_plots_are_english_where_no_font_has_hangul(monkeypatch):
    monkeypatch.setattr("faceemo.training.plots.font_with", lambda text: None)
    monkeypatch.setattr("faceemo.fonts.font_with", lambda text: None)
    words = Words(("neutral", "지루함"), "ko")
    assert words.say("epoch") == "epoch" and words.names == ["neutral", "class 2"]


@pytest.mark.slow
def test_importance_is_even_where_the_model_looks_both_ways():
    dataset, training, inputs, _ = run_of(("neutral", "anxious"), 1, "both")
    for mirror in (True, False):
        model = dataclasses.replace(training.model, mirror=mirror)
        found = measure_importance(model, dataset.face, inputs, dataset.test)
        assert np.allclose(found.landmarks, found.landmarks[mirrored_points()]) == mirror
        assert np.allclose(found.patches, found.patches[:, ::-1]) == mirror
        assert found.landmarks.max() == found.patches.max() == 1 and found.patches.min() >= 0


def test_importance_comes_back_as_it_was_written(tmp_path):
    random = np.random.default_rng(0)
    crop = random.integers(0, 256, (64, 64), np.uint8)
    for landmarks, patches, mean in ((random.random(478), None, None), (None, random.random((8, 8)), crop)):
        write_importance(tmp_path / "a.json", Importance(random.random((478, 2)), landmarks, patches, mean), "abc")
        found, md5 = read_importance(tmp_path / "a.json")
        assert md5 == "abc"
        for name, one in (("landmarks", landmarks), ("patches", patches), ("mean_crop", mean)):
            assert (one is None) == (getattr(found, name) is None)
            assert one is None or np.allclose(getattr(found, name), one, atol=1e-4)
