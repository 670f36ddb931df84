"""A copy of the project, run through dvc as users run it."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow.parquet as pq
from made_archives import heed_ctrl_c

ROOT = Path(__file__).parents[1]
COPIED = [".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore", "dvc.yaml", "params.yaml", "faceemo", "stages"]


class Project:
    """A copy of the project in a git repository of its own, which learns quickly."""

    def __init__(self, folder: Path, archives: Sequence[Path] = ()) -> None:
        """archives: source archives of the made-up set that are copied to data/sample, with their labels, and scanned.

        Without them data/sample and data/sources.yaml are not there.
        """
        self.folder = folder
        folder.mkdir(parents=True)
        for part in COPIED:
            source, target = ROOT / part, folder / part
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        self.change_text("params.yaml", "epochs: 30 ", "epochs: 3 ")
        self.change_text("params.yaml", "  network: ", "  network: mlp ")
        scripts = str(Path(sys.executable).parent)
        self.environment = {
            **os.environ,
            "PATH": os.pathsep.join([scripts, os.environ["PATH"]]),
            "GIT_CONFIG_GLOBAL": os.devnull,
            **{
                f"GIT_{who}_{what}": "test@example.invalid"
                for who in ("AUTHOR", "COMMITTER")
                for what in ("NAME", "EMAIL")
            },
        }
        self.environment.pop("PYTHONPATH", None)
        if archives:
            self.add(*archives)
            self.faceemo("scan", "data/sample")
        self.run("git", "init", "--quiet")
        self.commit()

    def add(self, *archives: Path) -> None:
        """Copy source archives of the made-up set to data/sample, and their label archives."""
        for path in archives:
            labels = path.name.replace("[원천]", "[라벨]").replace("_01.zip", ".zip")
            target = self.folder / "data/sample" / path.parent.name
            target.mkdir(parents=True, exist_ok=True)
            for one in (path, path.with_name(labels)):
                shutil.copy(one, target)

    def run(self, *command: str, code: int | None = 0, **environment: str) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**self.environment, **environment},
            capture_output=True,
            encoding=environment.get("PYTHONIOENCODING", "utf-8"),
            errors="replace",
            timeout=300,
        )
        output = done.stdout + done.stderr
        assert code is None or done.returncode == code, output
        return output

    def dvc(self, *arguments: str, code: int | None = 0, **environment: str) -> str:
        return self.run(sys.executable, "-m", "dvc", *arguments, code=code, **environment)

    def stopped(self, is_time: Callable[[], bool], stop: int, *arguments: str) -> tuple[str, int]:
        """Run dvc until it is time, then send it and its stage a signal, as a terminal does; what it says, and its exit
        code. POSIX alone.
        """
        with subprocess.Popen(
            [sys.executable, "-m", "dvc", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            start_new_session=True,
            preexec_fn=heed_ctrl_c,
        ) as process:
            deadline = time.monotonic() + 120
            while not is_time():
                assert time.monotonic() < deadline and process.poll() is None
                time.sleep(0.02)
            os.killpg(process.pid, stop)
            output, _ = process.communicate(timeout=60)
        return output, process.returncode

    def faceemo(self, *arguments: str, code: int = 0, **environment: str) -> str:
        return self.run(sys.executable, "-m", "faceemo.cli", *arguments, code=code, **environment)

    def commit(self) -> None:
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--allow-empty", "--message", "as it is")

    def change_text(self, name: str, old: str, new: str) -> None:
        path = self.folder / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    def stage(self, *arguments: str, code: int = 0) -> str:
        """`python -m stages.NAME`, as dvc.yaml runs it."""
        name, *others = arguments
        return self.run(sys.executable, "-m", f"stages.{name}", *others, code=code)

    def experiment(self, *settings: str) -> str:
        """What `dvc exp run -S ...` says; the settings stay in params.yaml."""
        return self.dvc("exp", "run", *(word for setting in settings for word in ("-S", setting)))

    def features(self, key: str) -> list[dict]:
        """The rows of a source's features."""
        return pq.read_table(self.folder / f"data/features/{key}.parquet").to_pylist()

    def restore(self) -> None:
        self.run("git", "checkout", "--quiet", ".")
        self.dvc("checkout", "--force")

    def metrics(self) -> dict:
        return json.loads((self.folder / "metrics.json").read_text(encoding="utf-8"))

    def evaluation(self) -> dict:
        return json.loads((self.folder / "evaluation.json").read_text(encoding="utf-8"))


def stages_run(output: str) -> set[str]:
    return set(re.findall(r"Running stage '([^']+)'", output))
