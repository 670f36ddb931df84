"""Seconds and peak memory of each command and stage at the size of the real set (Linux).

    python -m tests.benchmarks.scale --rows 50000 [--settings none whitened neutral person both] [--epochs 2]
    python -m tests.benchmarks.scale --archives

Makes a folder of files of two classes, 420 of each person, as many as in the real set, and scans it; then landmarks of
them in the form of the stage extract, noise around one face, and runs the stages as dvc does, then evaluate and report,
each in a process of its own. evaluate judges the same made-up faces in place of what it would find in the files: how
long that takes tests.benchmarks.extraction says. Seconds of CPU stand beside those that passed, since others may be at
work; memory beside the size of what is learnt from (rows x 1434 x 4 bytes, of both 64 x 64 more).

none, neutral, person  normalize.baseline, with the params.yaml of this repository but for --epochs
whitened               no baseline, train.whiten: 300
both                   landmarks and crops, on which one core learns for hours at 450,000 rows

--archives: scan of 28 archives of 16,000 tiny members, and dvc where all is done already: of that many sources and
shards dvc looks at the times and sizes of files, whatever they hold.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from faceemo.emotions import KOREAN
from faceemo.extraction.crop import SIDE
from faceemo.extraction.extract import SHARD_ROWS
from faceemo.extraction.facemesh import COORDINATES, LANDMARKS
from faceemo.extraction.schema import FORMAT, SCHEMA
from faceemo.extraction.store import FILE_FORMAT
from faceemo.extraction.worker import Reading, Task
from faceemo.paths import EVALUATION_FILE, FEATURES_FOLDER, LANDMARKS_FOLDER, METRICS_FILE, MODEL_FILE, PARAMS_FILE
from faceemo.rows import rows_or_null
from faceemo.status import Status

ROOT = Path(__file__).parents[2]
EVALUATE = "import sys; from tests.benchmarks.scale import evaluate; sys.exit(evaluate(sys.argv[1:]))"
EMOTIONS = ("anxious", "neutral")  # in the order of the folders
PICTURES_OF_A_PERSON = 420
PERSON = r"/(p\d+)/"
PARTS, MEMBERS = 4, 16_000  # archives of an emotion, pictures of an archive
SETTINGS = {
    "none": {"normalize.baseline": "none", "train.network": "mlp", "train.whiten": None},
    "whitened": {"normalize.baseline": "none", "train.network": "mlp_dropout", "train.whiten": 300},
    "neutral": {"normalize.baseline": "neutral", "train.network": "mlp"},
    "person": {"normalize.baseline": "person", "train.network": "mlp"},
    "both": {"normalize.baseline": "none", "train.network": "both", "train.whiten": 300},
}


def picture_names(rows: int) -> list[str]:
    """The names of the pictures in the order of their rows: class, person, number."""
    people = max(rows // PICTURES_OF_A_PERSON, 10)
    of_class = rows // len(EMOTIONS)
    names = (f"{emotion}/p{at % people:05d}/{at:06d}.jpg" for emotion in EMOTIONS for at in range(of_class))
    return sorted(names)


def make_pictures(folder: Path, names: list[str]) -> None:
    """A file of a few bytes of its own by each name."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def made_up_faces(names: list[str]) -> np.ndarray:
    """float32 [names, 1434]: landmarks of one face, a person's own lean, that of the class, and noise."""
    random = np.random.default_rng(zlib.crc32(names[0].encode()))
    common = np.random.default_rng(0)
    face, moved = common.uniform(0.3, 0.7, COORDINATES), common.normal(0, 0.01, COORDINATES)
    faces = (face + random.normal(0, 0.005, (len(names), COORDINATES))).astype(np.float32)
    for row, name in zip(faces, names, strict=True):
        emotion, person, _ = name.split("/")
        row += np.random.default_rng(int(person[1:])).normal(0, 0.01, COORDINATES) + (emotion == "anxious") * moved
    return faces


def made_up_readings(task: Task) -> list[Reading]:
    """In place of worker.read_task."""
    names = ["/".join(Path(picture.path).parts[-3:]) for picture in task.pictures]
    crop = np.zeros((SIDE, SIDE), np.uint8) if task.settings.crops else None
    faces = made_up_faces(names)
    return [Reading(Status.OK, width=3000, height=4000, faces=1, landmarks=one, crop=crop) for one in faces]


def evaluate(arguments: list[str]) -> int:
    """`faceemo evaluate` that is told these faces."""
    from faceemo.cli import main
    from faceemo.prediction import labelled

    labelled.read_task = made_up_readings
    return main(["evaluate", *arguments])


def make_landmarks(folder: Path, names: list[str]) -> None:
    """The landmarks of a source, as the stage extract writes them."""
    folder.mkdir(parents=True)
    made = {"engine": "mediapipe", "settings": {"crops": True}, "versions": {}, "format": FORMAT}
    schema = SCHEMA.with_metadata({"faceemo.extract": json.dumps(made)})
    random = np.random.default_rng(0)
    for number, start in enumerate(range(0, len(names), SHARD_ROWS)):
        some = names[start : start + SHARD_ROWS]
        size = len(some)
        columns = {
            "image": some,
            "width": [3000] * size,
            "height": [4000] * size,
            "faces": [1] * size,
            "turned": [0] * size,
            "status": ["ok"] * size,
            "landmarks": rows_or_null(list(made_up_faces(some))),
            "crop": [crop.tobytes() for crop in random.integers(0, 256, (size, SIDE * SIDE), np.uint8)],
        }
        columns |= {name: pa.nulls(size, SCHEMA.field(name).type) for name in SCHEMA.names if name not in columns}
        table = pa.table({name: columns[name] for name in SCHEMA.names}, schema=schema)
        pq.write_table(table, folder / f"part-{number:05d}.parquet", **FILE_FORMAT)


def write_params(folder: Path, changes: dict) -> None:
    values = yaml.safe_load((ROOT / PARAMS_FILE).read_text(encoding="utf-8"))
    for key, value in changes.items():
        section, _, name = key.rpartition(".")
        (values[section] if section else values)[name] = value
    (folder / PARAMS_FILE).write_text(yaml.safe_dump(values), encoding="utf-8")


def measure(name: str, folder: Path, *command: str, size: float | None = None) -> None:
    """Run a command of Python in a folder and print its seconds, those of CPU and its peak memory.

    size: MB beside which that stands. Raises CalledProcessError if it fails.
    """
    begin = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (folder / "said.txt").open("w", encoding="utf-8") as said:
        process = subprocess.Popen([sys.executable, *command], cwd=folder, env=environment, stdout=said)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise subprocess.CalledProcessError(status, command)
    cpu, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    beside = "" if size is None else f", {peak / size:.2f} of what is learnt from"
    print(f"{name:20} {time.perf_counter() - begin:7.1f} s {cpu:7.1f} s of CPU {peak:6.0f} MB{beside}", flush=True)


def measure_rows(folder: Path, rows: int, settings: list[str], epochs: int) -> None:
    """All commands on so many made-up faces."""
    names = picture_names(rows)
    print(
        f"{rows} faces of {LANDMARKS} landmarks, features {rows * COORDINATES * 4 / 2**20:.0f} MB in memory", flush=True
    )
    make_pictures(folder / "pictures", names)
    write_params(folder, {})
    scan = ("-m", "faceemo.cli", "scan", "pictures", "--subject", PERSON)
    measure("scan", folder, *scan)
    measure("scan again", folder, *scan)
    make_landmarks(folder / LANDMARKS_FOLDER / "pictures", names)
    for setting in settings:
        write_params(folder, {"epochs": epochs, "emotions": list(EMOTIONS), **SETTINGS[setting]})
        size = rows * (COORDINATES * 4 + (setting == "both") * SIDE**2) / 2**20
        measure(f"{setting}: normalize", folder, "-m", "stages.normalize", size=size)
        measure(f"{setting}: train", folder, "-m", "stages.train", size=size)
        options = ("pictures", "--model", MODEL_FILE.as_posix(), "--seen", "--subject", PERSON)
        if setting != "neutral":
            measure(f"{setting}: evaluate", folder, "-c", EVALUATE, *options, size=size)
        measure(f"{setting}: report", folder, "-m", "faceemo.cli", "report")


def member_names(emotion: str, part: int) -> Iterator[str]:
    """Names as those of the set."""
    for number in range(MEMBERS):
        person = hashlib.sha256(f"{part} {number // 60}".encode()).hexdigest()
        yield f"{person}_남_20_{KOREAN[emotion]}_도심 환경_{20210126150000 + number}-{part:03d}-{number % 60:03d}.jpg"


def make_archives(folder: Path) -> None:
    """Archives of all emotions with members of a few bytes."""
    folder.mkdir()
    for emotion in KOREAN:
        for part in range(1, PARTS + 1):
            with zipfile.ZipFile(folder / f"[원천]EMOIMG_{KOREAN[emotion]}_TRAIN_{part:02d}.zip", "w") as archive:
                for name in member_names(emotion, part):
                    archive.writestr(name, name[60:])


def measure_archives(folder: Path) -> None:
    """Scan of all archives, and dvc with nothing to do."""
    for part in ("dvc.yaml", ".dvc/config", ".dvcignore", ".gitignore", PARAMS_FILE, "faceemo", "stages"):
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / part).is_dir() else shutil.copy)(ROOT / part, folder / part)
    make_archives(folder / "archives")
    measure("scan of 28 archives", folder, "-m", "faceemo.cli", "scan", "archives")
    row = {name: pa.nulls(1, SCHEMA.field(name).type) for name in SCHEMA.names}
    features, keys = (
        folder / FEATURES_FOLDER,
        yaml.safe_load((folder / "data/sources.yaml").read_text(encoding="utf-8")),
    )
    features.mkdir(parents=True)
    for key in keys["sources"]:
        (folder / LANDMARKS_FOLDER / key).mkdir(parents=True)
        for number in range(-(-MEMBERS // SHARD_ROWS)):
            table = pa.table({**row, "image": [f"{key} {number}"]}, schema=SCHEMA)
            pq.write_table(table, folder / LANDMARKS_FOLDER / key / f"part-{number:05d}.parquet")
        (features / f"{key}.parquet").write_text(key, encoding="utf-8")
    (folder / "plots").mkdir()
    for file in (MODEL_FILE, EVALUATION_FILE, METRICS_FILE, Path("plots/history.csv")):
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text("{}", encoding="utf-8")
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    measure("dvc commit --force", folder, "-m", "dvc", "commit", "--force")
    measure("dvc status", folder, "-m", "dvc", "status")
    assert "up to date" in (folder / "said.txt").read_text(encoding="utf-8")
    measure("dvc repro", folder, "-m", "dvc", "repro")
    assert "Running stage" not in (folder / "said.txt").read_text(encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--archives", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if args.archives:
            measure_archives(Path(name))
        else:
            measure_rows(Path(name), args.rows, args.settings, args.epochs)


if __name__ == "__main__":
    main()
