"""`faceemo report`: the last run as one HTML file that needs nothing else, neither network nor scripts."""

import importlib.metadata
import math
import platform
from dataclasses import asdict
from pathlib import Path, PurePosixPath

import jinja2

from faceemo.emotions import IN_KOREAN, class_text
from faceemo.language import Language
from faceemo.outputs import PLOT_FORMATS, check_out, check_plots_folder, said_to, written_to
from faceemo.paths import EVALUATION_FILE
from faceemo.report.cautions import cautions
from faceemo.report.charts import history_charts, reliability_chart, roc_chart
from faceemo.report.lastrun import LastRun, not_written_by_training, read_last_run
from faceemo.report.mistakes import draw_face, read_face
from faceemo.report.numerals import NO_BREAK_SPACE, count, decimal, percent
from faceemo.report.recording import find_recording
from faceemo.status import Status

FEW_PEOPLE = 10  # in a group: too few for a word on it
LIBRARIES = ("torch", "numpy", "scikit-learn", "scipy", "pyarrow")
# What reading and rendering raise where evaluation.json lacks or garbles what training writes.
NOT_AS_WRITTEN = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, jinja2.UndefinedError)


def write_report(out: Path, language: str, plots: Path | None = None) -> None:
    """Write the report on the last run of the project in the current folder, in "ko" or "en".

    plots: a folder for its plots, in the same language, as PNG, SVG and PDF.
    Raises FaceemoError if a file of the run is missing or broken, or if they are not all of one run.
    """
    check_out(out)
    if plots:
        check_plots_folder(plots)
    try:
        run = read_last_run()
        html = render(run, Language(language))
        if plots:
            _write_plots(run, plots, language)
    except NOT_AS_WRITTEN as error:
        raise not_written_by_training(EVALUATION_FILE) from error
    with written_to(out) as temporary:
        temporary.write_text(html, encoding="utf-8", newline="\n")
    print(f"wrote {out}{f', {plots}' if plots else ''}", file=said_to(out))


def _write_plots(run: LastRun, folder: Path, language: str) -> None:
    from faceemo.training.plots import Words, draw, run_plots  # they need matplotlib

    plots = run_plots(run.evaluation, run.history, run.importance())
    draw(folder, plots, Words(list(run.evaluation["classes"]), language, as_page=True), PLOT_FORMATS)


def render(run: LastRun, language: Language) -> str:
    """The report as HTML; whatever comes from files is escaped."""
    evaluation, classes = run.evaluation, tuple(run.evaluation["classes"])
    emotions = run.params.emotions and tuple(class_text(*item) for item in run.params.emotions.items())
    template = _environment(language).get_template("report.html")
    return template.render(
        run=run,
        test=run.test,
        evaluation=evaluation,
        classes=classes,
        language=language,
        korean=IN_KOREAN,
        cautions=cautions(run, language),
        uniform_loss=math.log(len(classes)),
        statuses=tuple(Status),
        file_name=lambda source: PurePosixPath(source.path).name,  # the folders above it are nobody else's business
        history=history_charts(run, language),
        reliability=reliability_chart(evaluation["charts"]["calibration"], len(classes), language),
        roc=roc_chart(run, language) if "roc" in evaluation["charts"] else None,
        few_people=FEW_PEOPLE,
        mistakes=[(mistake, draw_face(read_face(mistake))) for mistake in evaluation["mistakes"]],
        parameters={**asdict(run.params), "emotions": emotions},
        extractors=_extractors(evaluation["sources"]),
        versions={name: importlib.metadata.version(name) for name in ("faceemo", *LIBRARIES)},
        python=platform.python_version(),
        system=platform.platform(),
        recording=find_recording(EVALUATION_FILE),
    )


def _extractors(sources: dict[str, dict]) -> dict[str, dict[str, list[str]]]:
    """By engine the versions, by library, that found the landmarks; several where sources were extracted apart."""
    found: dict[str, dict[str, set[str]]] = {}
    for made in sources.values():
        for name, version in made["versions"].items():
            found.setdefault(made["engine"], {}).setdefault(name, set()).add(version)
    return {engine: {name: sorted(found[engine][name]) for name in sorted(found[engine])} for engine in sorted(found)}


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

    def interval(bounds: tuple[float | None, float | None]) -> str:
        low, high = bounds
        if low is None:  # of one person
            return decimal(None)
        return language.say("%(low)s to %(high)s", low=decimal(low), high=decimal(high)).replace(" ", NO_BREAK_SPACE)

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
