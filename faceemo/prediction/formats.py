"""Predictions written as a table for people, CSV, JSON lines or Parquet."""

import csv
import itertools
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from faceemo.console import printable
from faceemo.durable import written_whole
from faceemo.errors import FaceemoError
from faceemo.prediction.predict import Prediction

SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet"}
PARQUET_ROWS = 1000  # in memory at once

BOX_WIDTH = 19  # in a table: left,top,right,bottom of four digits each
BOX = ("left", "top", "right", "bottom")
FIXED = ("path", "seconds", "status", "error", "turned", *BOX, "label")  # and one column a class


def format_of(name: str | None, out: Path | None) -> str:
    """The format asked for, or else the one that the suffix of the file tells, or else a table."""
    return name or (SUFFIXES.get(out.suffix.lower(), "table") if out else "table")


def write_predictions(predictions: Iterable[Prediction], classes: list[str], name: str, out: Path | None) -> None:
    """Write predictions as they come in the format `name`, to the file `out`, whole or not at all, or to stdout.

    Raises FaceemoError for Parquet to stdout.
    """
    if out is None:
        if name == "parquet":
            raise FaceemoError("--format parquet cannot go to the terminal; name a file with --out")
        _TEXT[name](predictions, classes, sys.stdout)
        return
    with written_whole(out) as temporary:
        if name == "parquet":
            _write_parquet(predictions, classes, temporary)
        else:
            with temporary.open("w", encoding="utf-8", newline="\n") as file:
                _TEXT[name](predictions, classes, file)


def _write_parquet(predictions: Iterable[Prediction], classes: list[str], path: Path) -> None:
    strings, reals = pa.string(), pa.float32()
    types = dict.fromkeys(("path", "status", "error", "label"), strings)
    types |= {"seconds": pa.float64(), "turned": pa.int16()}
    columns = (*FIXED, *classes)
    schema = pa.schema([(column, types.get(column, reals)) for column in columns])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        rows = (_row(prediction, classes) for prediction in predictions)
        while batch := list(itertools.islice(rows, PARQUET_ROWS)):
            writer.write_table(pa.Table.from_pylist(batch, schema))


def _row(prediction: Prediction, classes: list[str]) -> dict[str, str | float | None]:
    box, probability = prediction.box, prediction.probability
    values = (
        prediction.input.path,
        prediction.input.seconds,
        prediction.status,
        prediction.input.reading.error,
        prediction.input.reading.turned,
        *(map(float, box) if box else [None] * len(BOX)),
        prediction.label,
        *(map(float, probability) if probability is not None else [None] * len(classes)),
    )
    return dict(zip((*FIXED, *classes), values, strict=True))


def _write_table(predictions: Iterable[Prediction], classes: list[str], file: TextIO) -> None:
    label_width = max(map(len, ("label", *classes)))
    widths = [max(len(name), 5) for name in classes]
    heads = "  ".join(f"{name:>{width}}" for name, width in zip(classes, widths, strict=True))
    file.write(f"{'status':12}  {'label':{label_width}}  {heads}  {'box':{BOX_WIDTH}}  {'seconds':>8}  path\n")
    for prediction in predictions:
        found, probability = prediction.input, prediction.probability
        numbers = "  ".join(
            f"{'' if probability is None else f'{probability[index]:.3f}':>{width}}"
            for index, width in enumerate(widths)
        )
        box = ",".join(f"{edge:.0f}" for edge in prediction.box or ())
        seconds = "" if found.seconds is None else f"{found.seconds:.3f}"
        error = f" ({found.reading.error})" if found.reading.error else ""
        label = prediction.label or ""
        file.write(
            f"{prediction.status:12}  {label:{label_width}}  {numbers}  {box:{BOX_WIDTH}}  {seconds:>8}  "
            f"{printable(found.path + error)}\n"
        )
        file.flush()


def _write_csv(predictions: Iterable[Prediction], classes: list[str], file: TextIO) -> None:
    writer = csv.DictWriter(file, (*FIXED, *classes), lineterminator="\n")
    writer.writeheader()
    for prediction in predictions:
        row = _row(prediction, classes)
        writer.writerow({name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()})


def _write_jsonl(predictions: Iterable[Prediction], classes: list[str], file: TextIO) -> None:
    for prediction in predictions:
        file.write(json.dumps(_row(prediction, classes), ensure_ascii=False) + "\n")


_TEXT = {"table": _write_table, "csv": _write_csv, "jsonl": _write_jsonl}
