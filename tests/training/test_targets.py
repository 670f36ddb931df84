import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from made_datasets import ARCHIVE, single, targets_of

from faceemo.params import LabelParams
from faceemo.pictures.labels import VOTED
from faceemo.pictures.manifest import Raters
from faceemo.training.targets import NONE, OUTSIDE, Targets, make_targets, pair_raters

TWO = single("neutral", "anxious")
NEUTRAL, ANXIOUS = 0, 1
MAJORITY, VOTES = (LabelParams(target) for target in ("majority", "votes"))

# What three raters saw, by what becomes of it; an answer that names no class is in none of the counts.
ANSWERS = {
    "unanimous": {"neutral": 3},
    "two of three": {"anxious": 2, "sad": 1},
    "moved": {"anxious": 3},
    "tied": {"neutral": 1, "anxious": 1, "sad": 1},
    "split": {"neutral": 1, "hurt": 1, "sad": 1},
    "outside": {"sad": 2, "neutral": 1},
    "all outside": {"sad": 3},
    "two and no class": {"neutral": 2},
    "one and no class": {"neutral": 1},
    "no class": {},
    "no answer": None,
}


def counted(answers: dict[str, int] | None) -> list[int] | None:
    return None if answers is None else [answers.get(name, 0) for name in VOTED]


def rated(settings: LabelParams, answers: list[dict | None], archive: str = "neutral", classes=TWO) -> Targets:
    return targets_of([archive] * len(answers), classes, list(map(counted, answers)), VOTED, settings)


def of(case: str, settings: LabelParams, **options) -> tuple:
    """learnt, weight, valid and shares of one picture."""
    found = rated(settings, [ANSWERS[case]], **options)
    shares = None if found.shares is None else found.shares[0].tolist()
    return found.learnt[0], found.weight[0], found.valid[0], shares


@pytest.mark.parametrize("case", ANSWERS)
def test_the_archives_name_is_learnt_whatever_raters_saw(case):
    assert of(case, ARCHIVE) == (NEUTRAL, 1, NEUTRAL, None)
    assert of(case, ARCHIVE, archive="happy") == (NONE, 0, NONE, None)


@pytest.mark.parametrize(
    ("case", "learnt", "valid"),
    [
        ("unanimous", NEUTRAL, NEUTRAL),
        ("two of three", ANXIOUS, ANXIOUS),
        ("moved", ANXIOUS, ANXIOUS),
        ("tied", NONE, NEUTRAL),
        ("split", NONE, NEUTRAL),
        ("outside", OUTSIDE, OUTSIDE),
        ("all outside", OUTSIDE, OUTSIDE),
        ("two and no class", NEUTRAL, NEUTRAL),
        ("one and no class", NONE, NEUTRAL),
        ("no class", NONE, NEUTRAL),
        ("no answer", NONE, NEUTRAL),
    ],
)
def test_the_majority_is_two_of_three_and_nothing_is_learnt_without_one(case, learnt, valid):
    assert of(case, MAJORITY) == (learnt, learnt >= 0, valid, None)


@pytest.mark.parametrize(
    ("case", "learnt", "weight", "shares"),
    [
        ("unanimous", NEUTRAL, 1, [1, 0]),
        ("two of three", ANXIOUS, 2 / 3, [0, 1]),
        ("tied", NONE, 2 / 3, [0.5, 0.5]),
        ("split", NEUTRAL, 1 / 3, [1, 0]),
        ("outside", NEUTRAL, 1 / 3, [1, 0]),
        ("all outside", NONE, 0, [0, 0]),
        ("two and no class", NEUTRAL, 1, [1, 0]),
        ("no class", NONE, 0, [0, 0]),
        ("no answer", NONE, 0, [0, 0]),
    ],
)
def test_votes_are_shared_among_the_chosen_classes_and_weigh_as_much_as_they_have(case, learnt, weight, shares):
    found = of(case, VOTES)
    assert found[0] == learnt
    assert found[1] == pytest.approx(weight)
    assert found[3] == shares


def test_a_picture_moves_into_a_class_from_an_archive_that_was_not_chosen():
    found = rated(MAJORITY, [{"anxious": 2, "happy": 1}, {"happy": 3}], archive="happy")
    assert found.named.tolist() == [NONE, NONE]
    assert found.learnt.tolist() == found.valid.tolist() == [ANXIOUS, OUTSIDE]
    assert found.judged.tolist() == [True, False]


@pytest.mark.parametrize("settings", [MAJORITY, VOTES])
def test_a_source_without_label_archive_goes_by_its_name(settings):
    found = targets_of(["anxious", "happy"], TWO, settings=settings)
    assert found.learnt.tolist() == found.valid.tolist() == [ANXIOUS, NONE]
    assert found.weight.tolist() == [1, 0]
    assert not found.labelled.any()
    if settings is VOTES:
        assert found.shares[0].tolist() == [0, 1]


def test_votes_for_the_members_of_a_group_add_up_before_the_majority():
    classes = {"neutral": ("neutral",), "sad": ("sad", "hurt")}
    answers = [{"sad": 1, "hurt": 1, "happy": 1}, {"sad": 1, "hurt": 1, "neutral": 1}]
    found = rated(MAJORITY, answers, archive="hurt", classes=classes)
    assert found.named.tolist() == found.learnt.tolist() == [1, 1]
    assert found.votes.tolist() == [[0, 2], [1, 2]]
    found = rated(VOTES, answers, archive="hurt", classes=classes)
    np.testing.assert_allclose(found.weight, [2 / 3, 1])
    np.testing.assert_allclose(found.shares, [[0, 1], [1 / 3, 2 / 3]])


def test_classes_of_other_names_are_counted_by_the_names_that_the_features_give():
    found = targets_of(["bored"], single("bored", "keen"), [[0, 2, 1]], ("calm", "keen", "bored"), MAJORITY)
    assert (found.named[0], found.learnt[0]) == (0, 1)


def test_targets_of_sources_are_joined_and_taken_apart():
    one, other = rated(VOTES, [{"neutral": 3}]), rated(VOTES, [{"anxious": 2}, None])
    both = Targets.concatenate([one, other])
    assert both.learnt.tolist() == [NEUTRAL, ANXIOUS, NONE]
    for field in dataclasses.fields(Targets):
        np.testing.assert_array_equal(getattr(both.take(np.array([1, 2])), field.name), getattr(other, field.name))


def pairs_of(*answers: dict | None, archive: str = "neutral") -> list[tuple]:
    """face, truth and answer of each pair, in order."""
    found = pair_raters(rated(ARCHIVE, list(answers), archive), np.ones(len(answers), bool))
    return sorted(zip(found.face.tolist(), found.truth.tolist(), found.answer.tolist(), strict=True))


def test_each_rater_is_compared_with_the_two_others_where_they_agree():
    assert pairs_of({"neutral": 3}) == [(0, NEUTRAL, NEUTRAL)] * 3
    assert pairs_of({"neutral": 2, "anxious": 1}) == [(0, NEUTRAL, ANXIOUS)]
    assert pairs_of({"anxious": 2, "sad": 1}) == [(0, ANXIOUS, NONE)]
    assert pairs_of({"anxious": 2}) == [(0, ANXIOUS, NONE)]  # the third said that it is none of the classes
    assert pairs_of({"neutral": 1, "anxious": 1, "sad": 1}, {"sad": 3}, {"neutral": 1}, None) == []
    assert pairs_of(None, {"anxious": 3}) == [(1, ANXIOUS, ANXIOUS)] * 3


def test_raters_are_compared_on_pictures_of_other_names_too():
    assert pairs_of({"anxious": 3}, {"happy": 3}, archive="happy") == [(0, ANXIOUS, ANXIOUS)] * 3


def test_one_or_two_raters_of_ones_own_pictures_are_no_three():
    votes = pa.chunked_array([pa.array([[1, 0], [0, 2], [1, 1], [0, 0]], pa.list_(pa.int8()))])
    raters = Raters(tuple(TWO))
    found = make_targets(["neutral"] * 4, votes, raters, TWO, MAJORITY)
    assert found.raters.tolist() == [1, 2, 2, 0]
    assert found.majority.tolist() == [NEUTRAL, ANXIOUS, NONE, NONE]
    pairs = pair_raters(found, np.ones(4, bool))
    answers = sorted(zip(pairs.face, pairs.answer, strict=True))
    assert answers == [(1, ANXIOUS), (1, ANXIOUS), (2, NEUTRAL), (2, ANXIOUS)]
