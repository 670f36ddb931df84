import json
import os
from pathlib import Path

import pytest

from faceemo.cli import main
from faceemo.running import LOCK_FILE, is_training


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes dvc's lock file as dvc 3.67 does: who writes this file of the project."""
    monkeypatch.chdir(tmp_path)
    LOCK_FILE.parent.mkdir(parents=True)

    def write(name: str, pid: int) -> None:
        entry = {"pid": pid, "cmd": "dvc repro"}
        lock = {"read": {str(Path.cwd() / "params.yaml"): [entry]}, "write": {str(Path.cwd() / name): entry}}
        LOCK_FILE.write_text(json.dumps(lock), encoding="utf-8")

    return write


def test_dvc_trains_while_a_living_process_writes_the_model(written):
    assert not is_training()
    written("models/emotion.pt", os.getpid())
    assert is_training()
    written("data/features", os.getpid())
    assert not is_training()
    written("models/emotion.pt", os.getpid())
    os.utime(LOCK_FILE, (0, 0))  # another process has the number of one that was killed
    assert not is_training()
    written("models/emotion.pt", 2**22 + 1)  # above the largest number of a process: it was killed, and left its lock
    assert not is_training()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"write": []}', '{"write": {"models/emotion.pt": 1}}', "\0"])
def test_a_lock_that_is_none_says_nothing(written, text):
    LOCK_FILE.write_text(text, encoding="utf-8")
    assert not is_training()


def test_a_model_that_is_being_trained_is_said_to_be(written, capsys):
    written("models/emotion.pt", os.getpid())
    assert main(["export", "--model", "models/emotion.pt"]) == 1
    assert "models/emotion.pt: dvc is training it; wait for its end, or name another" in capsys.readouterr().err
    assert main(["predict", "a.jpg"]) == 1
    note = "note: models/emotion.pt is not here while dvc trains it: the model that comes along judges"
    assert note in capsys.readouterr().err.splitlines()
