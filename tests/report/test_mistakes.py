import dataclasses
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_run import (
    LANDMARKS,
    report,
)

from faceemo.extraction.facemesh import contour_edges
from faceemo.report.language import Language
from faceemo.report.lastrun import read_last_run
from faceemo.report.mistakes import draw_face, strongest_mistakes
from faceemo.report.page import render

pytestmark = pytest.mark.slow


def test_mistakes_are_the_surest_first_and_draw_the_faces_that_were_judged(project):
    run = read_last_run()
    test = run.dataset.test
    predicted, sure = run.probability.argmax(axis=1), run.probability.max(axis=1)
    wrong = predicted != run.dataset.targets.learnt[test]
    mistakes = strongest_mistakes(run.dataset, run.probability, LANDMARKS, 100)
    assert len(mistakes) == wrong.sum() > 2
    assert [mistake.confidence for mistake in mistakes] == sorted(map(float, sure[wrong]), reverse=True)
    for mistake in mistakes:
        assert mistake.actual != mistake.predicted
        assert mistake.source.startswith(mistake.actual)
        shards = sorted((LANDMARKS / mistake.source).iterdir())
        row = pa.concat_tables(map(pq.read_table, shards)).slice(mistake.row, 1).to_pylist()[0]
        assert (row["subject"], row["sex"], row["age"]) == (mistake.subject, mistake.sex, mistake.age)
        points = np.array(row["landmarks"]).reshape(478, 3)
        np.testing.assert_allclose(mistake.face, points[:, :2] * (1, 400 / 300))
        assert mistake.agreement == (3 - mistake.row % 4 if "training" in mistake.source else None)
    assert strongest_mistakes(run.dataset, run.probability, LANDMARKS, 2)[1].confidence == mistakes[1].confidence
    text = report()
    shown = mistakes[: text.count("Landmarks of a face")]
    assert len(shown) == min(len(mistakes), 12)
    indices = [text.index(f"{mistake.source}, row {mistake.row}<br>") for mistake in shown]
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
    perfect = np.eye(2, dtype=np.float32)[run.dataset.targets.learnt[run.dataset.test]]
    text = render(dataclasses.replace(run, probability=perfect), Language("en"))
    assert f"None: all {len(perfect)} test pictures are right." in text
    assert "Landmarks of a face" not in text
