"""Pictures of a training run: PNG files for people, CSV files for `dvc plots`."""

import csv
from dataclasses import asdict
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from faceemo.durable import is_held, written_whole
from faceemo.extraction.facemesh import mesh_edges
from faceemo.fonts import drawn_names, font_with
from faceemo.outputs import await_release
from faceemo.training.dataset import Dataset
from faceemo.training.evaluate import crop_importance, landmark_importance, main_truth
from faceemo.training.metrics import auroc, calibration_bins, confusion, roc_curve
from faceemo.training.recipe import CROP, MESH, Inputs
from faceemo.training.train import Epoch, Training

matplotlib.use("Agg")  # files only, on machines without a screen too

IMPORTANCE_ROWS = 2000
CROP_ROWS = 128  # of them, each of which is looked at 64 times
LARGEST_DOT, SMALLEST_DOT = 180, 20  # areas in square points
TRAIN, VALID, INK = "#8a8f98", "#1f6feb", "#24292f"


def write_run(folder: Path, dataset: Dataset, training: Training, inputs: Inputs, probability: np.ndarray) -> None:
    """All plots of a finished training.

    inputs: of the dataset's N faces; probability: [N, classes].
    """
    await_release(folder / "history.csv")
    write_history(folder / "history.csv", training.history)
    truth = main_truth(dataset)
    test = dataset.indices("test", truth)
    target, predicted = truth[test], probability[test].argmax(axis=1)
    classes = dataset.classes
    some = some_of(test, IMPORTANCE_ROWS)
    model = training.model
    shown = [inputs[column][some] for column in model.columns]
    write_predictions(folder / "predictions.csv", target, predicted, classes)
    plot_history(folder / "history.png", training.history, training.learnt_valid)
    plot_confusion(folder / "confusion.png", target, predicted, classes)
    plot_reliability(folder / "reliability.png", probability[test], target)
    plot_classes(folder / "classes.png", probability[test], target, classes)
    plot_importance(
        folder / "importance.png",
        dataset.face,
        landmark_importance(model, shown) if MESH in model.columns else None,
        crop_importance(model, [one[:CROP_ROWS] for one in shown]) if CROP in model.columns else None,
        inputs[CROP][some].mean(axis=0) if CROP in model.columns else None,
    )


def some_of(indices: np.ndarray, at_most: int) -> np.ndarray:
    """Some of these indices from everywhere among them: rows lie source by source."""
    return np.random.default_rng(0).permutation(indices)[:at_most]


def write_history(path: Path, history: list[Epoch]) -> None:
    """A CSV row an epoch; not while another program shows the file, as Excel does: the next epoch comes by."""
    if is_held(path):
        return
    rows = [asdict(epoch) for epoch in history]
    _write_csv(path, list(rows[0]), [list(row.values()) for row in rows])


def write_predictions(path: Path, target: np.ndarray, predicted: np.ndarray, classes: tuple[str, ...]) -> None:
    """A CSV row a test picture, actual and predicted class, for dvc's confusion matrix."""
    rows = [[classes[actual], classes[chosen]] for actual, chosen in zip(target, predicted, strict=True)]
    _write_csv(path, ["actual", "predicted"], rows)


def plot_history(path: Path, history: list[Epoch], learnt_valid: bool = False) -> None:
    """Loss and accuracy by epoch; the last epoch is the one that is kept. learnt_valid: as in Training."""
    figure, (left, right) = _figure(9, 3.6, columns=2)
    epochs = [epoch.epoch for epoch in history]
    for axes, what in ((left, "loss"), (right, "accuracy")):
        for split, color in (("train", TRAIN), ("valid", VALID)):
            values = [getattr(epoch, f"{split}_{what}") for epoch in history]
            axes.plot(epochs, values, color=color, label=f"{split}", marker="o" if len(epochs) == 1 else None)
        axes.set(xlabel="epoch", title=f"{what}, before valid was learnt from too" if learnt_valid else what)
        axes.legend(frameon=False)
    right.set_ylim(0, 1.02)
    _save(figure, path)


def plot_confusion(path: Path, target: np.ndarray, predicted: np.ndarray, classes: tuple[str, ...]) -> None:
    """Confusion matrix of the test people: share of each actual class, and counts."""
    counts = confusion(target, predicted, len(classes))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = 2.4 + 0.9 * len(classes)
    names, fonts = drawn_names(classes), _fonts(classes)
    figure, (axes,) = _figure(size + 0.8, size)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        color = "white" if share > 0.55 else INK
        axes.text(column, row, f"{share:.0%}\n{counts[row, column]}", ha="center", va="center", color=color)
    ticks = range(len(classes))
    axes.set_xticks(ticks, names, rotation=30 if len(classes) > 3 else 0, fontfamily=fonts)
    axes.set_yticks(ticks, names, fontfamily=fonts)
    axes.set(xlabel="predicted", ylabel="actual", title=f"{len(target)} test pictures")
    axes.spines[:].set_visible(False)
    figure.colorbar(image, shrink=0.8, label="share of the actual class")
    _save(figure, path)


def plot_reliability(path: Path, probability: np.ndarray, target: np.ndarray) -> None:
    """Is a model that is 80 % sure right in 80 % of the pictures? Test people; a dot's area tells how many pictures."""
    confidence, accuracy, count = calibration_bins(probability, target)
    figure, (axes,) = _figure(4.6, 4.2)
    lowest = 1 / probability.shape[1]
    axes.plot([lowest, 1], [lowest, 1], color=TRAIN, linestyle="--", label="as sure as it is right")
    axes.plot(confidence, accuracy, color=VALID, label="the model; a larger dot is more pictures")
    areas = np.maximum(LARGEST_DOT * count / count.max(), SMALLEST_DOT)
    axes.scatter(confidence, accuracy, areas, color=VALID, zorder=3)
    axes.set(xlabel="confidence", ylabel="share right", xlim=(lowest - 0.03, 1.03), ylim=(-0.03, 1.06))
    axes.set_title(f"reliability, {len(target)} test pictures")
    axes.legend(frameon=False, loc="lower right")
    _save(figure, path)


def plot_classes(path: Path, probability: np.ndarray, target: np.ndarray, classes: tuple[str, ...]) -> None:
    """Two classes: the ROC curve of the second. More: recall and precision of each."""
    names, fonts = drawn_names(classes), _fonts(classes)
    if len(classes) == 2:
        figure, (axes,) = _figure(4.6, 4.2)
        false_positive, true_positive = roc_curve(probability[:, 1], target)
        axes.plot([0, 1], [0, 1], color=TRAIN, linestyle="--", label="chance")
        axes.plot(false_positive, true_positive, color=VALID, label=f"area {auroc(probability, target):.3f}")
        axes.set_xlabel(f"share of {names[0]} taken for {names[1]}", fontfamily=fonts)
        axes.set_ylabel(f"share of {names[1]} found", fontfamily=fonts)
        axes.set_title("ROC, test people")
        axes.legend(frameon=False, loc="lower right")
    else:
        counts = confusion(target, probability.argmax(axis=1), len(classes))
        hits = counts.diagonal()
        figure, (axes,) = _figure(1.8 + 0.9 * len(classes), 3.6)
        position = np.arange(len(classes))
        for offset, totals, name, color in (
            (-0.2, counts.sum(1), "recall", VALID),
            (0.2, counts.sum(0), "precision", TRAIN),
        ):
            axes.bar(position + offset, hits / np.maximum(totals, 1), 0.38, label=name, color=color)
        axes.set_xticks(position, names, fontfamily=fonts)
        axes.set(ylim=(0, 1.18), yticks=np.linspace(0, 1, 6), title="recall and precision by class, test people")
        axes.legend(frameon=False, loc="upper right", ncols=2)  # above the bars
    _save(figure, path)


def plot_importance(
    path: Path,
    face: np.ndarray,
    landmarks: np.ndarray | None,
    patches: np.ndarray | None,
    mean_crop: np.ndarray | None,
) -> None:
    """Which landmarks the network listens to, painted on a face, and where it looks, painted on the mean crop.

    face: [478, 3], y down; landmarks: [478], any positive unit, all zero if every face gets the same answer; patches:
    [P, P]; mean_crop: [side, side]. None for what the network does not read.
    """
    panels = [one for one in (landmarks, patches) if one is not None]
    figure, every = _figure(5.2 * len(panels), 5.2, columns=len(panels))
    for axes, one in zip(every, panels, strict=True):
        if one is landmarks:
            _paint_landmarks(figure, axes, face, one)
        else:
            assert mean_crop is not None, "it comes with the patches"
            _paint_patches(figure, axes, one, mean_crop)
    _save(figure, path)


def _paint_landmarks(figure: Figure, axes: Axes, face: np.ndarray, importance: np.ndarray) -> None:
    _draw_mesh(axes, face)
    order = importance.argsort()
    share = importance / (importance.max() or 1)
    points = axes.scatter(
        face[order, 0],
        face[order, 1],
        c=share[order],
        s=6 + 70 * share[order] ** 2,
        cmap="YlOrRd",
        vmin=0,
        vmax=1,
        zorder=2,
    )
    figure.colorbar(points, shrink=0.7, label="importance, largest = 1")
    axes.set_title("landmarks that matter, test people")


def _paint_patches(figure: Figure, axes: Axes, patches: np.ndarray, mean_crop: np.ndarray) -> None:
    side = len(mean_crop)
    axes.imshow(mean_crop, cmap="gray", extent=(0, side, side, 0))
    share = np.clip(patches, 0, None) / (patches.max() if patches.max() > 0 else 1)
    painted = axes.imshow(share, cmap="YlOrRd", vmin=0, vmax=1, alpha=0.55, extent=(0, side, side, 0))
    figure.colorbar(painted, shrink=0.7, label="importance, largest = 1")
    axes.set_axis_off()
    axes.set_title("parts of the crop that matter, test people")


def _draw_mesh(axes: Axes, face: np.ndarray) -> None:
    axes.add_collection(LineCollection(face[mesh_edges()][:, :, :2], colors="#c9ced6", linewidths=0.4, zorder=1))
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.axis("off")


def _fonts(classes: tuple[str, ...]) -> list[str]:
    """Families for text with names of classes: matplotlib's own, then what has their letters."""
    families = ["sans-serif"]
    for path in filter(None, (None if name.isascii() else font_with(name) for name in classes)):
        font_manager.fontManager.addfont(path)
        families.append(font_manager.FontProperties(fname=path).get_name())
    return list(dict.fromkeys(families))


def _figure(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = list(figure.subplots(1, columns, squeeze=False)[0])
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    with written_whole(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png", metadata={"Software": None})


def _write_csv(path: Path, header: list[str], rows: list[list]) -> None:
    with written_whole(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
