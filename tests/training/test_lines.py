"""What training prints, of an evaluation.json that shows each number once."""

import copy

from faceemo.training.lines import confusion_lines, result_lines


def result(balanced: float, images: int, low: float | None = 0.7) -> dict:
    return {
        **{"images": images, "people": 4, "accuracy": 0.8, "macro_f1": 0.6, "balanced_accuracy": balanced},
        **{"balanced_accuracy_interval": [low, low and 0.9], "confusion": [[6, 1], [0, 3]]},
    }


EVALUATION = {
    "truth": "archive",
    "classes": {"neutral": ["neutral"], "low": ["sad", "hurt"]},
    "test": {"archive": result(0.81, 10), "majority": result(0.82, 9), "learnt": result(0.83, 8)},
    "ceiling": {"raters": result(0.84, 7), "model": result(0.85, 7)},
    "subjects": {"overlap": 0, "each": 0},
}


def changed(**parts: object) -> dict:
    return {**copy.deepcopy(EVALUATION), **parts}


def test_the_headline_comes_first_then_the_confusion_then_the_other_truths():
    assert result_lines(EVALUATION) == [
        "balanced accuracy on unseen people, against the name of archive, folder or table (test.archive): 0.810 (95 % "
        "interval over people 0.700 to 0.900)",
        "  10 pictures of 4 people, accuracy 0.800, macro F1 0.600",
        "    actual   predicted  neutral    low",
        "    neutral                   6      1",
        "    low                       0      3",
        "against the majority of raters (test.majority), 9 pictures: balanced accuracy 0.820 (95 % interval over "
        "people 0.700 to 0.900), accuracy 0.800, macro F1 0.600",
        "where two raters agree: the third has balanced accuracy 0.840 (95 % interval over people 0.700 to 0.900), the "
        "model 0.850 (95 % interval over people 0.700 to 0.900)",
    ]


def test_without_raters_there_is_the_headline_alone():
    test, none = EVALUATION["test"], result(0.8, 0)
    found = result_lines(changed(test={**test, "majority": none}, ceiling={"raters": none, "model": none}))
    assert len(found) == 5


def test_it_says_who_is_tested():
    first = result_lines(changed(subjects={"overlap": 0, "each": 9}))[:2]
    assert first[0].startswith("balanced accuracy on unseen pictures, not people, against")
    assert "people" not in first[1]
    assert "people, some of whom training has seen" in result_lines(changed(subjects={"overlap": 2, "each": 0}))[0]


def test_of_one_person_there_is_no_interval_and_without_names_what_is_learnt_is_first():
    test = {**EVALUATION["test"], "learnt": result(0.83, 8, None)}
    first = result_lines(changed(test=test, truth="learnt"))[0]
    assert first == "balanced accuracy on unseen people, against what is learnt (test.learnt): 0.830"


def test_the_confusion_stands_in_columns_where_classes_are_korean():
    """A syllable takes two columns of a terminal."""
    assert confusion_lines([[10, 3], [0, 13]], ["즐거움", "bored"]) == [
        "    actual  predicted  즐거움  bored",
        "    즐거움                 10      3",
        "    bored                   0     13",
    ]
