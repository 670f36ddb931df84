"""Small real inputs that several test files need."""

import warnings
import zipfile

import pytest


@pytest.fixture
def make_zip(tmp_path):
    """make_zip(path, (name, bytes), ...) writes a ZIP archive below tmp_path and returns its path."""

    def make(path, *members, compression=zipfile.ZIP_STORED):
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings(), zipfile.ZipFile(target, "w", compression) as archive:
            warnings.simplefilter("ignore")  # two members of one name are meant
            for name, data in members:
                archive.writestr(name, data)
        return target

    return make
