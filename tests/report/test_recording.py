import os
import subprocess
from pathlib import Path

import pytest
from made_run import Page, report

from faceemo.report.recording import find_recording

pytestmark = pytest.mark.slow

EVALUATION = Path("evaluation.json")


def git(*arguments: str, date: str = "2026-03-01") -> str:
    who = {f"GIT_{who}_{what}": "t@example.invalid" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    when = {"GIT_AUTHOR_DATE": f"{date}T12:00:00", "GIT_COMMITTER_DATE": "2026-12-31T12:00:00"}
    environment = {**os.environ, **who, **when}
    return subprocess.run(
        ["git", *arguments], check=True, capture_output=True, encoding="utf-8", env=environment
    ).stdout.strip()


def commit_run(content: str, date: str) -> str:
    """A run whose evaluation.json holds this, committed on that day; its commit."""
    EVALUATION.write_text(content, encoding="utf-8")
    git("add", "-A")
    git("commit", "-m", "a run", date=date)
    return git("rev-parse", "--short", "HEAD")


def test_a_run_is_of_the_commit_that_first_held_its_numbers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    git("init")
    EVALUATION.write_text("first", encoding="utf-8")
    assert find_recording(EVALUATION).commit is None  # fresh, in a repository without a commit
    first = commit_run("first", "2026-03-01")
    assert (find_recording(EVALUATION).commit, find_recording(EVALUATION).date) == (first, "2026-03-01")
    Path("notes.txt").write_text("later", encoding="utf-8")
    commit_run("first", "2026-03-02")
    EVALUATION.touch()  # as dvc and git do when they restore a file
    assert find_recording(EVALUATION).commit == first

    EVALUATION.write_text("second", encoding="utf-8")
    assert find_recording(EVALUATION).commit is None  # fresh
    git("add", "-A")
    assert find_recording(EVALUATION).commit is None
    second = commit_run("second", "2026-03-03")
    assert find_recording(EVALUATION).commit == second

    EVALUATION.write_text("first", encoding="utf-8")  # from dvc's cache of runs
    assert find_recording(EVALUATION).commit == first
    commit_run("first", "2026-03-04")
    assert find_recording(EVALUATION).date == "2026-03-01"
    git("checkout", "--quiet", second)
    assert find_recording(EVALUATION).commit == second


def test_without_a_repository_or_without_git_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    EVALUATION.write_text("{}", encoding="utf-8")
    assert find_recording(EVALUATION) is None
    git("init")
    assert find_recording(EVALUATION) is not None
    monkeypatch.setenv("PATH", "")
    assert find_recording(EVALUATION) is None


def test_the_report_names_the_commit_of_the_run(project):
    assert Page(report()).row("git")[1].strip() == "no git repository"
    git("init")
    assert Page(report()).row("git")[1].strip() == "not committed yet"
    git("add", "evaluation.json")
    git("commit", "-m", "a run")
    commit = git("rev-parse", "--short", "HEAD")
    text = report()
    assert Page(text).row("git")[1].strip() == f"commit {commit} of 2026-03-01"
    assert text.count(f"commit <code>{commit}</code> of 2026-03-01") == 2  # at the top too
    git("add", "-A")
    git("commit", "-m", "later")
    assert report() == text
