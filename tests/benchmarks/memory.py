"""How much memory the stages that see everything take (Linux).

    python -m tests.benchmarks.memory extract [--pictures 20000] [--workers N]
    python -m tests.benchmarks.memory store [--faces 450000]
    python -m tests.benchmarks.memory load [--faces 450000]

extract  an archive of small pictures: peak of the main process and of the largest worker, and pictures/s
store    looking up 16,000 pictures among the rows of so many others: seconds, and peak
load     features and crops from Parquet to the arrays that training uses: peak beside their own size
"""

import argparse
import contextlib
import json
import resource
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from faceemo.extraction.executors import default_workers

SAMPLE = Path(__file__).parents[2] / "data/sample/Training/[원천]EMOIMG_중립_TRAIN_01.zip"
CLASSES = {"neutral": ("neutral",), "anxious": ("anxious",)}


def peak_megabytes(who=resource.RUSAGE_SELF):
    return resource.getrusage(who).ru_maxrss / 1024


def measure_extract(pictures, workers):
    from faceemo.extraction.extract import extract
    from faceemo.params import ExtractParams
    from faceemo.pictures.reader import digest_of
    from faceemo.pictures.sources import Source
    from faceemo.pictures.trees import files_at

    with zipfile.ZipFile(SAMPLE) as sample:
        faces = [sample.read(name) for name in sample.namelist() if name.endswith(".jpg")]
    settings = ExtractParams(engine="auto", crops=True, scheduler=None)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        path = Path(folder) / "many.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for number in range(pictures):
                archive.writestr(f"{number:06d}.jpg", faces[number % len(faces)])
        source = Source(str(path), "neutral", "training", pictures, digest_of(files_at(path)), None)
        extract("many", source, settings, None, workers)
    print(
        f"main process {peak_megabytes():.0f} MB, "
        f"largest of {workers} workers {peak_megabytes(resource.RUSAGE_CHILDREN):.0f} MB"
    )


def measure_store(faces):
    from faceemo.extraction.extract import SHARD_ROWS
    from faceemo.extraction.schema import SCHEMA
    from faceemo.extraction.store import Store
    from faceemo.pictures.reader import Picture

    nothing = {name: pa.nulls(SHARD_ROWS, SCHEMA.field(name).type) for name in SCHEMA.names}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for start in range(0, faces, SHARD_ROWS):
            pictures = [
                Picture(f"{n:064x}_남_20_중립_실내_20210126150002-003-{n:06d}.jpg", "", 0, 1_900_000 + n, n)
                for n in range(start, start + SHARD_ROWS)
            ]
            columns = {
                "image": [one.name for one in pictures],
                "size": [one.size for one in pictures],
                "crc32": [one.crc for one in pictures],
                "status": ["ok"] * SHARD_ROWS,
            }
            store = Store(f"archive-{start // 16_000:02d}", b"{}")
            store.write(pictures, pa.table({**nothing, **columns}, schema=SCHEMA))
        others = [Picture(f"{n}.jpg", "", 0, 1_900_000 + n, n) for n in range(faces, faces + 16_000)]
        before, started = peak_megabytes(), time.monotonic()
        known = Store("another", b"{}").find(others)
        seconds = time.monotonic() - started
    assert not known.is_known.any()
    print(f"{faces} rows: looked up in {seconds:.1f} s, peak {peak_megabytes():.0f} MB ({before:.0f} MB before)")


def measure_load(faces):
    from faceemo.extraction.crop import SIDE
    from faceemo.extraction.facemesh import COORDINATES
    from faceemo.features.normalize import SCHEMA
    from faceemo.params import LabelParams, SplitParams
    from faceemo.rows import rows_or_null
    from faceemo.training.dataset import load_dataset, load_inputs

    values = {
        "face": [0.0] * COORDINATES,
        "normalize": {},
        "extract": {"engine": "mediapipe", "settings": {"crops": True}, "versions": {}},
        "raters": {"classes": [], "at_least": 0},
    }
    metadata = {f"faceemo.{name}": json.dumps(value) for name, value in values.items()}
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for emotion in CLASSES:
            schema = SCHEMA.with_metadata(metadata | {"faceemo.classes": json.dumps([emotion])})
            with pq.ParquetWriter(Path(folder) / f"{emotion}.parquet", schema) as writer:
                for start in range(0, faces // 2, 1000):
                    people = [f"{(start + row) // 50:064x}" for row in range(1000)]
                    columns = {"emotion": [emotion] * 1000, "subject": people, "folder": ["training"] * 1000}
                    columns |= {"image": people, "status": ["ok"] * 1000}
                    columns["features"] = rows_or_null(list(random.random((1000, COORDINATES), np.float32)))
                    columns["crop"] = list(map(bytes, random.integers(0, 256, (1000, SIDE * SIDE), np.uint8)))
                    columns |= {
                        name: pa.nulls(1000, SCHEMA.field(name).type) for name in SCHEMA.names if name not in columns
                    }
                    writer.write_table(pa.table({name: columns[name] for name in SCHEMA.names}, schema=schema))
        before = peak_megabytes()
        dataset = load_dataset(Path(folder), CLASSES, SplitParams("person", 0.2, 0.2), LabelParams("archive"))
        inputs = load_inputs(Path(folder), dataset, ("features", "crop"))
    size = sum(array.nbytes for array in inputs.values()) / 2**20
    print(f"{faces} faces: arrays {size:.0f} MB, peak {peak_megabytes():.0f} MB ({before:.0f} MB before)")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["extract", "store", "load"])
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=default_workers())
    parser.add_argument("--faces", type=int, default=450_000)
    args = parser.parse_args()
    if args.what == "extract":
        measure_extract(args.pictures, args.workers)
    elif args.what == "store":
        measure_store(args.faces)
    else:
        measure_load(args.faces)


if __name__ == "__main__":
    main()
