"""Seconds and peak memory of normalize and train at the size of the real set (Linux).

    python -m tests.benchmarks.scale --rows 50000 [--settings none whitened neutral person] [--epochs 2]

Makes landmarks in the form of the stage extract, a project around them, and runs the stages there as dvc does, each in
a process of its own: noise around one face, two archives, neutral and anxious, and 420 pictures of each person, as many
as in the real set. Train's memory stands beside the size of its features in memory (rows x 1434 x 4 bytes).

none, neutral, person  normalize.baseline, with the params.yaml of this repository but for --epochs
whitened               no baseline, train.whiten: 300
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from faceemo.extraction.crop import SIDE
from faceemo.extraction.extract import SHARD_ROWS
from faceemo.extraction.facemesh import COORDINATES, LANDMARKS
from faceemo.extraction.schema import FORMAT, SCHEMA
from faceemo.extraction.store import FILE_FORMAT
from faceemo.paths import LANDMARKS_FOLDER, PARAMS_FILE
from faceemo.pictures.sources import Source
from faceemo.rows import rows_or_null

ROOT = Path(__file__).parents[2]
EMOTIONS = ("neutral", "anxious")
PICTURES_OF_A_PERSON = 420
SETTINGS = {
    "none": {"normalize.baseline": "none", "train.network": "mlp", "train.whiten": None},
    "whitened": {"normalize.baseline": "none", "train.network": "mlp_dropout", "train.whiten": 300},
    "neutral": {"normalize.baseline": "neutral", "train.network": "mlp"},
    "person": {"normalize.baseline": "person", "train.network": "mlp"},
    "both": {"normalize.baseline": "none", "train.network": "both", "train.whiten": 300},
}


def make_project(folder: Path, rows: int) -> None:
    """data/landmarks and data/sources.yaml with so many faces."""
    random = np.random.default_rng(0)
    face = random.uniform(0.3, 0.7, COORDINATES).astype(np.float32)
    people = max(rows // PICTURES_OF_A_PERSON, 10)
    own = random.normal(0, 0.01, (people, COORDINATES)).astype(np.float32)
    moved = random.normal(0, 0.01, COORDINATES).astype(np.float32)
    metadata = {
        "faceemo.extract": json.dumps(
            {"engine": "mediapipe", "settings": {"crops": True}, "versions": {}, "format": FORMAT}
        )
    }
    schema = SCHEMA.with_metadata(metadata)
    sources = {}
    for emotion in EMOTIONS:
        key = f"{emotion}-training-01"
        (folder / LANDMARKS_FOLDER / key).mkdir(parents=True)
        count = rows // len(EMOTIONS)
        for number, start in enumerate(range(0, count, SHARD_ROWS)):
            size = min(SHARD_ROWS, count - start)
            person = (start + np.arange(size)) % people
            landmarks = face + own[person] + random.normal(0, 0.005, (size, COORDINATES)).astype(np.float32)
            landmarks += (emotion == "anxious") * moved
            columns = {
                "image": [f"{one:064x}_{start + index:06d}.jpg" for index, one in enumerate(person)],
                "width": [3000] * size,
                "height": [4000] * size,
                "status": ["ok"] * size,
                "landmarks": rows_or_null(list(landmarks)),
                "crop": [crop.tobytes() for crop in random.integers(0, 256, (size, SIDE * SIDE), np.uint8)],
            }
            columns |= {name: pa.nulls(size, SCHEMA.field(name).type) for name in SCHEMA.names if name not in columns}
            table = pa.table({name: columns[name] for name in SCHEMA.names}, schema=schema)
            pq.write_table(table, folder / LANDMARKS_FOLDER / key / f"part-{number:05d}.parquet", **FILE_FORMAT)
        sources[key] = vars(Source(f"{key}.zip", emotion, "training", count, "0" * 64, None, classes=[emotion]))
    (folder / "data" / "sources.yaml").write_text(yaml.safe_dump({"sources": sources}), encoding="utf-8")


def write_params(folder: Path, changes: dict) -> None:
    values = yaml.safe_load((ROOT / PARAMS_FILE).read_text(encoding="utf-8"))
    for key, value in changes.items():
        section, _, name = key.rpartition(".")
        (values[section] if section else values)[name] = value
    (folder / PARAMS_FILE).write_text(yaml.safe_dump(values), encoding="utf-8")


def run_stage(name: str, folder: Path) -> tuple[float, float]:
    """Seconds and peak memory in MB of a stage. Raises CalledProcessError if it fails."""
    begin = time.perf_counter()
    command = [sys.executable, "-m", f"stages.{name}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise subprocess.CalledProcessError(status, command)
    return time.perf_counter() - begin, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    args = parser.parse_args()
    size = args.rows * COORDINATES * 4 / 2**20
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_project(folder, args.rows)
        print(f"{args.rows} faces of {LANDMARKS} landmarks, features {size:.0f} MB in memory", flush=True)
        for setting in args.settings:
            write_params(folder, {"epochs": args.epochs, "emotions": list(EMOTIONS), **SETTINGS[setting]})
            seconds, peak = run_stage("normalize", folder)
            print(f"{setting:9} normalize {seconds:6.0f} s {peak:6.0f} MB", end="", flush=True)
            seconds, peak = run_stage("train", folder)
            print(f"   train {seconds:6.0f} s {peak:6.0f} MB, {peak / size:.2f} of the features", flush=True)


if __name__ == "__main__":
    main()
