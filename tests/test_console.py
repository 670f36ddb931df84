import contextlib
import errno
import io
import re
import sys
import time

import pytest

from faceemo import console
from faceemo.console import Interrupted, progress, run, say
from faceemo.errors import FaceemoError
from faceemo.interrupts import importing


def raising(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (3, 3)])
def test_a_command_that_ends_well_exits_with_its_own_code_and_says_nothing(capsys, result, code):
    assert run("extract", lambda: result) == code
    assert capsys.readouterr() == ("", "")


def test_an_error_that_a_user_can_mend_is_one_line_and_exit_1(capsys):
    assert run("extract", raising(FaceemoError("중립.zip changed; run 'faceemo scan'"))) == 1
    assert capsys.readouterr() == ("", "extract: error: 중립.zip changed; run 'faceemo scan'\n")


ODD = "사진 ①\n\x1b[2J\x9b\u202e\u2028.jpg"
ESCAPED = r"사진 ①\n\x1b[2J\x9b\u202e\u2028.jpg"


def test_a_name_in_an_error_neither_ends_the_line_nor_moves_the_cursor(capsys):
    assert run("extract", raising(FaceemoError(f"{ODD}: no such archive"))) == 1
    assert run("extract", raising(FileNotFoundError(2, "No such file", ODD))) == 1
    assert run("extract", raising(Interrupted(f"{ODD}: 2 shards kept"))) == 130
    assert capsys.readouterr().err == (
        f"extract: error: {ESCAPED}: no such archive\n"
        f"extract: error: No such file: {ESCAPED}\n"
        f"extract: interrupted; {ESCAPED}: 2 shards kept\n"
    )


def test_ctrl_c_is_one_line_and_exit_130_so_that_dvc_caches_nothing(capsys):
    assert run("train", raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr() == ("", "train: interrupted\n")


def test_ctrl_c_says_what_was_kept(capsys):
    assert run("extract", raising(Interrupted("2 shards kept in data/.partial"))) == 130
    assert capsys.readouterr() == ("", "extract: interrupted; 2 shards kept in data/.partial\n")


@pytest.mark.parametrize("content", ["", '{"write": {', '{"write": {}'])
def test_ctrl_c_says_when_dvcs_lock_is_broken_and_what_to_do(capsys, tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    lock = tmp_path / ".dvc/tmp/rwlock"
    lock.parent.mkdir(parents=True)
    lock.write_text(content, encoding="utf-8")
    advice = ".dvc/tmp/rwlock is broken: delete it, or dvc will not run"
    assert run("train", raising(KeyboardInterrupt())) == 130
    assert run("train", raising(Interrupted("2 shards kept"))) == 130
    assert capsys.readouterr().err == f"train: interrupted; {advice}\ntrain: interrupted; 2 shards kept; {advice}\n"
    lock.write_text('{"write": {}, "read": {}}', encoding="utf-8")
    assert run("train", raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "train: interrupted\n"


def test_a_missing_permission_is_one_line_with_the_files_name(capsys, tmp_path):
    folder = tmp_path / "결과 폴더"
    assert run("train", lambda: folder.read_text(encoding="utf-8")) == 1
    out, err = capsys.readouterr()
    assert out == "" and re.fullmatch(rf"train: error: .+: {re.escape(str(folder))}\n", err)  # in the system's words


def test_an_os_error_without_a_file_is_one_line(capsys):
    assert run("train", raising(OSError("the drive has gone"))) == 1
    assert run("train", raising(OSError(28, "No space left on device"))) == 1
    assert capsys.readouterr().err == "train: error: the drive has gone\ntrain: error: No space left on device\n"


def test_a_closed_pipe_is_silent_also_as_windows_reports_it(capsys, monkeypatch):
    closed = OSError(errno.EINVAL, "Invalid argument")
    monkeypatch.setattr(console.sys, "platform", "linux")
    assert run("scan", raising(closed)) == 1
    assert capsys.readouterr().err == "scan: error: Invalid argument\n"  # anywhere else it is no closed pipe
    monkeypatch.setattr(console.sys, "platform", "win32")
    for error in (closed, BrokenPipeError()):
        monkeypatch.setattr(sys, "stdout", sys.stdout)  # which run replaces
        assert run("scan", raising(error)) == 1
        assert capsys.readouterr().err == ""
    assert run("scan", raising(OSError(errno.EINVAL, "Invalid argument", "a?.txt"))) == 1
    assert "a?.txt" in capsys.readouterr().err


def test_a_fault_of_our_own_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        run("train", lambda: 1 // 0)


NOT_THERE = "cannot open shared object file: No such file or directory"
LACKING = {
    f"libGL.so.1: {NOT_THERE}": "the system lacks libGL.so.1, which OpenCV needs: apt-get install libgl1 ",
    f"libgthread-2.0.so.0: {NOT_THERE}": "the system lacks libgthread-2.0.so.0, which OpenCV needs: apt-get install ",
    "/usr/lib/libGL.so.1: file too short": "the system lacks libGL.so.1, which OpenCV needs: ",
    f"libgomp.so.1: {NOT_THERE}": "the system lacks libgomp.so.1: 'apt-file search libgomp.so.1' or 'dnf provides */",
    "DLL load failed while importing cv2: 지정된 모듈을 찾을 수 없습니다.": "DLL load failed while importing cv2: 지정",
}


@pytest.mark.parametrize(("said", "line"), LACKING.items())
def test_a_library_of_the_system_that_is_missing_is_one_line(capsys, said, line):
    def lacking():
        raise ImportError(said, name="cv2")

    assert run("train", lacking) == 1
    assert capsys.readouterr().err.startswith(f"train: error: {line}")
    with pytest.raises(SystemExit) as ended, importing("train"):  # as at the head of a stage
        lacking()
    error = capsys.readouterr().err
    assert ended.value.code == 1 and error.startswith(f"train: error: {line}") and error.count("\n") == 1


@pytest.mark.parametrize(
    "error",
    [
        ImportError("cannot import name 'a' from 'b'"),
        ImportError("/venv/torch/lib/libtorch.so: undefined symbol: a"),
        ModuleNotFoundError("No module named 'cv2'", name="cv2"),
    ],
)
def test_another_failed_import_is_not_hidden(error):
    with pytest.raises(ImportError):
        run("train", raising(error))
    with pytest.raises(ImportError), importing("train"):
        raise error


@pytest.mark.parametrize("encoding", ["cp949", "cp1252", "ascii"])
def test_output_that_the_console_cannot_encode_is_shown_escaped(monkeypatch, encoding):
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding=encoding) for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)

    def main():
        print("중립 × é \N{GRINNING FACE} \udcff")
        raise FaceemoError("é \N{GRINNING FACE} is no archive")

    assert run("extract", main) == 1
    shown = {}
    for name, stream in streams.items():
        stream.flush()
        shown[name] = stream.buffer.getvalue().decode(encoding)
    assert "\\U0001f600" in shown["stdout"] and "\\udcff" in shown["stdout"]
    assert ("중립" in shown["stdout"]) == (encoding == "cp949")
    assert shown["stderr"].endswith("\\U0001f600 is no archive" + ("\r\n" if sys.platform == "win32" else "\n"))


def test_progress_without_a_terminal_is_plain_lines_with_count_rate_and_extras(capsys, monkeypatch):
    monkeypatch.setattr(console, "PLAIN_SECONDS", 0.2)
    with progress(200, "neutral-training-01", "pictures", done=100) as advance:
        time.sleep(0.25)
        advance(50, no_face=3)
        advance(10)
        time.sleep(0.25)
        advance(40, no_face=4)
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert err == "" and "\r" not in out
    assert len(lines) == 2  # the second call came too soon after the first for a line of its own
    assert lines[0].startswith("neutral-training-01: 150 of 200 pictures, ") and lines[0].endswith(", no_face 3")
    assert lines[1].startswith("neutral-training-01: 200 of 200 pictures, ") and lines[1].endswith(", no_face 4")
    assert "/s, 00:0" in lines[0] and "/s, 00:00 left, " in lines[1]
    rate = float(lines[0].partition("pictures, ")[2].partition(" ")[0])
    assert 0 < rate <= 50 / 0.25  # the 100 done before are not this run's speed


def test_plain_lines_of_progress_leave_stdout_to_the_output_where_that_is_asked(capsys, monkeypatch):
    monkeypatch.setattr(console, "PLAIN_SECONDS", 0)
    with progress(2, "predict", "pictures", to=sys.stderr) as advance:
        advance(1)
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("predict: 1 of 2 pictures")


def test_plain_lines_of_progress_go_on_while_what_works_is_made_silent(capsys, monkeypatch):
    """As folds do with each training."""
    monkeypatch.setattr(console, "PLAIN_SECONDS", 0)
    with progress(2, "folds", "epochs") as advance, contextlib.redirect_stdout(io.StringIO()):
        advance(1)
    assert capsys.readouterr().out.startswith("folds: 1 of 2 epochs")


def test_progress_of_what_has_no_known_end_tells_no_time_left(capsys, monkeypatch):
    monkeypatch.setattr(console, "PLAIN_SECONDS", 0)
    with progress(None, "pictures: listing", "files") as advance:
        advance(5)
    assert re.fullmatch(r"pictures: listing: 5 files, [\d.]+ files/s\n", capsys.readouterr().out)


def test_a_name_in_progress_neither_ends_the_line_nor_moves_the_cursor(capsys, monkeypatch):
    monkeypatch.setattr(console, "PLAIN_SECONDS", 0)
    with progress(2, ODD, "pictures") as advance:
        advance(1)
    assert capsys.readouterr().out.startswith(f"{ESCAPED}: 1 of 2 pictures")


def test_quick_work_without_a_terminal_prints_nothing(capsys):
    with progress(10, "a", "pictures") as advance:
        for _ in range(10):
            advance(1)
    assert capsys.readouterr() == ("", "")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_on_a_terminal_is_a_bar_that_goes_on_where_it_was_and_tells_the_time_left(capsys, monkeypatch):
    monkeypatch.setattr(console, "BAR_SECONDS", 0.1)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress(200, "neutral-training-01", "pictures", done=150) as advance:
        time.sleep(0.5)
        assert "150/200" in sys.stderr.getvalue()  # though nothing was done yet
        advance(25, no_face=3)
        assert re.search(r"175/200 \[00:00<00:0\d, ", sys.stderr.getvalue())
        advance(25, no_face=4)
    shown = sys.stderr.getvalue()
    assert "200/200" in shown and "no_face=4" in shown and "neutral-training-01" in shown
    assert capsys.readouterr().out == ""


def test_a_bar_without_an_advance_ends_its_line(monkeypatch):
    monkeypatch.setattr(console, "BAR_SECONDS", 0.1)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.raises(ValueError, match="mine"), progress(3, "x", "files"):
        time.sleep(0.4)
        raise ValueError("mine")
    assert "0/3" in sys.stderr.getvalue() and sys.stderr.getvalue().endswith("\n")


def test_quick_work_on_a_terminal_shows_no_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress(10, "a", "pictures") as advance:
        advance(10)
    assert sys.stderr.getvalue() == ""


def test_a_line_in_the_middle_of_progress_stands_by_itself(capsys, monkeypatch):
    say("waiting for a worker")
    assert capsys.readouterr().out == "waiting for a worker\n"
    monkeypatch.setattr(console, "BAR_SECONDS", 0)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress(10, "a", "pictures") as advance:
        advance(1)
        say("waiting for a worker")
    assert capsys.readouterr().out.endswith("waiting for a worker\n")
    assert sys.stderr.getvalue().count("\r") >= 2  # the bar was taken away and drawn anew


def test_an_exception_within_progress_goes_on(capsys):
    with pytest.raises(ValueError, match="mine"), progress(10, "a", "pictures"):
        raise ValueError("mine")
