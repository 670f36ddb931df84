import csv
import dataclasses
import io
import json
import os
import queue
import sys
import threading
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from systems import needs_posix

from faceemo.emotions import TAKEN
from faceemo.errors import FaceemoError
from faceemo.extraction.worker import Reading
from faceemo.prediction.formats import FIXED, format_of, write_predictions
from faceemo.prediction.inputs import Input
from faceemo.prediction.model import Answer
from faceemo.prediction.predict import Prediction

CLASSES = ["neutral", "anxious"]
COLUMNS = [
    "path",
    "seconds",
    "status",
    "error",
    "turned",
    "face",
    "left",
    "top",
    "right",
    "bottom",
    "label",
    "neutral",
    "anxious",
]


def predictions():
    landmarks = np.zeros((478, 3), np.float32)
    landmarks[0], landmarks[1] = (0.25, 0.5, 0), (0.75, 1.0, 0)
    landmarks[2:] = (0.5, 0.75, 0)
    face = Reading("ok", None, 200, 400, 1, landmarks.reshape(-1))
    turned = dataclasses.replace(face, turned=180)
    cut = Reading("decode_error", 'premature end, "cut"')
    sure, other = np.array([0.125, 0.875], np.float32), np.array([0.75, 0.25], np.float32)
    yield prediction("사진 1.jpg", Answer(turned, "anxious", sure))
    yield prediction("a.mp4", Answer(face, "neutral", other), seconds=1.5)
    yield prediction("b,c.jpg", Answer(cut))


def prediction(path, answer, seconds=None):
    return Prediction(Input(path, seconds, None, answer.reading, None), [answer])


@pytest.mark.parametrize(
    ("name", "out", "expected"),
    [
        (None, None, "table"),
        (None, "a.csv", "csv"),
        (None, "a.JSONL", "jsonl"),
        (None, "a.parquet", "parquet"),
        (None, "a.tsv", "tsv"),
        (None, "a.json", "json"),
        (None, "a.txt", "table"),
        ("jsonl", "a.csv", "jsonl"),
        ("csv", "a", "csv"),
        (None, os.devnull, "table"),
    ],
)
def test_the_format_is_what_was_asked_for_or_what_the_suffix_tells(name, out, expected, tmp_path):
    assert format_of(name, out and tmp_path / out) == expected


@pytest.mark.parametrize(
    ("out", "what"),
    [
        ("a.xlsx", ".xlsx is no known format"),
        ("a.csv.gz", ".gz is no known format"),
        ("a", "it has no suffix"),
    ],
)
def test_a_suffix_that_tells_no_format_is_refused_with_those_that_do(out, what, tmp_path):
    with pytest.raises(FaceemoError) as error:
        format_of(None, tmp_path / out)
    assert f"{tmp_path / out}: {what}" in str(error.value)
    assert "name it .txt, .csv, .tsv, .json, .jsonl, .parquet (Excel opens .csv), or give a --format" in str(
        error.value
    )


def test_the_table_has_a_line_a_picture_with_the_path_last(capsys):
    write_predictions(predictions(), CLASSES, "table", None)
    head, face, frame, cut = capsys.readouterr().out.splitlines()
    assert head.split() == ["status", "label", "neutral", "anxious", "face", "box", "seconds", "path"]
    assert face.split() == ["ok", "anxious", "0.125", "0.875", "1", "50,200,150,400", "사진", "1.jpg"]
    assert frame.split() == ["ok", "neutral", "0.750", "0.250", "1", "50,200,150,400", "1.500", "a.mp4"]
    assert cut.split(maxsplit=1) == ["decode_error", cut[cut.index("b,c.jpg") :]]
    assert len({line.rindex(word) for line, word in ((head, "path"), (face, "사진"), (frame, "a.mp4"))}) == 1


def test_a_name_in_the_table_neither_ends_the_line_nor_moves_the_cursor(capsys):
    odd = prediction("a\n\x1b[31m.jpg", Answer(Reading("decode_error", "no\rthing")))
    write_predictions([odd], CLASSES, "table", None)
    _, line = capsys.readouterr().out.splitlines()
    assert line.endswith(r"a\n\x1b[31m.jpg (no\rthing)") and line.isprintable()


def test_the_table_comes_line_by_line(capsys):
    seen = []

    def slowly():
        for prediction in predictions():
            seen.append(capsys.readouterr().out.count("\n"))
            yield prediction

    write_predictions(slowly(), CLASSES, "table", None)
    assert seen == [1, 1, 1]


def test_frames_late_in_a_long_video_keep_their_times_apart(capsys):
    times = [12345 + frame / 30 for frame in range(3)]
    late = [prediction("a.mp4", Answer(Reading("no_face", None, 9, 9, 0)), time) for time in times]
    write_predictions(late, CLASSES, "csv", None)
    rows = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert [float(row["seconds"]) for row in rows] == pytest.approx(times, abs=1e-4)


def test_csv_has_a_column_for_everything(capsys):
    write_predictions(predictions(), CLASSES, "csv", None)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert list(rows[0]) == COLUMNS
    assert [rows[0][name] for name in ("left", "top", "right", "bottom")] == ["50", "200", "150", "400"]
    assert [row["turned"] for row in rows] == ["180", "0", "0"]
    assert rows[1]["seconds"] == "1.5" and rows[1]["label"] == "neutral"
    assert rows[2]["error"] == 'premature end, "cut"' and rows[2]["label"] == rows[2]["anxious"] == ""


def test_json_lines_and_parquet_hold_the_same_rows(tmp_path):
    write_predictions(predictions(), CLASSES, "jsonl", tmp_path / "a.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()]
    write_predictions(predictions(), CLASSES, "parquet", tmp_path / "deep" / "a.parquet")
    table = pq.read_table(tmp_path / "deep" / "a.parquet")
    assert list(lines[0]) == table.column_names == COLUMNS
    assert table.to_pylist() == lines
    assert lines[2]["label"] is None and lines[2]["left"] is None and lines[0]["seconds"] is None


def test_json_is_one_array_of_the_same_rows_also_where_there_are_none(tmp_path, capsys):
    write_predictions(predictions(), CLASSES, "json", tmp_path / "a.json")
    rows = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    write_predictions(predictions(), CLASSES, "jsonl", Path("-"))
    assert rows == [json.loads(line) for line in capsys.readouterr().out.splitlines()] and len(rows) == 3
    write_predictions([], CLASSES, "json", None)
    assert json.loads(capsys.readouterr().out) == []


def test_json_on_a_korean_windows_console_is_json(monkeypatch):
    odd = prediction("사진 \N{GRINNING FACE}.jpg", Answer(Reading("decode_error", "cut")))
    for name in ("json", "jsonl"):
        out = io.TextIOWrapper(io.BytesIO(), "cp949", errors="backslashreplace")
        monkeypatch.setattr(sys, "stdout", out)
        write_predictions([odd], CLASSES, name, None)
        out.flush()
        read = json.loads(out.buffer.getvalue().decode("cp949"))
        assert (read[0] if name == "json" else read)["path"] == "사진 \N{GRINNING FACE}.jpg"


@pytest.mark.parametrize(("name", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_a_file_for_excel_tells_that_it_is_utf_8_and_a_stream_does_not(name, delimiter, tmp_path, capsys):
    write_predictions(predictions(), CLASSES, name, tmp_path / "a")
    data = (tmp_path / "a").read_bytes()
    assert data.startswith(b"\xef\xbb\xbfpath")
    write_predictions(predictions(), CLASSES, name, None)
    assert capsys.readouterr().out.encode() == data[3:]
    rows = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig")), delimiter=delimiter))
    assert [row["path"] for row in rows] == ["사진 1.jpg", "a.mp4", "b,c.jpg"] and list(rows[0]) == COLUMNS


@needs_posix("Windows has no FIFO")
def test_rows_reach_a_fifo_as_they_come(tmp_path):
    fifo = tmp_path / "rows.jsonl"
    os.mkfifo(fifo)
    lines = queue.Queue()

    def read():
        with fifo.open(encoding="utf-8") as file:
            for line in file:
                lines.put(line)

    def slowly():
        for prediction in predictions():
            yield prediction
            assert json.loads(lines.get(timeout=10))["path"] == prediction.input.path

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    write_predictions(slowly(), CLASSES, "jsonl", fifo)
    reader.join(10)
    assert fifo.is_fifo() and list(tmp_path.iterdir()) == [fifo]


def test_parquet_without_a_file_is_refused():
    with pytest.raises(FaceemoError, match="name a file with --out"):
        write_predictions(predictions(), CLASSES, "parquet", None)


def test_a_file_is_whole_or_not_there(tmp_path):
    def broken():
        yield next(predictions())
        raise RuntimeError("power")

    for name in ("table", "csv", "json", "jsonl", "parquet"):
        with pytest.raises(RuntimeError, match="power"):
            write_predictions(broken(), CLASSES, name, tmp_path / f"a.{name}")
    assert list(tmp_path.iterdir()) == []


def test_no_class_can_be_named_like_a_column_of_predictions():
    assert set(FIXED) == set(TAKEN)
