import dataclasses
import html
import itertools
import re
import shutil
from pathlib import Path

import pytest
from made_run import OUT, PEOPLE, Page, evaluation_of_run, make_run, report, subject_of

from faceemo.emotions import KOREAN
from faceemo.language import Language
from faceemo.pictures.sources import read_sources, write_sources
from faceemo.report.cautions import cautions
from faceemo.report.lastrun import read_last_run
from faceemo.report.numerals import count, decimal, percent
from faceemo.report.page import render

pytestmark = pytest.mark.slow

ENGLISH = Language("en")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


def bounds_of(result: dict, metric: str = "balanced_accuracy") -> str:
    return "\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}".join(map(decimal, result[f"{metric}_interval"]))


def test_the_headline_is_that_of_metrics_and_terminal_and_named_the_same(project):
    test = evaluation_of_run()["test"]["archive"]
    text = report()
    assert f'<p class="big">{test["balanced_accuracy"]:.3f}</p>' in text
    assert f"<strong>{bounds_of(test)}</strong>" in text
    assert "Balanced accuracy on unseen people<small>against the name of archive, folder or table" in text
    assert text.index("<code>test.archive</code>") < text.index('<p class="big">')


def test_the_numbers_are_those_of_evaluation_json(project):
    evaluation = evaluation_of_run()
    test, valid = evaluation["test"]["archive"], evaluation["valid"]
    text = report()
    page = Page(text)
    assert page.row("Balanced accuracy")[1:] == [
        f"{decimal(test['balanced_accuracy'])} | {bounds_of(test)}",
        "0.500",
        decimal(valid["balanced_accuracy"]),
    ]
    assert page.row("Macro F1")[1:] == [decimal(test["macro_f1"]), "", decimal(valid["macro_f1"])]
    assert page.row("AUROC")[1:] == [decimal(test["auroc"]), "0.500", decimal(valid["auroc"])]
    assert page.row("Log loss")[1:] == [decimal(test["log_loss"]), "0.693", decimal(valid["log_loss"])]
    assert page.row("Calibration error")[1] == decimal(test["calibration_error"])
    assert decimal(test["unanimous"]["accuracy"]) in page.row("Accuracy, raters agree")[1]
    assert f"on the {test['unanimous']['images']} pictures" in page.row("Accuracy, raters agree")[0]
    assert page.row("Accuracy, all pictures")[1] == decimal(test["all_pictures"]["accuracy"])
    for split in ("test", "valid"):
        assert decimal(evaluation["threshold"][split]["false_positive_rate"]) in page.row("False alarms")
    for group, values in (*test["by_sex"].items(), *test["by_age"].items()):
        name = f"{group}s" if group.isdigit() else group
        assert any(
            row[0] == name and row[2:4] == [str(values["images"]), decimal(values["accuracy"])] for row in page.rows
        )
    assert decimal(evaluation["temperature"]) in text
    for truth, name in {"archive": "the name of", "majority": "the majority of", "learnt": "what is learnt"}.items():
        one = evaluation["test"][truth]
        assert page.row(name)[1:] == [
            str(one["images"]),
            decimal(one["accuracy"]),
            f"{decimal(one['balanced_accuracy'])} | {bounds_of(one)}",
            decimal(one["macro_f1"]),
        ]
    counts = [[f"{100 * n / sum(row):.0f} | {n}" for n in row] for row in test["confusion"]]
    assert ["neutral 중립", *counts[0]] in page.rows and ["anxious 불안", *counts[1]] in page.rows
    wrong = test["confusion"][0][1] + test["confusion"][1][0]
    assert f"{wrong} of {test['images']} test pictures are wrong." in text
    assert "what raters saw in the picture stands below" in text  # three of the set, any number in a table


def test_archives_people_ages_and_raters_are_counted(project):
    page = Page(report())
    for key, source in read_sources().items():
        counts = ["–"] * 5 if source.emotion == "happy" else ["40", "1", "0", "0", "0"]
        labels = "yes" if source.folder == "training" else "no"
        emotion = f"{source.emotion} {KOREAN[source.emotion]}"
        file = Path(source.zip).name
        assert page.row(f"{key} | ") == [f"{key} | {file}", emotion, source.folder, "41", *counts, labels]
    assert page.row("together")[3:9] == ["164", "160", "4", "0", "0", "0"]
    subjects = evaluation_of_run()["subjects"]
    for split in ("train", "valid", "test"):
        assert page.row(f"{split} | ")[1] == str(subjects[split])
    assert sum(int(page.row(f"{split} | ")[2]) for split in ("train", "valid", "test")) == 164
    assert sum(int(page.row(f"{split} | ")[3]) for split in ("train", "valid", "test")) == 160
    assert ["20s", "14", "60", ""] in page.rows  # the first person's pictures without a face are counted as well
    assert ["30s", "13", "52", ""] in page.rows and page.rows.count(["unknown", "13", "52", ""]) == 2
    assert ["female", "13", "56", ""] in page.rows and ["male", "14", "56", ""] in page.rows
    for name in ("neutral 중립", "anxious 불안"):
        assert [name, "11", "10", "10", "10", "41"] in page.rows  # three raters, two, one, none; no answers
        (seen,) = [row for row in page.rows if row[:2] == [f"{name.partition(' ')[0]}-training-01", name]]
        assert seen[2:] == ["41", percent(21 / 41), percent(11 / 41), percent(20 / 41), ""]


def test_one_file_that_loads_nothing_and_names_nobody(project):
    text = report()
    page = Page(text)  # well-formed
    assert text.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert not re.search(r"https?:|url\(|@import|\bsrc=", text)
    identifiers = {value for _, name, value in page.attributes if name == "id"}
    for _, name, value in page.attributes:
        if name == "href":
            assert value.startswith("#") and value[1:] in identifiers
    assert ".jpg" not in text and "/disk/kim" not in text and str(project) not in text
    for person in range(PEOPLE):
        assert subject_of(person)[:9] not in text
    headings = [int(tag[1]) for tag in page.tags if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == 1 and headings.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(headings))
    for tag, name, value in page.attributes:
        if (tag, name) == ("svg", "role"):
            assert value == "img"
    assert OUT.stat().st_size < 2_000_000


def test_names_from_files_are_escaped(project):
    sources = read_sources()
    hostile = "<img src=x onerror=alert(1)>&.zip"
    sources["neutral-training-01"] = dataclasses.replace(sources["neutral-training-01"], zip=f"/d/{hostile}")
    write_sources(sources)
    run = read_last_run()
    people = {**run.evaluation["people"], "sex": [{"sex": "<script>1</script>", "people": 1, "images": 1, "faces": 1}]}
    text = render(dataclasses.replace(run, evaluation={**run.evaluation, "people": people}), ENGLISH)
    assert not {"script", "img"} & set(Page(text).tags)
    assert html.escape(hostile) in text
    assert "&lt;script&gt;1&lt;/script&gt;" in text


def test_the_same_run_gives_the_same_bytes(project):
    report()
    first = OUT.read_bytes()
    report()
    assert OUT.read_bytes() == first and b"\r" not in first


def test_engines_of_extraction_are_listed_with_their_versions(project):
    rows = Page(report()).rows
    assert ["landmarks by mediapipe", "mediapipe 0.10.21; pillow 11.0"] in rows
    assert ["landmarks by litert", "ai-edge-litert 2.3.0; pillow 11.0"] in rows


def test_a_group_gets_an_interval_when_it_has_enough_people(project):
    run = read_last_run()
    group = {**run.test["by_sex"]["female"], "balanced_accuracy_interval": [0.25, 0.75]}
    for people, says in ((9, "too few people"), (10, bounds_of(group))):
        test = {**run.test, "by_sex": {"female": {**group, "people": people}}}
        evaluation = {**run.evaluation, "test": {**run.evaluation["test"], "archive": test}}
        rows = Page(render(dataclasses.replace(run, evaluation=evaluation), ENGLISH)).rows
        (row,) = [row for row in rows if row[0] == "female" and len(row) == 5]
        assert row[1] == str(people) and row[4] == f"{decimal(group['balanced_accuracy'])} | {says}"


def test_cautions_say_what_a_number_hides(project):
    run = read_last_run()
    (few,) = cautions(run, ENGLISH)
    people = run.evaluation["subjects"]["test"]
    assert few.startswith(f"The test has only {people} people.")

    subjects = {**run.evaluation["subjects"], "overlap": 7, "unknown": 1234}
    coverage = {**run.evaluation["coverage"], "ok": 120}
    worse = dataclasses.replace(run, evaluation={**run.evaluation, "subjects": subjects, "coverage": coverage})
    overlap, _, unknown, covered = cautions(worse, ENGLISH)
    assert "7 people are in more than one split" in overlap
    assert "1,234 pictures name no person" in unknown
    assert (
        percent(120 / 164) in covered
        and decimal(run.evaluation["test"]["archive"]["all_pictures"]["accuracy"]) in covered
    )
    text = render(worse, ENGLISH)
    assert html.escape(overlap) in text and "unseen people" not in text
    assert (
        "limit: 5" in cautions(dataclasses.replace(run, params=dataclasses.replace(run.params, limit=5)), ENGLISH)[-1]
    )


def test_the_interval_is_held_against_guessing(project):
    run = read_last_run()
    for bounds, says in {
        (0.6, 0.9): "All of it lies above guessing",
        (0.1, 0.4): "All of it lies below guessing",
        (0.4, 0.6): "does not show that the model can tell these emotions apart",
    }.items():
        test = {**run.evaluation["test"], "archive": {**run.test, "balanced_accuracy_interval": bounds}}
        assert says in render(dataclasses.replace(run, evaluation={**run.evaluation, "test": test}), ENGLISH)


@pytest.mark.parametrize(
    ("network", "says"),
    [
        ("mlp", "478 landmarks a picture, no pixels."),
        ("mlp_dropout", "478 landmarks a picture, no pixels."),
        ("cnn", "The network reads a grey picture of the face, 64 × 64 pixels."),
        ("both", "478 landmarks, and a grey picture of it"),
    ],
)
def test_the_page_says_what_the_network_reads(project, network, says):
    run = read_last_run()
    text = render(
        dataclasses.replace(
            run, evaluation={**run.evaluation, "model": {**run.evaluation["model"], "network": network}}
        ),
        ENGLISH,
    )
    assert says in text and ("no pixels" in text) == network.startswith("mlp")


def test_several_classes_a_group_a_baseline_and_people_in_two_splits(tmp_path, monkeypatch):
    """Of each person's four pictures raters saw two as hurt and one as nothing in particular."""
    monkeypatch.chdir(tmp_path)
    answers = [["상처", "상처", "알수없음"], ["불안", "상처", "중립"], ["불안"] * 3, ["상처"] * 3]
    make_run(
        ("neutral", {"low": ["anxious", "hurt"]}, "happy"),
        answers,
        epochs=1,
        labels__target="archive",
        normalize__baseline="person",
        split__by="folder",
    )
    found = evaluation_of_run()
    text = report()
    page = Page(text)
    for name, values in found["test"]["archive"]["per_class"].items():
        interval = bounds_of(values, "recall")
        wanted = [decimal(values["precision"]), f"{decimal(values['recall'])} | {interval}", decimal(values["f1"])]
        shown = f"{name} {KOREAN[name]}" if name in KOREAN else name
        assert [shown, *wanted, count(values["support"])] in page.rows
    assert "Threshold" not in text and "ROC" not in text.replace("AUROC", "")
    assert "0.333" in text and "averaged" in page.row("AUROC")[0]
    assert "normalize.baseline: person." in text
    assert f"{found['baselines']['without']} of {found['baselines']['people']} people have no such baseline" in text
    assert f"{found['subjects']['overlap']} people are in more than one split (split.by: folder)" in text
    assert found["subjects"]["overlap"] and "unseen people" not in text
    (seen,) = [row for row in page.rows if row[:2] == ["anxious-training-01", "anxious 불안"]]
    assert seen[2:] == ["41", percent(10 / 41), percent(20 / 41), percent(10 / 41), "hurt 21"]
    korean = report("ko")
    assert '중립 <span lang="en">neutral</span>, low 또는 기쁨 <span lang="en">happy</span></h1>' in korean


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium here")
def test_the_page_never_scrolls_sideways_and_complains_of_nothing(project):
    from selenium import webdriver

    report()
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = shutil.which("chromedriver")
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver) if driver else None)
    try:
        for width in (360, 1280):
            size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            browser.get((project / OUT).as_uri())
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width
            assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
        assert browser.get_log("browser") == []
    finally:
        browser.quit()
