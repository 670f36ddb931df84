import dataclasses
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from made_run import OUT

from faceemo.cli import main
from faceemo.emotions import KOREAN
from faceemo.language import KOREAN_TEXTS, Language, system_language
from faceemo.plainyaml import read_yaml
from faceemo.report.lastrun import LastRun, read_last_run
from faceemo.report.page import render
from faceemo.training.plots import Importance, Words, run_plots

pytestmark = pytest.mark.slow

PLACE = re.compile(r"%\(\w+\)s|%%|<[^>]+>")
UNTRANSLATED = {"code", "style"}  # what stands in these is the same in every language


class Texts(HTMLParser):
    """tags: every element, with its class. texts: what a reader sees or hears, but for code."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes).get("class")))
        self._open.append(tag)
        self.texts += [value for name, value in attributes if name in ("aria-label", "title", "alt")]

    def handle_endtag(self, tag):
        while self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if not UNTRANSLATED & set(self._open):
            self.texts.append(data)


class Wordless(Language):
    """A language whose texts are their places alone: every word that is left on a page is in no text."""

    def __init__(self) -> None:
        super().__init__("ko")

    def gettext(self, message: str) -> str:
        super().gettext(message)  # ko.yaml must have it
        return " ".join(PLACE.findall(message))


def runs_of_every_text(run: LastRun) -> list[LastRun]:
    """The run, and the same as if it were one about which other things have to be said."""

    def other(params: dict, **parts: dict) -> LastRun:
        """params: sections of params.yaml; parts: of evaluation.json, each merged into what is there."""
        sections = {name: dataclasses.replace(getattr(run.params, name), **values) for name, values in params.items()}
        evaluation = {**run.evaluation, **{name: {**run.evaluation[name], **part} for name, part in parts.items()}}
        return dataclasses.replace(run, params=dataclasses.replace(run.params, **sections), evaluation=evaluation)

    archive, people = run.evaluation["test"]["archive"], {"people": 7, "without": 2}
    bounds = [
        other({}, test={"archive": {**archive, "balanced_accuracy_interval": two}})
        for two in ((0.1, 0.4), (0.4, 0.6), (0.6, 0.9))
    ]
    strange = other(
        {"labels": {"target": "majority"}, "normalize": {"baseline": "neutral"}},
        **{"subjects": {"overlap": 7, "unknown": 12}, "coverage": {"ok": 120}, "labels": {"by_name": 3}},
        people={"split": [*run.evaluation["people"]["split"], {"split": None, "people": 0, "images": 5, "faces": 4}]},
        model={"network": "cnn"},
    )
    alone = other(
        {"labels": {"target": "archive"}, "normalize": {"baseline": "person"}},
        **{"subjects": {"each": 99}, "model": {"network": "both"}},
    )
    silent = {**alone.evaluation, "mistakes": [], "raters": {"agreement": {}, "sources": [], "disputed": []}}
    learnt = {**run.evaluation["test"]["learnt"], "people": 1, "images": 52, "confusion": [[20, 12], [0, 20]]}
    one = other({}, test={"learnt": learnt})
    return [
        run,
        *bounds,
        dataclasses.replace(
            strange,
            params=dataclasses.replace(strange.params, limit=5),
            evaluation={**strange.evaluation, "baselines": people},
        ),
        dataclasses.replace(alone, evaluation={**silent, "baselines": people}),
        dataclasses.replace(one, evaluation={**one.evaluation, "truth": "learnt"}),
    ]


@pytest.fixture
def runs(project):
    return runs_of_every_text(read_last_run())


def test_every_text_goes_through_the_language(runs):
    data = set(re.findall(r"[a-z]+", " ".join((*KOREAN, "training", "validation", "person", "AUROC", "git", "md"))))
    for run in runs:
        page = render(run, Wordless())
        body = page.partition('<h2 id="versions">')[0].replace(run.evaluation["model"]["md5"][:8], "")
        disputed = re.findall("[a-z]+", " ".join(one["subject"] for one in run.evaluation["raters"]["disputed"]))
        assert set(re.findall(r"[a-z]+", " ".join(Texts(body).texts))) - data - {"zip", *disputed} == set()


def test_no_english_sentence_is_left_in_korean(runs):
    for run in runs:
        texts = [text.replace("--subject each", "") for text in Texts(render(run, Language("ko"))).texts]
        assert sum(bool(re.search("[가-힣]", text)) for text in texts) > 150
        left = [text for text in texts if re.search(r"\b[A-Za-z]{2,} (?!F1)[a-z]{2,}\b", text)]
        assert left == []


def test_both_languages_have_the_same_structure_and_numbers(runs):
    for run in runs:
        english, korean = (Texts(render(run, Language(code))) for code in ("en", "ko"))
        assert english.tags == korean.tags
        numbers = [sorted(re.findall(r"\d+(?:\.\d+)?", " ".join(page.texts))) for page in (english, korean)]
        assert numbers[0] == numbers[1]


def test_every_text_of_the_report_has_its_korean(runs, monkeypatch):
    """The texts on a commit and on more than two classes are said in other tests."""
    elsewhere = ("commit <", "not committed yet", "how often a picture of an emotion scores")
    said = set()
    monkeypatch.setattr(Language, "gettext", lambda self, message: said.add(message) or message)
    most = max(runs, key=lambda run: len(run.evaluation["mistakes"]))
    shown = {**most.evaluation, "mistakes": most.evaluation["mistakes"][:1]}  # of more that are wrong
    for run in [*runs, dataclasses.replace(most, evaluation=shown)]:
        render(run, Language("en"))
    importance = Importance(np.zeros((478, 2)), np.zeros(478), np.zeros((8, 8)), np.zeros((64, 64), np.uint8))
    model = {**most.evaluation["model"], "learnt_valid": True}
    for plot in run_plots({**most.evaluation, "model": model}, most.history, importance).values():
        plot(Words(list(most.evaluation["classes"]), "en"))
    assert said == {text for text in read_yaml(KOREAN_TEXTS) if not text.startswith(elsewhere)}


def test_korean_texts_have_the_places_and_tags_of_the_english_ones():
    for english, korean in read_yaml(KOREAN_TEXTS).items():
        assert sorted(set(PLACE.findall(english)) - {"%%"}) == sorted(set(PLACE.findall(korean)) - {"%%"}), english
        assert not re.search(r"%(?!%|\(\w+\)s)", (english + korean).replace("%%", "")), english
        assert re.search("[가-힣]", korean) or korean.startswith("%(low)s"), english


@pytest.mark.parametrize(
    ("variables", "language"),
    [
        ({}, "en"),
        ({"LANG": "ko_KR.UTF-8"}, "ko"),
        ({"LANG": "ko_KR.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "en_US.UTF-8", "LANGUAGE": "ko:en"}, "ko"),
        ({"LANG": "fr_FR.UTF-8"}, "en"),
    ],
)
def test_the_report_speaks_the_systems_language_unless_told(project, monkeypatch, variables, language):
    for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert system_language() == language or sys.platform == "win32"
    other = "en" if language == "ko" else "ko"
    for arguments, wanted in (([], system_language()), (["--language", other], other)):
        assert main(["report", *arguments]) == 0
        assert f'<html lang="{wanted}">' in OUT.read_text(encoding="utf-8")
