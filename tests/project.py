"""A copy of the project with the sample, run through dvc as users run it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPIED = [".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore", "dvc.yaml", "params.yaml", "faceemo", "stages"]


class Project:
    """A copy of the project with the sample, in a git repository of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        for part in COPIED:
            source, target = ROOT / part, folder / part
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        self.change_text("faceemo/extraction/extract.py", "SHARD_ROWS = 1000", "SHARD_ROWS = 16")
        self.change_text("params.yaml", "epochs: 30 ", "epochs: 3 ")
        shutil.copytree(
            ROOT / "data/sample", folder / "data/sample", ignore=shutil.ignore_patterns("*[기중]*_VALID.zip")
        )
        folders = (f"{scripts}{os.pathsep}" for scripts in [Path(sys.executable).parent])
        self.environment = {
            **os.environ,
            "PATH": "".join(folders) + os.environ["PATH"],
            "GIT_CONFIG_GLOBAL": os.devnull,
            **{
                f"GIT_{who}_{what}": "test@example.invalid"
                for who in ("AUTHOR", "COMMITTER")
                for what in ("NAME", "EMAIL")
            },
        }
        self.environment.pop("PYTHONPATH", None)
        self.faceemo("scan", "data/sample")
        self.run("git", "init", "--quiet")
        self.commit()

    def run(self, *command: str, code: int | None = 0, **environment: str) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**self.environment, **environment},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=300,
        )
        output = done.stdout + done.stderr
        assert code is None or done.returncode == code, output
        return output

    def dvc(self, *arguments: str, code: int | None = 0) -> str:
        return self.run(sys.executable, "-m", "dvc", *arguments, code=code)

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

    def experiment(self, *settings: str) -> set[str]:
        """Stages that `dvc exp run -S ...` ran; the workspace is put back to what is committed."""
        output = self.dvc("exp", "run", *(word for setting in settings for word in ("-S", setting)))
        return stages_run(output)

    def restore(self) -> None:
        self.run("git", "checkout", "--quiet", ".")
        self.dvc("checkout", "--force")

    def metrics(self) -> dict:
        return json.loads((self.folder / "metrics.json").read_text(encoding="utf-8"))

    def evaluation(self) -> dict:
        return json.loads((self.folder / "evaluation.json").read_text(encoding="utf-8"))


def stages_run(output: str) -> set[str]:
    return set(re.findall(r"Running stage '([^']+)'", output))
