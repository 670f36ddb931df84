"""How fast `faceemo predict` is beside the stage extract on the same archive, both as a user starts them.

    python -m tests.benchmarks.prediction ARCHIVE.zip [--model models/emotion.pt] [--rounds N]

ARCHIVE is named as the set's archives are. Prints pictures/s of each, start-up included, in turn, and their ratio.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from faceemo.pictures.sources import read_sources

ROOT = Path(__file__).parents[2]


def seconds_of(folder: Path, *command: str) -> float:
    begin = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-m", *command], cwd=folder, env=environment, check=True, capture_output=True)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--model", type=Path, default=Path("models/emotion.pt"))
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    archive, model = str(args.archive.resolve()), str(args.model.resolve())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(ROOT / "params.yaml", folder)
        seconds_of(folder, "faceemo.cli", "scan", archive)
        [(key, source)] = read_sources(folder / "data/sources.yaml").items()
        for _ in range(args.rounds):
            shutil.rmtree(folder / "data/landmarks", ignore_errors=True)
            shutil.rmtree(folder / "data/.rows", ignore_errors=True)
            extract = source.images / seconds_of(folder, "stages.extract", key)
            predict = source.images / seconds_of(
                folder, "faceemo.cli", "predict", archive, "--model", model, "--out", "predictions.parquet"
            )
            print(
                f"{source.images} pictures: extract {extract:.1f}/s, predict {predict:.1f}/s: {predict / extract:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
