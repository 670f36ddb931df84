import contextlib
import ctypes
import errno
import functools
import importlib.metadata
import json
import os
import pickle
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from distributed import Client
from made_archives import (
    ANXIOUS,
    NEUTRAL,
    SETTINGS,
    alive,
    driver,
    make_zip,
    pictures_in,
    run_driver,
    shard_bytes,
)
from systems import needs_linux, needs_posix

from faceemo.errors import FaceemoError
from faceemo.extraction import executors
from faceemo.extraction.executors import (
    ProcessesExecutor,
    SequentialExecutor,
    default_workers,
    in_order,
    open_workers,
)
from faceemo.extraction.extract import extract
from faceemo.extraction.fingerprint import how_made, versions_of
from faceemo.pictures.archive import Archive
from faceemo.pictures.reader import MAX_BYTES, first_by_hash
from faceemo.pictures.scan import scan

pytestmark = pytest.mark.slow


def test_results_come_in_the_order_of_the_tasks_and_no_more_are_under_way_than_asked():
    submitted = []

    class Counting(SequentialExecutor):
        def submit(self, function, /, *args):
            submitted.append(args)
            return super().submit(function, *args)

    results = in_order(Counting(), lambda number: number * number, range(10), window=3)
    assert next(results) == 0
    assert len(submitted) == 3
    assert list(results) == [number * number for number in range(1, 10)]


def test_a_single_task_runs_in_process():
    with open_workers(None, 8, 1) as opened:
        assert opened.executor.submit(os.getpid).result() == os.getpid()
        assert opened.window == 1


@pytest.mark.parametrize(("workers", "window"), [(1, 4), (2, 8)])
def test_several_run_in_processes_of_their_own(workers, window):
    with open_workers(None, workers, 100) as opened:
        assert opened.executor.submit(os.getpid).result() != os.getpid()
        assert opened.window == window


def test_a_process_that_dies_takes_no_other_task_with_it_and_is_replaced():
    with ProcessesExecutor(2) as executor:
        slow = executor.submit(time.sleep, 0.5)
        before = executor.submit(os.getpid).result()
        with pytest.raises(BrokenExecutor):
            executor.submit(os.abort).result()
        assert executor.submit(os.getpid).result() != before
        slow.result()


@needs_linux("looks for processes in /proc")
def test_processes_have_ended_when_their_executor_has():
    with ProcessesExecutor(2) as executor:
        pids = {executor.submit(os.getpid).result() for _ in range(2)}
        assert len(pids) == 1  # an idle one is used again
    assert not any(alive(pid) for pid in pids)


def test_workers_inherit_on_windows_that_ctrl_c_is_ignored_while_they_start(monkeypatch):
    """As far as it can be tried elsewhere: what Windows is asked for around their start."""
    asked = []
    kernel = SimpleNamespace(SetConsoleCtrlHandler=lambda handler, ignore: asked.append((handler, ignore)))
    monkeypatch.setattr(executors.sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "windll", SimpleNamespace(kernel32=kernel), raising=False)
    with executors._interrupts_blocked():
        assert asked == [(None, True)]
    assert asked == [(None, True), (None, False)]


@pytest.mark.parametrize(("system", "named"), [("linux", "/dev/shm is full"), ("darwin", "no semaphore left")])
def test_no_room_for_the_semaphores_of_processes_is_one_line_that_says_where(monkeypatch, system, named):
    """As with a /dev/shm of 1 kB: the system's "No space left on device" names nothing."""

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(executors.multiprocessing.get_context("spawn"), "Lock", full)
    monkeypatch.setattr(executors.sys, "platform", system)
    with (
        pytest.raises(FaceemoError, match=named) as error,
        open_workers(None, 2, 3) as workers,
    ):
        list(in_order(workers.executor, abs, [-1, -2, -3], workers.window))
    assert "\n" not in str(error.value)


def test_all_cores_by_default():
    assert 1 <= default_workers() <= os.cpu_count()


def test_a_scheduler_that_does_not_answer_is_one_clear_line(monkeypatch):
    monkeypatch.setattr("faceemo.extraction.executors.CLUSTER_SECONDS", 1)
    with (
        pytest.raises(FaceemoError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"),
        open_workers("tcp://127.0.0.1:9", None, 1),
    ):
        pass


def test_without_tasks_no_cluster_is_needed():
    with open_workers("tcp://127.0.0.1:9", None, 0) as opened:
        assert isinstance(opened.executor, SequentialExecutor)


class Cluster:
    """A real scheduler and its workers on this machine, processes that run in a folder; with environment variables."""

    def __init__(self, folder, **environment):
        self._folder, self._environment = folder, {**os.environ, **environment}
        self.workers = []
        file = folder / "scheduler.json"
        self.scheduler = self._start("dask_scheduler", "--port", "0", "--scheduler-file", str(file))
        deadline = time.monotonic() + 30
        while not file.exists() or not file.read_text(encoding="utf-8"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        self.address = json.loads(file.read_text(encoding="utf-8"))["address"]

    def add_worker(self, **environment):
        self.workers.append(
            self._start("dask_worker", self.address, "--no-nanny", "--nthreads", "1", **environment),
        )

    def _start(self, name, *arguments, **environment):
        command = [sys.executable, "-m", f"distributed.cli.{name}", *arguments, "--host", "127.0.0.1", "--no-dashboard"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(command, cwd=self._folder, env={**self._environment, **environment}, **quiet)

    def end(self):
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@contextlib.contextmanager
def cluster(folder, count, **environment):
    """A cluster of so many workers."""
    opened = Cluster(folder, **environment)
    try:
        for _ in range(count):
            opened.add_worker()
        yield opened
    finally:
        opened.end()


def at_the_first_shard(action):
    """A hook of run_driver: what the process of the extraction does when it has kept its first shard."""
    return (
        "real = Store.write\nwritten = []\n"
        "def write(*shard):\n    real(*shard)\n    written.append(shard)\n"
        f"    if len(written) == 1:\n        {action}\n"
        "Store.write = write"
    )


def killing(*processes):
    return "; ".join(f"os.kill({process.pid}, signal.SIGKILL)" for process in processes)


@needs_posix("kills processes by signals")
def test_a_cluster_gives_the_same_bytes_though_a_worker_is_killed_half_way(tmp_path):
    with cluster(tmp_path, 2) as found:
        hook = at_the_first_shard(killing(found.workers[0]))
        done = run_driver(tmp_path / "cluster", ANXIOUS, workers=1, hook=hook, scheduler=found.address)
        assert done.returncode == 0, done.stderr
        assert found.workers[0].wait(5) == -signal.SIGKILL
    alone = run_driver(tmp_path / "alone", ANXIOUS, workers=1)
    assert alone.returncode == 0
    assert shard_bytes(tmp_path / "cluster") == shard_bytes(tmp_path / "alone")


def test_a_picture_that_kills_the_workers_of_a_cluster_is_a_row(tmp_path):
    pictures = pictures_in(ANXIOUS)
    lethal = pictures[first_by_hash(pictures, 8)[5]].name
    hook = f"extract.read_task = ReadOrDie({{{lethal!r}}})"
    with cluster(tmp_path, 3, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0") as found:
        done = run_driver(tmp_path, ANXIOUS, workers=1, limit=8, hook=hook, scheduler=found.address)
    assert done.returncode == 0, done.stderr
    assert "8 pictures: 7 ok, 1 decode_error" in done.stdout


@needs_posix("kills processes by signals")
def test_a_killed_scheduler_is_one_line_that_says_what_is_kept(tmp_path):
    with cluster(tmp_path, 2) as found:
        hook = at_the_first_shard(killing(found.scheduler))
        done = run_driver(tmp_path, ANXIOUS, workers=1, hook=hook, scheduler=found.address)
    assert done.returncode == 1
    assert re.fullmatch(  # what was on its way when it went may be a shard or more
        rf"extract: error: a-training-01: the Dask scheduler at {re.escape(found.address)} has gone; start it and its "
        r"workers, and run again \([1-5] of 6 shards are kept\)\n",
        done.stderr,
    )


@needs_posix("kills processes by signals")
@pytest.mark.parametrize("who_gives_up", ["extraction", "scheduler"])
def test_without_workers_it_says_what_it_waits_for_and_ends_after_the_time_of_dasks_setting(
    tmp_path, monkeypatch, who_gives_up
):
    patience = {"DASK_DISTRIBUTED__SCHEDULER__NO_WORKERS_TIMEOUT": "3s"}
    with cluster(tmp_path, 2, **(patience if who_gives_up == "scheduler" else {})) as found:
        if who_gives_up == "extraction":
            monkeypatch.setenv(*patience.popitem())
        soon = "import faceemo.extraction.executors as executors\nexecutors.LOOK_SECONDS = 0.5\n"
        hook = soon + at_the_first_shard(killing(*found.workers))
        done = run_driver(tmp_path, ANXIOUS, workers=1, hook=hook, scheduler=found.address)
    assert f"{found.address} has no workers left, waiting for one: 'dask worker {found.address}'\n" in done.stdout
    assert done.returncode == 1
    assert re.fullmatch(
        rf"extract: error: a-training-01: {re.escape(found.address)} had no workers for 3 seconds "
        r"\(distributed\.scheduler\.no-workers-timeout\); start some with 'dask worker' and run again "
        r"\([1-5] of 6 shards are kept\)\n",
        done.stderr,
    )


@needs_posix("kills processes by signals")
def test_a_worker_that_comes_when_all_have_gone_goes_on(tmp_path):
    with cluster(tmp_path, 1) as found:
        hook = at_the_first_shard(killing(*found.workers))
        command = driver(tmp_path, ANXIOUS, workers=1, hook=hook, scheduler=found.address)
        with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, encoding="utf-8") as process:
            found.workers[0].wait(60)
            found.add_worker()
            said, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "48 pictures: 48 ok" in said


def test_a_fault_of_one_machine_of_a_cluster_names_it(tmp_path):
    """Its archive is not where the machine that runs dvc has it."""
    path = Path(shutil.copy(ANXIOUS, tmp_path / "a.zip"))
    moved = "os.rename(task['source']['zip'], 'elsewhere.zip')"
    seen = f"def seen(pictures):\n    {moved}\n    return real(pictures)"
    hook = f"real = extract.digest_of\n{seen}\nextract.digest_of = seen"
    with cluster(tmp_path, 1) as found:
        done = run_driver(tmp_path, path, workers=1, hook=hook, scheduler=found.address)
    assert (done.returncode, done.stderr) == (1, f"extract: error: on {platform.node()}: {path}: no such archive\n")


def other_version(folder, package="faceemo", version="0.0.1"):
    """Environment variables with which a process finds another version of a package installed."""
    (folder / f"{package}-{version}.dist-info").mkdir(parents=True)
    metadata = f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
    (folder / f"{package}-{version}.dist-info/METADATA").write_text(metadata, encoding="utf-8")
    return {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}


@pytest.mark.parametrize("package", ["faceemo", "pillow"])
def test_a_worker_with_another_version_is_named_with_both_before_any_work(tmp_path, package):
    here = importlib.metadata.version(package)
    with cluster(tmp_path, 1) as found:
        found.add_worker(**other_version(tmp_path / "other", package))
        with Client(found.address) as client:
            client.wait_for_workers(2)
        done = run_driver(tmp_path, ANXIOUS, workers=1, scheduler=found.address)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    said = f"on {platform.node()} has {package} 0.0.1, this machine {here}; install the same there"
    assert (
        done.stderr.startswith("extract: error: extract.scheduler: the worker tcp://127.0.0.1:") and said in done.stderr
    )
    assert not list(tmp_path.rglob("*.parquet"))


ONE_PACKAGE = {"faceemo": functools.partial(importlib.metadata.version, "faceemo")}


def test_a_worker_with_another_version_that_comes_later_is_named_too(tmp_path, monkeypatch):
    monkeypatch.setattr(executors, "LOOK_SECONDS", 0.2)
    with cluster(tmp_path, 1) as found, open_workers(found.address, None, 2, ONE_PACKAGE) as opened:
        assert opened.result(opened.executor.submit(abs, -1)) == 1
        found.add_worker(**other_version(tmp_path / "other"))
        with pytest.raises(FaceemoError, match=r"has faceemo 0\.0\.1, this machine"):
            for _ in range(600):
                opened.result(opened.executor.submit(time.sleep, 0.1))


class Dying:
    """A client whose worker has another version, and dies when it is asked what machine it is on."""

    status = "running"

    def get_executor(self, pure):
        return None

    def nthreads(self):
        return {"tcp://1.2.3.4:5": 1}

    def run(self, function, workers, on_error="raise"):
        found = OSError("gone") if function is platform.node else "0.0.1"
        if isinstance(found, OSError) and on_error == "raise":
            raise found
        return dict.fromkeys(workers, found)

    def run_on_scheduler(self, *_):
        self.status = "closed"
        raise OSError("gone")


def test_a_worker_with_another_version_that_dies_then_is_named_by_its_address(monkeypatch):
    monkeypatch.setattr(executors, "_patience", lambda client: None)
    with pytest.raises(FaceemoError, match=r"the worker tcp://1\.2\.3\.4:5 has faceemo 0\.0\.1, this machine "):
        executors._ClusterExecutor(Dying(), "tcp://1.2.3.4:1", ONE_PACKAGE).threads()


def test_a_scheduler_that_goes_before_any_work_is_one_line():
    with pytest.raises(executors.WorkerDiedError, match=r"the Dask scheduler at tcp://1\.2\.3\.4:1 has gone"):
        executors._ClusterExecutor(Dying(), "tcp://1.2.3.4:1", {})


@pytest.mark.parametrize("engine", ["litert", "mediapipe"])
def test_workers_are_asked_for_all_versions_that_rows_depend_on(engine):
    made = json.loads(how_made(replace(SETTINGS, engine=engine)))["versions"]
    assert {name: pickle.loads(pickle.dumps(ask))() for name, ask in versions_of(engine).items()} == made
    assert ("opencv" in made) == (engine == "litert")


@pytest.mark.parametrize("kind", ["folder", "table", "archive"])
def test_a_source_in_the_project_with_a_limit_gives_the_same_bytes_on_a_cluster(tmp_path, monkeypatch, kind):
    """Whose paths are relative, and whose workers run elsewhere."""
    made = {}
    with cluster(tmp_path, 2) as found:
        for place, scheduler in (("cluster", found.address), ("alone", None)):
            monkeypatch.chdir(made_project(tmp_path / place))
            path = {"folder": "pictures", "table": "list.csv", "archive": "pictures.zip"}[kind]
            ((key, source),) = scan([Path(path)]).sources.items()
            assert not Path(source.path).is_absolute()
            folder = extract(key, source, replace(SETTINGS, scheduler=scheduler), 5, 2, shard_rows=3, task_pictures=2)
            made[place] = [shard.read_bytes() for shard in sorted(folder.iterdir())]
    assert made["cluster"] == made["alone"] and len(made["alone"]) == 2


def made_project(folder):
    """A folder with eight pictures of two classes in a folder, a ZIP archive and a table."""
    members = {}
    for emotion, path in (("anxious", ANXIOUS), ("neutral", NEUTRAL)):
        with Archive(path) as archive:
            for number, member in enumerate(archive.members[:4]):
                members[f"{emotion}/{number}.jpg"] = archive.read(member, MAX_BYTES)
    for name, data in members.items():
        (folder / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "pictures" / name).write_bytes(data)
    make_zip(folder / "pictures.zip", members)
    lines = [f"pictures/{name},{name.partition('/')[0]}" for name in members]
    (folder / "list.csv").write_text("\n".join(["path,emotion", *lines]), encoding="utf-8")
    return folder
