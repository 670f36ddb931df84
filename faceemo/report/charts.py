"""Line charts for inline SVG: their geometry, which the template draws."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from faceemo.language import Language
from faceemo.report.lastrun import LastRun
from faceemo.report.numerals import decimal

LARGEST_DOT, SMALLEST_DOT = 12.0, 3.5


@dataclass(frozen=True)
class Frame:
    """The size of a chart, and the rectangle within that its axes span."""

    width: int = 340
    height: int = 240
    left: int = 46
    right: int = 330
    top: int = 12
    bottom: int = 196


FRAME = Frame()


@dataclass(frozen=True)
class Line:
    """A curve of a chart."""

    name: str
    style: str
    """A class of the style sheet."""
    path: str
    """An SVG path."""
    dots: list[tuple[float, float, float]]
    """x, y and radius."""


@dataclass(frozen=True)
class Axis:
    """What stands along one side of a chart."""

    label: str
    ticks: list[tuple[float, str]]
    """Place and text."""


@dataclass(frozen=True)
class Chart:
    """What the template draws."""

    says: str
    """What the chart shows, for those who cannot see it."""
    x: Axis
    y: Axis
    lines: list[Line]
    frame: Frame = FRAME


class Plane:
    """From values to places on the chart, y upwards."""

    def __init__(self, x_range: tuple[float, float], y_range: tuple[float, float]) -> None:
        self.x_range, self.y_range = x_range, y_range

    def x(self, value: float) -> float:
        """Where a value lies, in units of the SVG from the left."""
        low, high = self.x_range
        return round(FRAME.left + (value - low) / (high - low) * (FRAME.right - FRAME.left), 1)

    def y(self, value: float) -> float:
        """Where a value lies, in units of the SVG from the top."""
        low, high = self.y_range
        return round(FRAME.bottom - (value - low) / (high - low) * (FRAME.bottom - FRAME.top), 1)

    def x_axis(self, label: str, whole: bool = False) -> Axis:
        """Its label and ticks; whole: at whole numbers alone."""
        return Axis(label, [(self.x(tick), f"{tick:g}") for tick in ticks(*self.x_range, whole=whole)])

    def y_axis(self, label: str) -> Axis:
        """Its label and ticks."""
        return Axis(label, [(self.y(tick), f"{tick:g}") for tick in ticks(*self.y_range)])

    def line(
        self,
        name: str,
        style: str,
        xs: Sequence[float],
        ys: Sequence[float],
        radii: Sequence[float] | None = None,
    ) -> Line:
        """A line through the points that are finite, with a dot of each radius where radii are given."""
        points = [
            (self.x(x), self.y(y), r)
            for x, y, r in zip(xs, ys, radii if radii is not None else [0] * len(xs), strict=True)
            if math.isfinite(y)
        ]
        places = list(dict.fromkeys((x, y) for x, y, _ in points))
        path = "M" + "L".join(f"{x:g} {y:g}" for x, y in places) if places else ""
        return Line(name, style, path, [(x, y, round(r, 1)) for x, y, r in points if r])


def ticks(low: float, high: float, whole: bool = False) -> list[float]:
    """Round numbers from low to high, seven at most."""
    step = 10.0 ** math.floor(math.log10((high - low) / 3))
    step = next(step * times for times in (1, 2, 5, 10) if (high - low) / (step * times) <= 6)
    if whole:
        step = max(1.0, step)
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 10) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def history_charts(run: LastRun, language: Language) -> list[tuple[str, Chart]]:
    """Loss and accuracy by epoch, each with its title."""
    say, epochs = language.say, [row["epoch"] for row in run.history]
    names = {"train": say("train"), "valid": say("valid")}
    charts = []
    for what, axis, title in (
        ("loss", say("loss"), say("Loss by epoch")),
        ("accuracy", say("accuracy"), say("Accuracy by epoch")),
    ):
        values = {split: [row[f"{split}_{what}"] for row in run.history] for split in names}
        finite = [value for one in values.values() for value in one if math.isfinite(value)]
        plane = Plane((min(epochs), max(epochs[-1], 2)), (0, 1 if what == "accuracy" else max([*finite, 0.1]) * 1.05))
        radii = [3.0] * len(epochs) if len(epochs) == 1 else None
        lines = [plane.line(name, split, epochs, values[split], radii) for split, name in names.items()]
        says = say(
            "%(what)s over %(epochs)s epochs; after the last: train %(train)s, valid %(valid)s",
            what=axis,
            epochs=len(epochs),
            **{split: f"{values[split][-1]:.3f}" for split in names},
        )
        x_axis = plane.x_axis(say("epoch"), whole=True)
        charts.append((title, Chart(says, x_axis, plane.y_axis(axis), lines)))
    return charts


def reliability_chart(bins: list[list[float]], classes: int, language: Language) -> Chart:
    """Share right by confidence, from bins of confidence, share right and pictures, which a dot's area shows."""
    say, plane = language.say, Plane((1 / classes, 1), (0, 1))
    confidence, right, pictures = (list(column) for column in zip(*bins, strict=True))
    radii = [max(SMALLEST_DOT, LARGEST_DOT * math.sqrt(number / max(pictures))) for number in pictures]
    text = "%(sure)s sure: %(right)s right of %(pictures)s pictures"
    says = [say(text, sure=f"{sure:.0%}", right=f"{share:.0%}", pictures=int(number)) for sure, share, number in bins]
    lines = [
        plane.line(say("as sure as it is right"), "guide", [1 / classes, 1], [1 / classes, 1]),
        plane.line(say("the model; a larger dot is more pictures"), "valid", confidence, right, radii),
    ]
    return Chart("; ".join(says), plane.x_axis(say("how sure the model is")), plane.y_axis(say("share right")), lines)


def roc_chart(run: LastRun, language: Language) -> Chart:
    """The ROC curve of the second of two classes, with the threshold, from evaluation.json."""
    say, (first, second) = language.say, map(language.class_name, run.evaluation["classes"])
    plane, threshold = Plane((0, 1), (0, 1)), run.evaluation["threshold"]
    false_positive, true_positive = zip(*run.evaluation["charts"]["roc"], strict=True)
    reached = threshold["test"]
    lines = [
        plane.line(say("guessing"), "guide", [0, 1], [0, 1]),
        plane.line(say("the model"), "valid", false_positive, true_positive),
        plane.line(
            say("threshold %(threshold)s", threshold=decimal(threshold["threshold"])),
            "point",
            [reached["false_positive_rate"]],
            [reached["recall"]],
            [5.0],
        ),
    ]
    x_axis = plane.x_axis(say("share of %(first)s taken for %(second)s", first=first, second=second))
    y_axis = plane.y_axis(say("share of %(second)s found", second=second))
    return Chart(say("ROC curve, area %(area)s", area=decimal(run.test["auroc"])), x_axis, y_axis, lines)
