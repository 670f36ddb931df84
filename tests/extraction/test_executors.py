import json
import os
import signal
import subprocess
import sys
import time

import pytest
from made_archives import ANXIOUS, POSIX, run_driver, shard_bytes

from faceemo.errors import FaceemoError
from faceemo.extraction.executors import SequentialExecutor, default_workers, in_order, open_executor


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


def test_in_process_when_one_worker_is_asked_or_enough():
    for workers, tasks in ((1, 100), (8, 1)):
        with open_executor(None, workers, tasks) as (executor, window):
            assert executor.submit(os.getpid).result() == os.getpid()
            assert window == 1


def test_processes_of_their_own_otherwise():
    with open_executor(None, 2, 100) as (executor, window):
        assert executor.submit(os.getpid).result() != os.getpid()
        assert window == 8


def test_all_cores_by_default():
    assert 1 <= default_workers() <= os.cpu_count()


def test_a_scheduler_that_does_not_answer_is_one_clear_line(monkeypatch):
    monkeypatch.setattr("faceemo.extraction.executors.CLUSTER_SECONDS", 1)
    with (
        pytest.raises(FaceemoError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"),
        open_executor("tcp://127.0.0.1:9", None, 1),
    ):
        pass


@pytest.fixture
def cluster(tmp_path):
    """A real scheduler and two worker processes on this machine: (address, worker processes)."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    file = tmp_path / "scheduler.json"
    common = ["--host", "127.0.0.1", "--no-dashboard"]
    scheduler = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_scheduler", *common, "--port", "0", "--scheduler-file", str(file)],
        cwd=tmp_path,
        **quiet,
    )
    processes = [scheduler]
    try:
        deadline = time.monotonic() + 30
        while not file.exists() or not file.read_text(encoding="utf-8"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        address = json.loads(file.read_text(encoding="utf-8"))["address"]
        worker = [
            sys.executable,
            "-m",
            "distributed.cli.dask_worker",
            address,
            *common,
            "--no-nanny",
            "--nthreads",
            "1",
        ]
        workers = [subprocess.Popen(worker, cwd=tmp_path, **quiet) for _ in range(2)]
        processes += workers
        yield address, workers
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()


@pytest.mark.skipif(not POSIX, reason="kills processes with POSIX signals")
def test_a_cluster_gives_the_same_bytes_though_a_worker_is_killed_half_way(tmp_path, cluster):
    address, workers = cluster
    hook = (
        "real = extract._write_shard\nwritten = []\n"
        "def write(path, table):\n    real(path, table)\n    written.append(path)\n"
        f"    if len(written) == 1: os.kill({workers[0].pid}, signal.SIGKILL)\n"
        "extract._write_shard = write"
    )
    done = run_driver(tmp_path / "cluster", ANXIOUS, workers=1, hook=hook, scheduler=address)
    assert done.returncode == 0, done.stderr
    assert workers[0].wait(5) == -signal.SIGKILL
    alone = run_driver(tmp_path / "alone", ANXIOUS, workers=1)
    assert alone.returncode == 0
    assert shard_bytes(tmp_path / "cluster") == shard_bytes(tmp_path / "alone")
