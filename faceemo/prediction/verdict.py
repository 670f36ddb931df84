"""What judging models found, in words and tables for the terminal and as plots."""

import functools
import itertools
from pathlib import Path

import numpy as np

from faceemo.console import cells, padded, printable
from faceemo.emotions import class_text
from faceemo.outputs import PLOT_FORMATS
from faceemo.prediction.labelled import LabelledPictures
from faceemo.status import Status
from faceemo.training.lines import confusion_lines, words_of
from faceemo.training.metrics import calibration_bins, confusion

AGAINST = {"label": "folder, table or archive", "majority": "the majority of raters"}
METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "calibration_error")
WORDS = {metric: words_of(metric) for metric in METRICS}


def pictures_line(pictures: LabelledPictures) -> str:
    """How many pictures there are, of which classes and of whom."""
    names, counts = np.unique(pictures.emotion.astype(str), return_counts=True)
    classes = ", ".join(f"{count} {name}" for name, count in zip(names, counts, strict=True))
    known = pictures.is_known
    people = f"{len(set(pictures.subject[known]))} people"
    if not known.any():
        people = "nobody in them is known, so intervals are over pictures, not people"
    elif not known.all():
        people += f", and {(~known).sum()} pictures without a known person, each counted as a person"
    return f"{len(pictures)} pictures ({classes}); {people}"


def model_lines(name: str, found: dict, counted: str) -> list[str]:
    """One model: what was left out, then what it is worth against each truth. counted: people, or pictures."""
    classes = itertools.starmap(class_text, found["members"].items())
    lines = [f"{printable(name)}: {', '.join(classes)}", *_left_out(found)]
    for truth in AGAINST:
        if found[truth] is not None:
            lines += _truth_lines(found[truth], found["classes"], truth, counted)
    return lines


def _left_out(found: dict) -> list[str]:
    lines = []
    if found["unknown_classes"]:
        classes = ", ".join(f"{count} {name}" for name, count in found["unknown_classes"].items())
        lines.append(f"  left out, since it does not know their class: {classes}")
    seen = found["seen"]
    counts = f"{seen['pictures']} pictures of {seen['people']} people that it was trained on"
    if not seen["known"]:
        lines.append("  the model does not say who it was trained on: people it has seen make it look better")
    elif seen["judged"]:
        lines.append(f"  judged too: {counts}; they make it look better")
    elif seen["pictures"]:
        lines.append(f"  left out: {counts}; --seen judges them too")
    bad = [f"{count} {name}" for name, count in found["status"].items() if count and name != Status.OK]
    if bad:
        lines.append(f"  not judged: {', '.join(bad)}")
    if count := found["left_to_start"]:
        lines.append(f"  left to the model that it began as, whose faces they look more like: {count}")
    return lines


def _truth_lines(found: dict, classes: list[str], truth: str, counted: str) -> list[str]:
    people = f" of {found['people']} people" if counted == "people" else ""
    lines = [f"  by {AGAINST[truth]}: {found['images']} pictures{people}"]
    if not found["images"]:
        return lines
    for metric, words in WORDS.items():
        lines.append(f"    {words:18}{_number(found[metric])} {_interval(found.get(f'{metric}_interval'))}".rstrip())
    rest = found["all_pictures"]
    if left := rest["images"] - found["images"]:
        lines.append(f"    {'accuracy':18}{_number(rest['accuracy'])} with the {left} pictures not judged as errors")
    if truth == "label":
        lines += ["", *_class_lines(found, classes), "", *confusion_lines(found["confusion"], classes), ""]
    return lines


def _class_lines(found: dict, classes: list[str]) -> list[str]:
    width = max(map(cells, classes))
    lines = [f"    {'':{width}}  precision  recall                   f1     pictures"]
    for name in classes:
        one = found["per_class"][name]
        there = one["support"] > 0
        recall = f"{_number(one['recall'] if there else None)} {_interval(one['recall_interval'])}"
        f1 = _number(one["f1"] if there else None)
        lines.append(f"    {padded(name, width)}  {_number(one['precision']):9}  {recall:23}  {f1}  {one['support']:8}")
    return lines


def comparison_lines(compared: dict, counted: str) -> list[str]:
    """Several models side by side on the pictures that all of them judge, and each minus the first."""
    if compared["label"] is None:
        return ["side by side: there is no picture that all models judge"]
    lines = []
    for truth in AGAINST:
        if (found := compared[truth]) is None:
            continue
        people = f" of {found['people']} people" if counted == "people" else ""
        lines.append(f"side by side, on the {found['images']} pictures{people} that all judge, by {AGAINST[truth]}:")
        width = max(map(len, map(printable, found["models"])))
        for name, metrics in found["models"].items():
            words = "  ".join(f"{WORDS[metric]} {_number(metrics[metric])}" for metric in METRICS)
            lines.append(f"  {printable(name):{width}}  {words}")
        for name, difference in found["differences"].items():
            words = "  ".join(
                f"{WORDS[metric]} {mean:+.3f} {_interval(interval, '+')}".rstrip()
                for metric, (mean, *interval) in difference.items()
            )
            lines.append(f"  {printable(name)} minus {printable(next(iter(found['models'])))}: {words}")
    return lines


def draw_plots(folder: Path, stem: str, probability: np.ndarray, target: np.ndarray, classes: tuple[str, ...]) -> None:
    """Confusion and calibration of probabilities [N, classes] and classes int64 [N], in every format."""
    from faceemo.training.plots import Words, draw, plot_confusion, plot_reliability  # they need matplotlib

    counts = confusion(target, probability.argmax(axis=1), len(classes))
    bins = np.transpose(calibration_bins(probability, target))
    plots = {
        f"{stem}confusion": functools.partial(plot_confusion, counts),
        f"{stem}reliability": functools.partial(plot_reliability, bins, len(classes)),
    }
    draw(folder, plots, Words(classes, as_page=True), PLOT_FORMATS)


def _number(value: float | None) -> str:
    return "  -  " if value is None else f"{value:.3f}"


def _interval(interval: list | tuple | None, sign: str = "") -> str:
    if interval is None or interval[0] is None:
        return ""
    low, high = interval
    return f"[{low:{sign}.3f}, {high:{sign}.3f}]"
