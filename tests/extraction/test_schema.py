"""The rows of this format number: whoever changes rows raises the number, so that dvc extracts again."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from record_rows import COMPARED, POINTS, current_rows, recorded

from faceemo.extraction import worker
from faceemo.extraction.schema import FORMAT

pytestmark = pytest.mark.slow

MOVED = (
    0.0005  # of the distance between the irises; another engine moves points by 0.000015, a shift of a pixel by 0.0056
)
OTHER_GREY = (
    0.5  # of 255, mean over a crop; another engine changes it by up to 0.07, a shift of the crop by a pixel by 7
)
CHANGED = (
    f"extraction gives other rows than those recorded for format {FORMAT}. If that is meant, raise FORMAT in "
    "faceemo/extraction/schema.py, so that dvc extracts again, and run: python tests/extraction/record_rows.py"
)


def distances(rows, expected) -> np.ndarray:
    """Of each face in both, the mean distance of its points in distances between the irises."""
    found = []
    for now, then in zip(rows, expected, strict=True):
        if now["points"] is None or then["points"] is None:
            continue
        unit = np.array([now["width"], now["height"], now["width"]])
        ours, theirs = (np.array(row["points"]).reshape(len(POINTS), 3) * unit for row in (now, then))
        found.append(np.linalg.norm(ours - theirs, axis=1).mean() / np.linalg.norm(theirs[-1] - theirs[-2]))
    return np.array(found)


def differences(rows, expected) -> np.ndarray:
    """Of each face in both, the mean difference of its crop's greys."""
    pairs = [(now["greys"], then["greys"]) for now, then in zip(rows, expected, strict=True) if now["greys"]]
    greys = np.array([[np.frombuffer(crop, np.uint8) for crop in pair] for pair in pairs], np.int16)
    return np.abs(greys[:, 0] - greys[:, 1]).mean(axis=1)


def check(rows, expected) -> None:
    differing = [
        f"{now['source']}: {now['image']}: {name} {now[name]}, recorded {then[name]}"
        for now, then in zip(rows, expected, strict=True)
        for name in COMPARED
        if now[name] != then[name]
    ]
    assert not differing, f"{CHANGED} ({'; '.join(differing[:3])})"
    assert distances(rows, expected).max() < MOVED, CHANGED
    assert differences(rows, expected).max() < OTHER_GREY, CHANGED


@pytest.fixture(scope="module")
def expected():
    assert recorded().exists(), CHANGED
    return pq.read_table(recorded()).to_pylist()


def test_rows_are_those_recorded_for_this_format(expected):
    check(current_rows().to_pylist(), expected)


def test_the_recorded_pictures_stand_on_both_sides_of_each_threshold(expected):
    statuses = {row["image"]: row["status"] for row in expected if row["source"] == "thresholds"}
    for name in ("faded", "covered", "dark", "small", "cut", "close"):
        assert (statuses[f"{name}-found.jpg"], statuses[f"{name}-missed.jpg"]) == ("ok", "no_face")
    assert {row["status"] for row in expected} == {"ok", "no_face", "decode_error"}
    turned = {row["image"]: row["turned"] for row in expected}
    assert (turned["upside-down-turned.jpg"], turned["upside-down-left.jpg"]) == (180, 0)


@pytest.mark.parametrize(
    "change", ["FIRST_SIDE", "FACE_WIDTH", "UPRIGHT_SCORE", "BORDER", "threshold", "shift", "crop"]
)
def test_a_change_of_rows_is_found(expected, change, monkeypatch):
    """As a change in the code would be: another scale, another threshold, a picture shifted by one pixel."""
    if change == "FIRST_SIDE":
        monkeypatch.setattr(worker, "FIRST_SIDE", 470)
    elif change == "FACE_WIDTH":
        monkeypatch.setattr(worker, "FACE_WIDTH", 200)
    elif change == "threshold":
        find = worker.FaceMesh.find_scored
        none = np.zeros((0, 478, 3), np.float32), 0.0
        monkeypatch.setattr(
            worker.FaceMesh, "find_scored", lambda mesh, rgb: find(mesh, rgb) if rgb.mean() > 12 else none
        )
    elif change == "UPRIGHT_SCORE":
        monkeypatch.setattr(worker, "UPRIGHT_SCORE", 0.88)
    elif change == "BORDER":
        monkeypatch.setattr(worker, "BORDER", 8)
    elif change == "crop":
        crop_of = worker.crop_of
        monkeypatch.setattr(worker, "crop_of", lambda rgb, face: np.roll(crop_of(rgb, face), 1, axis=1))
    else:
        find = worker.FaceMesh.find_scored
        monkeypatch.setattr(worker.FaceMesh, "find_scored", lambda mesh, rgb: find(mesh, np.roll(rgb, 1, axis=1)))
    with pytest.raises(AssertionError, match=f"rows than those recorded for format {FORMAT}"):
        check(current_rows().to_pylist(), expected)
