"""Where tasks run: in this process, in a process a core, or on a Dask cluster. All are concurrent.futures executors."""

import contextlib
import errno
import multiprocessing
import os
import queue
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, TypeVar

from faceemo.errors import FaceemoError
from faceemo.extraction.facemesh import silence_native_log

if TYPE_CHECKING:
    import distributed

TASKS_AHEAD = 4  # a worker, so that none waits while results are written
CLUSTER_SECONDS = 30  # to answer and to have a worker

Task = TypeVar("Task")
Result = TypeVar("Result")


class WorkerDiedError(Exception):
    """Workers end before their tasks do; the message says what to do."""

    def __init__(self) -> None:
        super().__init__("workers died, most often because memory ran out; set fewer 'workers' and run again")


@dataclass(frozen=True)
class Workers:
    """An executor and what to know of it.

    window: tasks to keep under way at once.
    died: what the future of a task raises whose worker died; the executor goes on with the others.
    alone: opens an executor for tasks one at a time, each of which has a worker to itself and another if that dies.
    """

    executor: Executor
    window: int
    died: type[Exception]
    alone: Callable[[], contextlib.AbstractContextManager[Executor]]


@contextlib.contextmanager
def open_workers(scheduler: str | None, workers: int | None, tasks: int) -> Iterator[Workers]:
    """Workers for so many tasks.

    scheduler: the address of a Dask scheduler, or None for this machine, with one process a core or `workers`. A single
        task runs in this process: a picture that kills its worker ends that too.
    Raises WorkerDiedError if memory runs out in the block, FaceemoError if the cluster does not answer.
    """
    count = min(workers or default_workers(), tasks)
    try:
        with _cluster(scheduler) if scheduler and tasks else _local(count, tasks) as opened:
            yield opened
    except MemoryError:
        raise WorkerDiedError from None


def in_order(
    executor: Executor, function: Callable[[Task], Result], tasks: Iterable[Task], window: int
) -> Iterator[Result]:
    """Results in the order of the tasks, at most `window` tasks under way or finished but not yet taken."""
    return (future.result() for _, future in submitted(executor, function, tasks, window))


def submitted(
    executor: Executor, function: Callable[[Task], Result], tasks: Iterable[Task], window: int
) -> Iterator[tuple[Task, Future]]:
    """Each task and its future, in order, at most `window` of them under way or finished but not yet taken."""
    waiting: deque[tuple[Task, Future]] = deque()
    for task in tasks:
        waiting.append((task, executor.submit(function, task)))
        if len(waiting) >= window:
            yield waiting.popleft()
    while waiting:
        yield waiting.popleft()


def default_workers() -> int:
    """All cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class SequentialExecutor(Executor):
    """Runs each task as it is submitted, in this process."""

    def submit(self, function: Callable, /, *args: object, **kwargs: object) -> Future:
        """As concurrent.futures.Executor.submit."""
        future: Future = Future()
        future.set_result(function(*args, **kwargs))
        return future


class ProcessesExecutor(Executor):
    """Up to `count` tasks at once, each in a process of its own, kept: one that dies takes no other task with it.

    tries: processes that may die over a task before its future raises BrokenExecutor.
    """

    def __init__(self, count: int, tries: int = 1) -> None:
        self._count = count
        self._tries = tries
        self._threads = ThreadPoolExecutor(count)
        self._idle: queue.LifoQueue[ProcessPoolExecutor | None] = queue.LifoQueue()  # None: not started yet
        for _ in range(count):
            self._idle.put(None)

    def submit(self, function: Callable, /, *args: object, **kwargs: object) -> Future:
        """As concurrent.futures.Executor.submit."""
        return self._threads.submit(self._run, function, *args, **kwargs)

    def _run(self, function: Callable, /, *args: object, **kwargs: object) -> object:
        process = self._idle.get()
        try:
            attempt = 0
            while True:
                attempt += 1
                process = process or _start_process()
                try:
                    return process.submit(function, *args, **kwargs).result()
                except BrokenExecutor:
                    process = None
                    if attempt == self._tries:
                        raise
        finally:
            self._idle.put(process)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Ends the processes when the tasks under way are done, whatever `wait` says."""
        self._threads.shutdown(cancel_futures=cancel_futures)
        with ThreadPoolExecutor(self._count) as threads:  # each takes a while to end
            while not self._idle.empty():
                if process := self._idle.get():
                    threads.submit(process.shutdown)


def _start_process() -> ProcessPoolExecutor:
    """Raises FaceemoError where the system has no room for the semaphores of processes: on Linux these are files."""
    try:
        process = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_start_worker)
        with _starting, _kept_buffers(), _interrupts_blocked():  # both are inherited by what is started now
            process.submit(os.getpid)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        where = (
            "/dev/shm is full; remove what fills it, or give a container more with 'docker run --shm-size=64m'"
            if sys.platform == "linux"
            else "the system has no semaphore left; end other programs and run again"
        )
        raise FaceemoError(f"no worker can be started: {where}") from None
    return process


_starting = threading.Lock()


@contextlib.contextmanager
def _local(count: int, tasks: int) -> Iterator[Workers]:
    if tasks <= 1:
        silence_native_log()
        yield Workers(SequentialExecutor(), 1, BrokenExecutor, SequentialExecutor)
        return
    executor = ProcessesExecutor(count)
    try:
        yield Workers(executor, TASKS_AHEAD * count, BrokenExecutor, lambda: ProcessesExecutor(1, tries=2))
    finally:
        executor.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _cluster(scheduler: str) -> Iterator[Workers]:
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
        _await_worker(client, scheduler)
        threads = sum(client.nthreads().values())
        executor = client.get_executor(pure=False)

        @contextlib.contextmanager
        def alone() -> Iterator[Executor]:
            _await_worker(client, scheduler)  # some are not started again when they die
            yield executor

        try:  # Dask gives a task whose worker died to another by itself, and raises KilledWorker when several have
            yield Workers(executor, TASKS_AHEAD * threads, KilledWorker, alone)
        finally:
            executor.shutdown(wait=False)


def _await_worker(client: "distributed.Client", scheduler: str) -> None:
    try:
        client.wait_for_workers(1, timeout=CLUSTER_SECONDS)
    except TimeoutError:
        raise FaceemoError(f"extract.scheduler: {scheduler} has no workers; start some with 'dask worker'") from None


def _start_worker() -> None:
    """In a new local worker: leave Ctrl-C to the parent, keep quiet, and end when the parent does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    silence_native_log()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "this is a worker"
    parent.join()
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
def _interrupts_blocked() -> Iterator[None]:
    """Processes that this thread starts now never hear Ctrl-C: none of them prints a traceback.

    By what they inherit: on Windows that this process ignores Ctrl-C, elsewhere what this thread blocks.
    """
    if sys.platform == "win32":
        import ctypes

        ctypes.windll.kernel32.SetConsoleCtrlHandler(None, True)
        try:
            yield
        finally:
            ctypes.windll.kernel32.SetConsoleCtrlHandler(None, False)
        return
    resource_tracker.ensure_running()  # spawning would start it, and that lets signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
