import dataclasses
import hashlib
import html
import itertools
import json
import os
import random
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from made_archives import make_zip

from faceemo.emotions import KOREAN, emotion_classes
from faceemo.errors import FaceemoError
from faceemo.extraction.archive import Archive
from faceemo.extraction.facemesh import contour_edges
from faceemo.extraction.schema import FORMAT, SCHEMA
from faceemo.extraction.sources import SAMPLE_NOTE, Labels, Source, read_sources, write_sources
from faceemo.params import load_params
from faceemo.report import tallies
from faceemo.report.charts import history_charts, ticks
from faceemo.report.lastrun import read_last_run
from faceemo.report.mistakes import draw_face, strongest_mistakes
from faceemo.report.page import cautions, count, decimal, git_revision, interval, percent, render, write_report
from faceemo.rows import rows_or_null
from faceemo.training.evaluate import interval_over_people
from faceemo.training.model import load_model, save_model
from stages import normalize, train

ROOT = Path(__file__).parents[2]
LANDMARKS = Path("data/landmarks")
OUT = Path("report.html")
PEOPLE = 40
ANSWERS: list[list[str]] = []  # of a picture's three raters; a test may set them
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


def subject_of(person: int) -> str:
    return hashlib.sha256(f"person {person}".encode()).hexdigest()


def write_landmarks(key: str, emotion: str, lean: np.ndarray) -> list[str]:
    """A noisy face of each person that leans one way, and a picture without a face; returns the pictures' names."""
    random = np.random.default_rng(list(key.encode()))
    face = np.random.default_rng(0).uniform(0.3, 0.7, (478, 3))
    who = [*range(PEOPLE), 0]
    faces = (face + lean + random.normal(0, 0.03, (PEOPLE, 478, 3))).astype(np.float32)
    names = [f"{subject_of(person)}_여_20_{KOREAN[emotion]}_공원_{n:05d}.jpg" for n, person in enumerate(who)]
    columns = {
        "image": names,
        "emotion": [emotion] * len(who),
        "subject": [subject_of(person) for person in who],
        "sex": [("female", "male")[person % 2] for person in who],
        "age": [(20, 30, None)[person % 3] for person in who],
        "background": ["공원"] * len(who),
        "width": [300] * len(who),
        "height": [400] * len(who),
        "faces": [1] * PEOPLE + [0],
        "turned": [0] * len(who),
        "status": ["ok"] * PEOPLE + ["no_face"],
        "error": [None] * len(who),
        "landmarks": rows_or_null([*faces.reshape(PEOPLE, -1), None]),
    }
    settings = vars(load_params().extract).copy()
    del settings["scheduler"], settings["engine"]
    engine, library = ("litert", "ai-edge-litert") if "validation" in key else ("mediapipe", "mediapipe")
    versions = {library: {"litert": "2.3.0", "mediapipe": "0.10.21"}[engine], "pillow": "11.0"}
    provenance = {"engine": engine, "settings": settings, "versions": versions, "format": FORMAT}
    table = pa.table(columns, schema=SCHEMA.with_metadata({b"faceemo.extract": json.dumps(provenance).encode()}))
    (LANDMARKS / key).mkdir(parents=True)
    for number, start in enumerate(range(0, len(who), 16)):
        pq.write_table(table.slice(start, 16), LANDMARKS / key / f"part-{number:05d}.parquet")
    return names


def write_labels(names: list[str], emotion: str) -> Labels:
    """A label archive in which three, two, one and no raters agree in turn, or with ANSWERS in turn."""
    answers = ANSWERS or [[KOREAN[emotion]] * (3 - n) + ["알수없음"] * n for n in range(4)]
    answers = [answers[n % 4] for n in range(len(names))]
    records = [
        {
            "filename": name,
            "isProf": "전문인",
            **{f"annot_{rater}": {"faceExp": word} for rater, word in zip("ABC", words, strict=True)},
        }
        for name, words in zip(names, answers, strict=True)
    ]
    path = make_zip(
        Path.cwd() / f"[라벨]{emotion}.zip", {"labels.json": json.dumps(records, ensure_ascii=False).encode()}
    )
    with Archive(path) as archive:
        return Labels(path.as_posix(), archive.digest())


def make_run(emotions: tuple[str | dict, ...] = ("neutral", "anxious"), **changes: object) -> None:
    """A finished run in the current folder, with archives of `happy` that it may leave out.

    changes: of params.yaml, with `__` for the dot between section and key.
    """
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    defaults = {
        "emotions": list(emotions),
        "epochs": 3,
        "lr": 0.0003,
        "train__whiten": None,
    }  # noise has no spread to learn
    for name, value in {**defaults, **changes}.items():
        section, _, key = name.rpartition("__")
        (params[section] if section else params)[key] = value
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    sources = {}
    members = [name for names in emotion_classes(list(emotions)).values() for name in names]
    for number, emotion in enumerate(dict.fromkeys((*members, "happy"))):
        lean = np.random.default_rng(number + 1).normal(0, 0.003, (478, 3))
        for folder in ("training", "validation"):
            key = f"{emotion}-{folder}-01"
            names = write_landmarks(key, emotion, lean)
            labels = write_labels(names, emotion) if folder == "training" else None
            path = f"/disk/kim/[원천]EMOIMG_{KOREAN[emotion]}_{folder}_01.zip"
            digest = hashlib.sha256(key.encode()).hexdigest()
            sources[key] = Source(path, emotion, folder, len(names), digest, labels)
    write_sources(sources)
    normalize.main()
    train.main()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with a finished run, for copies."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_run()
    return folder


@pytest.fixture
def project(finished, tmp_path, monkeypatch):
    """The current folder is a copy of a finished run."""
    folder = tmp_path / "project"
    shutil.copytree(finished, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def report() -> str:
    write_report(OUT)
    return OUT.read_text(encoding="utf-8")


def evaluation_of_run() -> dict:
    return json.loads(Path("evaluation.json").read_text(encoding="utf-8"))


def refusal() -> str:
    with pytest.raises(FaceemoError) as error:
        write_report(OUT)
    assert "\n" not in str(error.value)
    return str(error.value)


class Page(HTMLParser):
    """Text by element, links and resources; fails on an element that is not closed where it should be."""

    VOID = frozenset({"meta", "br", "link", "img", "input", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.tags: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attributes]
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data if self.open[-1] != "small" else f" | {data}"

    def row(self, first: str) -> list[str]:
        """The only row whose first cell starts so."""
        (row,) = [row for row in self.rows if row and row[0].startswith(first)]
        return row


def test_the_numbers_are_those_of_evaluation_json(project):
    evaluation = evaluation_of_run()
    archive, test, valid = evaluation["test"]["archive"], evaluation["test"]["learnt"], evaluation["valid"]
    text = report()
    page = Page(text)
    bounds = interval(test["balanced_accuracy_interval"])
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
    text = render(dataclasses.replace(run, dataset=dataclasses.replace(run.dataset, rows=rows)))
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


def test_a_missing_or_broken_file_is_one_clear_line(project):
    features = "data/features/anxious-training-01.parquet"
    for path in (
        "params.yaml",
        "data/sources.yaml",
        "evaluation.json",
        "plots/history.csv",
        "models/emotion.pt",
        features,
    ):
        whole = Path(path).read_bytes()
        Path(path).unlink()
        message = refusal()
        assert message.startswith(path) and re.search("run|dvc repro", message)
        Path(path).write_bytes(whole)
    for path in ("evaluation.json", "plots/history.csv", "models/emotion.pt"):
        whole = Path(path).read_bytes()
        for content in ("", "[]", "<<<<<<< HEAD\n{}"):
            Path(path).write_text(content, encoding="utf-8")
            assert refusal().startswith(path)
        Path(path).write_bytes(whole)
    report()


def changed(value: object, chance: random.Random) -> object:
    """JSON with one thing in it missing or of another type."""
    if isinstance(value, dict) and value:
        key = chance.choice(list(value))
        if chance.random() < 0.2:
            return {name: item for name, item in value.items() if name != key}
        return {**value, key: changed(value[key], chance)}
    return chance.choice([None, "0.5", [], {}, True, float("nan")])


def test_an_evaluation_that_training_did_not_write_is_one_clear_line(project):
    path, right = Path("evaluation.json"), evaluation_of_run()
    chance = random.Random(1)
    refused = 0
    for _ in range(20):
        path.write_text(json.dumps(changed(right, chance)), encoding="utf-8")
        try:
            report()  # null may be right
        except FaceemoError as error:
            assert re.match(
                r"evaluation\.json is not (what training writes|of data/features as it is now);", str(error)
            )
            refused += 1
    assert refused > 15


def test_broken_parquet_is_one_clear_line(project):
    run = read_last_run()
    key = strongest_mistakes(run.dataset, run.probability, LANDMARKS, 1)[0].source
    for path in (Path("data/features/anxious-training-01.parquet"), LANDMARKS / key / "part-00000.parquet"):
        whole = path.read_bytes()
        for content in (b"", b"text", whole[:-1], whole[: len(whole) // 2]):
            path.write_bytes(content)
            assert re.fullmatch(rf"{path.as_posix()} cannot be read \(.+\); run 'dvc repro'", refusal())
        path.write_bytes(whole)
    report()


def test_what_the_report_does_not_read_may_be_broken(project):
    report()
    before = OUT.read_bytes()
    for path in (Path("metrics.json"), Path("plots/predictions.csv")):
        path.write_bytes(b"<<<<<<< HEAD\xff")
    report()
    assert OUT.read_bytes() == before


def test_missing_or_foreign_landmarks_are_one_clear_line(project):
    run = read_last_run()
    key = strongest_mistakes(run.dataset, run.probability, LANDMARKS, 1)[0].source
    for shard in (LANDMARKS / key).iterdir():
        table = pq.read_table(shard)
        images = pa.array(["another.jpg"] * len(table))
        pq.write_table(table.set_column(table.schema.get_field_index("image"), "image", images), shard)
    wanted = f"data/landmarks/{key} is not what data/features was made from; run 'dvc repro'"
    assert refusal() == wanted
    shutil.rmtree(LANDMARKS / key)
    assert refusal() == wanted


def change_params(**changes: object) -> None:
    values = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    for name, value in changes.items():
        section, _, key = name.rpartition("__")
        (values[section] if section else values)[key] = value
    Path("params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")


def lock(md5: str) -> None:
    """A dvc.lock of the run, as dvc writes it."""
    values = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    of_train = {key: values[key] for key in ("emotions", "seed", "lr", "epochs", "batch_size", "split", "train")}
    extract = {f"extract.{key}": value for key, value in values["extract"].items() if key != "scheduler"}
    stages = {
        "extract@neutral-training-01": {"params": {"params.yaml": {"limit": None, **extract}}, "outs": []},
        "extract@removed-long-ago-01": {"params": {"params.yaml": {"limit": 7}}},
        "normalize": {"params": {"params.yaml": {"normalize": values["normalize"]}}},
        "train": {"params": {"params.yaml": of_train}, "outs": [{"path": "models/emotion.pt", "md5": md5}]},
    }
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}), encoding="utf-8")


def test_a_lock_of_another_version_is_one_line_that_says_what_to_do(project):
    lock(read_last_run().md5)
    text = Path("dvc.lock").read_text(encoding="utf-8")
    Path("dvc.lock").write_text(text.replace("lr: ", "oldkey: ").replace("limit: null", "limit: 3"), encoding="utf-8")
    assert re.fullmatch(
        r"dvc\.lock: unknown key oldkey; known here: .*: it is of another version of faceemo; run 'dvc repro'",
        refusal(),
    )


def test_params_changed_since_the_run_are_named(project):
    lock(read_last_run().md5)
    change_params(workers=3, extract__scheduler="tcp://host:8786")  # what no stage tracks is no change
    report()
    as_it_was = Path("params.yaml").read_bytes()
    for name, value in {
        "lr": 0.1,
        "train__mirror": False,
        "limit": 5,
        "normalize__scale": "max_abs",
        "extract__max_faces": 2,
    }.items():
        change_params(**{name: value})
        wanted = f"params.yaml has changed since the last run ({name.replace('__', '.')}); run 'dvc repro'"
        assert refusal() == wanted
        Path("params.yaml").write_bytes(as_it_was)


def test_without_a_lock_of_this_model_the_model_itself_tells_what_it_can(project):
    lock("0" * 32)
    change_params(lr=0.1)
    report()
    Path("dvc.lock").write_text("<<<<<<< HEAD\n", encoding="utf-8")
    report()
    change_params(emotions=["neutral", "happy"])
    assert refusal() == "params.yaml has changed since the last run (emotions); run 'dvc repro'"
    change_params(emotions=["neutral", "anxious"], normalize__align="roll")
    assert refusal() == "params.yaml has changed since the last run (normalize.align); run 'dvc repro'"


def test_engines_of_extraction_are_listed_with_their_versions_and_refuse_nothing(project):
    change_params(extract__engine="litert")
    rows = Page(report()).rows
    assert ["landmarks by mediapipe", "mediapipe 0.10.21; pillow 11.0"] in rows
    assert ["landmarks by litert", "ai-edge-litert 2.3.0; pillow 11.0"] in rows


def test_files_of_different_runs_are_not_mixed(project):
    model = load_model(Path("models/emotion.pt"))
    last = list(model.state_dict)[-1]  # the biases of the classes
    weights = {**model.state_dict, last: model.state_dict[last] + torch.tensor([2.0, -2.0])}
    save_model(Path("models/emotion.pt"), dataclasses.replace(model, state_dict=weights))
    assert refusal() == "evaluation.json is not of models/emotion.pt as it is now; run 'dvc repro'"
    save_model(Path("models/emotion.pt"), model)
    report()
    change_params(split__test=0.3)
    assert refusal() == "evaluation.json is not of data/features as it is now; run 'dvc repro'"
    change_params(split__test=0.2, normalize__scale="max_abs")
    normalize.main()
    settings = {**model.settings, "normalize": {**model.settings["normalize"], "scale": "max_abs"}}
    save_model(Path("models/emotion.pt"), dataclasses.replace(model, settings=settings))
    assert "evaluation.json is not of models/emotion.pt" in refusal()
    save_model(Path("models/emotion.pt"), model)
    change_params(normalize__scale="rms")
    assert refusal() == "models/emotion.pt is not of data/features as it is now; run 'dvc repro'"


def test_the_test_part_is_judged_as_training_judged_it(project):
    run = read_last_run()
    test = run.dataset.test
    predicted = run.probability.argmax(axis=1)
    assert np.mean(predicted == run.dataset.targets.learnt[test]) == pytest.approx(
        run.evaluation["test"]["learnt"]["accuracy"], abs=1e-6
    )
    subjects = run.dataset.column("subject")[test]
    found = interval_over_people(run.dataset.targets.learnt[test], predicted, subjects)
    assert found == pytest.approx(run.evaluation["test"]["learnt"]["balanced_accuracy_interval"], abs=1e-6)
    with Path("plots/predictions.csv").open(encoding="utf-8") as file:
        pairs = [tuple(line.strip().split(",")) for line in file][1:]
    classes = run.dataset.classes
    assert pairs == [(classes[t], classes[g]) for t, g in zip(run.dataset.targets.learnt[test], predicted, strict=True)]


def test_mistakes_are_the_surest_first_and_draw_the_faces_that_were_judged(project):
    run = read_last_run()
    test = run.dataset.test
    predicted, sure = run.probability.argmax(axis=1), run.probability.max(axis=1)
    wrong = predicted != run.dataset.targets.learnt[test]
    mistakes = strongest_mistakes(run.dataset, run.probability, LANDMARKS, 100)
    assert len(mistakes) == wrong.sum() > 2
    assert [mistake.confidence for mistake in mistakes] == sorted(map(float, sure[wrong]), reverse=True)
    for mistake in mistakes:
        assert mistake.actual != mistake.predicted
        assert mistake.source.startswith(mistake.actual)
        shards = sorted((LANDMARKS / mistake.source).iterdir())
        row = pa.concat_tables(map(pq.read_table, shards)).slice(mistake.row, 1).to_pylist()[0]
        assert (row["subject"], row["sex"], row["age"]) == (mistake.subject, mistake.sex, mistake.age)
        points = np.array(row["landmarks"]).reshape(478, 3)
        np.testing.assert_allclose(mistake.face, points[:, :2] * (1, 400 / 300))
        assert mistake.agreement == (3 - mistake.row % 4 if "training" in mistake.source else None)
    assert strongest_mistakes(run.dataset, run.probability, LANDMARKS, 2)[1].confidence == mistakes[1].confidence
    text = report()
    shown = mistakes[: text.count("Landmarks of a face")]
    assert len(shown) == min(len(mistakes), 12)
    indices = [text.index(f"{mistake.source}, row {mistake.row}<br>") for mistake in shown]
    assert indices == sorted(indices)


def test_a_face_is_drawn_whole_in_proportion_and_upright():
    face = np.random.default_rng(0).uniform(0, 1, (478, 2)) * (0.2, 0.3)
    drawing = draw_face(face)
    starts = [tuple(map(int, pair)) for pair in re.findall(r"M(\d+) (\d+)l", drawing.mesh + drawing.contours)]
    low, high = np.min(starts, axis=0), np.max(starts, axis=0)
    assert (low >= 0).all() and (high <= (drawing.width, drawing.height)).all()
    assert (high - low)[0] / (high - low)[1] == pytest.approx(0.2 / 0.3, rel=0.02)
    assert drawing.contours.count("M") == len({tuple(sorted(edge)) for edge in contour_edges().tolist()})
    steps = re.match(r"M(\d+) (\d+)l(-?\d+) (-?\d+)M", drawing.contours)
    a, b = min(sorted(edge) for edge in contour_edges().tolist())
    assert np.sign(int(steps[3])) == np.sign(face[b, 0] - face[a, 0])
    assert np.sign(int(steps[4])) == np.sign(face[b, 1] - face[a, 1])


def test_a_run_without_mistakes_says_so(project):
    run = read_last_run()
    perfect = np.eye(2, dtype=np.float32)[run.dataset.targets.learnt[run.dataset.test]]
    text = render(dataclasses.replace(run, probability=perfect))
    assert f"None: all {len(perfect)} test pictures are right." in text
    assert "Landmarks of a face" not in text


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
    (few,) = cautions(run)
    people = run.evaluation["subjects"]["test"]
    assert few.startswith(f"The test has only {people} people.")

    sources = {**run.sources, "neutral-training-01": dataclasses.replace(run.sources["neutral-training-01"],
                                                                         zip="data/sample/a.zip")}  # fmt: skip
    assert cautions(dataclasses.replace(run, sources=sources))[0] == f"{SAMPLE_NOTE}."
    left_out = {"happy-training-01": dataclasses.replace(run.sources["happy-training-01"], zip="data/sample/a.zip")}
    assert cautions(dataclasses.replace(run, sources={**run.sources, **left_out})) == [few]

    subjects = {**run.evaluation["subjects"], "overlap": 7, "unknown": 1234}
    coverage = {**run.evaluation["coverage"], "ok": 120}
    worse = dataclasses.replace(run, evaluation={**run.evaluation, "subjects": subjects, "coverage": coverage})
    overlap, _, unknown, covered = cautions(worse)
    assert "7 people are in more than one split" in overlap
    assert "1,234 pictures name no person" in unknown
    assert (
        percent(120 / 164) in covered
        and percent(run.evaluation["test"]["archive"]["all_pictures"]["accuracy"]) in covered
    )
    text = render(worse)
    assert html.escape(overlap) in text and "unseen people" not in text
    assert "limit: 5" in cautions(dataclasses.replace(run, params=dataclasses.replace(run.params, limit=5)))[-1]


def test_the_interval_is_held_against_guessing(project):
    run = read_last_run()
    for bounds, says in {
        (0.6, 0.9): "All of it lies above guessing",
        (0.1, 0.4): "All of it lies below guessing",
        (0.4, 0.6): "does not show that the model can tell these emotions apart",
    }.items():
        learnt = {**run.evaluation["test"]["learnt"], "balanced_accuracy_interval": bounds}
        test = {**run.evaluation["test"], "learnt": learnt}
        assert says in render(dataclasses.replace(run, evaluation={**run.evaluation, "test": test}))


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
    text = render(run)
    assert f"<dt>Trained on</dt><dd>{faces} pictures of" in text
    assert "the network learns from those that 2 raters confirm" in text


def test_what_raters_saw_stands_beside_what_the_archive_says(empty, monkeypatch):
    """Of each person's four pictures raters saw two as hurt and one as nothing in particular."""
    answers = [["상처", "상처", "알수없음"], ["불안", "상처", "중립"], ["불안"] * 3, ["상처"] * 3]
    monkeypatch.setattr(sys.modules[__name__], "ANSWERS", answers)
    make_run(("neutral", {"low": ["anxious", "hurt"]}), labels__target="majority")
    text = report()
    page = Page(text)
    found = evaluation_of_run()
    for truth, name in (("archive", "the archive’s name"), ("majority", "the majority of raters")):
        assert page.row(name)[1:3] == [str(found["test"][truth]["images"]), percent(found["test"][truth]["accuracy"])]
    assert page.row("two raters: the third rater")[2] == percent(found["ceiling"]["raters"]["accuracy"])
    assert "“Right” means: what most of a picture’s raters saw, or the archive’s name" in text
    (seen,) = [row for row in page.rows if row[:2] == ["anxious-training-01", "anxious 불안"]]
    assert seen[2:] == ["41", percent(10 / 41), percent(20 / 41), percent(10 / 41), "hurt 21"]
    assert page.row("yes")[0] == "yes"  # photographed as an actor


def test_charts_of_one_epoch_and_of_one_that_diverged_are_drawn(project):
    run = read_last_run()
    first = run.history[0]
    for _, chart in history_charts(dataclasses.replace(run, history=[first])):
        assert all(len(line.dots) == 1 for line in chart.lines)
    diverged = dataclasses.replace(run.history[1], train_loss=float("nan"), valid_loss=float("inf"))
    for _, chart in history_charts(dataclasses.replace(run, history=[first, diverged, run.history[2]])):
        assert not re.search("nan|inf", "".join(line.path for line in chart.lines))
    loss, accuracy = (chart for _, chart in history_charts(run))
    assert f"valid {run.history[run.kept_epoch - 1].valid_loss:.3f}" in loss.says
    ys = [float(y) for y in re.findall(r" ([\d.]+)", accuracy.lines[1].path)]
    values = [epoch.valid_accuracy for epoch in run.history]
    np.testing.assert_allclose(ys, [196 - 184 * value for value in values], atol=0.06)  # upwards


@pytest.mark.parametrize("bounds", [(0, 1), (1, 30), (0.5, 1), (1 / 7, 1), (0, 0.73), (0, 12.1), (1, 5000), (0, 1e-3)])
def test_ticks_are_few_round_numbers_within(bounds):
    found = ticks(*bounds)
    assert 2 <= len(found) <= 7
    assert bounds[0] - 1e-9 <= found[0] and found[-1] <= bounds[1] + 1e-9
    assert all(len(f"{tick:g}".replace(".", "").strip("0")) <= 2 for tick in found)
    assert all(tick == int(tick) for tick in ticks(1, 2, whole=True))


def test_the_git_commit_is_named_where_there_is_one(project, monkeypatch):
    assert git_revision() is None
    assert "no repository" in report()
    who = {f"GIT_{who}_{what}": "t@example.invalid" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    for command in (["init"], ["add", "params.yaml"], ["commit", "-m", "x"]):
        subprocess.run(["git", *command], check=True, capture_output=True, env={**os.environ, **who})
    commit = git_revision()
    assert re.fullmatch("[0-9a-f]{12,40}", commit)
    change_params(workers=1)
    assert git_revision() == f"{commit} with uncommitted changes"
    monkeypatch.setenv("PATH", "")
    assert git_revision() is None


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
