"""Damaged tables, Parquet and JSON files and odd trees: each is scanned, or refused with one line."""

import random
import zipfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hostile import TIMES, damaged, outcome
from made_sources import label_json, of_set, rating, record
from systems import WINDOWS

from faceemo.pictures.labels import read_labels
from faceemo.pictures.manifest import read_manifest
from faceemo.pictures.opening import pictures_of
from faceemo.pictures.reader import read_seen, write_seen
from faceemo.pictures.scan import scan
from faceemo.pictures.scan_source import ScanOptions
from faceemo.pictures.summary import scan_lines

FOLDERS = (
    "happy",
    "기쁨",
    "sad",
    "train",
    "Validation",
    ".git",
    "@eaDir",
    "a b",
    "..",
    "1",
    "라벨",
    "x" * 60,
    *([] if WINDOWS else ["\x1b[2J"]),
)
FILES = (
    "1.jpg",
    "2.PNG",
    "a.heic",
    "EMOIMG.json",
    ".b.jpg",
    "._1.jpg",
    "n",
    "x.zip",
    "t.csv",
    of_set(1),
    of_set(2, "기쁨"),
)
ARCHIVES = ("faces.zip", "기쁨.zip", "[원천]EMOIMG_중립_TRAIN_01.zip", "[라벨]EMOIMG_중립_TRAIN.zip")


def scan_whole(place):
    options = ScanOptions(subject="each")
    result = scan([place], options=options)
    assert all("\n" not in line for line in scan_lines(result, options, {}))
    for key, source in result.sources.items():
        read_manifest(key, source)


@pytest.fixture
def faces():
    for number in range(12):
        Path(f"{number}.jpg").write_bytes(bytes([number]))
    return [
        {"path": f"{n}.jpg", "emotion": ("happy", "슬픔")[n % 2], "subject": f"p{n}", "age": n, "happy": 1, "sad": 0}
        for n in range(12)
    ]


def test_damaged_tables_are_read_or_one_line(faces):
    chance, found = random.Random(1), Counter()
    lines = [",".join(faces[0]), *(",".join(map(str, face.values())) for face in faces)]
    pq.write_table(pa.Table.from_pylist(faces), "whole.parquet", compression="none")
    for name, whole in {"a.csv": "\n".join(lines).encode(), "a.parquet": Path("whole.parquet").read_bytes()}.items():
        for _ in range(100 * TIMES):
            Path(name).write_bytes(damaged(whole, chance))
            found[name, outcome(lambda name=name: scan_whole(Path(name)))] += 1
    assert len(found) == 4 and found.total() == 200 * TIMES


def test_damaged_label_files_are_read_or_one_line():
    chance, found = random.Random(2), Counter()
    whole = label_json(*(record(f"{n}.jpg", rating(), rating("슬픔"), rating("불안")) for n in range(6)))
    for _ in range(200 * TIMES):
        with zipfile.ZipFile("labels.zip", "w") as archive:
            archive.writestr("a.json", damaged(whole, chance))
        found[outcome(lambda: read_labels(Path("labels.zip")))] += 1
    assert len(found) == 2


def test_odd_trees_and_damaged_archives_are_read_or_one_line():
    chance, found = random.Random(3), Counter()
    labels = label_json(record(of_set(1), rating()))
    for number in range(80 * TIMES):
        folder, packed = Path(f"{number}"), Path(f"{number}/{chance.choice(ARCHIVES)}")
        folder.mkdir()
        with zipfile.ZipFile(packed, "w") as archive:
            for name in {
                "/".join((*chance.choices(FOLDERS, k=chance.randrange(4)), chance.choice(FILES))) for _ in range(9)
            }:
                data = chance.choice((b"", b"{}", labels, damaged(labels, chance), chance.randbytes(9)))
                archive.writestr(name, data)
                path = folder / "tree" / name.replace("..", "up")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        if chance.random() < 0.3:
            packed.write_bytes(damaged(packed.read_bytes(), chance))
        for place in (packed, folder / "tree", folder):
            found[outcome(lambda place=place: scan_whole(place))] += 1
    assert len(found) == 2 and found.total() == 240 * TIMES


def test_a_damaged_memory_of_files_is_read_or_forgotten():
    chance, found = random.Random(4), Counter()
    for word in ("happy", "sad"):
        for number in range(3):
            path = Path(f"faces/{word}/{number}.jpg")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"{word}{number}".encode())
    (source,) = scan([Path("faces")], options=ScanOptions(subject="each")).sources.values()
    write_seen("faces", pictures_of("faces", source))
    whole = Path("data/.seen/faces.json").read_bytes()
    for _ in range(200 * TIMES):
        Path("data/.seen/faces.json").write_bytes(damaged(whole, chance))
        found[len(read_seen("faces"))] += 1
        assert all(picture.crc is not None and 0 <= picture.crc < 2**32 for picture in pictures_of("faces", source))
    assert found[0] and found[6] and len(found) > 2
