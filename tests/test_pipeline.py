"""The pipeline as its users run it: through dvc, in a git repository whose path has spaces and Hangul.

The tests of this module run in order and share one project; each says which stages dvc ran. What dvc and the stage
extract do with rows that are there (kills, Ctrl-C, --force, --temp, repaired archives) is in extraction/test_with_dvc.
"""

import importlib
import re
import shutil
import signal
import sys
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from made_archives import ANXIOUS, HAPPY, NEUTRAL
from project import Project, stages_run
from systems import needs_posix

from faceemo.console import run
from faceemo.training.model import load_model

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
SOURCES = ["anxious-training-01", "happy-training-01", "neutral-training-01"]
EXTRACTS = {f"extract@{key}" for key in SOURCES}
EVERYTHING = EXTRACTS | {"normalize", "train"}
IMAGES = 48 + 48 + 50
KOREAN = {"PYTHONUTF8": "0", "PYTHONIOENCODING": "cp949"}  # as PowerShell on a Korean Windows gives it


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return Project(tmp_path_factory.mktemp("pipeline") / "내 연구 프로젝트", [NEUTRAL])


def test_the_first_archive_alone_is_extracted_and_what_training_lacks_is_said_first_and_last(project):
    output = project.faceemo("scan", "data/sample")
    assert "not enough to train yet: only neutral was scanned" in output
    assert output.endswith("\ndvc repro\n")
    project.change_text("params.yaml", "limit: ", "limit: 20 ")
    output = project.dvc("repro", code=255)
    assert stages_run(output) == {"extract@neutral-training-01", "normalize", "train"}
    extract = output.partition("stages.extract neutral-training-01\n")[2].partition("\n\n")[0].splitlines()
    notes = [number for number, line in enumerate(extract) if line.startswith("note: training will stop as things are")]
    assert len(notes) == 2 and notes[0] == 0 and "neutral-training-01: 20 pictures: 18 ok" in extract[notes[1] - 1]
    assert len(re.findall(r"^train: error: ", output, re.MULTILINE)) == 1
    assert "Traceback" not in output
    assert len(project.features("neutral-training-01")) == 20
    project.run("git", "checkout", "--quiet", "params.yaml")


def test_with_the_other_archives_every_stage_runs_and_no_picture_is_read_twice(project):
    project.add(ANXIOUS, HAPPY)
    assert project.faceemo("scan", "data/sample").endswith("\nnext:\ndvc repro\n")
    output = project.dvc("repro")
    assert stages_run(output) == EVERYTHING
    assert re.findall("^.* were read before$", output, re.MULTILINE) == [
        "neutral-training-01: 20 of 50 pictures were read before"
    ]
    assert "Traceback" not in output and "note:" not in output
    assert "> python -m stages.train\ntraining on " in output  # the first line names the devices
    assert project.metrics()["subjects"]["overlap"] == 0
    assert project.evaluation()["coverage"]["images"] == IMAGES
    assert list(project.evaluation()["test"]["archive"]["per_class"]) == ["neutral", "happy", "anxious"]
    for name in ("history.png", "confusion.png", "reliability.png", "classes.png", "importance.png", "history.csv"):
        assert (project.folder / "plots" / name).stat().st_size > 0
    project.run("git", "add", "dvc.lock", "metrics.json", "evaluation.json", "plots")  # the README's second step
    project.commit()


def test_every_picture_of_every_archive_is_a_row_of_features(project):
    sources = yaml.safe_load((project.folder / "data/sources.yaml").read_text(encoding="utf-8"))["sources"]
    assert list(sources) == SOURCES
    for key, source in sources.items():
        landmarks = pq.read_table(project.folder / "data/landmarks" / key)
        assert landmarks.num_rows == source["images"]
        assert landmarks["image"].to_pylist() == [row["image"] for row in project.features(key)]
    links = [path.stat().st_nlink for path in (project.folder / "data/.rows").rglob("*.parquet")]
    assert links == [2] * len(SOURCES)  # the store's files are those of the landmarks


def test_workers_and_code_that_leaves_rows_as_they_are_run_nothing(project):
    project.change_text("params.yaml", "workers: ", "workers: 1 ")
    for name in ("extract", "worker", "decode", "facemesh", "store"):
        add_comment(project, name)
    assert stages_run(project.dvc("repro")) == set()
    add_comment(project, "schema")  # which numbers the format of rows
    assert set(re.findall(r"^(extract@\S+):$", project.dvc("status"), re.MULTILINE)) == EXTRACTS
    project.run("git", "checkout", "--quiet", ".")


def add_comment(project, name: str) -> None:
    with (project.folder / f"faceemo/extraction/{name}.py").open("a", encoding="utf-8", newline="\n") as file:
        file.write("# a comment\n")


def test_parameters_of_training_train_alone_and_metrics_diff_shows_them(project):
    emotions = "emotions=[neutral,{low:[anxious,happy]}]"
    output = project.experiment("lr=1e-5", "seed=2", "labels.target=majority", "train.mirror=false", emotions)
    assert stages_run(output) == {"train"}
    assert "lr: 1e-05" in (project.folder / "params.yaml").read_text(encoding="utf-8")
    evaluation = project.evaluation()
    assert list(evaluation["test"]["archive"]["per_class"]) == ["neutral", "low"]
    assert evaluation["coverage"]["images"] == IMAGES
    difference = project.dvc("metrics", "diff")
    assert "test.archive." in difference
    assert max(map(len, difference.splitlines())) <= 120
    project.restore()


def test_a_parameter_of_normalize_extracts_nothing(project):
    project.change_text("params.yaml", "center: centroid ", "center: nose_tip ")
    assert stages_run(project.dvc("repro", "normalize")) == {"normalize"}
    project.restore()


def test_plots_are_shown(project):
    output = project.dvc("plots", "show")
    page = project.folder / "dvc_plots" / "index.html"
    assert "index.html" in output
    assert "confusion on unseen people" in page.read_text(encoding="utf-8")
    shutil.rmtree(page.parent)


@pytest.fixture
def stage(project, monkeypatch, capfd):
    """stage(name, ...) is what `python -m stages.NAME ...` says before it fails, run in this process."""

    def fail(name: str, *arguments: str) -> str:
        monkeypatch.chdir(project.folder)
        main = importlib.import_module(f"stages.{name}").main
        assert run(name, lambda: main(*([list(arguments)] if name == "extract" else []))) == 1
        return "".join(capfd.readouterr())

    yield fail
    project.run("git", "checkout", "--quiet", "params.yaml")


EVERY_STAGE = ("extract", "normalize", "train")
BAD_PARAMS = [
    ("lr=abc", "lr must be a number", EVERY_STAGE),
    ("lr=null", "lr must be a number, not null", EVERY_STAGE),
    ("lr=-1", "lr must be above 0", EVERY_STAGE),
    ("lrr=1", "unknown key lrr", EVERY_STAGE),
    ("train.patience=5", "no parameter any more, delete: train.patience", EVERY_STAGE),
    ("emotions=[neutral,sleepy]", "no source holds 'sleepy'", EVERY_STAGE[:2]),
    ("emotions=[neutral]", "a model needs two classes", EVERY_STAGE[2:]),
    ("emotions=[neutral,sad]", "'sad'", EVERY_STAGE[2:]),
    ("split.test=0.01", "the test split has nobody with", EVERY_STAGE[2:]),
]


@pytest.mark.parametrize(("setting", "line", "names"), BAD_PARAMS)
def test_a_bad_parameter_is_one_clear_line_in_the_stages_that_it_stops(project, stage, setting, line, names):
    key, _, value = setting.partition("=")
    path = project.folder / "params.yaml"
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    *sections, leaf = key.split(".")
    target = values
    for section in sections:
        target = target[section]
    target[leaf] = yaml.safe_load(value)
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    for name in names:
        output = stage(name, *(SOURCES[:1] if name == "extract" else []))
        errors = [text for text in output.splitlines() if "error" in text]
        assert len(errors) == 1
        assert line in errors[0]
        assert errors[0].startswith("params.yaml: error: lr") == line.startswith("lr")


@pytest.mark.parametrize("ids", [(), ("neutral-training-01", "anxious-training-01")])
def test_a_stage_of_one_source_asks_for_one(stage, ids):
    output = stage("extract", *ids)
    assert output.startswith("extract: error: name one source: python -m stages.extract ID; known: ")
    assert output.count("\n") == 1


def test_an_archive_that_changed_since_the_scan_is_one_line(project, stage):
    changed = project.folder / f"data/sample/Training/{ANXIOUS.name}"
    with zipfile.ZipFile(HAPPY) as other, zipfile.ZipFile(changed, "a") as archive:
        name = next(name for name in other.namelist() if name.endswith("-000.jpg"))
        picture = other.read(name)[:-2] + b"\0\0\xff\xd9"
        archive.writestr(name.replace("기쁨", "불안").replace("-000.jpg", "-999.jpg"), picture)
    output = stage("extract", "anxious-training-01")
    assert output == "extract: error: anxious-training-01: archive changed since the last scan; run 'faceemo scan'\n"


def test_of_moved_archives_the_changed_one_is_extracted_and_a_dropped_one_leaves_no_rows(project, tmp_path):
    """All of it in a console of Korean Windows: CP949, no UTF-8 mode."""
    moved = tmp_path / "다른 곳"
    shutil.move(project.folder / "data/sample", moved)
    (moved / "Training" / HAPPY.name).unlink()
    output = project.faceemo("scan", str(moved), **KOREAN)
    assert "labels without a source archive" in output and "error" not in output
    output = project.dvc("repro", **KOREAN)
    assert stages_run(output) == {"extract@anxious-training-01", "normalize", "train"}
    assert "anxious-training-01: 48 of 49 pictures were read before" in output
    assert "Traceback" not in output
    assert not (project.folder / "data/features/happy-training-01.parquet").exists()
    assert project.evaluation()["coverage"]["images"] == 49 + 50
    assert list(project.evaluation()["test"]["archive"]["per_class"]) == ["neutral", "anxious"]
    shutil.move(moved, project.folder / "data/sample")


def test_commands_run_in_a_console_of_korean_windows(project):
    code = "import sys; from faceemo.cli import main; sys.exit(any([main(line.split('|')) for line in sys.argv[1:]]))"
    archive = f"data/sample/Training/{ANXIOUS.name}"
    lines = [f"predict|{archive}", f"predict|{archive}|--out|행.csv|--annotate|그림", "export", "report"]
    output = project.run(sys.executable, "-c", code, *lines, **KOREAN)
    assert output.count("\nok ") == 49
    assert "classes neutral, anxious" in output
    assert (project.folder / "행.csv").exists() and len(list((project.folder / "그림").glob("*.jpg"))) == 49
    assert (project.folder / "report.html").exists()
    assert "Traceback" not in output


def test_a_training_that_diverges_leaves_no_model_and_no_metrics(project):
    project.change_text("params.yaml", "lr: 0.001", "lr: 1000000.0")
    output = project.dvc("repro", "train", code=255)
    assert re.search(r"^train: error: training diverged in epoch \d+: .* lower 'lr', now 1e\+06$", output, re.MULTILINE)
    assert "Traceback" not in output
    for name in ("models/emotion.pt", "metrics.json", "evaluation.json"):
        assert not (project.folder / name).exists()
    assert (project.folder / "plots/history.csv").read_text(encoding="utf-8").count("\n") >= 2  # it shows where


def test_the_docs_know_what_dvc_says_of_its_broken_lock(project):
    lock = project.folder / ".dvc/tmp/rwlock"
    lock.write_text('{"write": {', encoding="utf-8")
    words = "Unable to read RWLock-file '.dvc/tmp/rwlock'. JSON structure is corrupted"
    assert words in project.dvc("repro", code=255)
    for name in ("troubleshooting.md", "troubleshooting.ko.md"):
        assert f"- **`{words}`**" in (ROOT / "docs" / name).read_text(encoding="utf-8")
    lock.unlink()  # which mends it, as the next test shows


def test_the_docs_know_what_dvc_says_of_korean_words_without_quotes(project):
    words = "LexerNoViableAltException"
    assert words in project.dvc("exp", "run", "-S", "emotions=[중립,기쁨]", code=255)
    for name in ("troubleshooting.md", "troubleshooting.ko.md"):
        page = (ROOT / "docs" / name).read_text(encoding="utf-8")
        assert f"`{words}`" in page and "-S \"emotions=['중립','기쁨']\"" in page


@needs_posix("sends signals")
def test_a_training_is_told_of_and_ctrl_c_in_it_is_one_line_and_leaves_the_model_of_the_last_epoch(project):
    """Exit 130, through dvc, which starts the stage in a shell: bash passes the 130 on, dash dies of the same Ctrl-C
    after the stage (-2).
    """
    project.change_text("params.yaml", "lr: 1000000.0", "lr: 0.001")
    project.change_text("params.yaml", "epochs: 3 ", "epochs: 100000 ")
    history = project.folder / "plots/history.csv"
    history.unlink()  # of the training before
    told = []

    def trains() -> bool:
        if history.exists() and not told:  # what others are told meanwhile
            told.append(project.faceemo("export", "--model", "models/emotion.pt", code=1))
            told.append(project.faceemo("report", code=1))
        return bool(told)

    output, code = project.stopped(trains, signal.SIGINT, "repro", "train")
    assert "models/emotion.pt: dvc is training it; wait for its end" in told[0]
    assert "dvc is training, and the last run is gone; wait for the end of the new one" in told[1]
    assert code != 0 and "Traceback" not in output
    said = re.findall(r"^train: interrupted.*$", output, re.MULTILINE)
    assert len(said) == 1 and re.search(r"the model of epoch \d+ is in models/interrupted\.pt$", said[0])
    assert re.search(r"exited with (130|-2)\n", output)
    assert load_model(project.folder / "models/interrupted.pt").classes == ("neutral", "anxious")
    assert not (project.folder / "models/emotion.pt").exists()
