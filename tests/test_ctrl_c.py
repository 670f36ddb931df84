"""Ctrl-C while a stage or a command is still importing, and when a training is judged: one line, exit 130."""

import ast
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from made_archives import heed_ctrl_c
from made_datasets import person, write_features
from systems import needs_posix

from faceemo.console import run
from faceemo.training.model import load_model
from stages import train

ROOT = Path(__file__).parents[1]
PARAMS = ROOT / "params.yaml"

slow = pytest.mark.slow
needs_signals = needs_posix("sends signals")

# A command and a module in the midst of what it imports.
COMMANDS = [
    ("stages.extract neutral-training-01", "pyarrow.lib"),
    ("stages.normalize", "faceemo.errors"),
    ("stages.train", "torch._dynamo.utils"),
    ("faceemo.cli clean", "argparse"),
    ("faceemo.cli predict a.jpg", "torch.types"),
    ("faceemo.cli report", "jinja2.lexer"),
]


@pytest.mark.parametrize(
    "path", [ROOT / "faceemo/cli.py", *sorted((ROOT / "stages").glob("*.py"))], ids=lambda path: path.name
)
def test_whatever_takes_time_is_imported_where_ctrl_c_is_heeded(path):
    early = {"sys", "faceemo.interrupts"}

    def imported(node: ast.AST) -> set[str]:
        if isinstance(node, ast.With | ast.If):  # `with importing(...)`, `if TYPE_CHECKING`
            return set()
        found = {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
        found |= {node.module} if isinstance(node, ast.ImportFrom) else set()
        return found.union(*map(imported, ast.iter_child_nodes(node)))

    assert imported(ast.parse(path.read_text(encoding="utf-8"))) <= early


def interrupted(folder: Path, command: list[str], module: str) -> tuple[int, str]:
    """Press Ctrl-C as soon as `module` is imported; the exit code and what stands on stderr."""
    said = ""
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        preexec_fn=heed_ctrl_c,
    ) as process:
        for line in process.stderr:
            if not line.startswith("import time:"):
                said += line
            elif line.rpartition("|")[2].strip() == module:
                process.send_signal(signal.SIGINT)
                module = ""
        code = process.wait(60)
    assert not module, "the command was over before"
    return code, said


@slow
@needs_signals
@pytest.mark.parametrize(("command", "module"), COMMANDS)
def test_ctrl_c_while_modules_are_imported_is_one_line(tmp_path, command, module):
    shutil.copy(PARAMS, tmp_path)
    program = command.split()[0]
    name = "faceemo" if program == "faceemo.cli" else program.removeprefix("stages.")
    assert interrupted(tmp_path, ["-m", *command.split()], module) == (130, f"{name}: interrupted\n")
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


@pytest.fixture
def stage(tmp_path):
    """stage(code) runs `python -m` with code as a stage's main, in which press() is a Ctrl-C; exit code and output."""

    def run_stage(code: str) -> tuple[int, str]:
        text = f"""
import signal, sys
from faceemo.console import run
from faceemo.interrupts import importing

def press():
    signal.raise_signal(signal.SIGINT)

def main():
{textwrap.indent(code, "    ")}

sys.exit(run("train", main))
"""
        (tmp_path / "stage.py").write_text(text, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "stage"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=60,
            preexec_fn=heed_ctrl_c,
        )
        return done.returncode, done.stdout

    return run_stage


@slow
@needs_signals
def test_ctrl_c_within_exec_as_of_a_dataclass_does_not_kill_by_the_signal(stage):
    """Python ends as if killed once a KeyboardInterrupt has passed through exec, whoever caught it."""
    assert stage("with importing('train'): exec('press()')") == (130, "train: interrupted\n")


@slow
@needs_signals
def test_ctrl_c_that_an_import_would_swallow_ends_it(stage):
    code = "with importing('train'):\n    try: press()\n    except BaseException: print('went on')"
    assert stage(code) == (130, "train: interrupted\n")


@slow
@needs_signals
def test_after_the_imports_ctrl_c_is_an_exception_again(stage):
    code = "with importing('train'): import json\ntry: press()\nfinally: print('cleaned up', flush=True)"
    assert stage(code) == (130, "cleaned up\ntrain: interrupted\n")


@slow
@needs_signals
def test_ctrl_c_that_is_ignored_stays_ignored(stage):
    code = "signal.signal(signal.SIGINT, signal.SIG_IGN)\nwith importing('train'): press()\npress()\nprint('done')"
    assert stage(code) == (0, "done\n")


@slow
@needs_signals
def test_ctrl_c_while_python_ends_changes_nothing(stage):
    last = "class Last:\n    def __del__(self, press=press): press()\n"
    assert stage(last + "globals()['last'] = Last()\nprint('done')") == (0, "done\n")


def test_ctrl_c_after_the_last_epoch_leaves_the_trained_model_where_dvc_removes_nothing(tmp_path, monkeypatch, capsys):
    text = PARAMS.read_text(encoding="utf-8").replace("epochs: 30", "epochs: 1").replace("whiten: 300", "whiten:")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    rows = [
        {"mark": 5 * number + who / 100, "emotion": name, "subject": person(who), "status": "ok", "folder": "training"}
        for number, name in enumerate(("neutral", "anxious"))
        for who in range(12)
    ]
    write_features(tmp_path / "data/features", "a", rows)
    monkeypatch.chdir(tmp_path)

    def pressed(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(train, "measure_importance", pressed)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert run("train", train.main) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == "train: interrupted; the trained model is in models/interrupted.pt\n"
    assert load_model(Path("models/interrupted.pt")).temperature == load_model(Path("models/emotion.pt")).temperature
