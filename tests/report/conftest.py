import shutil

import pytest
from made_run import make_run


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A folder with a finished run, for copies."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_run()
    return folder


@pytest.fixture
def project(finished, tmp_path, monkeypatch):
    """The current folder is a copy of a finished run, with what the report reads of it and no more."""
    folder = tmp_path / "project"
    shutil.copytree(finished, folder, ignore=shutil.ignore_patterns("features", "*.zip", "*.png", "metrics.json"))
    monkeypatch.chdir(folder)
    return folder
