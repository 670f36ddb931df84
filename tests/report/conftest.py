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
    """The current folder is a copy of a finished run."""
    folder = tmp_path / "project"
    shutil.copytree(finished, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
