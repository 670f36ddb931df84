"""A finished run on made-up faces, small enough to train in a test, and its report as a reader of HTML sees it."""

import hashlib
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml
from made_archives import make_zip
from made_landmarks import write_landmarks

from faceemo.emotions import KOREAN, emotion_classes
from faceemo.errors import FaceemoError
from faceemo.pictures.reader import digest_of
from faceemo.pictures.sources import LabelFiles, Source, write_sources
from faceemo.pictures.trees import files_at
from faceemo.report.page import write_report
from stages import normalize, train

ROOT = Path(__file__).parents[1]
LANDMARKS = Path("data/landmarks")
OUT = Path("report.html")
PEOPLE = 40


def subject_of(person: int) -> str:
    return hashlib.sha256(f"person {person}".encode()).hexdigest()


def described(person: int, emotion: str) -> str:
    """What a picture's name says of a person; of every third it says who it is alone."""
    sex, age = ("여", "남")[person % 2], (20, 30, None)[person % 3]
    return subject_of(person) + (f"_{sex}_{age}_{KOREAN[emotion]}_공원" if age else "")


def write_faces(key: str, emotion: str, lean: np.ndarray) -> list[str]:
    """A noisy face of each person that leans one way, and a picture without a face; returns the pictures' names."""
    random = np.random.default_rng(list(key.encode()))
    mean = np.random.default_rng(0).uniform(0.3, 0.7, (478, 3))
    faces = [*(mean + lean + random.normal(0, 0.03, (PEOPLE, 478, 3))).astype(np.float32), None]
    rows = [
        {
            "image": f"{described(who, emotion)}_20210126133507-001-{n:03d}.jpg",
            **{"size": 1000 + n, "crc32": n, "width": 300, "height": 400, "faces": int(face is not None), "turned": 0},
            **{"status": "no_face" if face is None else "ok", "error": None, "crop": None},
            "landmarks": None if face is None else face.ravel(),
        }
        for n, (who, face) in enumerate(zip([*range(PEOPLE), 0], faces, strict=True))
    ]
    engine, library = ("litert", "ai-edge-litert") if "validation" in key else ("mediapipe", "mediapipe")
    versions = {library: {"litert": "2.3.0", "mediapipe": "0.10.21"}[engine], "pillow": "11.0"}
    write_landmarks(LANDMARKS / key, rows, 16, engine=engine, settings={"crops": False}, versions=versions)
    return [row["image"] for row in rows]


def write_labels(names: list[str], emotion: str, answers: list[list[str]] | None) -> LabelFiles:
    """A label archive in which three, two, one and no raters agree in turn, or with four pictures' answers in turn."""
    answers = answers or [[KOREAN[emotion]] * (3 - n) + ["알수없음"] * n for n in range(4)]
    answers = [answers[n % 4] for n in range(len(names))]
    records = [
        {
            "filename": name,
            "isProf": "전문인",
            **{f"annot_{rater}": {"faceExp": word} for rater, word in zip("ABC", words, strict=True)},
        }
        for name, words in zip(names, answers, strict=True)
    ]
    path = make_zip(
        Path.cwd() / f"[라벨]{emotion}.zip", {"labels.json": json.dumps(records, ensure_ascii=False).encode()}
    )
    return LabelFiles(path.as_posix(), digest_of(files_at(path)))


def make_run(
    emotions: tuple[str | dict, ...] = ("neutral", "anxious"),
    answers: list[list[str]] | None = None,
    **changes: object,
) -> None:
    """A finished run in the current folder, with archives of `happy` that it may leave out.

    answers: of four pictures three raters' words each, in turn.
    changes: of params.yaml, with `__` for the dot between section and key.
    """
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    defaults = {
        "emotions": list(emotions),
        "epochs": 3,
        "lr": 0.0003,
        "extract__crops": False,
        "train__whiten": None,  # noise has no spread to learn
    }
    for name, value in {**defaults, **changes}.items():
        section, _, key = name.rpartition("__")
        (params[section] if section else params)[key] = value
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    sources = {}
    members = [name for names in emotion_classes(list(emotions)).values() for name in names]
    for number, emotion in enumerate(dict.fromkeys((*members, "happy"))):
        lean = np.random.default_rng(number + 1).normal(0, 0.003, (478, 3))
        for folder in ("training", "validation"):
            key = f"{emotion}-{folder}-01"
            names = write_faces(key, emotion, lean)
            labels = write_labels(names, emotion, answers) if folder == "training" else None
            path = f"/disk/kim/[원천]EMOIMG_{KOREAN[emotion]}_{folder}_01.zip"
            digest = hashlib.sha256(key.encode()).hexdigest()
            sources[key] = Source(path, emotion, folder, len(names), digest, labels, classes=(emotion,))
    write_sources(sources)
    normalize.main()
    train.main()


def change_params(**changes: object) -> None:
    values = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    for name, value in changes.items():
        section, _, key = name.rpartition("__")
        (values[section] if section else values)[key] = value
    Path("params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")


def report(language: str = "en") -> str:
    write_report(OUT, language)
    return OUT.read_text(encoding="utf-8")


def evaluation_of_run() -> dict:
    return json.loads(Path("evaluation.json").read_text(encoding="utf-8"))


def refusal() -> str:
    with pytest.raises(FaceemoError) as error:
        write_report(OUT, "en")
    assert "\n" not in str(error.value)
    return str(error.value)


class Page(HTMLParser):
    """Text by element, links and resources; fails on an element that is not closed where it should be."""

    VOID = frozenset({"meta", "br", "link", "img", "input", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.tags: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attributes]
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data if self.open[-1] != "small" else f" | {data}"

    def row(self, first: str) -> list[str]:
        """The only row whose first cell starts so."""
        (row,) = [row for row in self.rows if row and row[0].startswith(first)]
        return row
