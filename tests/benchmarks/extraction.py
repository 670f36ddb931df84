"""How fast extraction is, beside the ways people really do it and the floor that JPEG decoding sets, in one run.

    python -m tests.benchmarks.extraction ARCHIVE.zip [--workers N] [--limit N]

script   a process pool over pictures; each task opens the archive, decodes at full size and builds a FaceMesh
sound    the same with the archive and FaceMesh kept for the life of a worker
floor    read and decode alone, at 1/8: no extractor that decodes every JPEG on the CPU goes below it
faceemo  this project's stage by each engine that is installed, with crops and without, Parquet shards and start-up
         included

Prints pictures/s and ratios, then how far the landmarks of the ways lie apart (mean distance in the picture plane in %
of the distance between the irises) and how many faces either missed. `script` runs on an eighth of the pictures. Where
mediapipe is not installed script and sound, which need it, are left out.
"""

import argparse
import contextlib
import itertools
import multiprocessing
import os
import tempfile
import time
import zipfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from faceemo.extraction.engines.choice import installed_engines
from faceemo.extraction.executors import default_workers
from faceemo.extraction.facemesh import silence_native_log
from faceemo.pictures.reader import PictureReader, digest_of, first_by_hash
from faceemo.pictures.trees import files_at, is_picture_name

# Other imports stand where they are used: every worker imports this module, and each way pays for its own alone.

_kept: dict = {}


def build_mesh():
    from mediapipe.python.solutions.face_mesh import FaceMesh

    return FaceMesh(static_image_mode=True, refine_landmarks=True, max_num_faces=1, min_detection_confidence=0.5)


def landmarks_of(mesh, data):
    """float32 [478, 3] at full size, NaN where no face is found or no picture."""
    import cv2

    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        return np.full((478, 3), np.nan, np.float32)
    found = mesh.process(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)).multi_face_landmarks
    if not found:
        return np.full((478, 3), np.nan, np.float32)
    return np.array([(p.x, p.y, p.z) for p in found[0].landmark], np.float32)


def script(task):
    path, name = task
    with zipfile.ZipFile(path) as archive, build_mesh() as mesh:
        return landmarks_of(mesh, archive.read(name))


def keep(path, with_mesh):
    import cv2

    silence_native_log()
    cv2.setNumThreads(1)
    _kept["archive"] = zipfile.ZipFile(path)
    if with_mesh:
        _kept["mesh"] = build_mesh()


def sound(task):
    return landmarks_of(_kept["mesh"], _kept["archive"].read(task[1]))


def floor(task):
    import cv2

    data = _kept["archive"].read(task[1])
    return bool(data) and cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_COLOR_8) is not None


def pool_rate(function, path, names, workers, initializer, initargs, chunk):
    """Pictures a second, start-up included, and results."""
    begin = time.perf_counter()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=initializer, initargs=initargs) as pool:
        results = list(pool.map(function, [(path, name) for name in names], chunksize=chunk))
    return len(names) / (time.perf_counter() - begin), results


def faceemo_rate(source, engine, crops, limit, workers):
    import pyarrow.parquet as pq

    from faceemo.extraction.extract import extract
    from faceemo.params import ExtractParams

    settings = ExtractParams(engine=engine, crops=crops, scheduler=None)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        begin = time.perf_counter()
        made = extract("benchmark", source, settings, limit, workers)
        seconds = time.perf_counter() - begin
        rows = pq.read_table(made, columns=["landmarks"])["landmarks"].to_pylist()
    points = [np.full((478, 3), np.nan) if row is None else np.reshape(row, (478, 3)) for row in rows]
    return len(rows) / seconds, np.array(points, np.float32)


def main():
    import cv2

    from faceemo.pictures.sources import Source

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--workers", type=int, default=default_workers())
    parser.add_argument("--limit", type=int)
    args = parser.parse_args()
    path = args.archive.resolve()
    pictures = [picture for picture in files_at(path) if is_picture_name(picture.name)]
    source = Source(str(path), "neutral", "training", len(pictures), digest_of(pictures), None)
    with PictureReader(path) as reader:
        first = reader.read(pictures[0])
    with zipfile.ZipFile(path) as archive:
        members = [info.filename for info in archive.infolist() if not info.is_dir()]
    names = [members[pictures[index].index] for index in first_by_hash(pictures, args.limit)]
    height, width = cv2.imdecode(np.frombuffer(first, np.uint8), cv2.IMREAD_COLOR).shape[:2]
    print(
        f"{len(names)} pictures, the first {width}x{height} and {len(first) / 1e6:.1f} MB; {args.workers} workers",
        flush=True,
    )

    with path.open("rb") as file:  # once through, so that no way alone waits for the disk
        while file.read(1 << 24):
            pass
    rates = {}
    eighth = names[: max(24, len(names) // 8)]
    landmarks = {}
    if "mediapipe" in installed_engines():
        rates["script"], _ = pool_rate(script, path, eighth, args.workers, silence_native_log, (), 1)
        rates["sound"], landmarks["sound"] = pool_rate(sound, path, names, args.workers, keep, (path, True), 4)
    for engine, crops in itertools.product(installed_engines(), (True, False)):
        way = f"faceemo, {engine}{'' if crops else ', no crops'}"
        rates[way], landmarks[way] = faceemo_rate(source, engine, crops, args.limit, args.workers)
    rates["floor"], _ = pool_rate(floor, path, names, args.workers, keep, (path, False), 4)
    for way, rate in rates.items():
        others = [other for other in ("script", "sound", "floor") if other in rates]
        ratios = "   ".join(f"{rate / rates[other]:5.2f} x {other}" for other in others)
        print(f"{way:28} {rate:7.1f} pictures/s   {ratios}")
    for one, other in itertools.combinations(landmarks, 2):
        print(f"{other} against {one}: {compared(np.array(landmarks[one]), landmarks[other], width, height)}")


def compared(exact, found, width, height):
    """How far landmarks [pictures, 478, 3] lie apart; NaN stands where no face was found."""
    both = ~np.isnan(exact[:, 0, 0]) & ~np.isnan(found[:, 0, 0])
    size = np.array([width, height])
    distance = np.linalg.norm((exact - found)[both, :, :2] * size, axis=2).mean(axis=1)
    irises = np.linalg.norm((exact[both, 468] - exact[both, 473])[:, :2] * size, axis=1)
    lost = int((np.isnan(found[:, 0, 0]) & ~np.isnan(exact[:, 0, 0])).sum())
    besides = int((~np.isnan(found[:, 0, 0]) & np.isnan(exact[:, 0, 0])).sum())
    percent = 100 * distance / irises
    return f"mean {percent.mean():.4f} %, largest {percent.max():.4f} %; faces lost {lost}, found besides {besides}"


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    main()
