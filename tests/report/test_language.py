import dataclasses
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from made_run import OUT, evaluation_of_run, make_run, report

from faceemo.cli import main
from faceemo.emotions import KOREAN
from faceemo.plainyaml import read_yaml
from faceemo.report.language import KOREAN_TEXTS, Language, system_language
from faceemo.report.lastrun import LastRun, read_last_run
from faceemo.report.page import render

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
    subjects = {**run.evaluation["subjects"], "overlap": 7, "unknown": 12}
    coverage = {**run.evaluation["coverage"], "ok": 120}
    labels = {**run.evaluation["labels"], "by_name": 3}
    evaluation = {**run.evaluation, "subjects": subjects, "coverage": coverage, "labels": labels}
    params = dataclasses.replace(
        run.params,
        limit=5,
        labels=dataclasses.replace(run.params.labels, target="majority", min_agreement=2),
        normalize=dataclasses.replace(run.params.normalize, baseline="neutral"),
        train=dataclasses.replace(run.params.train, best_epoch=False),
    )
    alone = {**run.evaluation, "subjects": {**subjects, "overlap": 0, "each": 99}}
    person = dataclasses.replace(
        run.params,
        labels=dataclasses.replace(run.params.labels, target="archive"),
        normalize=dataclasses.replace(run.params.normalize, baseline="person"),
    )
    perfect = np.eye(2, dtype=np.float32)[run.dataset.targets.learnt[run.dataset.test]]
    bounds = [
        {**run.evaluation["test"], "learnt": {**run.evaluation["test"]["learnt"], "balanced_accuracy_interval": two}}
        for two in ((0.1, 0.4), (0.4, 0.6), (0.6, 0.9))
    ]
    return [
        run,
        dataclasses.replace(run, evaluation=evaluation, params=params),
        dataclasses.replace(run, evaluation=alone, params=person, probability=perfect),
        *(dataclasses.replace(run, evaluation={**run.evaluation, "test": test}) for test in bounds),
    ]


def test_every_text_goes_through_the_language(project):
    data = set(re.findall(r"[a-z]+", " ".join((*KOREAN, "training", "validation", "person", "AUROC", "git", "md"))))
    for run in runs_of_every_text(read_last_run()):
        page = render(run, Wordless())
        body = page.partition('<h2 id="versions">')[0].replace(run.md5[:8], "")
        words = set(re.findall(r"[a-z]+", " ".join(Texts(body).texts))) - data
        words -= {"zip", *re.findall("[a-z]+", " ".join(row["subject"][:8] for row in run.dataset.rows.to_pylist()))}
        assert words == set()


def test_no_english_sentence_is_left_in_korean(project):
    for run in runs_of_every_text(read_last_run()):
        texts = [text.replace("--subject each", "") for text in Texts(render(run, Language("ko"))).texts]
        assert sum(bool(re.search("[가-힣]", text)) for text in texts) > 200
        left = [text for text in texts if re.search(r"\b[A-Za-z]{2,} (?!F1)[a-z]{2,}\b", text)]
        assert left == []


def test_both_languages_have_the_same_structure_and_numbers(project):
    for run in runs_of_every_text(read_last_run()):
        english, korean = (Texts(render(run, Language(code))) for code in ("en", "ko"))
        assert english.tags == korean.tags
        numbers = [sorted(re.findall(r"\d+(?:\.\d+)?", " ".join(page.texts))) for page in (english, korean)]
        assert numbers[0] == numbers[1]


def test_seven_emotions_and_a_group_are_named_in_korean(empty):
    make_run(("neutral", {"low": ["anxious", "hurt"]}, "happy"), epochs=1)
    text = report("ko")
    assert '<html lang="ko">' in text
    assert '중립 <span lang="en">neutral</span>, low 또는 기쁨 <span lang="en">happy</span></h1>' in text
    assert len(evaluation_of_run()["test"]["learnt"]["per_class"]) == 3


def test_texts_that_no_page_has_are_not_kept(project):
    """The sources of the report hold every English text of ko.yaml."""
    sources = "".join(
        path.read_text(encoding="utf-8") for path in KOREAN_TEXTS.parent.iterdir() if path.suffix in (".py", ".html")
    )
    plain = re.sub(r'"\s+f?"', "", sources).replace("{{ ", "%(").replace(" }}", ")s").replace("95 %", "95 %%")
    for english in read_yaml(KOREAN_TEXTS):
        assert english in plain or english.startswith("data/sample"), english


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
