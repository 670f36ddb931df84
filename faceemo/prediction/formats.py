"""Predictions written as a table for people, CSV, TSV, JSON, JSON lines or Parquet."""

import csv
import functools
import itertools
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from faceemo.console import cells, padded, printable
from faceemo.errors import FaceemoError
from faceemo.outputs import STDOUT, is_stream, written_to
from faceemo.prediction.inputs import Input
from faceemo.prediction.model import Answer
from faceemo.prediction.predict import Prediction

FORMATS = ("table", "csv", "tsv", "json", "jsonl", "parquet")
SUFFIXES = {".txt": "table", **{f".{name}": name for name in FORMATS[1:]}}
FOR_EXCEL = ("csv", "tsv")  # which takes a file for UTF-8 only with the mark at its beginning
PARQUET_ROWS = 1000  # in memory at once

BOX_WIDTH = 19  # in a table: left,top,right,bottom of four digits each
BOX = ("left", "top", "right", "bottom")
FIXED = ("path", "seconds", "status", "error", "turned", "face", *BOX, "label")  # and one column a class


def format_of(name: str | None, out: Path | None) -> str:
    """The format asked for, else that of the file's suffix; for a stream without one a table.

    Raises FaceemoError for a folder, and for a suffix of no known format.
    """
    is_file = out is not None and not is_stream(out)
    suffix = out.suffix.lower() if out else ""
    if name is None and suffix not in SUFFIXES and is_file:
        raise FaceemoError(
            f"--out {out}: {f'{suffix} is no known format' if suffix else 'it has no suffix'}; name it "
            f"{', '.join(SUFFIXES)} (Excel opens .csv), or give a --format"
        )
    return name or SUFFIXES.get(suffix, "table")


def write_predictions(predictions: Iterable[Prediction], classes: list[str], name: str, out: Path | None) -> None:
    """Write predictions in the format `name`: into the file `out`, whole or not at all, or row by row to a stream.

    out: None or `-` for stdout. Raises FaceemoError for Parquet to the terminal and for a folder.
    """
    if name == "parquet":
        if out is None or (out in STDOUT and sys.stdout.isatty()):
            raise FaceemoError("--format parquet cannot go to the terminal; name a file with --out")
        with written_to(out) as temporary:
            _write_parquet(predictions, classes, temporary)
    elif out is None or out in STDOUT:
        _TEXT[name](predictions, classes, sys.stdout)
    elif is_stream(out):
        with out.open("w", encoding="utf-8", newline="\n") as stream:
            _TEXT[name](predictions, classes, stream)
    else:
        encoding = "utf-8-sig" if name in FOR_EXCEL else "utf-8"
        with written_to(out) as temporary, temporary.open("w", encoding=encoding, newline="\n") as file:
            _TEXT[name](predictions, classes, file)


def _write_parquet(predictions: Iterable[Prediction], classes: list[str], path: Path) -> None:
    strings, reals = pa.string(), pa.float32()
    types = dict.fromkeys(("path", "status", "error", "label"), strings)
    types |= {"seconds": pa.float64(), "turned": pa.int16(), "face": pa.int16()}
    columns = (*FIXED, *classes)
    schema = pa.schema([(column, types.get(column, reals)) for column in columns])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        rows = (_row(*face, classes) for face in _faces(predictions))
        while batch := list(itertools.islice(rows, PARQUET_ROWS)):
            writer.write_table(pa.Table.from_pylist(batch, schema))


def _faces(predictions: Iterable[Prediction]) -> Iterator[tuple[Input, Answer]]:
    """What becomes a row each."""
    return ((one.input, answer) for one in predictions for answer in one.answers)


def _row(entry: Input, answer: Answer, classes: list[str]) -> dict[str, str | float | None]:
    box, probability = answer.box, answer.probability
    values = (
        entry.path,
        entry.seconds,
        answer.status,
        answer.reading.error,
        answer.reading.turned,
        answer.face,
        *(map(float, box) if box else [None] * len(BOX)),
        answer.label,
        *(map(float, probability) if probability is not None else [None] * len(classes)),
    )
    return dict(zip((*FIXED, *classes), values, strict=True))


def _write_table(predictions: Iterable[Prediction], classes: list[str], file: TextIO) -> None:
    label_width = max(map(cells, ("label", *classes)))
    widths = [max(cells(name), 5) for name in classes]
    heads = "  ".join(padded(name, width, to_right=True) for name, width in zip(classes, widths, strict=True))
    file.write(f"{'status':12}  {'label':{label_width}}  {heads}  face  {'box':{BOX_WIDTH}}  {'seconds':>8}  path\n")
    for entry, answer in _faces(predictions):
        probability = answer.probability
        numbers = "  ".join(
            f"{'' if probability is None else f'{probability[index]:.3f}':>{width}}"
            for index, width in enumerate(widths)
        )
        box = ",".join(f"{edge:.0f}" for edge in answer.box or ())
        seconds = "" if entry.seconds is None else f"{entry.seconds:.3f}"
        error = f" ({answer.reading.error})" if answer.reading.error else ""
        label, face = answer.label or "", answer.face or ""
        file.write(
            f"{answer.status:12}  {padded(label, label_width)}  {numbers}  {face:>4}  {box:{BOX_WIDTH}}  {seconds:>8}  "
            f"{printable(entry.path + error)}\n"
        )
        file.flush()


def _write_csv(predictions: Iterable[Prediction], classes: list[str], file: TextIO, delimiter: str = ",") -> None:
    writer = csv.DictWriter(file, (*FIXED, *classes), delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    for face in _faces(predictions):
        row = _row(*face, classes)
        writer.writerow({name: _in_csv(name, value) for name, value in row.items()})
        file.flush()


def _in_csv(name: str, value: str | float | None) -> str | float | None:
    digits = 10 if name == "seconds" else 6  # with 6 the frames of a second are one after three hours
    return f"{value:.{digits}g}" if isinstance(value, float) else value


def _write_jsonl(predictions: Iterable[Prediction], classes: list[str], file: TextIO) -> None:
    for face in _faces(predictions):
        file.write(_json(_row(*face, classes), file) + "\n")
        file.flush()


def _write_json(predictions: Iterable[Prediction], classes: list[str], file: TextIO) -> None:
    before = "[\n"
    for face in _faces(predictions):
        file.write(before + _json(_row(*face, classes), file))
        file.flush()
        before = ",\n"
    file.write("[]\n" if before == "[\n" else "\n]\n")


def _json(row: dict[str, str | float | None], file: TextIO) -> str:
    is_unicode = file.encoding.lower().startswith("utf")  # a Korean Windows console is CP949
    return json.dumps(row, ensure_ascii=not is_unicode)


_TEXT: dict[str, Callable[[Iterable[Prediction], list[str], TextIO], None]] = {
    "table": _write_table,
    "csv": _write_csv,
    "tsv": functools.partial(_write_csv, delimiter="\t"),
    "json": _write_json,
    "jsonl": _write_jsonl,
}
