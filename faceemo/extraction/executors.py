"""Where tasks run: in this process, in a process a core, or on a Dask cluster. All are concurrent.futures executors."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from typing import TypeVar

from faceemo.errors import FaceemoError
from faceemo.extraction.facemesh import silence_native_log
from faceemo.params import WINDOWS_MAX_WORKERS

TASKS_AHEAD = 4  # a worker, so that none waits while results are written
CLUSTER_SECONDS = 30  # to answer and to have a worker

Task = TypeVar("Task")
Result = TypeVar("Result")


class WorkerDiedError(Exception):
    """A worker ended before its task did; the message says what to do."""


@contextlib.contextmanager
def open_executor(scheduler: str | None, workers: int | None, tasks: int) -> Iterator[tuple[Executor, int]]:
    """An executor for so many tasks, and how many of them to keep under way at once.

    scheduler: the address of a Dask scheduler, or None for this machine, with one process a core or `workers`.
    Raises WorkerDiedError when a worker dies in the block, FaceemoError if the cluster cannot be had.
    """
    try:
        with _cluster(scheduler) if scheduler else _local(min(workers or default_workers(), tasks)) as opened:
            yield opened
    except (BrokenExecutor, MemoryError):
        raise WorkerDiedError(
            "a worker died, most often for want of memory; set fewer 'workers' and run again"
        ) from None


def in_order(
    executor: Executor, function: Callable[[Task], Result], tasks: Iterable[Task], window: int
) -> Iterator[Result]:
    """Results in the order of the tasks, at most `window` tasks under way or finished but not yet taken."""
    waiting: deque[Future] = deque()
    for task in tasks:
        waiting.append(executor.submit(function, task))
        if len(waiting) >= window:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def default_workers() -> int:
    """All cores that this process may use, at most what Windows can wait for."""
    if sys.platform == "win32":
        return min(os.cpu_count() or 1, WINDOWS_MAX_WORKERS)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class SequentialExecutor(Executor):
    """Runs each task as it is submitted, in this process."""

    def submit(self, function: Callable, /, *args: object, **kwargs: object) -> Future:
        future: Future = Future()
        future.set_result(function(*args, **kwargs))
        return future


@contextlib.contextmanager
def _local(count: int) -> Iterator[tuple[Executor, int]]:
    if count <= 1:
        silence_native_log()
        yield SequentialExecutor(), 1
        return
    if sys.platform == "win32":
        count = min(count, WINDOWS_MAX_WORKERS)
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), initializer=_start_worker)
    try:
        with _kept_buffers(), _interrupts_ignored():  # both are inherited by what is started now
            for _ in range(count):
                pool.submit(os.getpid)
        yield pool, TASKS_AHEAD * count
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _cluster(scheduler: str) -> Iterator[tuple[Executor, int]]:
    try:
        from distributed import Client, KilledWorker
    except ModuleNotFoundError:
        raise FaceemoError("extract.scheduler needs Dask: python -m pip install -e '.[cluster]'") from None
    try:
        client = Client(scheduler, timeout=CLUSTER_SECONDS)
    except (OSError, ValueError):
        raise FaceemoError(
            f"extract.scheduler: no Dask scheduler answers at {scheduler}; start one or set null"
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=CLUSTER_SECONDS)
        except TimeoutError:
            raise FaceemoError(
                f"extract.scheduler: {scheduler} has no workers; start some with 'dask worker'"
            ) from None
        threads = sum(client.nthreads().values())
        executor = client.get_executor(pure=False)
        try:
            yield executor, TASKS_AHEAD * threads
        except KilledWorker:
            raise WorkerDiedError("several workers of the cluster died over one task; see their logs") from None
        finally:
            executor.shutdown(wait=False)


def _start_worker() -> None:
    """In a new local worker: leave Ctrl-C to the parent, keep quiet, and end when the parent does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    silence_native_log()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


@contextlib.contextmanager
def _kept_buffers() -> Iterator[None]:
    """Let glibc keep picture-sized buffers in processes started now, instead of asking the kernel for each again.

    mallopt(3); other C libraries ignore these variables.
    """
    variables = {"MALLOC_MMAP_THRESHOLD_": "268435456", "MALLOC_TRIM_THRESHOLD_": "536870912"}
    added = [name for name in variables if name not in os.environ]
    os.environ.update({name: variables[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes started now ignore Ctrl-C from their first moment on (POSIX): none of them prints a traceback."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
