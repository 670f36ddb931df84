"""Where tasks run: in this process, in a process a core, or on a Dask cluster. All are concurrent.futures executors."""

import contextlib
import errno
import logging
import multiprocessing
import os
import platform
import queue
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass
from multiprocessing import resource_tracker
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from faceemo.console import say
from faceemo.errors import FaceemoError
from faceemo.extraction.facemesh import silence_native_log

if TYPE_CHECKING:
    import distributed

TASKS_AHEAD = 4  # a worker, so that none waits while results are written
CLUSTER_SECONDS = 30  # to answer and to have a worker
LOOK_SECONDS = 10.0  # between two looks at who is there
PATIENCE = "distributed.scheduler.no-workers-timeout"  # of Dask's configuration: how long to do without a worker

Versions = Mapping[str, Callable[[], str]]  # of packages: what is called on a machine to know that which is there
Task = TypeVar("Task")
Result = TypeVar("Result")


class WorkerDiedError(Exception):
    """Workers end before their tasks do; the message says what to do."""

    def __init__(
        self, what: str = "workers died, most often because memory ran out; set fewer 'workers' and run again"
    ) -> None:
        super().__init__(what)


@dataclass(frozen=True)
class Workers:
    """An executor and what to know of it.

    window: tasks to keep under way at once.
    died: what the future of a task raises whose worker died; the executor goes on with the others.
    alone: opens an executor for tasks one at a time, each of which has a worker to itself and another if that dies.
    result: waits for the result of a task.
    """

    executor: Executor
    window: int
    died: type[Exception]
    alone: Callable[[], contextlib.AbstractContextManager[Executor]]
    result: Callable[[Future], Any] = Future.result


@contextlib.contextmanager
def open_workers(
    scheduler: str | None, workers: int | None, tasks: int, versions: Versions = MappingProxyType({})
) -> Iterator[Workers]:
    """Workers for so many tasks.

    scheduler: the address of a Dask scheduler, or None for this machine, with one process a core or `workers`. A single
        task runs in this process: a picture that kills its worker ends that too.
    versions: of packages that must be the same on a cluster's workers as here.
    Raises WorkerDiedError if memory runs out in the block or the cluster goes, FaceemoError if it does not answer or
    one of its workers has other packages.
    """
    count = min(workers or default_workers(), tasks)
    try:
        with _cluster(scheduler, versions) if scheduler and tasks else _local(count, tasks) as opened:
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
def _cluster(scheduler: str, versions: Versions) -> Iterator[Workers]:
    try:
        from distributed import Client, KilledWorker
    except ModuleNotFoundError:
        raise FaceemoError("extract.scheduler needs Dask: python -m pip install -e '.[cluster]'") from None
    for name in ("distributed", "distributed.client", "tornado.application"):  # what is said here in one line
        logging.getLogger(name).setLevel(logging.CRITICAL)
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
        cluster = _ClusterExecutor(client, scheduler, versions)
        threads = sum(cluster.threads().values())
        try:  # Dask gives a task whose worker died to another by itself, and raises KilledWorker when several have
            yield Workers(
                cluster, TASKS_AHEAD * threads, KilledWorker, lambda: contextlib.nullcontext(cluster), cluster.result
            )
        finally:
            cluster.shutdown(wait=False)


class _ClusterExecutor(Executor):
    """The workers of a Dask cluster, which must have the same packages as this machine."""

    def __init__(self, client: "distributed.Client", scheduler: str, versions: Versions) -> None:
        self._client = client
        self._scheduler = scheduler
        self._versions = {name: (ask, ask()) for name, ask in versions.items()}
        self._known: set[str] = set()  # addresses of workers that have these
        self._looked = 0.0
        self._executor = client.get_executor(pure=False)
        with self._connected():
            self._patience = _patience(client)

    def submit(self, function: Callable, /, *args: object, **kwargs: object) -> Future:
        """As concurrent.futures.Executor.submit; a FaceemoError of the function names the machine."""
        with self._connected():
            return self._executor.submit(_saying_where, function, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As concurrent.futures.Executor.shutdown."""
        self._executor.shutdown(wait)  # what is not done is cancelled, whatever `cancel_futures` says

    def threads(self) -> dict[str, int]:
        """Of each worker that is there now, by its address. Raises FaceemoError for one with other packages."""
        self._looked = time.perf_counter()
        with self._connected():
            threads = self._client.nthreads()
            new = sorted(threads.keys() - self._known)
            for name, (ask, here) in self._versions.items() if new else ():
                for address, found in self._client.run(ask, workers=new, on_error="return").items():
                    if isinstance(found, ModuleNotFoundError):  # also that of importlib.metadata
                        found = "not installed"
                    if isinstance(found, str) and found != here:  # else it has just died
                        named = self._client.run(platform.node, workers=[address], on_error="return").get(address)
                        machine = f" on {named}" if isinstance(named, str) else ""  # else it has died since
                        raise FaceemoError(
                            f"extract.scheduler: the worker {address}{machine} has {name} {found}, this machine "
                            f"{here}; install the same there"
                        )
        self._known.update(new)
        return threads

    def result(self, future: Future) -> Any:
        """The result of a task. Raises WorkerDiedError if the scheduler goes, or no worker is there for too long."""
        from distributed.scheduler import NoWorkerError

        with self._connected():
            if time.perf_counter() - self._looked >= LOOK_SECONDS:
                self.threads()
            there, is_said = time.perf_counter(), False
            while not wait_for([future], min(LOOK_SECONDS, self._patience or LOOK_SECONDS)).done:
                if self.threads():
                    there, is_said = time.perf_counter(), False
                elif self._patience is not None and time.perf_counter() - there >= self._patience:
                    raise self._deserted(self._patience)
                elif not is_said:
                    is_said = True
                    say(f"{self._scheduler} has no workers left, waiting for one: 'dask worker {self._scheduler}'")
            try:
                return future.result()
            except NoWorkerError as error:
                raise self._deserted(error.timeout) from None

    def _deserted(self, seconds: float) -> WorkerDiedError:
        return WorkerDiedError(
            f"{self._scheduler} had no workers for {seconds:g} seconds ({PATIENCE}); start some with 'dask worker' and "
            "run again"
        )

    @contextlib.contextmanager
    def _connected(self) -> Iterator[None]:
        """Raises WorkerDiedError for whatever comes of a lost scheduler: first of all, Dask cancels all futures."""
        try:
            yield
        except Exception as error:
            if isinstance(error, CancelledError) or self._client.status != "running":
                raise WorkerDiedError(
                    f"the Dask scheduler at {self._scheduler} has gone; start it and its workers, and run again"
                ) from None
            raise


def _patience(client: "distributed.Client") -> float | None:
    """Seconds to do without a worker, as configured here or else for the scheduler, which may miss it; None: no end."""
    import dask.config
    from dask.utils import parse_timedelta

    found = dask.config.get(PATIENCE, None)
    if found is None:
        with contextlib.suppress(ValueError):  # a scheduler may refuse to run functions
            found = client.run_on_scheduler(dask.config.get, PATIENCE, None)
    return parse_timedelta(found)


def _saying_where(function: Callable, /, *args: object, **kwargs: object) -> object:
    """On a cluster's worker: call a function; its FaceemoError says which machine has the fault."""
    try:
        return function(*args, **kwargs)
    except FaceemoError as error:
        raise FaceemoError(f"on {platform.node()}: {error}") from None


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
