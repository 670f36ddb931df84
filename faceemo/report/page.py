"""`faceemo report`: the last run as one HTML file that needs nothing else, neither network nor scripts."""

import importlib.metadata
import platform
import subprocess
from dataclasses import asdict
from pathlib import Path

import jinja2
import numpy as np
from sklearn.metrics import confusion_matrix

from faceemo.emotions import KOREAN
from faceemo.extraction.sources import SAMPLE_NOTE, holds_sample
from faceemo.outputs import said_to, written_to
from faceemo.paths import LANDMARKS_FOLDER
from faceemo.report.charts import history_charts, reliability_chart, roc_chart
from faceemo.report.lastrun import LastRun, read_last_run
from faceemo.report.mistakes import draw_face, strongest_mistakes
from faceemo.report.tallies import (
    FEW_PEOPLE,
    agreement,
    archives,
    disputed_people,
    groups,
    people_by,
    seen_by_archive,
    splits,
    tested,
    trained,
)
from faceemo.status import Status
from faceemo.training.evaluate import RESAMPLES, calibration_bins

MISTAKES = 12
DISPUTED = 8  # people
FEW_TEST_PEOPLE = 30  # the interval over people is then rough itself
LOW_COVERAGE = 0.95
LIBRARIES = ("torch", "numpy", "scikit-learn", "scipy", "pyarrow")
NO_BREAK_SPACE, EN_DASH = "\u00a0", "\u2013"


def write_report(out: Path) -> None:
    """Write the report on the last run of the project in the current folder.

    Raises FaceemoError if a file of the run is missing, or if they are not all of one run.
    """
    html = render(read_last_run())
    with written_to(out) as temporary:
        temporary.write_text(html, encoding="utf-8", newline="\n")
    print(f"wrote {out}", file=said_to(out))


def render(run: LastRun) -> str:
    """The report as HTML; whatever comes from files is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("faceemo.report", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, decimal=decimal, count=count, interval=interval, value=parameter_value)
    target, predicted = run.dataset.targets.learnt[run.dataset.test], run.probability.argmax(axis=1)
    classes = len(run.dataset.classes)
    bins = list(zip(*calibration_bins(run.probability, target), strict=True))
    mistakes = strongest_mistakes(run.dataset, run.probability, LANDMARKS_FOLDER, MISTAKES)
    return environment.get_template("report.html").render(
        run=run,
        evaluation=run.evaluation,
        classes=run.dataset.classes,
        korean=KOREAN,
        cautions=cautions(run),
        tested=tested(run),
        trained=trained(run),
        majority=np.bincount(target).max() / len(target),
        uniform_loss=np.log(classes),
        resamples=RESAMPLES,
        archives=archives(run),
        splits=splits(run),
        sexes=people_by(run, "sex"),
        ages=people_by(run, "age"),
        agreement=agreement(run),
        seen=seen_by_archive(run),
        disputed=disputed_people(run, DISPUTED),
        history=history_charts(run),
        confusion=confusion_matrix(target, predicted, labels=range(classes)),
        bins=bins,
        reliability=reliability_chart(bins, classes),
        roc=roc_chart(run, target) if classes == 2 else None,
        groups={column: groups(run, column, predicted) for column in ("sex", "age", "professional")},
        few_people=FEW_PEOPLE,
        mistakes=[(mistake, draw_face(mistake.face)) for mistake in mistakes],
        wrong=int((predicted != target).sum()),
        parameters={**asdict(run.params), "emotions": tuple(class_text(*item) for item in run.params.emotions.items())},
        versions={name: importlib.metadata.version(name) for name in ("faceemo", *LIBRARIES)},
        python=platform.python_version(),
        system=platform.platform(),
        revision=git_revision(),
    )


def percent(share: float | None, digits: int = 1) -> str:
    return EN_DASH if share is None else f"{100 * share:.{digits}f}{NO_BREAK_SPACE}%"


def decimal(number: float | None) -> str:
    return EN_DASH if number is None else f"{number:.3f}"


def count(number: int | None) -> str:
    return EN_DASH if number is None else f"{number:,}"


def interval(bounds: tuple[float, float]) -> str:
    low, high = bounds
    return f"{100 * low:.1f} to {percent(high)}"


def parameter_value(value: object) -> str:
    """A parameter as params.yaml would have it."""
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def class_text(name: str, members: tuple[str, ...]) -> str:
    """A class as an entry of `emotions` has it."""
    return name if members == (name,) else f"{name}: [{', '.join(members)}]"


def baseline_text(run: LastRun) -> str:
    """What faces are compared with, what that asks for in use, and how many people could not be."""
    subjects, statuses = (run.dataset.rows[name].to_pylist() for name in ("subject", "status"))
    faces = [pair for pair in zip(subjects, statuses, strict=True) if pair[1] in (Status.OK, Status.NO_BASELINE)]
    people = {subject for subject, _ in faces} - {None}
    without = people - {subject for subject, status in faces if status == Status.OK}
    text = {
        "neutral": "normalize.baseline: neutral. A face is judged by how it differs from the same person's neutral "
        "face, so the numbers hold only where a neutral picture of that person can be had.",
        "person": "normalize.baseline: person. A face is judged by how it differs from the mean face of the same "
        "person, so the numbers hold only where there are more pictures of that person, with about the same mix of "
        "emotions.",
    }[run.params.normalize.baseline]
    return f"{text} {count(len(without))} of {count(len(people))} people have no such baseline and are left out."


def cautions(run: LastRun) -> list[str]:
    """What to know before a number of this run is quoted, a sentence or two each."""
    subjects, coverage, test = run.evaluation["subjects"], run.evaluation["coverage"], run.evaluation["test"]
    chosen = {name for members in run.params.emotions.values() for name in members}
    used = {key: source for key, source in run.sources.items() if chosen & {source.emotion, *source.classes}}
    found = []
    if holds_sample(used):
        found.append(f"{SAMPLE_NOTE}.")
    if subjects["overlap"]:
        found.append(
            f"{count(subjects['overlap'])} people are in more than one split (split.by: {run.params.split.by}). The "
            "model knows people it is tested on, so its numbers flatter it; split.by: person keeps them apart."
        )
    if subjects["each"]:
        found.append(
            f"--subject each: {count(subjects['each'])} pictures are taken for a person each. The numbers are of "
            "pictures, not people: the model may have been trained on other pictures of the people it is tested on, "
            "which flatters it."
        )
    people = tested(run).people
    low, high = test["learnt"]["balanced_accuracy_interval"]
    if people < FEW_TEST_PEOPLE and not subjects["each"]:
        found.append(
            f"The test has only {people} people. The interval is {100 * (high - low):.0f} points wide, and with so few "
            "people it is rough itself."
        )
    if run.params.normalize.baseline != "none":
        found.append(baseline_text(run))
    if subjects["unknown"]:
        found.append(
            f"{count(subjects['unknown'])} pictures name no person. The test has none of them; whether training has "
            "seen people of the test in them nobody can tell."
        )
    if coverage[Status.OK] < LOW_COVERAGE * coverage["images"]:
        found.append(
            f"Only {percent(coverage['ok'] / coverage['images'])} of the pictures could be used. Where the others "
            f"count as wrong, accuracy is {percent(test['archive']['all_pictures']['accuracy'])}."
        )
    if run.params.limit is not None:
        found.append(f"limit: {run.params.limit}. Only so many pictures of each archive were taken.")
    return found


def git_revision() -> str | None:
    """The project's commit, and whether files differ from it; None without git or outside a repository."""
    try:
        commit = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit} with uncommitted changes" if changed else commit


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, check=True, encoding="utf-8", errors="replace")
    return done.stdout.strip()
