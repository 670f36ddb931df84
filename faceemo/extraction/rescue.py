"""A picture that kills its worker is found out and becomes a reading, and the others are read."""

from collections.abc import Callable, Iterable, Iterator

from faceemo.extraction.executors import WorkerDiedError, Workers, submitted
from faceemo.extraction.worker import Reading, Task
from faceemo.status import Status

DIED = Reading(Status.DECODE_ERROR, "the decoder died on it")
MANY = 5  # more deaths than this are not the fault of single pictures


def read_in_order(
    workers: Workers, read: Callable[[Task], list[Reading]], tasks: Iterable[Task]
) -> Iterator[list[Reading]]:
    """The readings of each task, in the order of the tasks.

    When a worker dies its task's pictures are read again one at a time. One over which two more workers die, alone, is
    DIED. Raises WorkerDiedError for more than MANY of these in a row, and for the next after MANY deaths that no
    picture was to blame for: memory is short then.
    """
    in_a_row = unexplained = 0
    for task, future in submitted(workers.executor, read, tasks, workers.window):
        try:
            readings = workers.result(future)
        except workers.died:
            readings = _read_one_by_one(workers, read, task)
            unexplained += DIED not in readings
        for reading in readings:
            in_a_row = in_a_row + 1 if reading == DIED else 0
            if max(in_a_row, unexplained) > MANY:
                raise WorkerDiedError
        yield readings


def _read_one_by_one(workers: Workers, read: Callable[[Task], list[Reading]], task: Task) -> list[Reading]:
    readings = []
    with workers.alone() as executor:
        for picture in task.one_by_one():
            try:
                readings += workers.result(executor.submit(read, picture))
            except workers.died:
                readings.append(DIED)
    return readings
