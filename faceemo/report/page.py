"""`faceemo report`: the last run as one HTML file that needs nothing else, neither network nor scripts."""

import importlib.metadata
import platform
from dataclasses import asdict
from pathlib import Path

import jinja2
import numpy as np
from sklearn.metrics import confusion_matrix

from faceemo.emotions import KOREAN, class_text
from faceemo.outputs import said_to, written_to
from faceemo.paths import EVALUATION_FILE, LANDMARKS_FOLDER
from faceemo.report.cautions import cautions
from faceemo.report.charts import history_charts, reliability_chart, roc_chart
from faceemo.report.language import Language
from faceemo.report.lastrun import LastRun, read_last_run
from faceemo.report.mistakes import draw_face, strongest_mistakes
from faceemo.report.numerals import count, decimal, percent
from faceemo.report.recording import find_recording
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
from faceemo.training.evaluate import RESAMPLES, calibration_bins

MISTAKES = 12
DISPUTED = 8  # people
LIBRARIES = ("torch", "numpy", "scikit-learn", "scipy", "pyarrow")


def write_report(out: Path, language: str) -> None:
    """Write the report on the last run of the project in the current folder, in "ko" or "en".

    Raises FaceemoError if a file of the run is missing, or if they are not all of one run.
    """
    html = render(read_last_run(), Language(language))
    with written_to(out) as temporary:
        temporary.write_text(html, encoding="utf-8", newline="\n")
    print(f"wrote {out}", file=said_to(out))


def render(run: LastRun, language: Language) -> str:
    """The report as HTML; whatever comes from files is escaped."""
    target, predicted = run.dataset.targets.learnt[run.dataset.test], run.probability.argmax(axis=1)
    classes = len(run.dataset.classes)
    bins = list(zip(*calibration_bins(run.probability, target), strict=True))
    mistakes = strongest_mistakes(run.dataset, run.probability, LANDMARKS_FOLDER, MISTAKES)
    template = _environment(language).get_template("report.html")
    return template.render(
        run=run,
        evaluation=run.evaluation,
        classes=run.dataset.classes,
        language=language,
        korean=KOREAN,
        cautions=cautions(run, language),
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
        history=history_charts(run, language),
        confusion=confusion_matrix(target, predicted, labels=range(classes)).tolist(),
        bins=bins,
        reliability=reliability_chart(bins, classes, language),
        roc=roc_chart(run, target, language) if classes == 2 else None,
        groups={column: groups(run, column, predicted) for column in ("sex", "age", "professional")},
        few_people=FEW_PEOPLE,
        mistakes=[(mistake, draw_face(mistake.face)) for mistake in mistakes],
        wrong=int((predicted != target).sum()),
        parameters={**asdict(run.params), "emotions": tuple(class_text(*item) for item in run.params.emotions.items())},
        versions={name: importlib.metadata.version(name) for name in ("faceemo", *LIBRARIES)},
        python=platform.python_version(),
        system=platform.platform(),
        recording=find_recording(EVALUATION_FILE),
    )


def _environment(language: Language) -> jinja2.Environment:
    """Templates with `_` for the texts of this language."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("faceemo.report", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    # the extension has added this method
    environment.install_gettext_translations(language, newstyle=True)  # type: ignore[attr-defined]

    def interval(bounds: tuple[float, float]) -> str:
        low, high = bounds
        return language.say("%(low)s to %(high)s", low=f"{100 * low:.1f}", high=percent(high))

    environment.filters.update(percent=percent, decimal=decimal, count=count, interval=interval)
    environment.filters.update(value=parameter_value, named=language.class_name)
    return environment


def parameter_value(value: object) -> str:
    """A parameter as params.yaml would have it."""
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
