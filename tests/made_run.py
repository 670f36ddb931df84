"""A finished run on made-up faces, small enough to train in a test, and its report as a reader of HTML sees it."""

import hashlib
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from made_archives import make_zip

from faceemo.emotions import KOREAN, emotion_classes
from faceemo.errors import FaceemoError
from faceemo.extraction.archive import Archive
from faceemo.extraction.schema import FORMAT, SCHEMA
from faceemo.extraction.sources import Labels, Source, write_sources
from faceemo.params import load_params
from faceemo.report.page import write_report
from faceemo.rows import rows_or_null
from stages import normalize, train

ROOT = Path(__file__).parents[1]
LANDMARKS = Path("data/landmarks")
OUT = Path("report.html")
PEOPLE = 40


def subject_of(person: int) -> str:
    return hashlib.sha256(f"person {person}".encode()).hexdigest()


def write_landmarks(key: str, emotion: str, lean: np.ndarray) -> list[str]:
    """A noisy face of each person that leans one way, and a picture without a face; returns the pictures' names."""
    random = np.random.default_rng(list(key.encode()))
    face = np.random.default_rng(0).uniform(0.3, 0.7, (478, 3))
    who = [*range(PEOPLE), 0]
    faces = (face + lean + random.normal(0, 0.03, (PEOPLE, 478, 3))).astype(np.float32)
    names = [f"{subject_of(person)}_여_20_{KOREAN[emotion]}_공원_{n:05d}.jpg" for n, person in enumerate(who)]
    columns = {
        "image": names,
        "emotion": [emotion] * len(who),
        "subject": [subject_of(person) for person in who],
        "sex": [("female", "male")[person % 2] for person in who],
        "age": [(20, 30, None)[person % 3] for person in who],
        "background": ["공원"] * len(who),
        "width": [300] * len(who),
        "height": [400] * len(who),
        "faces": [1] * PEOPLE + [0],
        "turned": [0] * len(who),
        "status": ["ok"] * PEOPLE + ["no_face"],
        "error": [None] * len(who),
        "landmarks": rows_or_null([*faces.reshape(PEOPLE, -1), None]),
    }
    settings = vars(load_params().extract).copy()
    del settings["scheduler"], settings["engine"]
    engine, library = ("litert", "ai-edge-litert") if "validation" in key else ("mediapipe", "mediapipe")
    versions = {library: {"litert": "2.3.0", "mediapipe": "0.10.21"}[engine], "pillow": "11.0"}
    provenance = {"engine": engine, "settings": settings, "versions": versions, "format": FORMAT}
    table = pa.table(columns, schema=SCHEMA.with_metadata({b"faceemo.extract": json.dumps(provenance).encode()}))
    (LANDMARKS / key).mkdir(parents=True)
    for number, start in enumerate(range(0, len(who), 16)):
        pq.write_table(table.slice(start, 16), LANDMARKS / key / f"part-{number:05d}.parquet")
    return names


def write_labels(names: list[str], emotion: str, answers: list[list[str]] | None) -> Labels:
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
    with Archive(path) as archive:
        return Labels(path.as_posix(), archive.digest())


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
        "train__whiten": None,
    }  # noise has no spread to learn
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
            names = write_landmarks(key, emotion, lean)
            labels = write_labels(names, emotion, answers) if folder == "training" else None
            path = f"/disk/kim/[원천]EMOIMG_{KOREAN[emotion]}_{folder}_01.zip"
            digest = hashlib.sha256(key.encode()).hexdigest()
            sources[key] = Source(path, emotion, folder, len(names), digest, labels)
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
