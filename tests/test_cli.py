import hashlib
import importlib.metadata
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from commands import Commands
from made_archives import ANXIOUS, heed_ctrl_c
from made_models import model_file
from made_sources import label_json, of_set, rating, record
from PIL import Image
from systems import needs_posix

from faceemo.arguments import COMMANDS, parse
from faceemo.cli import main
from faceemo.pictures.sources import read_sources
from faceemo.prediction.model import EmotionModel

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture
def project(tmp_path, monkeypatch, make_zip):
    """A project folder with params.yaml and archives in 내 사진/, as the working directory."""
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copy(REPOSITORY / "params.yaml", folder)
    for part in (1, 2):
        name = f"project/내 사진/Training/[원천]EMOIMG_중립_TRAIN_{part:02d}.zip"
        make_zip(name, *((of_set(f"{part}{number}"), b"1" * 250_000) for number in range(part + 3)))
    make_zip("project/내 사진/Validation/[원천]EMOIMG_불안_VALID.zip", (of_set("a", "불안"), b"2"))
    labels = label_json(record(of_set(10), rating()))
    make_zip("project/내 사진/Training/[라벨]EMOIMG_중립_TRAIN.zip", ("a.json", labels))
    make_zip("project/내 사진/휴가.zip", ("b.jpg", b"3"))
    monkeypatch.chdir(folder)
    return folder


def command(*arguments, **environment):
    """Run `faceemo` in a process of its own and give its exit code and its two outputs as bytes, UTF-8 if not asked."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON") or key == "PYTHONPATH"}
    clean["PYTHONIOENCODING"] = "utf-8"
    return subprocess.run(
        [sys.executable, "-m", "faceemo.cli", *arguments],
        capture_output=True,
        env={**clean, **environment},
        timeout=180,
    )


@pytest.fixture(scope="module")
def commands():
    """Commands that run one after another in one process, for those that import torch."""
    several = Commands()
    yield several
    several.close()


def assert_each_is_one_line(commands, name, mistakes):
    """Each of these arguments of the command ends with exit code 1 and one line with these words."""
    for arguments, words in mistakes:
        done = commands(name, *arguments)
        line = done.err.decode()
        assert done.code == 1 and line.count("\n") == 1 and line.startswith("faceemo: error: ") and words in line, line


def error_line(capsys):
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(("faceemo: error: ", "params.yaml: error: ")) and err.count("\n") == 1
    return err


def test_scan_writes_the_sources_and_prints_a_table_and_what_it_passed_over(project, capsys):
    assert main(["scan", "내 사진"]) == 0
    sources = read_sources(project / "data/sources.yaml")
    assert {key: source.images for key, source in sources.items()} == {
        "anxious-validation-01": 1,
        "neutral-training-01": 4,
        "neutral-training-02": 5,
    }
    assert sources["neutral-training-01"].zip == "내 사진/Training/[원천]EMOIMG_중립_TRAIN_01.zip"
    out, err = capsys.readouterr()
    assert err == ""
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines()}
    assert rows["neutral-training-01"][:4] == ["4", "0", "1.0", "yes"]
    assert rows["anxious-validation-01"][:4] == ["1", "0", "0.0", "no"]
    assert rows["together"] == ["10", "0", "2.3"]
    assert f"passed over: {Path('내 사진/휴가.zip')} (no archive of the set; name it itself to scan it)" in out
    assert "wrote data/sources.yaml" in out.splitlines() and out.splitlines()[-1] == "dvc repro"


def test_scan_says_the_same_to_programs(project, capsys):
    assert main(["scan", "내 사진", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["sources"]["neutral-training-01"] == {
        "place": "내 사진/Training/[원천]EMOIMG_중립_TRAIN_01.zip",
        "pictures": 4,
        "classes": {"neutral": 4},
        "folder": "training",
    }
    assert told["next"][-1] == "dvc repro" and any(line.startswith("passed over: ") for line in told["said"])
    assert len(read_sources(project / "data/sources.yaml")) == len(told["sources"]) == 3


@needs_posix("Windows allows no control characters in names")
def test_a_name_in_scans_table_neither_ends_the_line_nor_moves_the_cursor(project, capsys, make_zip):
    make_zip("project/내 사진/\x1b[2J\n[원천]EMOIMG_슬픔_TRAIN_01.zip", (of_set("a", "슬픔"), b"22"))
    make_zip("project/내 사진/\x1b[1A휴가.zip", ("b.jpg", b"3"))
    assert main(["scan", "내 사진"]) == 0
    out, _ = capsys.readouterr()
    assert r"내 사진/\x1b[2J\n[원천]EMOIMG_슬픔_TRAIN_01.zip" in out and r"내 사진/\x1b[1A휴가.zip (" in out
    assert all(line.isprintable() for line in out.splitlines())


def test_scan_says_who_of_validation_is_in_training_too(project, capsys, make_zip):
    names = [f"{person * 64}_여_20_분노_공원_20210126150000-001-001.jpg" for person in "abc"]
    make_zip("[원천]EMOIMG_분노_TRAIN_01.zip", (names[0], b"1"), (names[1], b"2"))
    make_zip("[원천]EMOIMG_분노_VALID.zip", (names[1], b"3"), (names[2], b"4"))
    assert main(["scan", "..", "--emotions", "분노"]) == 0
    out = capsys.readouterr().out
    assert "3 people in the names of the pictures" in out
    assert "1 of 2 people of Validation are in Training too; 'split.by: person' keeps people apart" in out
    assert main(["scan", "../[원천]EMOIMG_분노_TRAIN_01.zip"]) == 0
    assert "Validation" not in capsys.readouterr().out


def test_an_emotion_asked_for_that_has_no_archive_is_one_line(project, capsys):
    assert main(["scan", "내 사진", "--emotions", "중립", "슬픔"]) == 1
    assert (
        "no archive of sad (슬픔) with pictures below 내 사진; there are archives of anxious, neutral;"
        in error_line(capsys)
    )
    assert not (project / "data").exists()


def test_scan_says_what_it_misses_drops_and_does_not_know_and_what_to_run_next(project, capsys, make_zip):
    people = [hashlib.sha256(bytes([number])).hexdigest() for number in range(60)]
    for word in ("분노", "기쁨"):
        names = [f"{person}_여_20_{word}_공원_20210126150000-001-001.jpg" for person in people]
        make_zip(f"set/[원천]EMOIMG_{word}_TRAIN_01.zip", *((name, name.encode()) for name in [*names, "x.jpg"]))
    make_zip("set/[원천]EMOIMG_기쁨_TRAIN_02.zip", (names[0], b"y"))
    assert main(["scan", "내 사진"]) == 0
    assert "one part only" not in capsys.readouterr().out  # neutral has two, and anxious is of Validation
    assert main(["scan", "../set"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "60 people in the names of the pictures, 2 pictures whose names do not say who it is" in lines
    assert any(line.startswith("one part only of angry: the parts _01 to _04 of an emotion hold") for line in lines)
    assert (
        "no longer in data/sources.yaml: anxious-validation-01, neutral-training-01, neutral-training-02; to keep "
        "them, name their places too: 내 사진/Training, 내 사진/Validation"
    ) in lines
    assert lines[-3:] == ["wrote data/sources.yaml", "next:", "dvc repro"]


def test_a_source_that_cannot_be_read_any_more_is_passed_over_and_said_to_be_gone(project, capsys):
    assert main(["scan", "내 사진"]) == 0
    path = project / "내 사진/Training/[원천]EMOIMG_중립_TRAIN_02.zip"
    path.write_bytes(path.read_bytes()[:-100])
    capsys.readouterr()
    assert main(["scan", "내 사진"]) == 0
    out = capsys.readouterr().out
    assert f"passed over: {path.relative_to(project)} (not a readable ZIP archive (" in out
    assert "no longer in data/sources.yaml: neutral-training-02, which was passed over" in out.splitlines()
    assert "name their places too" not in out and len(read_sources()) == 2


def test_scan_leaves_params_yaml_alone(project):
    before = (project / "params.yaml").read_bytes()
    assert main(["scan", "내 사진"]) == 0
    assert (project / "params.yaml").read_bytes() == before


def test_a_second_scan_writes_the_same_bytes(project):
    assert main(["scan", "내 사진"]) == 0
    first = (project / "data/sources.yaml").read_bytes()
    assert main(["scan", "내 사진/Validation", "내 사진/Training"]) == 0
    assert (project / "data/sources.yaml").read_bytes() == first


@pytest.mark.parametrize("words", [["neutral"], ["중립"]])
def test_scan_takes_emotions_in_english_and_korean(project, words):
    assert main(["scan", "내 사진", "--emotions", *words]) == 0
    assert {source.emotion for source in read_sources().values()} == {"neutral"}


def test_an_emotion_named_in_both_languages_is_one_class_and_no_model_is_promised(project, capsys):
    assert main(["scan", "내 사진", "--emotions", "중립", "neutral"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "not enough to train yet: only neutral was scanned, and a model needs two classes; scan others too" in lines
    assert lines[-2:] == ["extraction can begin all the same; next:", "dvc repro"]


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"faceemo {importlib.metadata.version('faceemo')}\n"


def test_an_unknown_emotion_is_one_line(project, capsys):
    assert main(["scan", "내 사진", "--emotions", "joy"]) == 1
    assert "unknown emotion 'joy'" in error_line(capsys)
    assert not (project / "data").exists()


def damage_all_archives(project):
    for path in (project / "내 사진").rglob("*.zip"):
        path.write_bytes(path.read_bytes()[:-100])
    return "not a readable ZIP archive"


def copy_an_archive(project):
    path = project / "내 사진/Training/[원천]EMOIMG_중립_TRAIN_02.zip"
    shutil.copy(path, path.with_name("[원천]EMOIMG_중립_TRAIN_03.zip"))
    return "hold the same pictures"


def drop_the_archives(project):
    shutil.rmtree(project / "내 사진")
    (project / "내 사진").mkdir()
    return "no source archive"


def drop_the_folder(project):
    shutil.rmtree(project / "내 사진")
    return "no such folder"


def break_params(project):
    text = (project / "params.yaml").read_text(encoding="utf-8")
    (project / "params.yaml").write_text(text.replace("lr: 0.001", "lr: abc"), encoding="utf-8")
    return "params.yaml: error: lr must be a number, not 'abc'"


def drop_params(project):
    (project / "params.yaml").unlink()
    return "params.yaml is not here"


@pytest.mark.parametrize(
    "cause", [damage_all_archives, copy_an_archive, drop_the_archives, drop_the_folder, break_params, drop_params]
)
def test_a_scan_that_fails_is_one_line_and_leaves_the_old_sources(project, capsys, cause):
    assert main(["scan", "내 사진"]) == 0
    before = (project / "data/sources.yaml").read_bytes()
    capsys.readouterr()
    words = cause(project)
    assert main(["scan", "내 사진"]) == 1
    assert words in error_line(capsys)
    assert (project / "data/sources.yaml").read_bytes() == before
    assert [path.name for path in (project / "data").iterdir()] == ["sources.yaml"]


def test_a_data_folder_that_cannot_be_made_is_one_line(project, capsys):
    (project / "data").write_text("a file where the folder should be", encoding="utf-8")
    assert main(["scan", "내 사진"]) == 1
    assert "data" in error_line(capsys)


@pytest.mark.slow
def test_the_command_fits_a_korean_windows_console(project):
    photos = project / "내 사진"
    (photos / "휴가.zip").rename(photos / "휴가 é \N{GRINNING FACE}.zip")
    done = command("scan", "내 사진", PYTHONUTF8="0", PYTHONIOENCODING="cp949")
    out = done.stdout.decode("cp949")
    assert (done.returncode, done.stderr) == (0, b"")
    assert "내 사진/Training/[원천]EMOIMG_중립_TRAIN_01.zip" in out
    assert "휴가 \\xe9 \\U0001f600.zip" in out
    assert "중립_TRAIN_01.zip" in (project / "data/sources.yaml").read_text(encoding="utf-8")


def test_an_error_in_a_process_of_its_own_is_one_line_without_a_traceback(project):
    copy_an_archive(project)
    done = command("scan", "내 사진", PYTHONUTF8="0", PYTHONIOENCODING="cp949")
    message = done.stderr.decode("cp949")
    assert (done.returncode, done.stdout) == (1, b"")
    assert message.startswith("faceemo: error: ") and message.count("\n") == 1
    assert "[원천]EMOIMG_중립_TRAIN_02.zip" in message


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_an_example_that_every_shell_passes_on_as_it_stands(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    example = " ".join(capsys.readouterr().out.partition("example: ")[2].split())
    assert example == f"faceemo {name} {COMMANDS[name].example}"
    assert "'" not in example  # no quotation mark to cmd.exe
    assert parse(shlex.split(example)[1:]).name == name


@pytest.mark.parametrize("encoding", ["cp949", "cp1252"])
@pytest.mark.parametrize("arguments", [["--help"], ["scan", "--help"]])
def test_help_can_be_shown_on_every_windows_console(arguments, encoding):
    done = command(*arguments, PYTHONUTF8="0", PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"scan" in done.stdout


@pytest.mark.parametrize("arguments", [[], ["scan"], ["scan", "--emotion"], ["train"]])
def test_a_command_line_that_is_none_exits_2_with_the_usage(capsys, arguments):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert "usage: faceemo" in capsys.readouterr().err


QUOTED = 'D:\\한글 폴더 (1)\\런던"'  # what cmd makes of "D:\\한글 폴더 (1)\\런던\\"


@pytest.mark.parametrize(
    "arguments",
    [
        ["scan", f"{QUOTED} --emotions 중립 기쁨"],
        ["scan", "내 사진", QUOTED],
        ["scan", "--emotions", "중립", "--hash", f"{QUOTED} D:\\b"],
        ["predict", "내 사진", "--annotate", QUOTED],
        ["predict", "내 사진", "--out", f"{QUOTED} --every 2"],
        ["predict", f"{QUOTED} --model faceemo"],
        ["predict", "내 사진", "--model", QUOTED],
        ["evaluate", "내 사진", "--neutral", QUOTED],
        ["evaluate", "내 사진", "--plots", QUOTED],
        ["evaluate", "내 사진", "--mistakes", QUOTED],
        ["export", "--out", QUOTED],
        ["report", "--out", QUOTED],
        ["report", "--plots", QUOTED],
        ["folds", "--out", QUOTED],
        ["serve", "--model", QUOTED],
    ],
)
def test_a_path_that_cmd_runs_together_with_what_follows_is_told_how_to_be_written(project, capsys, arguments):
    assert main(arguments) == 1
    assert capsys.readouterr().err == (
        f"faceemo: error: {next(one for one in arguments if QUOTED in one)}: a quotation mark in a path: cmd takes "
        '\\" at the end of "D:\\folder\\" for one; leave the last \\ out\n'
    )
    assert sorted(path.name for path in project.iterdir()) == ["params.yaml", "내 사진"]


@needs_posix("Windows allows no quotation marks in names")
def test_a_folder_with_a_quotation_mark_in_its_name_is_one_elsewhere(project, capsys):
    (project / "내 사진").rename(project / '"내 사진"')
    assert main(["scan", '"내 사진"']) == 0


@pytest.mark.slow
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_went_away_is_no_traceback(project, unbuffered):
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, "-m", "faceemo.cli", "scan", "내 사진"],
        stdout=write_end,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        timeout=60,
    )
    os.close(write_end)
    assert b"Traceback" not in done.stderr and b"Exception ignored" not in done.stderr
    assert done.returncode == 1
    assert len(read_sources()) == 3


def test_the_command_imports_nothing_heavy_before_it_knows_what_to_do():
    code = "import sys, faceemo.cli; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, encoding="utf-8"
    )
    assert not {"torch", "mediapipe", "cv2", "matplotlib", "dvc", "pyarrow"} & set(done.stdout.split())


class TestPredict:
    @pytest.fixture
    def folder(self, tmp_path, monkeypatch):
        """A folder with a model, and no project around it: two faces and a text in 사진/."""
        model_file(tmp_path)
        (tmp_path / "사진").mkdir()
        with zipfile.ZipFile(ANXIOUS) as archive:
            for name, info in zip(("가.jpg", "나.jpg"), archive.infolist(), strict=False):
                (tmp_path / "사진" / name).write_bytes(archive.read(info))
        (tmp_path / "사진" / "cut.jpg").write_bytes(b"no picture")
        monkeypatch.chdir(tmp_path)
        return tmp_path

    @pytest.fixture
    def predict(self, folder, commands):
        def run(*arguments):
            done = commands("predict", *arguments)
            return done.code, done.out.decode(), done.err.decode()

        return run

    @pytest.mark.slow
    def test_prints_a_line_a_picture_and_nothing_else(self, folder, predict):
        code, out, err = predict("사진")
        assert (code, err) == (0, "")
        assert [line.split()[0] for line in out.splitlines()] == ["status", "decode_error", "ok", "ok"]
        assert out.splitlines()[2].endswith(f"사진{os.sep}가.jpg")

    @pytest.mark.slow
    def test_writes_a_file_and_says_so(self, folder, predict):
        code, out, err = predict("사진", "--out", "deep/결과.jsonl", "--annotate", "drawn")
        assert (code, err) == (0, "")
        assert out == f"wrote {Path('deep/결과.jsonl')}: 2 ok, 1 decode_error\n"
        rows = [json.loads(line) for line in (folder / "deep/결과.jsonl").read_text(encoding="utf-8").splitlines()]
        assert [row["status"] for row in rows] == ["decode_error", "ok", "ok"]
        assert sorted(path.name for path in (folder / "drawn").glob("*.jpg")) == ["가.jpg", "나.jpg"]

    @pytest.mark.slow
    def test_all_faces_of_a_group_are_rows_and_a_picture_of_it(self, folder, predict):
        with Image.open(folder / "사진" / "가.jpg") as one:
            group = Image.new("RGB", (6 * one.width, 4 * one.height))
            for index in range(24):
                group.paste(one, (index % 6 * one.width, index // 6 * one.height))
        group.save(folder / "group.jpg")
        options = ("--out", "rows.jsonl", "--annotate", "drawn", "--workers", "1")
        code, out, err = predict("group.jpg", "사진/나.jpg", "--faces", "all", *options)
        assert (code, out) == (0, "wrote rows.jsonl: 21 ok\n")
        assert err == "note: 24 faces found in group.jpg; the 20 largest of a picture are judged\n"
        rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
        assert [row["face"] for row in rows] == [*range(1, 21), 1]
        assert len({(row["left"], row["top"]) for row in rows}) == 21
        assert sorted(path.name for path in (folder / "drawn").glob("*.jpg")) == ["group.jpg", "나.jpg"]

    @pytest.mark.slow
    def test_where_no_face_is_found_the_search_for_smaller_ones_is_named(self, folder, predict):
        Image.new("RGB", (320, 240), "grey").save(folder / "wall.png")
        hint = "; --faces all looks for smaller faces too\n"
        assert predict("wall.png")[2] == f"faceemo: error: no face to judge: 1 no_face{hint}"
        code, out, err = predict("wall.png", "사진/가.jpg")
        assert (code, err) == (0, f"note: 1 no_face{hint}") and len(out.splitlines()) == 3
        assert predict("wall.png", "--faces", "all")[2] == "faceemo: error: no face to judge: 1 no_face\n"

    @pytest.mark.slow
    @pytest.mark.parametrize("baseline", ["neutral", "person"])
    def test_all_faces_are_refused_by_a_model_that_judges_change(self, folder, predict, baseline):
        model_file(folder, baseline=baseline)
        for neutral in ([], ["--neutral", "사진/나.jpg"]):
            code, out, err = predict("사진/가.jpg", "--faces", "all", *neutral)
            assert (code, out, err.count("\n")) == (1, "", 1)
            assert "nothing says who is who among all faces" in err

    @pytest.mark.parametrize("faces", ["abc", "0"])
    def test_another_word_for_faces_is_refused(self, folder, predict, faces):
        code, out, err = predict("사진/가.jpg", "--faces", faces)
        assert code and not out and f"argument --faces: invalid choice: '{faces}'" in err

    @pytest.mark.slow
    @pytest.mark.parametrize("baseline", ["neutral", "person"])
    def test_a_neutral_face_is_a_baseline(self, folder, predict, baseline):
        model_file(folder, baseline=baseline)
        code, out, err = predict("사진/가.jpg", "사진/나.jpg", "--neutral", "사진/가.jpg", "--format", "csv")
        assert (code, err) == (0, "")
        model = EmotionModel.load()
        own, other = ([float(value) for value in line.split(",")[-2:]] for line in out.splitlines()[1:])
        none = np.zeros((1, 1434), np.float32)
        own_change = none if baseline == "neutral" else model.trained.neutral.numpy()[None]
        np.testing.assert_allclose(own, model.probabilities({"features": own_change}, none[0])[0], atol=2e-6)
        assert own != other

    @pytest.mark.slow
    def test_neutral_takes_one_path_and_what_stands_behind_it_is_judged(self, folder, predict):
        model_file(folder, baseline="neutral")
        first, second = f"사진{os.sep}가.jpg", f"사진{os.sep}나.jpg"
        expected = predict(second, "--neutral", first, "--format", "csv")
        assert expected[0] == 0 and second in expected[1]
        for arguments in (["--neutral", first, second], ["--neutral", first, "--workers", "1", second]):
            assert predict(*arguments, "--format", "csv") == expected
        code, out, _ = predict(first, "--neutral", first, "--neutral", second, second, "--format", "csv")
        assert code == 0 and [line.split(",")[0] for line in out.splitlines()[1:]] == [first, second]
        mean = EmotionModel.load().mean_face([first, second])
        np.testing.assert_allclose(
            [float(value) for value in out.splitlines()[2].split(",")[-2:]],
            EmotionModel.load().predict_proba(second, mean),
            atol=2e-6,
        )

    def test_an_option_that_is_none_is_still_told(self, folder, capsys):
        with pytest.raises(SystemExit):
            main(["predict", "사진", "--format", "csv", "사진", "--nuetral", "a.jpg"])
        assert "unrecognized arguments: 사진 --nuetral a.jpg" in capsys.readouterr().err

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["json", "parquet"])
    def test_rows_alone_go_to_stdout_and_words_to_stderr(self, folder, commands, name):
        done = commands("predict", "사진/가.jpg", "--out", "-", "--format", name)
        assert (done.code, done.err.strip()) == (0, b"wrote -: 1 ok")
        rows = json.loads(done.out) if name == "json" else pq.read_table(io.BytesIO(done.out)).to_pylist()
        assert [row["path"] for row in rows] == ["사진/가.jpg" if os.sep == "/" else "사진\\가.jpg"]
        assert not list(folder.glob("-*"))

    @pytest.mark.slow
    def test_without_a_neutral_face_a_neutral_model_does_not_guess(self, folder, predict):
        model_file(folder, baseline="neutral")
        code, out, err = predict("사진")
        assert (code, out) == (1, "")
        assert "give pictures of it with --neutral" in err and err.count("\n") == 1

    @pytest.mark.slow
    def test_without_enough_pictures_of_a_person_a_person_model_does_not_guess(self, folder, predict):
        model_file(folder, baseline="person")
        code, out, err = predict(*["사진/가.jpg"] * 7, "사진/나.jpg", "--format", "csv")
        assert code == 0
        assert [line.split(",")[2] for line in out.splitlines()[1:]] == ["no_baseline"] * 7 + ["ok"]
        assert "the mean of the input so far, from picture 8 of a person on" in err and err.count("\n") == 1
        code, out, err = predict("사진/가.jpg", "--format", "csv")
        assert code == 1
        assert err.splitlines()[-1] == "faceemo: error: no face to judge: 1 no_baseline"

    @pytest.mark.slow
    def test_a_users_mistake_is_one_line_and_exit_1(self, folder, commands):
        mistakes = [
            (["none.jpg"], "none.jpg: no such file or folder"),
            (["사진", "--model", "other.pt"], "other.pt: no such model; train one with 'dvc repro'"),
            (["사진", "--model", "사진/cut.jpg"], "cut.jpg: not a faceemo model"),
            (["사진/cut.jpg"], "no face to judge: 1 decode_error; the first is"),
            (["사진/가.jpg", "--format", "csv", "--out", "./사진/가.jpg"], "this is an input and would be replaced"),
            (["사진", "--format", "csv", "--out", "models/emotion.pt"], "this is an input and would be replaced"),
            (["사진", "--format", "parquet"], "name a file with --out"),
            (
                ["사진", "--out", "결과.xlsx"],
                "--out 결과.xlsx: .xlsx is no known format; name it .txt, .csv",
            ),
            (["사진", "--out", "사진"], "--out 사진: this is a folder; name a file in it"),
            (["사진", "--neutral", "사진/가.jpg", "--faces", "all"], "--neutral is of one person"),
        ]
        assert_each_is_one_line(commands, "predict", mistakes)

    @pytest.mark.slow
    def test_somebody_elses_params_file_beside_it_is_nothing_to_it(self, folder, predict, commands):
        (folder / "params.yaml").write_text("lr: [fast\n", encoding="utf-8")
        code, out, err = predict("사진/가.jpg")
        assert (code, err) == (0, "") and out.splitlines()[1].startswith("ok ")
        done = commands("export", "--out", "a.onnx")
        assert (done.code, done.err) == (0, b"") and (folder / "a.onnx").stat().st_size > 1_000_000

    @pytest.mark.slow
    def test_a_reader_that_goes_away_is_no_traceback(self, folder):
        with subprocess.Popen(
            [sys.executable, "-m", "faceemo.cli", "predict", str(ANXIOUS)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            process.stdout.readline()
            process.stdout.close()
            errors = process.stderr.read()
        assert process.returncode == 1 and errors == b""

    @pytest.mark.slow
    @needs_posix("sends signals")
    def test_ctrl_c_is_one_line_and_leaves_no_half_file(self, folder):
        shutil.copytree(folder / "사진", folder / "더")
        for number in range(2000):
            os.link(folder / "사진/가.jpg", folder / f"더/{number:04d}.jpg")
        with subprocess.Popen(
            [sys.executable, "-m", "faceemo.cli", "predict", "더", "--annotate", "drawn", "--out", "a.csv"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=heed_ctrl_c,
        ) as process:
            while not list(folder.glob("drawn/*.jpg")):
                assert process.poll() is None
            os.killpg(process.pid, signal.SIGINT)
            errors = process.stderr.read()
        assert process.returncode == 130 and errors == b"faceemo: interrupted\n"
        assert not list(folder.glob("a.csv*"))

    @pytest.mark.slow
    def test_a_console_of_korean_windows_shows_what_it_can(self, folder, commands):
        done = commands("predict", "사진", encoding="cp949")
        assert done.code == 0 and "가.jpg" in done.out.decode("cp949")


class TestEvaluate:
    @pytest.fixture
    def folder(self, tmp_path, monkeypatch):
        """A folder with two models, and no project around it: five faces and a cut picture in 사진/, and empty/."""
        model_file(tmp_path / "other", classes=("anxious", "neutral", "happy"))
        model_file(tmp_path)
        names = ("불안/김_1.jpg", "불안/이_1.jpg", "중립/김_2.jpg", "중립/김_3.jpg", "지루함/이_2.jpg")
        with zipfile.ZipFile(ANXIOUS) as archive:
            for name, info in zip(names, archive.infolist(), strict=False):
                (tmp_path / "사진" / name).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / "사진" / name).write_bytes(archive.read(info))
        (tmp_path / "사진/중립/이_cut.jpg").write_bytes(b"no picture")
        (tmp_path / "empty").mkdir()
        monkeypatch.chdir(tmp_path)
        return tmp_path

    @pytest.fixture
    def evaluate(self, folder, commands):
        def run(*arguments):
            done = commands("evaluate", *arguments)
            return done.code, done.out.decode(), done.err.decode()

        return run

    @pytest.mark.slow
    def test_tells_and_writes_how_good_models_are(self, folder, evaluate):
        own = ("--subject", "/([^/_]+)_", "--rename", "지루함=bored")
        models = ("--model", "models/emotion.pt", "--model", "other/models/emotion.pt")
        code, out, err = evaluate("사진", *own, *models, "--out", "deep/결과.json", "--plots", "그림")
        assert (code, err) == (0, "")
        lines = out.splitlines()
        assert lines[0] == "6 pictures (2 anxious, 1 bored, 3 neutral); 2 people"
        assert "  left out, since it does not know their class: 1 bored" in lines
        assert "  not judged: 1 decode_error" in lines
        assert any(line.startswith("side by side, on the 4 pictures of 2 people that all judge") for line in lines)
        found = json.loads((folder / "deep/결과.json").read_text(encoding="utf-8"))
        assert list(found["models"]) == [str(Path(path)) for path in models[1::2]]
        first = next(iter(found["models"].values()))
        assert (first["unknown_classes"], first["label"]["images"]) == ({"bored": 1}, 4)
        assert first["label"]["all_pictures"]["images"] == 5
        assert sum(map(sum, first["label"]["confusion"])) == 4
        assert f"    accuracy          {first['label']['accuracy']:.3f}" in out
        drawn = sorted(path.name for path in (folder / "그림").iterdir())
        plots = [f"{n}-emotion-{what}" for n in (1, 2) for what in ("confusion", "reliability")]
        assert drawn == [f"{plot}.{kind}" for plot in plots for kind in ("pdf", "png", "svg")]
        assert sorted(path.name for path in folder.iterdir()) == ["deep", "empty", "models", "other", "그림", "사진"]

    @pytest.mark.slow
    def test_the_numbers_may_go_to_stdout_and_paths_may_stand_behind_options(self, folder, evaluate):
        code, out, err = evaluate("--rename", "지루함=bored", "--out", "-", "사진")
        assert code == 0 and json.loads(out)["pictures"] == 6
        assert err.startswith("6 pictures (") and err.endswith("wrote -\n")

    @pytest.mark.slow
    def test_says_pictures_not_people_where_nobody_is_known(self, folder, evaluate):
        code, out, _ = evaluate("사진", "--rename", "지루함=bored")
        assert code == 0
        assert "nobody in them is known, so intervals are over pictures, not people" in out
        assert "in brackets: 95 % over pictures, not people\n" in out and "of 2 people" not in out

    @pytest.mark.slow
    def test_a_users_mistake_is_one_line_and_exit_1(self, folder, commands):
        mistakes = [
            (["none"], "none: no such folder, archive or table"),
            (["empty"], "no pictures and no source archive"),
            (["사진/불안/김_1.jpg"], "김_1.jpg: neither a folder, a ZIP archive nor a table"),
            (["사진", "--rename", "지루함"], "--rename: '지루함' is not like"),
            (["사진", "--rename", "지루함=bored,hurt=bored"], "--rename: no class is called 'hurt'"),
            (["사진/불안", "--subject", "(["], "is not a regular expression"),
            (["사진/불안", "--model", "none.pt"], "none.pt: no such model"),
            (["사진/불안", "--model", "사진/중립/이_cut.jpg"], "이_cut.jpg: not a faceemo model"),
            (["사진/불안", "--model", "models/emotion.pt", "--model", "models/emotion.pt"], "is given twice"),
            (["사진/불안", "--out", "empty"], "--out empty: this is a folder; name a file in it"),
            (["사진/불안", "--out", "models/emotion.pt"], "this is an input and would be replaced"),
            (["사진/불안", "--plots", "models/emotion.pt"], "this is not a folder; name a new folder"),
        ]
        assert_each_is_one_line(commands, "evaluate", mistakes)

    @pytest.mark.slow
    def test_without_any_face_the_statuses_are_told_and_the_exit_code_is_1(self, folder, evaluate):
        for path in folder.glob("사진/*/*.jpg"):
            path.write_bytes(b"no picture")
        code, out, err = evaluate("사진", "--rename", "지루함=bored")
        assert code == 1 and "not judged: 5 decode_error" in out
        assert err == "faceemo: error: no face to judge: see above what became of the pictures\n"

    @pytest.mark.slow
    def test_a_console_of_korean_windows_shows_what_it_can(self, folder, commands):
        arguments = ("evaluate", "사진", "--rename", "지루함=bored", "--out", "결과 é.json")
        done = commands(*arguments, encoding="cp949")
        assert (done.code, done.err) == (0, b"")
        assert "결과 \\xe9.json" in done.out.decode("cp949")
