import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from systems import needs_posix

from faceemo.errors import FaceemoError
from faceemo.outputs import await_release, check_folder, check_out, is_stream, said_to, unheld, written_to

WRITE = """
import sys
from pathlib import Path
from faceemo.outputs import said_to, written_to
out = Path(sys.argv[1])
with written_to(out) as temporary:
    temporary.write_bytes(b"\\xffbytes\\n")
print("said", file=said_to(out))
"""


def write(out, text="new"):
    with written_to(out) as temporary:
        temporary.write_text(text, encoding="utf-8")


@needs_posix("links need rights on Windows")
@pytest.mark.parametrize("target", ["real.csv", "elsewhere/real.csv"])
def test_a_link_stays_and_the_file_that_it_leads_to_is_replaced(tmp_path, target):
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "link.csv"
    link.symlink_to(target)
    for text in ("first", "second"):  # the first time it leads to nothing
        write(link, text)
        assert link.is_symlink() and (tmp_path / target).read_text(encoding="utf-8") == text
    assert {path.name for path in tmp_path.iterdir()} == {"elsewhere", "link.csv", Path(target).parts[0]}


@needs_posix("Windows has no FIFO")
def test_a_fifo_gets_the_bytes_and_stays_one(tmp_path):
    fifo = tmp_path / "fifo.csv"
    os.mkfifo(fifo)
    got = []
    reader = threading.Thread(target=lambda: got.append(fifo.read_text(encoding="utf-8")))
    reader.start()
    assert is_stream(fifo)
    write(fifo)
    reader.join(10)
    assert got == ["new"] and fifo.is_fifo() and list(tmp_path.iterdir()) == [fifo]


@needs_posix("Windows has no devices among files")
def test_a_device_stays_one():
    write(Path(os.devnull))
    assert Path(os.devnull).is_char_device()


@pytest.mark.parametrize("out", ["-", pytest.param("/dev/stdout", marks=needs_posix("Windows has no /dev"))])
def test_what_is_written_to_stdout_is_alone_there(out, tmp_path):
    done = subprocess.run([sys.executable, "-c", WRITE, out], cwd=tmp_path, capture_output=True, timeout=60)
    assert (done.stdout, done.stderr.strip()) == (b"\xffbytes\n", b"said")
    log = tmp_path / "log"
    for _ in range(2):
        with log.open("ab") as file:
            subprocess.run([sys.executable, "-c", WRITE, out], cwd=tmp_path, stdout=file, timeout=60)
    assert log.read_bytes() == b"\xffbytes\n" * 2
    assert list(tmp_path.iterdir()) == [log]


def test_a_file_is_whole_or_not_there_and_its_command_speaks_on_stdout(tmp_path):
    path = tmp_path / "new" / "a.csv"
    with pytest.raises(ValueError, match="mine"), written_to(path) as temporary:
        temporary.write_text("half", encoding="utf-8")
        raise ValueError("mine")
    assert not path.exists()
    write(path)
    assert path.read_text(encoding="utf-8") == "new" and list(path.parent.iterdir()) == [path]
    assert said_to(path) is sys.stdout and said_to(Path("-")) is sys.stderr


def test_a_folder_is_named(tmp_path):
    with pytest.raises(FaceemoError, match="this is a folder; name a file in it"):
        write(tmp_path)


def test_a_table_that_another_program_holds_is_told_before_the_work(tmp_path, monkeypatch):
    """As Windows answers where Excel shows the table: no right to write, though the file is not read-only."""
    out = tmp_path / "결과.csv"
    out.write_text("old", encoding="utf-8")
    check_out(out)
    monkeypatch.setattr(Path, "open", held(out, Path.open))
    with pytest.raises(FaceemoError) as error:
        check_out(out)
    assert str(error.value) == f"--out {out}: another program holds this file open; close it there, or name another"


@pytest.mark.parametrize("call", ["open", "rename"])  # what Excel does not let, what a player of videos does not let
def test_a_picture_that_another_program_holds_is_told_before_the_work_and_else_drawn_beside_it(
    tmp_path, monkeypatch, capsys, call
):
    folder, picture = tmp_path / "그림", tmp_path / "그림" / "가.jpg"
    check_folder("--annotate", folder, (".jpg",))
    folder.mkdir()
    (folder / "notes.txt").write_text("held too, and not drawn anew", encoding="utf-8")
    picture.write_bytes(b"old")
    assert unheld(picture) == picture
    monkeypatch.setattr(Path, call, held(picture, getattr(Path, call)))
    with pytest.raises(FaceemoError) as error:
        check_folder("--annotate", folder, (".jpg",))
    assert str(error.value) == (
        f"--annotate {picture}: another program holds this file open; close it there, or name a new folder"
    )
    assert unheld(picture) == folder / "가-2.jpg" and unheld(folder / "나.jpg") == folder / "나.jpg"
    assert capsys.readouterr().err == (
        f"note: {picture}: another program holds this file open; written to {folder / '가-2.jpg'} instead\n"
    )
    assert {path.name for path in folder.iterdir()} == {"notes.txt", "가.jpg"}


@pytest.mark.parametrize("place", ["a file/a.csv", "a file/deep/a.csv"])
def test_a_place_where_nothing_can_be_written_is_told_before_the_work(tmp_path, place):
    (tmp_path / "a file").touch()
    with pytest.raises(FaceemoError, match=r"^--out .*: cannot be written \(.+\); name another place$"):
        check_out(tmp_path / place)
    with pytest.raises(FaceemoError, match=r"^--plots .*: cannot be written \(.+\); name another place$"):
        check_folder("--plots", tmp_path / place, (".png",))
    assert [path.name for path in tmp_path.iterdir()] == ["a file"]


def test_trying_leaves_what_another_run_writes_there_and_no_folders(tmp_path):
    half = tmp_path / "a.csv.tmp"
    half.write_text("half", encoding="utf-8")
    check_out(tmp_path / "a.csv")
    check_out(tmp_path / "new" / "deep" / "a.csv")
    check_folder("--plots", tmp_path / "plots", (".png",))
    assert half.read_text(encoding="utf-8") == "half" and list(tmp_path.iterdir()) == [half]


def test_a_name_that_is_too_long_is_told_before_the_work(tmp_path):
    with pytest.raises(FaceemoError, match="cannot be written"):
        check_out(tmp_path / f"{'a' * 250}.csv")
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_table_is_replaced(tmp_path):
    out = tmp_path / "a.csv"
    out.write_text("old", encoding="utf-8")
    out.chmod(0o444)
    check_out(out)
    write(out)
    assert out.read_text(encoding="utf-8") == "new" and list(tmp_path.iterdir()) == [out]


def test_what_another_program_holds_is_waited_for_where_work_would_be_lost(tmp_path, monkeypatch, capsys):
    path = tmp_path / "history.csv"
    await_release(path)
    answers = iter([True, True, True, False])
    monkeypatch.setattr("faceemo.outputs.is_held", lambda _: next(answers))
    await_release(path)
    assert (
        capsys.readouterr().err == f"{path}: another program holds this file open; close it there, and this goes on\n"
    )


def test_rows_for_a_table_that_another_program_holds_at_the_end_are_beside_it(tmp_path, monkeypatch):
    out, beside = tmp_path / "결과.csv", tmp_path / "결과-3.csv"
    out.write_text("old", encoding="utf-8")
    (tmp_path / "결과-2.csv").write_text("another", encoding="utf-8")
    monkeypatch.setattr("faceemo.durable.RENAME_SECONDS", 0.1)
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda old, new: held(out, replace)(new) if new == out else replace(old, new))
    with pytest.raises(FaceemoError) as error:
        write(out)
    assert str(error.value) == f"--out {out}: another program holds this file open; what was to be there is in {beside}"
    assert (out.read_text(encoding="utf-8"), beside.read_text(encoding="utf-8")) == ("old", "new")
    assert len(list(tmp_path.iterdir())) == 3


def held(path, call):
    """`call` on this path answers as Windows does for a file that is open elsewhere."""

    def refuse(one, *arguments):
        if one == path:
            raise PermissionError(13, "접근이 거부되었습니다", str(path))
        return call(one, *arguments)

    return refuse
