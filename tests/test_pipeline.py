"""The pipeline as its users run it: through dvc, in a git repository whose path has spaces and Hangul.

The tests of this module run in order and share one project; each says which stages dvc ran.
"""

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from benchmarks.people import PUBLISHED, with_settings
from made_archives import heed_ctrl_c
from project import Project, stages_run

from faceemo.extraction.schema import FORMAT
from faceemo.params import load_params
from faceemo.training.model import load_model
from faceemo.training.train import make_optimizer

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
SOURCES = ["anxious-training-01", "anxious-validation-01", "happy-training-01", "neutral-training-01"]
EXTRACTS = {f"extract@{key}" for key in SOURCES}
EXTRACT = "extract@anxious-training-01"
EVERYTHING = EXTRACTS | {"normalize", "train"}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return Project(tmp_path_factory.mktemp("pipeline") / "내 연구 프로젝트")


def test_repro_runs_every_stage_and_then_nothing(project):
    output = project.dvc("repro")
    assert stages_run(output) == EVERYTHING
    assert "Traceback" not in output
    assert "data/sample is synthetic" in output
    assert "> python -m stages.train\ntraining on " in output  # the first line names the devices
    assert project.metrics()["subjects"]["overlap"] == 0
    assert project.evaluation()["coverage"]["images"] == 48 + 12 + 50  # neutral and anxious alone
    for name in ("history.png", "confusion.png", "reliability.png", "classes.png", "importance.png", "history.csv"):
        assert (project.folder / "plots" / name).stat().st_size > 0
    assert stages_run(project.dvc("repro")) == set()
    project.run("git", "add", "dvc.lock", "metrics.json", "evaluation.json", "plots")  # the README's second step
    project.commit()


def test_every_picture_of_every_archive_is_a_row_of_features(project):
    sources = yaml.safe_load((project.folder / "data/sources.yaml").read_text(encoding="utf-8"))["sources"]
    assert set(sources) == set(SOURCES)
    for key, source in sources.items():
        landmarks = pq.read_table(project.folder / "data/landmarks" / key)
        features = pq.read_table(project.folder / "data/features" / f"{key}.parquet")
        assert landmarks.num_rows == features.num_rows == source["images"]
        assert landmarks["image"].to_pylist() == features["image"].to_pylist()
    assert not list((project.folder / "data/.partial").iterdir())


@pytest.mark.parametrize(
    "setting", ["lr=1e-5", "seed=2", "labels.target=majority", "emotions=[neutral,{low:[anxious,happy]}]"]
)
def test_a_training_parameter_trains_alone(project, setting):
    assert project.experiment(setting) == {"train"}
    if setting == "lr=1e-5":
        assert project.metrics() != json.loads(project.run("git", "show", "HEAD:metrics.json"))
        difference = project.dvc("metrics", "diff")
        assert "test.archive." in difference
        assert max(map(len, difference.splitlines())) <= 120
        assert "lr: 1e-05" in (project.folder / "params.yaml").read_text(encoding="utf-8")
    if setting.startswith("emotions"):
        assert list(project.evaluation()["test"]["archive"]["per_class"]) == ["neutral", "low"]
        assert project.evaluation()["coverage"]["images"] == 48 + 12 + 50 + 48
    if setting.startswith("labels"):
        truths = ("archive", "majority")
        committed = json.loads(project.run("git", "show", "HEAD:evaluation.json"))["test"]
        assert [project.evaluation()["test"][one]["images"] for one in truths] == [
            committed[one]["images"] for one in truths
        ]
    project.restore()


def test_normalize_parameter_extracts_nothing(project):
    assert project.experiment("normalize.align=pose") == {"normalize", "train"}
    project.restore()


def test_the_line_of_the_docs_runs_the_published_recipe(project):
    """Nose tip (point 1), largest absolute coordinate, Adam at 1e-3, batches of 128, cross entropy, last epoch."""
    page = (ROOT / "docs/recipes.md").read_text(encoding="utf-8")
    line = next(line for line in page.splitlines() if line.startswith("dvc exp run -n published"))
    assert line in (ROOT / "docs/recipes.ko.md").read_text(encoding="utf-8")
    words = line.replace("epochs=50", "epochs=2").split()
    assert stages_run(project.dvc(*words[1:])) == {"normalize", "train"}

    key = "anxious-training-01"
    features = pq.read_table(project.folder / "data/features" / f"{key}.parquet")["features"].to_pylist()
    rows = pq.read_table(project.folder / "data/landmarks" / key)["landmarks"].to_pylist()
    points = np.array([row for row in rows if row], np.float32).reshape(-1, 478, 3)
    centred = points - points[:, 1:2]
    expected = (centred / np.abs(centred).max((1, 2), keepdims=True)).reshape(len(points), -1)
    np.testing.assert_allclose([row for row in features if row], expected, atol=1e-5)

    model = load_model(project.folder / "models/emotion.pt")
    assert [type(layer).__name__ for layer in model.build()] == (
        ["Linear", "ReLU", "BatchNorm1d", "Dropout"] * 2 + ["Linear", "ReLU", "Linear"]
    )
    assert not model.mean.any()
    assert (model.std == 1).all()
    params = load_params(project.folder / "params.yaml")
    optimizer, schedule = make_optimizer(model.build(), params, 10)
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.defaults["lr"] == 1e-3
    assert optimizer.defaults["weight_decay"] == 0
    optimizer.step()
    schedule.step()
    assert schedule.get_last_lr() == [1e-3]
    assert (params.batch_size, params.train.label_smoothing, params.train.class_weights) == (128, 0, False)
    assert (params.train.mirror, params.train.best_epoch) == (False, False)
    published = with_settings(load_params(ROOT / "params.yaml"), PUBLISHED)
    assert dataclasses.replace(params, epochs=50) == published
    project.restore()


def test_a_change_of_code_that_leaves_rows_as_they_are_extracts_nothing(project):
    """A touched comment: extract runs again for another format of its rows alone."""
    for name in ("extract", "worker", "decode", "facemesh", "archive"):
        with (project.folder / f"faceemo/extraction/{name}.py").open("a", encoding="utf-8", newline="\n") as file:
            file.write("# a comment\n")
    assert "Data and pipelines are up to date." in project.dvc("status")
    project.change_text("faceemo/extraction/schema.py", f"FORMAT = {FORMAT}", f"FORMAT = {FORMAT + 1}")
    assert re.findall(r"^(extract@\S+):$", project.dvc("status"), re.MULTILINE) == sorted(EXTRACTS)
    project.restore()


def test_workers_change_nothing(project):
    assert project.experiment("workers=1") == set()
    project.restore()


def test_plots_are_shown(project):
    output = project.dvc("plots", "show")
    page = project.folder / "dvc_plots" / "index.html"
    assert "index.html" in output
    assert "confusion on unseen people" in page.read_text(encoding="utf-8")
    shutil.rmtree(page.parent)


def test_moved_archives_scanned_again_are_not_extracted(project, tmp_path):
    moved = tmp_path / "다른 곳"
    shutil.move(project.folder / "data/sample", moved)
    project.faceemo("scan", str(moved))
    assert stages_run(project.dvc("repro")) & EXTRACTS == set()
    shutil.move(moved, project.folder / "data/sample")
    project.faceemo("scan", "data/sample")
    assert stages_run(project.dvc("repro")) & EXTRACTS == set()
    project.restore()


def test_a_good_copy_of_a_damaged_archive_is_extracted_where_it_could_not_be_read(project):
    archive = project.folder / "data/sample/Training/[원천]EMOIMG_불안_TRAIN_01.zip"
    rows = pq.read_table(project.folder / "data/landmarks/anxious-training-01").to_pylist()
    good = archive.read_bytes()
    middle = len(good) // 2
    archive.write_bytes(good[:middle] + bytes([good[middle] ^ 0xFF]) + good[middle + 1 :])
    project.change_text("params.yaml", "max_bytes: 200000000", "max_bytes: 150000000")  # extracts again

    def attempt() -> tuple[str, set[str], list[dict]]:
        """What scan says, which stages then run, and the rows after them."""
        scanned = project.faceemo("scan", "data/sample")
        ran = project.dvc("repro", EXTRACT)
        found = pq.read_table(project.folder / "data/landmarks/anxious-training-01").to_pylist()
        return scanned + ran, stages_run(ran), found

    output, stages, found = attempt()
    assert stages == {EXTRACT}
    (failed,) = (number for number, row in enumerate(found) if row["status"] == "read_error")
    assert 16 <= failed < 32  # in the second shard of three
    shutil.copyfile(archive, archive.with_suffix(".copy"))
    archive.with_suffix(".copy").replace(archive)
    output, stages, found = attempt()
    assert stages == set()
    assert "1 picture could not be read when it was extracted, and still cannot" in output

    archive.write_bytes(good)
    output, stages, found = attempt()
    assert stages == {EXTRACT}
    assert "some can now, so dvc repro extracts 1 of 3 shards again" in output
    assert "2 of 3 shards kept from an earlier run" in output
    assert found == rows
    archive.touch()
    output, stages, found = attempt()
    assert stages == set()
    assert "could not be read" not in output
    project.restore()


BAD_PARAMS = [
    ("lr=abc", "lr must be a number"),
    ("lr=null", "lr must be a number, not null"),
    ("lr=-1", "lr must be above 0"),
    ("+lrr=1", "unknown key lrr"),
    ("emotions=[neutral,sleepy]", "no source holds 'sleepy'"),
    ("emotions=[neutral]", "at least two emotions"),
    ("emotions=[neutral,sad]", "'sad'"),
    ("split.test=0.01", "the test split has nobody with"),
]


@pytest.mark.parametrize(("setting", "line"), BAD_PARAMS)
def test_a_bad_parameter_is_one_clear_line(project, setting, line):
    key, _, value = setting.lstrip("+").partition("=")
    path = project.folder / "params.yaml"
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    *sections, leaf = key.split(".")
    target = values
    for section in sections:
        target = target[section]
    target[leaf] = yaml.safe_load(value)
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    commands = [("stages.extract", SOURCES[0]), ("stages.normalize",)]  # before they work, what train would find
    if line == "'sad'" or "nobody" in line or setting == "lr=abc":
        commands.append(("stages.train",))
    if setting == "lr=abc":
        commands.append(("faceemo.cli", "scan", "data/sample"))
    for command in commands:
        output = project.run(sys.executable, "-m", *command, code=1)
        errors = [text for text in output.splitlines() if "error" in text]
        assert len(errors) == 1
        assert line in errors[0]
        assert errors[0].startswith("params.yaml: error: lr") == line.startswith("lr")
        assert "Traceback" not in output
    project.restore()


@pytest.mark.parametrize("ids", [(), ("neutral-training-01", "anxious-training-01")])
def test_a_stage_of_one_source_asks_for_one(project, ids):
    output = project.run(sys.executable, "-m", "stages.extract", *ids, code=1)
    assert output.startswith("extract: error: name one source: python -m stages.extract ID; known: ")
    assert output.count("\n") == 1


def test_bad_parameter_fails_repro(project):
    project.change_text("params.yaml", "lr: 0.001", "lr: abc")
    output = project.dvc("repro", code=255)
    assert "lr must be a number, not 'abc'" in output
    assert "Traceback" not in output
    project.restore()


def test_a_changed_archive_is_extracted_alone(project):
    changed = project.folder / "data/sample/Training/[원천]EMOIMG_불안_TRAIN_01.zip"
    with zipfile.ZipFile(project.folder / "data/sample/Training/[원천]EMOIMG_기쁨_TRAIN_01.zip") as other:
        name = next(name for name in other.namelist() if name.endswith(".jpg"))
        picture = other.read(name)
    with zipfile.ZipFile(changed, "a") as archive:
        archive.writestr(name.replace("기쁨", "불안"), picture)
    output = project.run(sys.executable, "-m", "stages.extract", "anxious-training-01", code=1)
    assert "archive changed since the last scan; run 'faceemo scan'" in output
    project.faceemo("scan", "data/sample")
    assert stages_run(project.dvc("repro")) == {"extract@anxious-training-01", "normalize", "train"}
    assert project.evaluation()["coverage"]["images"] == 49 + 12 + 50


def test_a_dropped_archive_leaves_no_rows(project):
    (project.folder / "data/sample/Validation/[원천]EMOIMG_불안_VALID.zip").unlink()
    output = project.faceemo("scan", "data/sample")
    assert "labels without a source archive" in output
    assert stages_run(project.dvc("repro")) == {"normalize", "train"}
    assert not (project.folder / "data/features/anxious-validation-01.parquet").exists()
    assert project.evaluation()["coverage"]["images"] == 49 + 50
    project.restore()


@pytest.mark.parametrize("content", ["", '{"write": {'])
def test_the_docs_know_what_dvc_says_of_its_broken_lock_and_what_mends_it(project, content):
    lock = project.folder / ".dvc/tmp/rwlock"
    lock.write_text(content, encoding="utf-8")
    words = "Unable to read RWLock-file '.dvc/tmp/rwlock'. JSON structure is corrupted"
    assert words in project.dvc("repro", code=255)
    for name in ("troubleshooting.md", "troubleshooting.ko.md"):
        assert f"- **`{words}`**" in (ROOT / "docs" / name).read_text(encoding="utf-8")
    lock.unlink()
    project.dvc("repro")


def interrupted_repro(project, stage: str, moment: str) -> str:
    """Run `dvc repro STAGE` and press Ctrl-C when its output contains `moment`; returns the rest of what it says."""
    log = project.folder / "interrupted.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro", stage],
            cwd=project.folder,
            env={**project.environment, "PYTHONUNBUFFERED": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=heed_ctrl_c,
        ) as process,
    ):
        deadline = time.monotonic() + 60
        while moment not in log.read_text(encoding="utf-8"):
            assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to all of them
        assert process.wait(30) != 0
    text = log.read_text(encoding="utf-8")
    log.unlink()
    return text


def test_a_training_that_diverges_leaves_no_model_and_no_metrics(project):
    project.change_text("params.yaml", "lr: 0.001", "lr: 1000000.0")
    output = project.dvc("repro", "train", code=255)
    assert re.search(r"^train: error: training diverged in epoch \d+: .* lower 'lr', now 1e\+06$", output, re.MULTILINE)
    assert "Traceback" not in output
    for name in ("models/emotion.pt", "metrics.json", "evaluation.json"):
        assert not (project.folder / name).exists()
    assert (project.folder / "plots/history.csv").read_text(encoding="utf-8").count("\n") >= 2  # it shows where
    project.restore()


@pytest.mark.skipif(os.name == "nt", reason="sends POSIX signals")
class TestCtrlC:
    """One line, no traceback, exit 130, through dvc repro.

    dvc starts the stage in a shell: bash passes the 130 on, dash dies of the same Ctrl-C after the stage (-2).
    """

    def test_in_extract_keeps_finished_shards(self, project):
        project.change_text("params.yaml", "max_bytes: 200000000", "max_bytes: 100000000")
        project.change_text(
            "faceemo/extraction/extract.py",
            "                kept += 1\n",
            "                kept += 1\n                print('shard written', flush=True)\n"
            "                time.sleep(1)\n",
        )
        output = interrupted_repro(project, EXTRACT, "shard written")
        self.check(output, "extract")
        assert re.search(r"[1-3] of [34] shards are kept", output)
        project.run("git", "checkout", "--quiet", "faceemo")
        again = project.dvc("repro", EXTRACT)
        assert re.search(r"[1-3] of [34] shards kept from an earlier run", again)
        project.restore()

    def test_in_normalize(self, project):
        project.change_text("params.yaml", "align: none", "align: roll")
        project.change_text(
            "stages/normalize.py",
            "    normalize_sources",
            "    import time\n\n    print('here', flush=True)\n    time.sleep(20)\n    normalize_sources",
        )
        self.check(interrupted_repro(project, "normalize", "here"), "normalize")
        project.restore()

    def test_in_train_leaves_the_best_model_so_far(self, project):
        project.change_text("params.yaml", "epochs: 3 ", "epochs: 100000 ")
        project.change_text("faceemo/console.py", "PLAIN_SECONDS = 10.0", "PLAIN_SECONDS = 0.1")
        project.change_text("params.yaml", "seed: 1", "seed: 7")
        output = interrupted_repro(project, "train", "of 100000 epochs")
        self.check(output, "train")
        assert "is in models/interrupted.pt" in output
        assert load_model(project.folder / "models/interrupted.pt").classes == ("neutral", "anxious")
        project.restore()

    def check(self, output: str, stage: str) -> None:
        assert "Traceback" not in output
        assert len(re.findall(f"^{stage}: interrupted", output, re.MULTILINE)) == 1
        assert re.search(r"exited with (130|-2)\n", output)


@pytest.mark.skipif(os.name == "nt", reason="sends POSIX signals")
@pytest.mark.parametrize("command", [("repro",), ("exp", "run")])
def test_shards_survive_kill_9_of_dvc_and_its_stage(project, command):
    project.change_text("params.yaml", "max_bytes: 200000000", f"max_bytes: 20000{len(command)}000")
    project.change_text(
        "faceemo/extraction/extract.py",
        "                kept += 1\n",
        "                kept += 1\n                if number == 1:\n                    os.killpg(0, 9)\n",
    )
    subprocess.run(
        [sys.executable, "-m", "dvc", *command, EXTRACT],
        cwd=project.folder,
        env=project.environment,
        start_new_session=True,
        capture_output=True,
        timeout=120,
    )
    project.run("git", "checkout", "--quiet", "faceemo")
    output = project.dvc(*command, EXTRACT)
    assert re.search(r"2 of 3 shards kept from an earlier run", output)
    assert stages_run(output) == {EXTRACT}
    project.restore()


def test_everything_runs_in_a_console_of_korean_windows(project):
    """CP949 in and out, no UTF-8 mode, as PowerShell on a Korean Windows gives it."""
    korean = {"PYTHONUTF8": "0", "PYTHONIOENCODING": "cp949"}
    assert "error" not in project.faceemo("scan", "data/sample", **korean)
    for stage in (("extract", SOURCES[0]), ("normalize",), ("train",)):
        assert "Traceback" not in project.run(sys.executable, "-m", f"stages.{stage[0]}", *stage[1:], **korean)
    archive = next((project.folder / "data/sample/Validation").glob("*원천*불안*.zip"))
    table = project.faceemo("predict", str(archive), **korean)
    assert table.count("\nok ") == 12
    assert "wrote" in project.faceemo("predict", str(archive), "--out", "행.csv", "--annotate", "그림", **korean)
    assert "classes neutral, anxious" in project.faceemo("export", **korean)
    assert "wrote" in project.faceemo("report", **korean)
    project.restore()
