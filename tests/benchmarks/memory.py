"""How much memory the two stages that see everything take (Linux).

    python -m tests.benchmarks.memory extract [--pictures 20000] [--workers N]
    python -m tests.benchmarks.memory load [--faces 500000]

extract  an archive of small pictures: peak of the main process and of the largest worker, and pictures/s
load     features from Parquet to the one array that training uses: peak beside the array's own size
"""

import argparse
import contextlib
import resource
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from faceemo.extraction.executors import default_workers

SAMPLE = Path(__file__).parents[2] / "data/sample/Training/[원천]EMOIMG_중립_TRAIN_01.zip"


def peak_megabytes(who):
    return resource.getrusage(who).ru_maxrss / 1024


def measure_extract(pictures, workers):
    from faceemo.extraction.archive import Archive
    from faceemo.extraction.extract import extract
    from faceemo.extraction.sources import Source
    from faceemo.params import ExtractParams

    with zipfile.ZipFile(SAMPLE) as sample:
        faces = [sample.read(name) for name in sample.namelist() if name.endswith(".jpg")]
    settings = ExtractParams(
        engine="auto",
        full_resolution=False,
        max_faces=1,
        max_pixels=120_000_000,
        max_bytes=200_000_000,
        scheduler=None,
    )
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        path = Path(folder) / "many.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for number in range(pictures):
                archive.writestr(f"{number:06d}.jpg", faces[number % len(faces)])
        with Archive(path) as archive:
            source = Source(str(path), "neutral", "training", len(archive.pictures), archive.digest(), None)
        extract("many", source, settings, None, workers)
    print(
        f"main process {peak_megabytes(resource.RUSAGE_SELF):.0f} MB, "
        f"largest of {workers} workers {peak_megabytes(resource.RUSAGE_CHILDREN):.0f} MB"
    )


def measure_load(faces):
    import json

    import pyarrow as pa
    import pyarrow.parquet as pq

    from faceemo.extraction.facemesh import COORDINATES
    from faceemo.features.labels import VOTED
    from faceemo.features.normalize import SCHEMA
    from faceemo.params import LabelParams, SplitParams
    from faceemo.rows import rows_or_null
    from faceemo.training.dataset import load_dataset

    metadata = {
        name: json.dumps([0.0] * COORDINATES) for name in ("faceemo.face", "faceemo.normalize", "faceemo.extract")
    } | {"faceemo.raters": json.dumps({"classes": VOTED, "at_least": 3})}
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for emotion in ("neutral", "anxious"):
            with pq.ParquetWriter(Path(folder) / f"{emotion}.parquet", SCHEMA.with_metadata(metadata)) as writer:
                for start in range(0, faces // 2, 1000):
                    people = [f"{(start + row) // 50:064x}" for row in range(1000)]
                    columns = {"emotion": [emotion] * 1000, "subject": people, "folder": ["training"] * 1000}
                    columns |= {"image": people, "status": ["ok"] * 1000}
                    columns["votes"] = [[0, 0, 0, 1, 0, 0, 2]] * 500 + [[0, 0, 0, 2, 0, 0, 1]] * 500
                    columns["features"] = rows_or_null(list(random.random((1000, COORDINATES), np.float32)))
                    columns |= {
                        name: pa.nulls(1000, SCHEMA.field(name).type) for name in SCHEMA.names if name not in columns
                    }
                    writer.write_table(pa.table({name: columns[name] for name in SCHEMA.names}, schema=writer.schema))
        before = peak_megabytes(resource.RUSAGE_SELF)
        classes = {"neutral": ("neutral",), "anxious": ("anxious",)}
        dataset = load_dataset(Path(folder), classes, SplitParams("person", 0.2, 0.2), LabelParams("votes", 0))
    size = dataset.features.nbytes / 2**20
    peak = peak_megabytes(resource.RUSAGE_SELF)
    print(f"{len(dataset.features)} faces: array {size:.0f} MB, peak {peak:.0f} MB ({before:.0f} MB before)")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["extract", "load"])
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=default_workers())
    parser.add_argument("--faces", type=int, default=500_000)
    args = parser.parse_args()
    if args.what == "extract":
        measure_extract(args.pictures, args.workers)
    else:
        measure_load(args.faces)


if __name__ == "__main__":
    main()
