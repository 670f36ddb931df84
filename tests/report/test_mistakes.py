import dataclasses
import re

import numpy as np
import pyarrow.parquet as pq
import pytest
from made_run import LANDMARKS, report

from faceemo.extraction.facemesh import contour_edges
from faceemo.language import Language
from faceemo.report.lastrun import read_last_run
from faceemo.report.mistakes import draw_face, read_face
from faceemo.report.page import render

pytestmark = pytest.mark.slow


def test_mistakes_are_drawn_from_their_own_landmarks_the_surest_first(project):
    mistakes = read_last_run().evaluation["mistakes"]
    assert len(mistakes) == 12
    assert len({mistake["row"] // 16 for mistake in mistakes}) > 1  # of several shards
    for mistake in mistakes:
        row = pq.read_table(LANDMARKS / mistake["source"]).slice(mistake["row"], 1).to_pylist()[0]
        assert row["image"].startswith(mistake["subject"])
        points = np.array(row["landmarks"]).reshape(478, 3)
        np.testing.assert_allclose(read_face(mistake), points[:, :2] * (1, 400 / 300))
    text = report()
    assert text.count("Landmarks of a face") == 12
    indices = [text.index(f"{mistake['source']}, row {mistake['row']}<br>") for mistake in mistakes]
    assert indices == sorted(indices)


def test_a_face_is_drawn_whole_in_proportion_and_upright():
    face = np.random.default_rng(0).uniform(0, 1, (478, 2)) * (0.2, 0.3)
    drawing = draw_face(face)
    starts = [tuple(map(int, pair)) for pair in re.findall(r"M(\d+) (\d+)l", drawing.mesh + drawing.contours)]
    low, high = np.min(starts, axis=0), np.max(starts, axis=0)
    assert (low >= 0).all() and (high <= (drawing.width, drawing.height)).all()
    assert (high - low)[0] / (high - low)[1] == pytest.approx(0.2 / 0.3, rel=0.02)
    assert drawing.contours.count("M") == len({tuple(sorted(edge)) for edge in contour_edges().tolist()})
    steps = re.match(r"M(\d+) (\d+)l(-?\d+) (-?\d+)M", drawing.contours)
    a, b = min(sorted(edge) for edge in contour_edges().tolist())
    assert np.sign(int(steps[3])) == np.sign(face[b, 0] - face[a, 0])
    assert np.sign(int(steps[4])) == np.sign(face[b, 1] - face[a, 1])


def test_a_run_without_mistakes_says_so(project):
    run = read_last_run()
    text = render(dataclasses.replace(run, evaluation={**run.evaluation, "mistakes": []}), Language("en"))
    assert f"None: all {run.test['images']} test pictures are right." in text
    assert "Landmarks of a face" not in text
