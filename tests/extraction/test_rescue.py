import os
from pathlib import Path

import pytest
from made_archives import SETTINGS

from faceemo.extraction import rescue
from faceemo.extraction.executors import WorkerDiedError, open_workers
from faceemo.extraction.rescue import DIED, read_in_order
from faceemo.extraction.worker import Reading, Task
from faceemo.pictures.reader import Picture
from faceemo.status import Status

pytestmark = pytest.mark.slow


def read(task):
    """A reading for each path, unless one ends the process: always, among others, or the first time."""
    for path in (Path(picture.path) for picture in task.pictures):
        if path.name == "always" or (path.name == "in company" and len(task.pictures) > 1):
            os.abort()
        if path.name == "once" and not path.exists():
            path.touch()
            os.abort()
    return [reading(picture.path) for picture in task.pictures]


def reading(path):
    return Reading(Status.NO_FACE, path, 1, 1, 0)


def read_all(chunks, workers=2):
    tasks = [Task([Picture(path, path) for path in paths], SETTINGS) for paths in chunks]
    with open_workers(None, workers, len(tasks)) as opened:
        return [list(found) for found in read_in_order(opened, read, tasks)]


@pytest.mark.parametrize("workers", [1, 2])
def test_only_a_picture_that_kills_its_worker_alone_is_lost_and_all_stay_in_order(workers):
    chunks = [["a", "b"], ["c", "always", "d"], ["in company", "e"], ["f"]]
    expected = [[DIED if path == "always" else reading(path) for path in paths] for paths in chunks]
    assert read_all(chunks, workers) == expected


def test_a_worker_that_is_killed_once_costs_no_picture(tmp_path):
    once = str(tmp_path / "once")
    assert read_all([["a", once], ["b"]]) == [[reading("a"), reading(once)], [reading("b")]]


def test_deaths_over_many_pictures_in_a_row_end_it_and_with_others_between_do_not(monkeypatch):
    monkeypatch.setattr(rescue, "MANY", 1)
    assert read_all([["always", "a"], ["always"]]) == [[DIED, reading("a")], [DIED]]
    with pytest.raises(WorkerDiedError, match="because memory ran out; set fewer 'workers'"):
        read_all([["a", "always"], ["always"]])


def test_deaths_again_and_again_that_no_picture_is_to_blame_for_end_it(monkeypatch):
    monkeypatch.setattr(rescue, "MANY", 1)
    chunk = ["in company", "a"]
    assert read_all([chunk, ["b"]]) == [[reading("in company"), reading("a")], [reading("b")]]
    with pytest.raises(WorkerDiedError):
        read_all([chunk, ["b"], chunk])
