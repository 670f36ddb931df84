"""The pipeline on pictures of one's own: folders, then a table, made from the sample and run through dvc.

The tests of this module run in order and share one project; each says which stages dvc ran.
"""

import json
import os
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from made_archives import ANXIOUS, NEUTRAL
from project import Project, stages_run

from faceemo.extraction.archive import Archive, parse_picture_name

pytestmark = pytest.mark.slow

WORDS = {ANXIOUS: "지루함", NEUTRAL: "중립"}
SUBJECT = r"/(p\d+)_"
ALL = {"normalize", "train"}


def write_faces(folder: Path) -> dict[str, str]:
    """Write the pictures of two of the sample's archives as 지루함/p03_012.jpg; their words by name."""
    people: dict[str, str] = {}
    words = {}
    for path, word in WORDS.items():
        with Archive(path) as archive:
            for member in archive.pictures:
                subject = parse_picture_name(member.name).subject
                person = people.setdefault(subject, f"p{len(people):02d}")
                name = f"{word}/{person}_{len(words):03d}.jpg"
                words[name] = word
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(archive.read(member, 10**9) if member.size else b"")
    return words


def write_table(path: Path, rows: list[tuple]) -> None:
    lines = ["path;emotion;subject", *(";".join(row) for row in rows)]
    path.write_bytes("\r\n".join(lines).encode("cp949"))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    made = Project(tmp_path_factory.mktemp("own") / "내 얼굴")
    made.words = write_faces(made.folder / "faces")
    return made


def scan_folders(project, place="faces", *options):
    return project.faceemo("scan", place, "--subject", SUBJECT, *options)


def features(project, key):
    return pq.read_table(project.folder / f"data/features/{key}.parquet").to_pylist()


def test_without_who_is_who_repro_stops_with_one_line(project):
    output = project.faceemo("scan", "faces")
    assert "faces: 50 neutral, 48 지루함" in output and "scan again with --subject" in output
    project.change_text("params.yaml", "- anxious\n", "- 지루함\n")
    output = project.dvc("repro", code=None)
    assert stages_run(output) == {"extract@faces"}
    assert "extract: error: faces: it is not known who is in which picture" in output
    assert "--subject each" in output and "Traceback" not in output


def test_folders_become_a_judged_model(project):
    output = scan_folders(project)
    assert "nothing tells" not in output and "next: dvc repro" in output
    output = project.dvc("repro")
    assert stages_run(output) == {"extract@faces", *ALL}
    assert "Traceback" not in output
    assert project.metrics()["subjects"] == {"overlap": 0, "each": 0}
    assert set(project.evaluation()["test"]["learnt"]["per_class"]) == {"neutral", "지루함"}
    rows = features(project, "faces")
    assert {row["emotion"] for row in rows} == {"neutral", "지루함"}
    assert all(row["subject"] in row["image"] for row in rows)
    assert stages_run(project.dvc("repro")) == set()
    project.commit()


def test_the_model_on_own_classes_is_reported_exported_and_used(project):
    project.faceemo("report")
    report = (project.folder / "report.html").read_text(encoding="utf-8")
    assert "지루함" in report and "faces" in report
    assert "지루함" in project.faceemo("export")
    assert "지루함" in project.faceemo("predict", f"faces/{next(iter(project.words))}")


def test_an_emotion_that_no_source_holds_is_one_line_that_lists_the_known(project):
    project.change_text("params.yaml", "- 지루함\n", "- board\n")
    output = project.dvc("repro", code=None)
    assert "no faces" in output and "'board'" in output and "there are neutral, 지루함" in output
    project.change_text("params.yaml", "limit: ", "limit: 90 ")
    output = project.dvc("repro", code=None)
    assert "extract: error: params.yaml: emotions: no source holds 'board'; known are neutral, 지루함" in output
    assert "Traceback" not in output
    project.change_text("params.yaml", "limit: 90 ", "limit: ")
    project.change_text("params.yaml", "- board\n", "- 지루함\n")


def test_a_folder_that_was_touched_or_moved_extracts_nothing(project):
    for path in (project.folder / "faces").rglob("*.jpg"):
        os.utime(path, (1, 1))
    scan_folders(project)
    assert stages_run(project.dvc("repro", "normalize")) == set()
    before = (project.folder / "data/features/faces.parquet").read_bytes()
    (project.folder / "elsewhere").mkdir()
    (project.folder / "faces").rename(project.folder / "elsewhere/faces")
    scan_folders(project, "elsewhere/faces")
    assert stages_run(project.dvc("repro", "normalize")) == {"normalize"}
    assert (project.folder / "data/features/faces.parquet").read_bytes() == before  # so that train is skipped


def test_another_meaning_of_a_word_trains_again_and_extracts_nothing(project):
    scan_folders(project, "elsewhere/faces", "--rename", "지루함=anxious")
    project.change_text("params.yaml", "- 지루함\n", "- anxious\n")
    assert stages_run(project.dvc("repro")) == ALL
    assert {row["emotion"] for row in features(project, "faces")} == {"neutral", "anxious"}


def test_an_added_picture_is_extracted_and_a_changed_one_is_told_before_a_scan(project):
    folder = project.folder / "elsewhere/faces/중립"
    first = min(folder.iterdir())
    shutil.copy(first, folder / "p99_999.jpg")
    output = project.dvc("repro", "--force", "--single-item", "extract@faces", code=None)
    assert "faces: pictures changed since the last scan; run 'faceemo scan'" in output
    scan_folders(project, "elsewhere/faces", "--rename", "지루함=anxious")
    assert stages_run(project.dvc("repro", "normalize")) == {"extract@faces", "normalize"}
    assert len(features(project, "faces")) == len(project.words) + 1
    before = first.read_bytes()
    first.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    pictures = len(project.words) + 1
    output = scan_folders(project, "elsewhere/faces", "--rename", "지루함=anxious")
    assert f"faces: the landmarks of {pictures - 1} pictures stay; dvc repro reads only others" in output
    output = project.dvc("repro", "normalize")
    assert stages_run(output) == {"extract@faces", "normalize"}
    assert f"faces: landmarks of {pictures - 1} of {pictures} pictures kept from an earlier run" in output


def test_every_picture_a_person_is_said_beside_the_numbers(project):
    output = project.faceemo("scan", "elsewhere/faces", "--subject", "each", "--rename", "지루함=anxious")
    assert "every picture counts as a person of its own" in output
    output = project.dvc("repro")
    assert stages_run(output) == ALL
    assert "95 % interval over pictures, not people" in output
    assert project.metrics()["subjects"]["each"] == len(features(project, "faces"))
    project.faceemo("report")
    assert "pictures, not people" in (project.folder / "report.html").read_text(encoding="utf-8")


def test_a_table_becomes_a_judged_model_and_a_missing_picture_a_row(project):
    path = project.folder / "elsewhere/list.csv"
    project.rows = [(f"faces/{name}", word, name.split("/")[1][:3]) for name, word in project.words.items()]
    write_table(path, [*project.rows, ("faces/gone.jpg", "지루함", "p00")])
    assert "1 picture cannot be read, the first is faces/gone.jpg" in project.faceemo("scan", "elsewhere/list.csv")
    project.change_text("params.yaml", "- anxious\n", "- 지루함\n")
    assert stages_run(project.dvc("repro")) == {"extract@list", *ALL}
    rows = {row["image"]: row for row in features(project, "list")}
    assert rows["faces/gone.jpg"]["status"] == "read_error"
    assert len(rows) == len(project.words) + 1
    assert project.evaluation()["coverage"]["read_error"] == 1
    project.faceemo("report")


def test_correcting_a_word_in_the_table_trains_again_and_extracts_nothing(project):
    name, word, person = project.rows[0]
    assert word == "지루함"
    rows = [(name, "neutral", person), *project.rows[1:], ("faces/gone.jpg", "지루함", "p00")]
    write_table(project.folder / "elsewhere/list.csv", rows)
    project.faceemo("scan", "elsewhere/list.csv")
    assert stages_run(project.dvc("repro")) == ALL
    assert next(row["emotion"] for row in features(project, "list") if row["image"] == name) == "neutral"


def test_a_table_that_changed_after_the_scan_is_one_line(project):
    path = project.folder / "elsewhere/list.csv"
    path.write_bytes(path.read_bytes() + b"\r\n")
    output = project.dvc("repro", "--force", "--single-item", "normalize", code=None)
    assert "list.csv changed since the last scan; run 'faceemo scan'" in output and "Traceback" not in output
    json.loads((project.folder / "metrics.json").read_text(encoding="utf-8"))
