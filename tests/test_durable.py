import errno
import os
import stat
import sys
from pathlib import Path

import pytest
from systems import needs_posix

from faceemo import durable
from faceemo.durable import link, remove, rename, sync_folder, write_text_whole, written_whole


@pytest.mark.parametrize("exception", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_the_old_file_and_no_temporary(tmp_path, exception):
    path = tmp_path / "metrics.json"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(exception), written_whole(path) as temporary:
        temporary.write_text("half of the n", encoding="utf-8")
        raise exception
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_exception_before_anything_is_written_is_not_hidden(tmp_path):
    with pytest.raises(ValueError, match="mine"), written_whole(tmp_path / "a"):
        raise ValueError("mine")
    assert list(tmp_path.iterdir()) == []


def test_an_os_error_without_a_name_gets_that_of_the_file(tmp_path):
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OSError, match="No space") as error, written_whole(tmp_path / "metrics.json"):
        raise full
    assert error.value.filename == str(tmp_path / "metrics.json")
    with pytest.raises(FileNotFoundError) as error, written_whole(tmp_path / "metrics.json"):
        (tmp_path / "other.json").read_text(encoding="utf-8")
    assert error.value.filename == str(tmp_path / "other.json")


def test_the_file_is_not_there_before_it_is_whole(tmp_path):
    path = tmp_path / "new/folder/metrics.json"
    with written_whole(path) as temporary:
        temporary.write_text("new", encoding="utf-8")
        assert temporary.parent == path.parent  # a rename across drives would copy
        assert not path.exists()
    assert path.read_text(encoding="utf-8") == "new"
    assert list(path.parent.iterdir()) == [path]


def test_the_leftover_of_a_killed_run_does_not_mix_in(tmp_path):
    path = tmp_path / "a.txt"
    with written_whole(path) as temporary:
        temporary.write_text("x", encoding="utf-8")
    temporary.write_text("a much longer leftover", encoding="utf-8")
    write_text_whole(path, "new")
    assert path.read_text(encoding="utf-8") == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_and_then_its_folder_are_synced_around_the_rename(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    seen = []
    fsync = os.fsync

    def watched(handle):
        seen.append((os.fstat(handle).st_ino, path.exists()))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    write_text_whole(path, "text")
    expected = [(path.stat().st_ino, False), (tmp_path.stat().st_ino, True)]
    assert seen == (expected if os.name != "nt" else expected[:1])


def test_text_is_utf8_with_unix_line_ends_everywhere(tmp_path):
    write_text_whole(tmp_path / "a.txt", "중립\n불안\n")
    assert (tmp_path / "a.txt").read_bytes() == "중립\n불안\n".encode()


def refuse(times, monkeypatch):
    """Let Path.replace fail the first `times` times, as Windows does while a scanner holds the file."""
    calls = []
    replace = Path.replace

    def refusing(self, target):
        calls.append(target)
        if len(calls) <= times:
            raise PermissionError(13, "in use", str(self))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refusing)
    return calls


def test_a_rename_is_tried_again_while_another_program_holds_the_file(tmp_path, monkeypatch):
    calls = refuse(3, monkeypatch)
    (tmp_path / "a").write_text("text", encoding="utf-8")
    rename(tmp_path / "a", tmp_path / "b")
    assert len(calls) == 4
    assert (tmp_path / "b").read_text(encoding="utf-8") == "text" and not (tmp_path / "a").exists()


def test_a_rename_that_is_never_allowed_fails_in_the_end_and_keeps_the_old_file(tmp_path, monkeypatch):
    calls = refuse(10**6, monkeypatch)
    monkeypatch.setattr(durable, "RENAME_SECONDS", 0.1)
    path = tmp_path / "b"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(PermissionError) as error:
        write_text_whole(path, "new")
    assert len(calls) > 1 and error.value.filename == str(path)
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_another_error_of_a_rename_is_not_tried_again(tmp_path):
    with pytest.raises(FileNotFoundError):
        rename(tmp_path / "missing", tmp_path / "b")


def test_a_folder_can_be_renamed_into_place_and_its_parent_synced(tmp_path):
    (tmp_path / "partial").mkdir()
    (tmp_path / "partial/part-00000.parquet").write_bytes(b"rows")
    rename(tmp_path / "partial", tmp_path / "whole")
    sync_folder(tmp_path)
    assert (tmp_path / "whole/part-00000.parquet").read_bytes() == b"rows"


def test_a_link_has_the_same_bytes_and_outlives_its_original(tmp_path):
    (tmp_path / "a").write_bytes(b"rows")
    link(tmp_path / "a", tmp_path / "b")
    (tmp_path / "a").unlink()
    assert (tmp_path / "b").read_bytes() == b"rows"


def test_a_link_is_a_copy_where_the_file_system_has_none(tmp_path, monkeypatch):
    def no_links(*_):
        raise OSError(95, "not supported")

    monkeypatch.setattr(os, "link", no_links)
    (tmp_path / "a").write_bytes(b"rows")
    link(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"rows"


@pytest.fixture
def windows_rules(monkeypatch):
    """Nothing read-only is removed or replaced, as on Windows."""
    unlink, replace = os.unlink, os.replace

    def refuse(path, folder=None):
        mode = os.stat(path, dir_fd=folder, follow_symlinks=False).st_mode
        if not mode & stat.S_IWRITE:
            raise PermissionError(errno.EACCES, "Access is denied", str(path))

    def windows_unlink(path, *, dir_fd=None):
        refuse(path, dir_fd)
        unlink(path, dir_fd=dir_fd)

    def windows_replace(old, new):
        if Path(new).exists():
            refuse(new)
        replace(old, new)

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(os, "unlink", windows_unlink)
    monkeypatch.setattr(os, "replace", windows_replace)


def read_only(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("stored by dvc", encoding="utf-8")
    path.chmod(stat.S_IREAD)
    return path


def test_read_only_files_are_removed_and_replaced_where_windows_refuses_it(tmp_path, windows_rules):
    with pytest.raises(PermissionError):
        read_only(tmp_path / "features.parquet").unlink()
    remove(tmp_path / "features.parquet")
    read_only(tmp_path / "work/part-00000.parquet")
    read_only(tmp_path / "work/deep/part-00001.parquet")
    remove(tmp_path / "work")
    assert list(tmp_path.iterdir()) == []
    write_text_whole(read_only(tmp_path / "metrics.json"), "new")
    assert (tmp_path / "metrics.json").read_text(encoding="utf-8") == "new"


@needs_posix("Windows makes a file writable before it removes it")
def test_removing_a_link_leaves_the_mode_of_what_dvc_has_stored(tmp_path):
    stored = read_only(tmp_path / "cache")
    link(stored, tmp_path / "part-00000.parquet")
    remove(tmp_path / "part-00000.parquet")
    assert not stored.stat().st_mode & stat.S_IWRITE
