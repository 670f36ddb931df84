"""The README and docs/ keep what they say: commands and Python in them run, links lead somewhere, languages agree.

A block of commands (```bash) or of Python is run in one project, page after page, unless a comment before it says why
not; a command that uses the model (`faceemo predict …`) once. The project begins with the sample; D:/ is a folder in it
with made-up sets under the names that the pages use.
"""

import re
import shutil
import sys
from pathlib import Path

import pytest
from made_archives import ANXIOUS, HAPPY, NEUTRAL, SAMPLE, pictures_in
from project import Project
from systems import needs_posix
from video import camera_frames, jpeg, video_file

from faceemo.pictures.archive import parse_picture_name
from faceemo.pictures.reader import PictureReader

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").glob("*.md") if ".ko." not in path.name)]
TEXTS = [*PAGES, *(ROOT / name for name in ("ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"))]
BLOCK = re.compile(
    r"(?:<!-- not run here: (?P<reason>[^\n]+) -->\n)?```(?P<kind>bash|python)\n(?P<code>.*?)```", re.DOTALL
)
USES = tuple(f"faceemo {name} " for name in ("predict", "evaluate", "folds", "report", "export"))  # of the model
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")

pytestmark = pytest.mark.slow


def korean(page: Path) -> Path:
    return page.with_suffix(".ko.md")


def blocks(page: Path) -> list[re.Match]:
    return list(BLOCK.finditer(page.read_text(encoding="utf-8")))


def commands(code: str) -> list[str]:
    """The commands of a block, without comments."""
    lines = (re.sub(r"(^|\s+)#.*", "", line).strip() for line in code.splitlines())
    return [line for line in lines if line]


@pytest.mark.parametrize("page", TEXTS + list(map(korean, PAGES)), ids=lambda page: page.name)
def test_links_lead_to_files(page):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_both_languages_give_the_same_commands(page):
    english, other = (
        [line for block in blocks(one) if block["kind"] == "bash" for line in commands(block["code"])]
        for one in (page, korean(page))
    )
    assert [line for line in english if "git" not in line] == [line for line in other if "git" not in line]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project that has been run once, with what the pages name: D:/, photo.jpg, holiday/, labelled/, talk.mp4 …"""
    made = Project(tmp_path_factory.mktemp("docs") / "faceemo")
    folder = made.folder
    shutil.copytree(ROOT / "data/sample", folder / "data/sample")
    shutil.copy(ROOT / "data/sources.yaml", folder / "data")
    made.dvc("repro")
    made.commit()
    shutil.copytree(SAMPLE, folder / "D:/aihub")
    shutil.copy(ANXIOUS, folder / "D:/archive.zip")
    write_faces(folder / "D:/faces", {"happy": NEUTRAL, "sad": ANXIOUS, "bored": HAPPY})
    write_faces(folder / "labelled", {"neutral": NEUTRAL, "happy": HAPPY})
    write_table(folder / "D:/faces.csv", "faces")
    write_table(folder / "labelled.csv", "labelled")
    frames = camera_frames("neutral")[:4]
    video_file(folder / "talk.mp4", frames)
    for name in ("photo.jpg", "new.jpg", "my_neutral_face.jpg", "holiday/1.jpg", "photos/1.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(jpeg(frames[0]))
    for name in ("old.pt", "new.pt"):
        shutil.copy(folder / "models/emotion.pt", folder / name)
    made.used = set()
    return made


def write_faces(folder: Path, archives: dict[str, Path]) -> None:
    """The pictures of archives as folder/<class>/<person>_<number>.jpg."""
    for word, path in archives.items():
        (folder / word).mkdir(parents=True)
        with PictureReader(path) as reader:
            for number, picture in enumerate(pictures_in(path)):
                name = f"{parse_picture_name(picture.name).subject[:6]}_{number:03d}.jpg"
                (folder / word / name).write_bytes(reader.read(picture))


def write_table(path: Path, folder: str) -> None:
    """A table of the pictures in a class folder beside it."""
    lines = [
        f"{picture.relative_to(path.parent).as_posix()},{picture.parent.name},{picture.name[:6]}"
        for picture in sorted((path.parent / folder).rglob("*.jpg"))
    ]
    path.write_text("\n".join(["path,emotion,subject", *lines]), encoding="utf-8")


@needs_posix("D:/ is a folder of the project here")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_says_runs(project, page):
    project.restore()
    shutil.rmtree(project.folder / "drawn", ignore_errors=True)  # of the page before: plots and pictures go there
    for block in blocks(page):
        if block["reason"]:
            continue
        if block["kind"] == "bash":
            for command in commands(block["code"]):
                if command in project.used:
                    continue
                if f"{command} ".startswith(USES):
                    project.used.add(command)
                fewer = command.replace("faceemo folds", "faceemo folds --folds 2 --seeds 1")  # for the sake of time
                project.run("bash", "-c", fewer)
        elif page.name != "use.md":  # whose Python tests/prediction/test_export.py runs
            assert project.run(sys.executable, "-c", block["code"]) == "", block["code"]
