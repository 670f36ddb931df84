import contextlib
import ctypes
import errno
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor
from types import SimpleNamespace

import pytest
from made_archives import ANXIOUS, alive, pictures_in, run_driver, shard_bytes
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
from faceemo.pictures.reader import first_by_hash

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


@contextlib.contextmanager
def cluster(folder, count, **settings):
    """A real scheduler and so many worker processes on this machine: (address, worker processes)."""
    file = folder / "scheduler.json"
    common = ["--host", "127.0.0.1", "--no-dashboard"]
    scheduler = ["dask_scheduler", *common, "--port", "0", "--scheduler-file", str(file)]
    environment = {**os.environ, **settings}

    def start(name, *arguments):
        command = [sys.executable, "-m", f"distributed.cli.{name}", *arguments]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        processes.append(subprocess.Popen(command, cwd=folder, env=environment, **quiet))

    processes = []
    try:
        start(*scheduler)
        deadline = time.monotonic() + 30
        while not file.exists() or not file.read_text(encoding="utf-8"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        address = json.loads(file.read_text(encoding="utf-8"))["address"]
        for _ in range(count):
            start("dask_worker", address, *common, "--no-nanny", "--nthreads", "1")
        yield address, processes[1:]
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()


@needs_posix("kills processes by signals")
def test_a_cluster_gives_the_same_bytes_though_a_worker_is_killed_half_way(tmp_path):
    with cluster(tmp_path, 2) as (address, workers):
        hook = (
            "real = Store.write\nwritten = []\n"
            "def write(*shard):\n    real(*shard)\n    written.append(shard)\n"
            f"    if len(written) == 1: os.kill({workers[0].pid}, signal.SIGKILL)\n"
            "Store.write = write"
        )
        done = run_driver(tmp_path / "cluster", ANXIOUS, workers=1, hook=hook, scheduler=address)
        assert done.returncode == 0, done.stderr
        assert workers[0].wait(5) == -signal.SIGKILL
    alone = run_driver(tmp_path / "alone", ANXIOUS, workers=1)
    assert alone.returncode == 0
    assert shard_bytes(tmp_path / "cluster") == shard_bytes(tmp_path / "alone")


def test_a_picture_that_kills_the_workers_of_a_cluster_is_a_row(tmp_path):
    pictures = pictures_in(ANXIOUS)
    lethal = pictures[first_by_hash(pictures, 8)[5]].name
    hook = f"extract.read_task = ReadOrDie({{{lethal!r}}})"
    with cluster(tmp_path, 3, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0") as (address, _):
        done = run_driver(tmp_path, ANXIOUS, workers=1, limit=8, hook=hook, scheduler=address)
    assert done.returncode == 0, done.stderr
    assert "8 pictures: 7 ok, 1 decode_error" in done.stdout
