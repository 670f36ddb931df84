import dataclasses
import html
import itertools
import re
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from made_run import (
    OUT,
    PEOPLE,
    Page,
    change_params,
    evaluation_of_run,
    make_run,
    refusal,
    report,
    subject_of,
)

from faceemo.emotions import KOREAN
from faceemo.extraction.sources import SAMPLE_NOTE, read_sources, write_sources
from faceemo.report import tallies
from faceemo.report.cautions import cautions
from faceemo.report.language import Language
from faceemo.report.lastrun import read_last_run
from faceemo.report.numerals import count, decimal, percent
from faceemo.report.page import render

pytestmark = pytest.mark.slow

ENGLISH = Language("en")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


def test_the_numbers_are_those_of_evaluation_json(project):
    evaluation = evaluation_of_run()
    archive, test, valid = evaluation["test"]["archive"], evaluation["test"]["learnt"], evaluation["valid"]
    text = report()
    page = Page(text)
    low, high = test["balanced_accuracy_interval"]
    bounds = f"{100 * low:.1f} to {percent(high)}"
    assert page.row("Balanced accuracy")[1:] == [
        f"{percent(test['balanced_accuracy'])} | {bounds}",
        percent(0.5),
        percent(valid["balanced_accuracy"]),
    ]
    assert f"<strong>{bounds}</strong>" in text
    assert page.row("Macro F1")[1:] == [decimal(test["macro_f1"]), "", decimal(valid["macro_f1"])]
    assert page.row("AUROC")[1:] == [decimal(test["auroc"]), "0.500", decimal(valid["auroc"])]
    assert page.row("Log loss")[1:] == [decimal(test["log_loss"]), "0.693", decimal(valid["log_loss"])]
    assert page.row("Calibration error")[1] == decimal(test["calibration_error"])
    assert percent(archive["unanimous"]["accuracy"]) in page.row("Accuracy, raters agree")[1]
    assert f"on the {archive['unanimous']['images']} pictures" in page.row("Accuracy, raters agree")[0]
    assert page.row("Accuracy, all pictures")[1] == percent(archive["all_pictures"]["accuracy"])
    for split in ("test", "valid"):
        assert percent(evaluation["threshold"][split]["false_positive_rate"]) in page.row("False alarms")
    values = test["per_class"]["anxious"]
    wanted = [percent(values["precision"]), percent(values["recall"]), decimal(values["f1"]), count(values["support"])]
    assert ["anxious 불안", *wanted] in page.rows
    for group, values in (*test["by_sex"].items(), *test["by_age"].items()):
        name = f"{group}s" if group.isdigit() else group
        assert any(
            row[0] == name and row[2:4] == [str(values["images"]), percent(values["accuracy"])] for row in page.rows
        )
    assert decimal(evaluation["temperature"]) in text


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
    assert ["30s", "13", "52", ""] in page.rows and ["unknown", "13", "52", ""] in page.rows
    assert ["female", "20", "84", ""] in page.rows and ["male", "20", "80", ""] in page.rows
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
    column = run.dataset.rows.schema.get_field_index("sex")
    rows = run.dataset.rows.set_column(column, "sex", pa.array(["<script>1</script>"] * len(run.dataset.rows)))
    text = render(dataclasses.replace(run, dataset=dataclasses.replace(run.dataset, rows=rows)), ENGLISH)
    assert not {"script", "img"} & set(Page(text).tags)
    assert html.escape(hostile) in text
    assert "&lt;script&gt;1&lt;/script&gt;" in text


def test_the_same_run_gives_the_same_bytes_whole_or_not_at_all(project):
    report()
    first = OUT.read_bytes()
    report()
    assert OUT.read_bytes() == first and b"\r" not in first
    Path("evaluation.json").unlink()
    refusal()
    assert OUT.read_bytes() == first
    assert not list(project.glob("*.tmp"))


def test_engines_of_extraction_are_listed_with_their_versions_and_refuse_nothing(project):
    change_params(extract__engine="litert")
    rows = Page(report()).rows
    assert ["landmarks by mediapipe", "mediapipe 0.10.21; pillow 11.0"] in rows
    assert ["landmarks by litert", "ai-edge-litert 2.3.0; pillow 11.0"] in rows


def test_a_group_gets_an_interval_when_it_has_enough_people(project, monkeypatch):
    run = read_last_run()
    predicted = run.probability.argmax(axis=1)
    (female, male) = groups_of = tallies.groups(run, "sex", predicted)
    assert [group.name for group in groups_of] == ["female", "male"]
    assert female.people + male.people == evaluation_of_run()["subjects"]["test"]
    assert female.bounds is None and male.bounds is None
    assert "too few people" in report()
    monkeypatch.setattr(tallies, "FEW_PEOPLE", min(female.people, male.people))
    for group in tallies.groups(run, "sex", predicted):
        low, high = group.bounds
        assert low <= group.balanced_accuracy <= high


def test_cautions_say_what_a_number_hides(project):
    run = read_last_run()
    (few,) = cautions(run, ENGLISH)
    people = run.evaluation["subjects"]["test"]
    assert few.startswith(f"The test has only {people} people.")

    sources = {**run.sources, "neutral-training-01": dataclasses.replace(run.sources["neutral-training-01"],
                                                                         zip="data/sample/a.zip")}  # fmt: skip
    assert cautions(dataclasses.replace(run, sources=sources), ENGLISH)[0] == f"{SAMPLE_NOTE}."
    left_out = {"happy-training-01": dataclasses.replace(run.sources["happy-training-01"], zip="data/sample/a.zip")}
    assert cautions(dataclasses.replace(run, sources={**run.sources, **left_out}), ENGLISH) == [few]

    subjects = {**run.evaluation["subjects"], "overlap": 7, "unknown": 1234}
    coverage = {**run.evaluation["coverage"], "ok": 120}
    worse = dataclasses.replace(run, evaluation={**run.evaluation, "subjects": subjects, "coverage": coverage})
    overlap, _, unknown, covered = cautions(worse, ENGLISH)
    assert "7 people are in more than one split" in overlap
    assert "1,234 pictures name no person" in unknown
    assert (
        percent(120 / 164) in covered
        and percent(run.evaluation["test"]["archive"]["all_pictures"]["accuracy"]) in covered
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
        learnt = {**run.evaluation["test"]["learnt"], "balanced_accuracy_interval": bounds}
        test = {**run.evaluation["test"], "learnt": learnt}
        assert says in render(dataclasses.replace(run, evaluation={**run.evaluation, "test": test}), ENGLISH)


def test_seven_emotions_judged_by_change_from_the_persons_own_face(empty):
    make_run(tuple(KOREAN), epochs=1, normalize__baseline="person", labels__min_agreement=0)
    page = Page(report())
    text = OUT.read_text(encoding="utf-8")
    for name, values in evaluation_of_run()["test"]["learnt"]["per_class"].items():
        wanted = [percent(values["precision"]), percent(values["recall"]), decimal(values["f1"])]
        assert [f"{name} {KOREAN[name]}", *wanted, str(values["support"])] in page.rows
    assert "normalize.baseline: person." in text
    assert re.search(r"\b0 of \d+ people have no such baseline and are left out", text)
    assert "Threshold" not in text and "ROC" not in text.replace("AUROC", "")
    assert percent(1 / 7) in text


def test_a_split_by_folder_is_no_test_on_unseen_people(empty):
    make_run(split__by="folder", train__best_epoch=False)
    text = report()
    assert f"{evaluation_of_run()['subjects']['overlap']} people are in more than one split (split.by: folder)" in text
    assert "unseen people" not in text
    assert "the model is that of epoch 3 (dotted), the last." in text


def test_only_faces_that_raters_confirmed_count_as_trained_on(empty):
    make_run(labels__min_agreement=2)
    run = read_last_run()
    agreement = run.dataset.column("agreement")[run.dataset.split[run.dataset.row_of] == "train"]
    faces = tallies.trained(run).faces
    assert 0 < faces == sum(value is not None and value >= 2 for value in agreement) < len(agreement)
    text = render(run, ENGLISH)
    assert f"<dt>Trained on</dt><dd>{faces} pictures of" in text
    assert "the network learns from those that 2 raters confirm" in text


def test_what_raters_saw_stands_beside_what_the_archive_says(empty):
    """Of each person's four pictures raters saw two as hurt and one as nothing in particular."""
    answers = [["상처", "상처", "알수없음"], ["불안", "상처", "중립"], ["불안"] * 3, ["상처"] * 3]
    make_run(("neutral", {"low": ["anxious", "hurt"]}), answers=answers, labels__target="majority")
    text = report()
    page = Page(text)
    found = evaluation_of_run()
    for truth, name in (("archive", "the archive’s name"), ("majority", "the majority of raters")):
        assert page.row(name)[1:3] == [str(found["test"][truth]["images"]), percent(found["test"][truth]["accuracy"])]
    assert page.row("two raters: the third rater")[2] == percent(found["ceiling"]["raters"]["accuracy"])
    assert "“Right” means: what most of a picture’s raters saw." in text
    assert "Where an archive has no labels, it is the archive’s name." in text
    (seen,) = [row for row in page.rows if row[:2] == ["anxious-training-01", "anxious 불안"]]
    assert seen[2:] == ["41", percent(10 / 41), percent(20 / 41), percent(10 / 41), "hurt 21"]
    assert page.row("yes")[0] == "yes"  # photographed as an actor


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
