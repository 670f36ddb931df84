"""Files, archives and tables for the tests of scanning: small, and read by nobody but scan."""

import unicodedata
from pathlib import Path

import pytest
from made_sources import label_json, of_set, rating, record

from faceemo.emotions import KOREAN
from faceemo.pictures.trees import archive_emotion


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def add(tmp_path):
    """add("faces/happy/1.jpg", ...) writes files, each with bytes of its own."""

    def add(*names, content=None):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content or name.encode())

    return add


@pytest.fixture
def add_archive(make_zip):
    """add_archive(path, pictures=1) writes an archive of the set whose pictures no other path has."""

    def add_archive(path, pictures=1, content=None):
        content = content or unicodedata.normalize("NFC", path)
        emotion = KOREAN[archive_emotion(unicodedata.normalize("NFC", Path(path).stem)) or "neutral"]
        pictured = (of_set(f"{content} {number}", emotion) for number in range(pictures))
        return make_zip(path, *((name, content.encode()) for name in pictured))

    return add_archive


@pytest.fixture
def add_labels(make_zip):
    """add_labels(path) writes a label archive of the set."""

    def add_labels(path, content=None):
        return make_zip(path, ("labels.json", label_json(record(f"{content or path}.jpg", rating()))))

    return add_labels


@pytest.fixture
def table(tmp_path):
    """table(text) writes faces.csv."""

    def table(text, name="faces.csv", encoding="utf-8"):
        (tmp_path / name).write_bytes(text.encode(encoding))
        return tmp_path / name

    return table
