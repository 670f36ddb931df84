"""What to know before a number of a run is quoted."""

from faceemo.language import Language
from faceemo.report.lastrun import LastRun
from faceemo.report.numerals import count, decimal, percent
from faceemo.status import Status

FEW_TEST_PEOPLE = 30  # the interval over people is then rough itself
LOW_COVERAGE = 0.95


def cautions(run: LastRun, language: Language) -> list[str]:
    """A sentence or two for each."""
    say, evaluation = language.say, run.evaluation
    found = _people_cautions(run, language)
    if evaluation["baselines"]:
        found.append(_baseline_caution(run, language))
    unknown = evaluation["subjects"]["unknown"]
    if unknown:
        found.append(
            say(
                "%(pictures)s pictures name no person. The test has none of them, but training may have seen people "
                "of the test in them.",
                pictures=count(unknown),
            )
        )
    coverage = evaluation["coverage"]
    if coverage[Status.OK] < LOW_COVERAGE * coverage["images"]:
        found.append(
            say(
                "Only %(share)s of the pictures could be used. Where the others count as wrong, accuracy is "
                "%(accuracy)s.",
                share=percent(coverage[Status.OK] / coverage["images"]),
                accuracy=decimal(evaluation["test"]["archive"]["all_pictures"]["accuracy"]),
            )
        )
    if run.params.limit is not None:
        found.append(say("limit: %(limit)s. Only so many pictures of each source were taken.", limit=run.params.limit))
    return found


def _people_cautions(run: LastRun, language: Language) -> list[str]:
    """Of people in two splits, of pictures taken for people, and of a test of few people."""
    say, subjects, people = language.say, run.evaluation["subjects"], run.test["people"]
    found = []
    if subjects["overlap"]:
        found.append(
            say(
                "%(people)s people are in more than one split (split.by: %(by)s). The model knows people it is tested "
                "on, so its numbers flatter it; split.by: person keeps them apart.",
                people=count(subjects["overlap"]),
                by=run.params.split.by,
            )
        )
    if subjects["each"]:
        found.append(
            say(
                "--subject each: %(pictures)s pictures are taken for a person each. The numbers are of pictures, not "
                "people: the model may have been trained on other pictures of the people it is tested on, which "
                "flatters it.",
                pictures=count(subjects["each"]),
            )
        )
    elif people == 1:
        found.append(say("The test has one person only: how the model does on others is not known."))
    elif people < FEW_TEST_PEOPLE:
        low, high = run.test["balanced_accuracy_interval"]
        found.append(
            say(
                "The test has only %(people)s people. The interval is %(width)s wide, and with so few people it is "
                "rough itself.",
                people=people,
                width=f"{high - low:.2f}",
            )
        )
    return found


def _baseline_caution(run: LastRun, language: Language) -> str:
    """What a baseline asks for in use, and how many people have none."""
    say, found = language.say, run.evaluation["baselines"]
    if run.params.normalize.baseline == "neutral":
        text = say(
            "normalize.baseline: neutral. A face is judged by how it differs from the same person’s neutral face, so "
            "the numbers hold only where you have a neutral picture of that person."
        )
    else:
        text = say(
            "normalize.baseline: person. A face is judged by how it differs from the mean face of the same person, so "
            "the numbers hold only where there are more pictures of that person, with about the same mix of emotions."
        )
    counted = say(
        "%(without)s of %(people)s people have no such baseline and are left out.",
        without=count(found["without"]),
        people=count(found["people"]),
    )
    return f"{text} {counted}"
