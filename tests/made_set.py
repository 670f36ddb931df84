"""A small set in the layout of AI-Hub, with what its archives and raters are like, made of the sample's pictures.

30 made-up people, each neutral, anxious and happy twice, in archives of Training and Validation with label archives.
The faces are those of the sample; who they are said to be, what they are said to show and what raters are said to have
seen is made up, for tests alone. About one picture in eight is stored turned; the neutral archive of Training holds a
picture without a face, a JPEG cut after a third and a text too.
"""

import functools
import hashlib
import io
import json
import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from faceemo.durable import rename
from faceemo.pictures.archive import Archive
from faceemo.pictures.reader import MAX_BYTES

SAMPLE = Path(__file__).parents[1] / "data" / "sample"
PEOPLE, OF_TRAINING, SHOTS = 30, 24, 2
SIZE = (384, 512)
TIME = (2026, 1, 1, 0, 0, 0)
EMOTIONS = ("중립", "불안", "기쁨")
PLACES = ("공공시설&종교&의료시설", "도심 환경", "숙박 및 거주공간", "기념_공공시설&종교&의료시설")
BACK = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}  # by orientation


def made_set() -> Path:
    """The set's folder, made once for this sample and this file."""
    parts = [Path(__file__), *sorted(SAMPLE.rglob("*.zip"))]
    name = hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"faceemo-test-set-{name}"
    if not folder.exists():
        new = Path(tempfile.mkdtemp(prefix="faceemo-test-set-new-"))
        _make(new)
        try:
            rename(new, folder)
        except OSError:  # another process was first
            shutil.rmtree(new)
    return folder


def _make(folder: Path) -> None:
    for split, people in (("Training", range(OF_TRAINING)), ("Validation", range(OF_TRAINING, PEOPLE))):
        end = "TRAIN" if split == "Training" else "VALID"
        (folder / split).mkdir()
        for emotion in EMOTIONS:
            members, records = {}, []
            for number in range(SHOTS * len(people)):
                person, shot = people[number % len(people)], number // len(people)
                image = portrait(person, emotion, shot)
                name = _name(person, emotion, number)
                members[name] = _encoded(image, {0: 1, 3: 3, 5: 6, 7: 8}.get((person * 3 + number) % 24, 1))
                records.append(_record(name, emotion, person, number))
            if split == "Training" and emotion == "중립":
                members |= _odd_members(members)
            part = "_01" if split == "Training" else ""
            _write(folder / split / f"[원천]EMOIMG_{emotion}_{end}{part}.zip", members)
            text = json.dumps(records, ensure_ascii=False).encode()
            _write(folder / split / f"[라벨]EMOIMG_{emotion}_{end}.zip", {f"img_emotion_data({emotion}).json": text})


def portrait(person: int, emotion: str, shot: int = 0) -> Image.Image:
    """RGB, SIZE pixels. person: 0 to 39, of whom the set's are the first PEOPLE; emotion: one of EMOTIONS."""
    image = ImageOps.fit(
        _faces("중립" if emotion == "중립" else "기쁨")[person], SIZE, centering=(0.5, 0.5 + 0.02 * shot)
    )
    if emotion == "불안":
        image = ImageEnhance.Brightness(ImageOps.mirror(image)).enhance(0.7)
    return ImageEnhance.Brightness(image).enhance(1 - 0.1 * shot)


@functools.cache
def _faces(word: str) -> list[Image.Image]:
    found = []
    for path in sorted(SAMPLE.rglob(f"[[]원천]*_{word}_*.zip")):
        with Archive(path) as archive:
            found += [Image.open(io.BytesIO(archive.read(member, MAX_BYTES))) for member in archive.members]
    return found


def _encoded(image: Image.Image, orientation: int) -> bytes:
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    stored = image.transpose(BACK[orientation]) if orientation in BACK else image
    stored.save(buffer, "JPEG", quality=85, exif=exif)
    return buffer.getvalue()


def _name(person: int, emotion: str, number: int) -> str:
    subject = hashlib.sha256(f"person {person}".encode()).hexdigest()
    sex, age = "남여"[person % 2], 10 * (1 + person % 6)
    return (
        f"{subject}_{sex}_{age}_{emotion}_{PLACES[number % 4]}_{20210126150000 + number}-{person:03d}-{number:03d}.jpg"
    )


def _record(name: str, emotion: str, person: int, number: int) -> dict:
    """Two raters see what the archive says, the third of every third picture something else."""
    other = "당황" if emotion == "불안" else "알수없음"
    answers = [emotion, emotion, other if number % 3 == 0 else emotion]
    if emotion == "불안" and number % 8 == 1:
        answers = ["중립"] * 3
    box = {"minX": 90.5, "minY": 120.25, "maxX": 300.5 + number, "maxY": 400.75}
    return {
        "filename": name,
        "isProf": "전문인" if person % 2 else "일반인",
        **{f"annot_{rater}": {"boxes": box, "faceExp": word} for rater, word in zip("ABC", answers, strict=True)},
    }


def _odd_members(members: dict[str, bytes]) -> dict[str, bytes]:
    """A picture without a face, a JPEG cut after a third, a text."""
    first = next(iter(members.values()))
    noise = np.random.default_rng(0).integers(90, 110, (*SIZE[::-1], 3), dtype=np.uint8)
    return {
        _name(0, "중립", 900): _encoded(Image.fromarray(noise), 1),
        _name(1, "중립", 901): first[: len(first) // 3],
        "readme.txt": b"made for tests",
    }


def _write(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, TIME), data)
