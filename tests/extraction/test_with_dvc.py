"""Extraction as dvc runs it: stopped, forced, in an experiment's copy of the project, and after a repaired archive.

The tests of this module run in order and share one project.
"""

import re
import shutil
import signal
import zipfile

import pyarrow.parquet as pq
import pytest
from made_archives import ANXIOUS, encoded, make_zip
from project import Project, stages_run
from skimage.data import astronaut
from systems import needs_posix

from faceemo.extraction.engines.choice import choose_engine

pytestmark = pytest.mark.slow

TEXTS, FACES = 1000, 100  # a shard that is read at once, and one that takes a while
EXTRACT = "extract@many"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    made = Project(tmp_path_factory.mktemp("extraction") / "my project")
    texts = [f"no picture {number}".encode() for number in range(TEXTS)]
    faces = [encoded(astronaut() // 2 + number, quality=95) for number in range(FACES)]
    names = [f"{('happy', 'sad')[number % 2]}/p{number % 50}_{number}.jpg" for number in range(TEXTS + FACES)]
    make_zip(made.folder / "many.zip", dict(zip(names, texts + faces, strict=True)))
    made.faceemo("scan", "many.zip", "--subject", r"/(p\d+)_")
    made.commit()
    return made


def stopped_repro(project, stop, *command):
    """Run dvc until a first shard is there, then stop it and its stage; what it says, and its exit code."""
    rows = project.folder / "data/.rows"
    before = set(rows.glob("*/many/*.parquet"))
    return project.stopped(lambda: not set(rows.glob("*/many/*.parquet")) <= before, stop, *command, EXTRACT)


def shard_bytes(project):
    return [path.read_bytes() for path in sorted((project.folder / "data/landmarks/many").iterdir())]


@needs_posix("kills processes by signals")
@pytest.mark.parametrize("command", [("repro",), ("exp", "run")])
def test_rows_survive_kill_9_of_dvc_and_its_stage(project, command):
    shutil.rmtree(project.folder / "data/.rows", ignore_errors=True)
    project.change_text("params.yaml", *(("crops: true", "crops: false") if command == ("repro",) else ("", "")))
    _, code = stopped_repro(project, signal.SIGKILL, *command)
    assert code == -signal.SIGKILL
    output = project.dvc(*command, EXTRACT)
    assert "many: 1000 of 1100 pictures were read before" in output
    assert stages_run(output) == {EXTRACT}
    project.run("git", "checkout", "--quiet", "params.yaml")


@needs_posix("sends signals")
def test_ctrl_c_is_one_line_and_keeps_finished_shards(project):
    project.change_text("params.yaml", "engine: auto ", f"engine: {choose_engine('auto')} ")
    shutil.rmtree(project.folder / "data/.rows")
    output, code = stopped_repro(project, signal.SIGINT, "repro")
    assert code != 0 and "Traceback" not in output
    assert len(re.findall("^extract: interrupted; many: [01] of 2 shards are kept", output, re.MULTILINE)) == 1
    assert re.search(r"exited with (130|-2)\n", output)
    assert "many: 1000 of 1100 pictures were read before" in project.dvc("repro", EXTRACT)
    project.run("git", "checkout", "--quiet", "params.yaml")


def test_when_dvc_has_stored_the_rows_they_are_on_disk_once_beside_its_cache(project):
    project.dvc("repro", EXTRACT)
    before = shard_bytes(project)
    project.dvc("repro", "normalize")
    assert shard_bytes(project) == before
    landmarks = {path.stat().st_ino for path in (project.folder / "data/landmarks/many").iterdir()}
    rows = {path.stat().st_ino for path in (project.folder / "data/.rows").rglob("*.parquet")}
    assert rows == landmarks and len(rows) == 2
    assert project.faceemo("clean") == "no rows that are not in use\n"
    assert stages_run(project.dvc("repro", "normalize")) == set()


def test_a_forced_stage_and_a_copy_of_the_project_read_nothing_again(project):
    before = shard_bytes(project)
    output = project.dvc("repro", "--force", "--single-item", EXTRACT)
    assert "many: 1100 of 1100 pictures were read before" in output
    assert shard_bytes(project) == before
    project.commit()
    output = project.dvc("exp", "run", "--temp", "-S", "limit=30", EXTRACT)
    assert "many: 30 of 30 pictures were read before" in output


def test_a_repaired_archive_is_read_where_it_could_not_be(project):
    archive = project.folder / "repaired.zip"
    with zipfile.ZipFile(ANXIOUS) as source:
        make_zip(
            archive, {f"{('happy', 'sad')[n % 2]}/{n}.jpg": source.read(one) for n, one in enumerate(source.infolist())}
        )
    good = archive.read_bytes()
    middle = len(good) // 2
    archive.write_bytes(good[:middle] + bytes([good[middle] ^ 0xFF]) + good[middle + 1 :])

    def attempt():
        """What scan and dvc say, which stages run, and the statuses after them."""
        scanned = project.faceemo("scan", "repaired.zip", "--subject", "each")
        ran = project.dvc("repro", "extract@repaired")
        rows = pq.read_table(project.folder / "data/landmarks/repaired")
        return scanned + ran, stages_run(ran), rows["status"].to_pylist()

    output, stages, statuses = attempt()
    assert stages == {"extract@repaired"} and statuses.count("read_error") == 1
    output, stages, statuses = attempt()
    assert stages == set()
    assert "1 picture could not be read when it was extracted, and still cannot be" in output
    archive.write_bytes(good)
    output, stages, statuses = attempt()
    assert stages == {"extract@repaired"} and "read_error" not in statuses
    assert "repaired: 47 of 48 pictures were read before" in output
    archive.touch()
    output, stages, statuses = attempt()
    assert stages == set() and "could not be read" not in output


def test_without_its_output_dvc_restores_a_stage_and_does_not_run_it(project):
    """Why a scan counts repaired archives in sources.yaml: to remove the landmarks would bring the old ones back."""
    shutil.rmtree(project.folder / "data/landmarks/repaired")
    output = project.dvc("repro", "extract@repaired")
    assert stages_run(output) == set() and "checking out outputs" in output
