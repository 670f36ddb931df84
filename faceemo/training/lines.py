"""What a training found, in lines for the terminal: the headline first."""

from faceemo.console import cells, padded

TRUTHS = {
    "archive": "the name of archive, folder or table",
    "majority": "the majority of raters",
    "learnt": "what is learnt",
}
"""In words, by the key in evaluation.json's test."""


def result_lines(evaluation: dict) -> list[str]:
    """Of evaluation.json: balanced accuracy on the test people by the truth that the report has first, their confusion,
    then the majority of raters and how far one rater agrees with the others.
    """
    test, truth, subjects = evaluation["test"], evaluation["truth"], evaluation["subjects"]
    first = test[truth]
    counted = "pictures, not people" if subjects["each"] else "people"
    unseen = "people, some of whom training has seen" if subjects["overlap"] else f"unseen {counted}"
    people = "" if subjects["each"] else f" of {first['people']} people"
    lines = [
        f"balanced accuracy on {unseen}, against {TRUTHS[truth]} (test.{truth}): {_balanced(first, counted)}",
        f"  {first['images']} pictures{people}, {_others(first)}",
        *confusion_lines(first["confusion"], list(evaluation["classes"])),
    ]
    if truth != "majority" and test["majority"]["images"]:
        majority = test["majority"]
        lines.append(
            f"against {TRUTHS['majority']} (test.majority), {majority['images']} pictures: balanced accuracy "
            f"{_balanced(majority, counted)}, {_others(majority)}"
        )
    raters, model = evaluation["ceiling"]["raters"], evaluation["ceiling"]["model"]
    if raters["images"]:
        lines.append(
            f"where two raters agree: the third has balanced accuracy {_balanced(raters, counted)}, the model "
            f"{_balanced(model, counted)}"
        )
    return lines


def confusion_lines(counts: list[list[int]], classes: list[str]) -> list[str]:
    """A table of counts: a row an actual class that occurs, a column a predicted one."""
    head = max(cells("actual"), *map(cells, classes))
    widths = [max(cells(name), 5) for name in classes]
    names = "  ".join(padded(name, width, to_right=True) for name, width in zip(classes, widths, strict=True))
    lines = [f"    {'actual':{head}}  predicted  {names}"]
    for name, row in zip(classes, counts, strict=True):
        if any(row):
            numbers = "  ".join(f"{count:{width}}" for count, width in zip(row, widths, strict=True))
            lines.append(f"    {padded(name, head)}             {numbers}")
    return lines


def words_of(metric: str) -> str:
    """The name of a metric as every output of the terminal has it."""
    return metric.replace("_", " ").replace("f1", "F1")


def _balanced(result: dict, counted: str) -> str:
    """A balanced accuracy with its interval over what is counted: people, or pictures where each is taken for one."""
    low, high = result["balanced_accuracy_interval"]
    interval = "" if low is None else f" (95 % interval over {counted} {low:.3f} to {high:.3f})"  # None: one person
    return f"{result['balanced_accuracy']:.3f}{interval}"


def _others(result: dict) -> str:
    return f"accuracy {result['accuracy']:.3f}, macro F1 {result['macro_f1']:.3f}"
