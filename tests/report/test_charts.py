import dataclasses
import re

import numpy as np
import pytest

from faceemo.language import Language
from faceemo.report.charts import history_charts, roc_chart, ticks
from faceemo.report.lastrun import read_last_run

pytestmark = pytest.mark.slow
ENGLISH = Language("en")


def places(path: str) -> np.ndarray:
    """[points, 2] of an SVG path."""
    return np.array([tuple(map(float, point.split())) for point in re.split("[ML]", path)[1:]])


def test_charts_of_one_epoch_and_of_one_that_diverged_are_drawn(project):
    run = read_last_run()
    first = run.history[0]
    for _, chart in history_charts(dataclasses.replace(run, history=[first]), ENGLISH):
        assert all(len(line.dots) == 1 for line in chart.lines)
    diverged = {**run.history[1], "train_loss": float("nan"), "valid_loss": float("inf")}
    for _, chart in history_charts(dataclasses.replace(run, history=[first, diverged, run.history[2]]), ENGLISH):
        assert not re.search("nan|inf", "".join(line.path for line in chart.lines))
    loss, accuracy = (chart for _, chart in history_charts(run, ENGLISH))
    assert f"after the last: train {run.history[-1]['train_loss']:.3f}, valid {run.history[-1]['valid_loss']:.3f}" in (
        loss.says
    )
    values = [epoch["valid_accuracy"] for epoch in run.history]
    wanted = [196 - 184 * value for value in values]  # upwards
    np.testing.assert_allclose(places(accuracy.lines[1].path)[:, 1], wanted, atol=0.06)


def test_the_roc_curve_is_that_of_evaluation_json_from_corner_to_corner(project):
    run = read_last_run()
    guess, curve, point = roc_chart(run, ENGLISH).lines
    corners = places(guess.path)
    found = places(curve.path)
    assert found[0].tolist() == corners[0].tolist() and found[-1].tolist() == corners[-1].tolist()
    assert len(found) == len({tuple(one) for one in run.evaluation["charts"]["roc"]})
    assert any(np.allclose(point.dots[0][:2], one, atol=0.2) for one in found)


@pytest.mark.parametrize("bounds", [(0, 1), (1, 30), (0.5, 1), (1 / 7, 1), (0, 0.73), (0, 12.1), (1, 5000), (0, 1e-3)])
def test_ticks_are_few_round_numbers_within(bounds):
    found = ticks(*bounds)
    assert 2 <= len(found) <= 7
    assert bounds[0] - 1e-9 <= found[0] and found[-1] <= bounds[1] + 1e-9
    assert all(len(f"{tick:g}".replace(".", "").strip("0")) <= 2 for tick in found)
    assert all(tick == int(tick) for tick in ticks(1, 2, whole=True))
