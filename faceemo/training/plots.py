"""Plots of a run from its numbers, for people; CSV files for `dvc plots`."""

import csv
import functools
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from faceemo.durable import is_held, write_text_whole, written_whole
from faceemo.extraction.facemesh import mesh_edges
from faceemo.fonts import HANGUL, drawn_names, font_with, has_hangul, page_font
from faceemo.language import Language
from faceemo.outputs import unheld
from faceemo.plainjson import read_json

if TYPE_CHECKING:  # else it imports torch
    from faceemo.training.train import Epoch

matplotlib.use("Agg")  # files only, on machines without a screen too
logging.getLogger("fontTools.subset").setLevel(logging.ERROR)  # it warns of tables that no PDF needs

NO_DATE = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}  # same numbers, same bytes
LARGEST_DOT, SMALLEST_DOT = 180, 20  # areas in square points
TRAIN, VALID, INK = "#8a8f98", "#1f6feb", "#24292f"


class Words:
    """What stands on plots: texts and classes in one language, and the fonts for them."""

    def __init__(self, classes: Sequence[str], language: str | None = None, as_page: bool = False) -> None:
        """language: "ko" or "en"; None: Korean where a class has a Korean name. English where no font has Hangul.

        as_page: in the font of the report; else in matplotlib's own, where that has the letters.
        """
        is_korean = language == "ko" or (language is None and any(map(has_hangul, classes)))
        is_korean = is_korean and font_with(HANGUL) is not None
        self._language = Language("ko" if is_korean else "en")
        self.say = self._language.say
        self.names = drawn_names([self._language.class_name(name) for name in classes])
        """Of the classes, as they are drawn."""
        needed = [font_with(text) for text in [*[HANGUL] * is_korean, *self.names] if not text.isascii()]
        self._fonts = [one for one in [page_font() if as_page and not is_korean else None, *needed] if one]

    def settings(self) -> dict[Any, Any]:
        """Of matplotlib, while figures are drawn and written."""
        for path in self._fonts:
            font_manager.fontManager.addfont(path)
        families = [font_manager.FontProperties(fname=path).get_name() for path in self._fonts]
        return {
            "font.family": list(dict.fromkeys([*families, "DejaVu Sans"])),
            # Journals ask for TrueType (42) in PDF; matplotlib embeds that of .ttf files alone
            "pdf.fonttype": 42 if all(path.suffix.lower() == ".ttf" for path in self._fonts) else 3,
            "svg.hashsalt": "faceemo",  # else its ids are random
        }


Plot = Callable[[Words], Figure]


@dataclass(frozen=True)
class Importance:
    """What a model's answers hang on; None for what it does not read."""

    face: np.ndarray
    """float [478, 2], y down: what the landmarks are painted on."""
    landmarks: np.ndarray | None
    """float [478], the largest 1; all zero if every face gets the same answer."""
    patches: np.ndarray | None
    """float [P, P], of the crop, as landmarks."""
    mean_crop: np.ndarray | None
    """uint8 [side, side], grey."""


def write_importance(path: Path, importance: Importance, md5: str) -> None:
    """As JSON. md5: of the model file that it is of."""
    values = {name: None if one is None else np.round(one, 4).tolist() for name, one in vars(importance).items()}
    write_text_whole(path, json.dumps({"model": md5, **values}) + "\n")


def read_importance(path: Path) -> tuple[Importance, str]:
    """What write_importance wrote. Raises OSError, ValueError, KeyError or TypeError for another file."""
    values = read_json(path)
    md5 = values.pop("model")
    arrays: dict[str, Any] = {name: None if one is None else np.array(one) for name, one in values.items()}
    return Importance(**arrays), md5


def run_plots(
    evaluation: Mapping[str, Any], history: list[dict[str, float]], importance: Importance
) -> dict[str, Plot]:
    """The plots of a run by name. evaluation: evaluation.json; history: a row of history.csv an epoch."""
    test, charts = evaluation["test"][evaluation["truth"]], evaluation["charts"]
    per_class = functools.partial(plot_classes, list(test["per_class"].values()))
    return {
        "history": functools.partial(plot_history, history, evaluation["model"]["learnt_valid"]),
        "confusion": functools.partial(plot_confusion, test["confusion"]),
        "reliability": functools.partial(plot_reliability, charts["calibration"], len(evaluation["classes"])),
        "classes": functools.partial(plot_roc, charts["roc"], test["auroc"]) if "roc" in charts else per_class,
        "importance": functools.partial(plot_importance, importance),
    }


def draw(folder: Path, plots: Mapping[str, Plot], words: Words, formats: Iterable[str] = ("png",)) -> None:
    """Write plots by their names."""
    with matplotlib.rc_context(words.settings()):
        for name, plot in plots.items():
            figure = plot(words)
            for kind in formats:
                with written_whole(unheld(folder / f"{name}.{kind}")) as temporary:
                    figure.savefig(temporary, dpi=120, format=kind, metadata=NO_DATE[kind])


def write_history(path: Path, history: "list[Epoch]") -> None:
    """A CSV row an epoch; not while another program shows the file, as Excel does: the next epoch comes by."""
    if is_held(path):
        return
    rows = [asdict(epoch) for epoch in history]
    _write_csv(path, list(rows[0]), [list(row.values()) for row in rows])


def write_predictions(path: Path, target: np.ndarray, predicted: np.ndarray, classes: tuple[str, ...]) -> None:
    """A CSV row a test picture, actual and predicted class, for dvc's confusion matrix."""
    rows = [[classes[actual], classes[chosen]] for actual, chosen in zip(target, predicted, strict=True)]
    _write_csv(path, ["actual", "predicted"], rows)


def plot_history(history: list[dict[str, float]], learnt_valid: bool, words: Words) -> Figure:
    """Loss and accuracy by epoch; the last epoch is the one that is kept. learnt_valid: as in Training."""
    figure, (left, right) = _figure(9, 3.6, columns=2)
    epochs, say = [row["epoch"] for row in history], words.say
    for axes, what, title in ((left, "loss", say("Loss by epoch")), (right, "accuracy", say("Accuracy by epoch"))):
        for split, name, color in (("train", say("train"), TRAIN), ("valid", say("valid"), VALID)):
            values = [row[f"{split}_{what}"] for row in history]
            axes.plot(epochs, values, color=color, label=name, marker="o" if len(epochs) == 1 else None)
        axes.set_title(say("%(title)s, before valid was learnt from too", title=title) if learnt_valid else title)
        axes.set_xlabel(say("epoch"))
        axes.legend(frameon=False)
    right.set_ylim(0, 1.02)
    return figure


def plot_confusion(counts: Sequence[Sequence[int]] | np.ndarray, words: Words) -> Figure:
    """Confusion matrix of the test people, from counts [classes, classes]: share of each actual class, and counts."""
    counts = np.asarray(counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = 2.4 + 0.9 * len(counts)
    figure, (axes,) = _figure(size + 0.8, size)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        color = "white" if share > 0.55 else INK
        axes.text(column, row, f"{share:.0%}\n{counts[row, column]}", ha="center", va="center", color=color)
    ticks = range(len(counts))
    axes.set_xticks(ticks, words.names, rotation=30 if len(counts) > 3 else 0)
    axes.set_yticks(ticks, words.names)
    axes.set(xlabel=words.say("predicted"), ylabel=words.say("actual"), title=_test_pictures(counts.sum(), words))
    axes.spines[:].set_visible(False)
    figure.colorbar(image, shrink=0.8, label=words.say("share of the actual class"))
    return figure


def plot_reliability(bins: Sequence[Sequence[float]] | np.ndarray, classes: int, words: Words) -> Figure:
    """Is a model that is 80 % sure right in 80 % of the pictures? A dot's area tells how many pictures.

    bins: of confidence, share right and pictures each.
    """
    confidence, accuracy, count = np.transpose(bins)
    figure, (axes,) = _figure(4.6, 4.2)
    lowest = 1 / classes
    axes.plot([lowest, 1], [lowest, 1], color=TRAIN, linestyle="--", label=words.say("as sure as it is right"))
    axes.plot(confidence, accuracy, color=VALID, label=words.say("the model; a larger dot is more pictures"))
    areas = np.maximum(LARGEST_DOT * count / count.max(), SMALLEST_DOT)
    axes.scatter(confidence, accuracy, areas, color=VALID, zorder=3)
    axes.set(xlabel=words.say("how sure the model is"), ylabel=words.say("share right"))
    axes.set(xlim=(lowest - 0.03, 1.03), ylim=(-0.03, 1.06), title=_test_pictures(count.sum(), words))
    axes.legend(frameon=False, loc="lower right")
    return figure


def plot_roc(points: Sequence[Sequence[float]], area: float, words: Words) -> Figure:
    """The ROC curve of the second of two classes, from points of false and true positive rate."""
    figure, (axes,) = _figure(4.6, 4.2)
    first, second = words.names
    axes.plot([0, 1], [0, 1], color=TRAIN, linestyle="--", label=words.say("guessing"))
    axes.plot(*np.transpose(points), color=VALID, label=words.say("the model"))
    axes.set_xlabel(words.say("share of %(first)s taken for %(second)s", first=first, second=second))
    axes.set_ylabel(words.say("share of %(second)s found", second=second))
    axes.set_title(words.say("ROC curve, area %(area)s", area=f"{area:.3f}"))
    axes.legend(frameon=False, loc="lower right")
    return figure


def plot_classes(per_class: Sequence[Mapping[str, float | None]], words: Words) -> Figure:
    """Recall and precision of each class, as metrics.score has them."""
    figure, (axes,) = _figure(1.8 + 0.9 * len(per_class), 3.6)
    position = np.arange(len(per_class))
    for offset, what, name, color in (
        (-0.2, "recall", words.say("recall"), VALID),
        (0.2, "precision", words.say("precision"), TRAIN),
    ):
        axes.bar(position + offset, [one[what] or 0 for one in per_class], 0.38, label=name, color=color)
    axes.set_xticks(position, words.names)
    axes.set(ylim=(0, 1.18), yticks=np.linspace(0, 1, 6), title=words.say("By emotion, test"))
    axes.legend(frameon=False, loc="upper right", ncols=2)  # above the bars
    return figure


def plot_importance(importance: Importance, words: Words) -> Figure:
    """Which landmarks the network listens to, painted on a face, and where it looks, painted on the mean crop."""
    panels = [one for one in (importance.landmarks, importance.patches) if one is not None]
    figure, every = _figure(5.2 * len(panels), 5.2, columns=len(panels))
    for axes, one in zip(every, panels, strict=True):
        if one is importance.landmarks:
            painted = _paint_landmarks(axes, importance.face, one)
            axes.set_title(words.say("landmarks that matter, test people"))
        else:
            assert importance.mean_crop is not None, "it comes with the patches"
            painted = _paint_patches(axes, one, importance.mean_crop)
            axes.set_title(words.say("parts of the crop that matter, test people"))
        figure.colorbar(painted, shrink=0.7, label=words.say("importance, largest = 1"))
    return figure


def _paint_landmarks(axes: Axes, face: np.ndarray, importance: np.ndarray) -> Any:
    axes.add_collection(LineCollection(face[mesh_edges()], colors="#c9ced6", linewidths=0.4, zorder=1))
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.axis("off")
    order = importance.argsort()
    return axes.scatter(
        face[order, 0],
        face[order, 1],
        c=importance[order],
        s=6 + 70 * importance[order] ** 2,
        cmap="YlOrRd",
        vmin=0,
        vmax=1,
        zorder=2,
    )


def _paint_patches(axes: Axes, patches: np.ndarray, mean_crop: np.ndarray) -> Any:
    side = len(mean_crop)
    axes.imshow(mean_crop, cmap="gray", extent=(0, side, side, 0))
    axes.set_axis_off()
    return axes.imshow(patches, cmap="YlOrRd", vmin=0, vmax=1, alpha=0.55, extent=(0, side, side, 0))


def _test_pictures(count: float, words: Words) -> str:
    return words.say("%(pictures)s test pictures", pictures=f"{count:,.0f}")


def _figure(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = list(figure.subplots(1, columns, squeeze=False)[0])
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _write_csv(path: Path, header: list[str], rows: list[list]) -> None:
    with written_whole(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
