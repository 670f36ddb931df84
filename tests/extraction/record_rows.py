"""Record the rows that extraction gives for the sample and for pictures near its thresholds.

    python tests/extraction/record_rows.py

Run it after FORMAT in faceemo/extraction/schema.py was raised: it writes rows-<FORMAT>.parquet beside this file, which
test_schema.py holds the rows against, and never over a file that is there. `--pictures` makes thresholds.zip anew.
"""

import argparse
import contextlib
import io
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from skimage.data import astronaut

sys.path.insert(0, str(Path(__file__).parents[1]))  # what the tests share

from made_archives import source_of

from faceemo.extraction.crop import SIDE
from faceemo.extraction.extract import extract
from faceemo.extraction.schema import FORMAT
from faceemo.extraction.worker import FIRST_SIDE, Reading, measure
from faceemo.params import load_params
from faceemo.pictures.scan import scan
from faceemo.status import Status

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
THRESHOLDS = HERE / "thresholds.zip"
COMPARED = ["source", "image", "size", "crc32", "width", "height", "faces", "turned", "status"]  # exactly
POINTS = [*range(0, 468, 8), 468, 473]  # of the 478 landmarks, those that are recorded; the last two are the irises
PORTRAIT = astronaut()[:400, 60:360]
BLOCKS = 16
HEAD = astronaut()[30:250, 115:335]  # NASA, public domain


def recorded(number: int = FORMAT) -> Path:
    return HERE / f"rows-{number}.parquet"


def current_rows() -> pa.Table:
    """The rows of the sample and of thresholds.zip: COMPARED, and of faces `points`, float32 [3 * len(POINTS)], and
    `greys`, uint8 [BLOCKS * BLOCKS]: means of blocks of the crop.
    """
    params = load_params(ROOT / "params.yaml")
    tables = []
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        sources = {**scan([ROOT / "data/sample"]).sources, "thresholds": source_of(THRESHOLDS)}
        for key, source in sources.items():
            landmarks = extract(key, source, params.extract, None, workers=1, task_pictures=1000)  # in this process
            rows = pq.read_table(landmarks)
            points = [_points(values) for values in rows["landmarks"].to_pylist()]
            greys = [_greys(crop) for crop in rows["crop"].to_pylist()]
            table = rows.append_column("source", pa.repeat(key, len(rows))).select(COMPARED)
            table = table.append_column("points", pa.array(points, pa.list_(pa.float32())))
            tables.append(table.append_column("greys", pa.array(greys, pa.binary())))
    return pa.concat_tables(tables).replace_schema_metadata()


def _points(landmarks: list[float] | None) -> np.ndarray | None:
    return None if landmarks is None else np.array(landmarks, np.float32).reshape(-1, 3)[POINTS].reshape(-1)


def _greys(crop: bytes | None) -> bytes | None:
    if crop is None:
        return None
    blocks = np.frombuffer(crop, np.uint8).reshape(BLOCKS, SIDE // BLOCKS, BLOCKS, SIDE // BLOCKS)
    return blocks.mean(axis=(1, 3)).round().astype(np.uint8).tobytes()


def threshold_pictures() -> dict[str, bytes]:
    """Two pictures on either side of each threshold: of finding a face, of its scale, of telling it is upside down."""
    settings = load_params(ROOT / "params.yaml").extract

    def last_and_first(
        make: Callable[[float], bytes], values: Iterable[float], holds: Callable[[Reading], bool]
    ) -> tuple[bytes, bytes]:
        """The last picture whose reading holds, and the first whose does not."""
        before = b""
        for value in values:
            picture = make(value)
            if not holds(measure(picture, settings, check_upside_down=True)):
                return before, picture
            before = picture
        raise ValueError("all of them hold")

    pictures = {}
    for name, make, values in (
        ("faded", _faded, np.linspace(1, 0, 101)),
        ("covered", _covered, np.linspace(0, 1, 101)),
        ("dark", _dark, np.geomspace(1, 0.005, 101)),
        ("small", _small, np.geomspace(0.5, 0.03, 101)),
        ("cut", _cut, np.linspace(0, 0.9, 91)),
        ("close", _close, np.linspace(0, 0.4, 101)),
    ):
        found, missed = last_and_first(make, values, lambda reading: reading.status == Status.OK)
        pictures |= {f"{name}-found.jpg": found, f"{name}-missed.jpg": missed}
    turned, left = last_and_first(_upside_down, np.linspace(0, 80, 201), lambda reading: reading.turned == 180)
    pictures |= {"upside-down-turned.jpg": turned, "upside-down-left.jpg": left}
    for side in (2 * FIRST_SIDE - 2, 2 * FIRST_SIDE):  # with a face large enough for either scale
        pictures[f"side-{side}.jpg"] = _placed(side, side - 60)
    for size in (740, 800):  # faces of some 310 and 335 pixels, decoded at 1/1 and 1/2
        pictures[f"face-{size}.jpg"] = _placed(3 * FIRST_SIDE, size)
    pictures["truncated.jpg"] = pictures["faded-found.jpg"][:5000]
    return pictures


def _faded(contrast: float) -> bytes:
    noise = np.random.default_rng(0).normal(0, 12, HEAD.shape)
    return _jpeg(128 + (HEAD - 128.0) * contrast + noise)


def _covered(share: float) -> bytes:
    picture = HEAD.copy()
    picture[round(len(HEAD) * (1 - share)) :] = 90
    return _jpeg(picture)


def _dark(light: float) -> bytes:
    return _jpeg(HEAD * light)


def _small(share: float) -> bytes:
    return _placed(640, round(640 * share))


def _cut(share: float) -> bytes:
    return _jpeg(HEAD[:, round(HEAD.shape[1] * share) :])


def _close(share: float) -> bytes:
    """Cut on all sides, until the face fills the picture and more."""
    border = round(len(HEAD) * share)
    return _jpeg(HEAD[border : len(HEAD) - border, border : len(HEAD) - border])


def _upside_down(grain: float) -> bytes:
    noise = np.random.default_rng(0).normal(0, grain, PORTRAIT.shape)
    return _jpeg((PORTRAIT + noise)[::-1, ::-1])


def _placed(side: int, size: int) -> bytes:
    """The head, `size` pixels wide and grainy as from a camera, in the middle of a grey square."""
    picture = Image.new("RGB", (side, side), (100, 110, 120))
    head = Image.fromarray(HEAD).resize((size, size), Image.Resampling.BICUBIC)
    grain = np.random.default_rng(0).normal(0, 6, (size, size, 1))
    head = Image.fromarray(np.clip(head + grain, 0, 255).astype(np.uint8))
    picture.paste(head, ((side - size) // 2, (side - size) // 2))
    return _jpeg(np.asarray(picture))


def _jpeg(rgb: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.clip(rgb, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description="record the rows of this format")
    parser.add_argument("--pictures", action="store_true", help="make thresholds.zip anew first")
    if parser.parse_args().pictures:
        with zipfile.ZipFile(THRESHOLDS, "w") as archive:
            for name, data in threshold_pictures().items():
                archive.writestr(zipfile.ZipInfo(name), data)
    if recorded().exists():
        sys.exit(f"{recorded().name} is there already: raise FORMAT in faceemo/extraction/schema.py first")
    pq.write_table(
        current_rows(),
        recorded(),
        compression="zstd",
        use_byte_stream_split=["points.list.element"],
        use_dictionary=COMPARED,
    )
    print(f"wrote {recorded().name}")


if __name__ == "__main__":
    main()
