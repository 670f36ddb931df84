import tracemalloc

import numpy as np
import pytest

from faceemo.features.baselines import Faces, NeutralBaselines, PersonBaselines, PersonMeans
from faceemo.params import LEAST_PICTURES

ANN, BEN, EVE = "a" * 64, "b" * 64, "e" * 64


def faces(*rows: tuple[str | None, float, str]) -> Faces:
    """Faces of one feature each: whose, its value, and "neutral", "disputed" or another emotion."""
    subjects, values, kinds = zip(*rows, strict=True)
    neutral = np.array([kind in ("neutral", "disputed") for kind in kinds])
    return Faces(list(subjects), np.array(values, np.float32)[:, None], neutral, np.array(kinds) == "disputed")


def found(baselines, some: Faces) -> list[float | None]:
    return [None if one is None else float(one[0]) for one in baselines.of(some)]


def test_means_count_each_person_apart_and_nobody_not_at_all():
    means = PersonMeans()
    means.add([ANN, None, BEN], np.array([[1.0], [100.0], [5.0]], np.float32))
    means.add([ANN], np.array([[3.0]], np.float32))
    assert means.get(ANN, at_least=2) == pytest.approx([2.0])
    assert means.get(BEN, at_least=1) == pytest.approx([5.0])
    for subject, least in ((BEN, 2), (EVE, 1), (None, 1)):
        assert means.get(subject, least) is None
    assert means.get(ANN, 1, without=np.array([3.0])) == pytest.approx([1.0])
    assert means.get(ANN, 2, without=np.array([3.0])) is None


def test_a_shard_is_not_kept_in_memory_for_its_people():
    means = PersonMeans()
    tracemalloc.start()
    for shard in range(5):
        means.add([f"{shard:064x}", *[ANN] * 999], np.zeros((1000, 100), np.float32))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 100_000


def test_a_persons_baseline_is_the_mean_of_all_faces_itself_included(monkeypatch):
    monkeypatch.setitem(LEAST_PICTURES, "person", 2)
    some = faces((ANN, 1, "neutral"), (ANN, 3, "sad"), (BEN, 5, "sad"), (None, 9, "sad"))
    assert found(PersonBaselines([some]), some) == [2, 2, None, None]


def test_a_neutral_baseline_is_of_the_neutral_archive_alone_and_leaves_out_what_raters_dispute_and_the_face_itself():
    some = faces((ANN, 1, "neutral"), (ANN, 2, "neutral"), (ANN, 9, "disputed"), (ANN, 50, "sad"), (BEN, 50, "sad"))
    assert found(NeutralBaselines([some]), some) == [2, 1, 1.5, 1.5, None]


def test_where_raters_dispute_all_of_them_all_count():
    some = faces((ANN, 1, "disputed"), (ANN, 3, "disputed"), (ANN, 50, "sad"))
    assert found(NeutralBaselines([some]), some) == [3, 1, 2]


def test_the_only_neutral_face_has_no_baseline_and_others_of_its_person_do():
    some = faces((ANN, 1, "neutral"), (ANN, 3, "sad"), (None, 3, "neutral"), (None, 4, "sad"))
    assert found(NeutralBaselines([some]), some) == [None, 1, None, None]


def test_fewer_neutral_faces_than_are_needed_are_no_baseline(monkeypatch):
    monkeypatch.setitem(LEAST_PICTURES, "neutral", 2)
    some = faces((ANN, 1, "neutral"), (ANN, 3, "neutral"), (ANN, 5, "sad"))
    assert found(NeutralBaselines([some]), some) == [None, None, 2]
