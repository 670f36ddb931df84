import dataclasses
import re

import numpy as np
import pytest

from faceemo.report.charts import history_charts, ticks
from faceemo.report.language import Language
from faceemo.report.lastrun import read_last_run

pytestmark = pytest.mark.slow


def test_charts_of_one_epoch_and_of_one_that_diverged_are_drawn(project):
    run, english = read_last_run(), Language("en")
    first = run.history[0]
    for _, chart in history_charts(dataclasses.replace(run, history=[first]), english):
        assert all(len(line.dots) == 1 for line in chart.lines)
    diverged = dataclasses.replace(run.history[1], train_loss=float("nan"), valid_loss=float("inf"))
    for _, chart in history_charts(dataclasses.replace(run, history=[first, diverged, run.history[2]]), english):
        assert not re.search("nan|inf", "".join(line.path for line in chart.lines))
    loss, accuracy = (chart for _, chart in history_charts(run, english))
    assert f"valid {run.history[run.kept_epoch - 1].valid_loss:.3f}" in loss.says
    ys = [float(y) for y in re.findall(r" ([\d.]+)", accuracy.lines[1].path)]
    values = [epoch.valid_accuracy for epoch in run.history]
    np.testing.assert_allclose(ys, [196 - 184 * value for value in values], atol=0.06)  # upwards


@pytest.mark.parametrize("bounds", [(0, 1), (1, 30), (0.5, 1), (1 / 7, 1), (0, 0.73), (0, 12.1), (1, 5000), (0, 1e-3)])
def test_ticks_are_few_round_numbers_within(bounds):
    found = ticks(*bounds)
    assert 2 <= len(found) <= 7
    assert bounds[0] - 1e-9 <= found[0] and found[-1] <= bounds[1] + 1e-9
    assert all(len(f"{tick:g}".replace(".", "").strip("0")) <= 2 for tick in found)
    assert all(tick == int(tick) for tick in ticks(1, 2, whole=True))
