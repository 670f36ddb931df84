"""The pipeline on pictures of one's own: folders, then a table, made from the sample and run through dvc.

The tests of this module run in order and share one project; each says which stages dvc ran.
"""

import os
import shutil
from pathlib import Path

import pytest
from made_archives import ANXIOUS, NEUTRAL, pictures_in
from project import Project, stages_run

from faceemo.pictures.archive import parse_picture_name
from faceemo.pictures.reader import PictureReader

pytestmark = pytest.mark.slow

WORDS = {ANXIOUS: "지루함", NEUTRAL: "중립"}
SUBJECT = ("--subject", r"/(p\d+)_")
EACH = ("--subject", "each", "--rename", "지루함=anxious")
ALL = {"normalize", "train"}


def write_faces(folder: Path) -> dict[str, str]:
    """Write the pictures of two of the set's archives as 지루함/p03_012.jpg; their words by name."""
    people: dict[str, str] = {}
    words = {}
    for path, word in WORDS.items():
        with PictureReader(path) as reader:
            for picture in pictures_in(path):
                subject = parse_picture_name(picture.name).subject
                person = people.setdefault(subject, f"p{len(people):02d}")
                name = f"{word}/{person}_{len(words):03d}.jpg"
                words[name] = word
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(reader.read(picture))
    return words


def write_table(path: Path, rows: list[tuple]) -> None:
    lines = ["path;emotion;subject", *(";".join(row) for row in rows)]
    path.write_bytes("\r\n".join(lines).encode("cp949"))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    made = Project(tmp_path_factory.mktemp("own") / "내 얼굴")
    made.words = write_faces(made.folder / "faces")
    return made


def test_without_who_is_who_extraction_stops_with_one_line(project):
    output = project.faceemo("scan", "faces")
    assert "faces: 50 neutral, 48 지루함" in output and "scan again with --subject" in output
    assert "not ready for dvc repro: " in output.splitlines()[-1]
    output = project.stage("extract", "faces", code=1)
    assert output.startswith("extract: error: faces: it is not known who is in which picture")
    assert "--subject each" in output and output.count("\n") == 1


def test_scan_and_repro_of_folders_are_a_judged_model_of_the_classes_found(project):
    output = project.faceemo("scan", "faces", *SUBJECT)
    assert "nothing tells" not in output and output.endswith("\nnext:\ndvc repro\n")
    output = project.dvc("repro")
    assert stages_run(output) == {"extract@faces", *ALL}
    assert "Traceback" not in output
    assert project.metrics()["subjects"] == {"overlap": 0, "each": 0}
    assert list(project.evaluation()["test"]["learnt"]["per_class"]) == ["neutral", "지루함"]
    rows = project.features("faces")
    assert {row["emotion"] for row in rows} == {"neutral", "지루함"}
    assert all(row["subject"] in row["image"] for row in rows)


def test_the_model_on_own_classes_is_exported_and_used(project):
    assert "지루함" in project.faceemo("export")
    assert "지루함" in project.faceemo("predict", f"faces/{next(iter(project.words))}")


def test_an_emotion_that_no_source_holds_is_one_line_that_lists_the_known(project):
    project.change_text("params.yaml", "emotions: ", "emotions: [neutral, board] ")
    output = project.stage("extract", "faces", code=1)
    project.run("git", "checkout", "--quiet", "params.yaml")
    assert output.startswith("extract: error: params.yaml: emotions: no source holds 'board'; known are ")
    assert "지루함" in output and output.count("\n") == 1


def test_a_folder_that_was_touched_and_moved_neither_extracts_nor_trains(project):
    for path in (project.folder / "faces").rglob("*.jpg"):
        os.utime(path, (1, 1))
    (project.folder / "elsewhere").mkdir()
    (project.folder / "faces").rename(project.folder / "elsewhere/faces")
    project.faceemo("scan", "elsewhere/faces", *SUBJECT)
    assert stages_run(project.dvc("repro")) == {"normalize"}


def test_an_added_picture_is_told_before_a_scan(project):
    folder = project.folder / "elsewhere/faces/중립"
    shutil.copy(min(folder.iterdir()), folder / "p99_999.jpg")
    output = project.stage("extract", "faces", code=1)
    assert output == "extract: error: faces: pictures changed since the last scan; run 'faceemo scan'\n"


def test_a_changed_picture_is_read_alone_and_every_picture_a_person_is_said_beside_the_numbers(project):
    changed = max((project.folder / "elsewhere/faces/지루함").iterdir())
    before = changed.read_bytes()
    changed.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    output = project.faceemo("scan", "elsewhere/faces", *EACH)
    assert "every picture counts as a person of its own" in output
    output = project.dvc("repro")
    assert stages_run(output) == {"extract@faces", *ALL}
    pictures = len(project.words) + 1
    assert f"faces: {pictures - 1} of {pictures} pictures were read before" in output
    assert "95 % interval over pictures, not people" in output
    assert "people; a picture of --subject each counts as one\n" in output
    rows = project.features("faces")
    assert project.metrics()["subjects"]["each"] == len(rows) == pictures
    assert {row["emotion"] for row in rows} == {"neutral", "anxious"}


def test_the_report_on_own_pictures_says_so_too(project):
    project.faceemo("report")
    assert "pictures, not people" in (project.folder / "report.html").read_text(encoding="utf-8")


def test_a_table_of_known_pictures_reads_none_and_a_missing_one_is_a_row(project):
    path = project.folder / "elsewhere/list.csv"
    project.rows = [(f"faces/{name}", word, name.split("/")[1][:3]) for name, word in project.words.items()]
    write_table(path, [*project.rows, ("faces/gone.jpg", "지루함", "p00")])
    assert "1 picture cannot be read, the first is faces/gone.jpg" in project.faceemo("scan", "elsewhere/list.csv")
    output = project.dvc("repro", "normalize")
    assert stages_run(output) == {"extract@list", "normalize"}
    pictures = len(project.words)
    assert f"list: {pictures} of {pictures + 1} pictures were read before" in output
    rows = {row["image"]: row for row in project.features("list")}
    assert rows["faces/gone.jpg"]["status"] == "read_error"
    assert len(rows) == pictures + 1


def test_correcting_a_word_in_the_table_trains_and_extracts_nothing(project):
    name, word, person = project.rows[0]
    assert word == "지루함"
    rows = [(name, "neutral", person), *project.rows[1:], ("faces/gone.jpg", "지루함", "p00")]
    write_table(project.folder / "elsewhere/list.csv", rows)
    project.faceemo("scan", "elsewhere/list.csv")
    assert stages_run(project.dvc("repro")) == ALL
    assert next(row["emotion"] for row in project.features("list") if row["image"] == name) == "neutral"
    assert project.evaluation()["coverage"]["read_error"] == 1


def test_a_table_that_changed_after_the_scan_is_one_line(project):
    path = project.folder / "elsewhere/list.csv"
    path.write_bytes(path.read_bytes() + b"\r\n")
    output = project.stage("normalize", code=1)
    assert "list.csv changed since the last scan; run 'faceemo scan'" in output and "Traceback" not in output
