"""Where git has the run: the commit that was the first to hold its evaluation.json."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Recording:
    """commit: short, or None where the run is not committed yet. date: when its author made it, YYYY-MM-DD."""

    commit: str | None = None
    date: str | None = None


def find_recording(evaluation: Path) -> Recording | None:
    """The first commit in the history of HEAD with just this content of evaluation.json; None without a repository.

    Neither the times of files nor HEAD tell when a run was: dvc and git write files anew when they restore a run.
    """
    try:
        _git("rev-parse", "--git-dir")
    except (OSError, subprocess.CalledProcessError):
        return None
    try:
        blob = _git("hash-object", str(evaluation))
        found = _git("log", f"--find-object={blob}", "--date=short", "--format=%h %ad", "--", str(evaluation))
    except subprocess.CalledProcessError:  # git has seen no such content, or has no commit yet
        found = ""
    if not found:
        return Recording()
    commit, date = found.splitlines()[-1].split()
    return Recording(commit, date)


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, check=True, encoding="utf-8", errors="replace")
    return done.stdout.strip()
