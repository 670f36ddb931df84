"""data/sources.yaml: written and read back, and where the sources it names lie."""

import re
import unicodedata
from dataclasses import replace

import pytest
import yaml

from faceemo.errors import FaceemoError
from faceemo.pictures.sources import (
    LabelFiles,
    Source,
    TableFile,
    held_classes,
    locate,
    read_sources,
    seen_classes,
    write_sources,
)

NEUTRAL = Source(
    zip="data/[원천] 100%: #1/EMOIMG_중립_TRAIN_01.zip",
    emotion="neutral",
    folder="training",
    images=16000,
    digest="1" * 64,
    labels=LabelFiles(zip="/mnt/a b/[라벨]EMOIMG_중립_TRAIN.zip", digest="2e10" * 16),
    classes=("neutral",),
)
ANXIOUS = replace(
    NEUTRAL,
    zip=unicodedata.normalize("NFD", "불안/" + "긴 이름 " * 40 + ".zip"),
    emotion="anxious",
    folder="validation",
    labels=None,
    classes=("anxious",),
)
TREE = replace(
    NEUTRAL,
    zip=None,
    tree="faces",
    emotion=None,
    level=1,
    labels=LabelFiles(None, "0" * 64),
    subject="/([a-z]+)_",
    rename={"지루함": "bored"},
    classes=("bored", "happy"),
)
TABLE = replace(
    TREE,
    tree=None,
    table=TableFile("faces.csv", "f" * 64),
    level=None,
    labels=None,
    classes=("happy", "지루함"),
    voted=("happy", "surprise"),
)
SOURCES = {
    "neutral-training-01": NEUTRAL,
    "anxious-validation-02": ANXIOUS,
    "faces": TREE,
    "zip-01": replace(NEUTRAL, level=-1, labels=None),
    "list": TABLE,
}


def test_they_are_read_back_in_order_and_written_in_utf8(tmp_path):
    path = tmp_path / "new folder/sources.yaml"
    write_sources(SOURCES, path)
    assert read_sources(path) == SOURCES
    assert list(read_sources(path)) == list(SOURCES)
    content = path.read_bytes()
    assert "[원천] 100%: #1/EMOIMG_중립_TRAIN_01.zip".encode() in content  # readable, not escaped
    assert b"\r" not in content
    written = yaml.safe_load(content)["sources"]
    assert written["neutral-training-01"]["labels"]["digest"] == "2e10" * 16
    assert len({tuple(source) for source in written.values()}) == 1  # every key is there
    write_sources(read_sources(path), tmp_path / "again.yaml")
    assert (tmp_path / "again.yaml").read_bytes() == content


def test_archives_of_the_set_are_told_from_ones_own():
    assert [key for key, source in SOURCES.items() if source.is_of_set] == [
        "neutral-training-01",
        "anxious-validation-02",
    ]


def test_classes_are_those_that_pictures_are_named_after_and_raters_may_have_seen_more():
    own = {"faces": TREE, "list": TABLE}
    assert held_classes(own) == {"bored", "happy", "지루함"}
    assert seen_classes({"list": TABLE}) == {"happy", "지루함", "surprise"}
    assert seen_classes(own) >= {"bored", "happy", "지루함", "surprise", "anxious"}  # which label files may have


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1]\n",
        "sources: 3\n",
        "sources:\n",
        "sources: [\n",
        "sources:\n  a: {zip: x}\n",
        "sources:\n  a: 1\n",
        "a: 1",
        "sources: " + "[" * 3000,
    ],
)
def test_a_file_that_scan_did_not_write_is_one_line(tmp_path, text):
    path = tmp_path / "sources.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(FaceemoError, match=r"; this is not what 'faceemo scan' writes; run it again") as error:
        read_sources(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("    zip: 'data/.*", "    zip: 5", "sources.neutral-training-01.zip must be a path, not 5"),
        ("    zip: 'data/.*", "    zip: ''", "zip must be a path, not ''"),
        ("    zip: 'data/.*", "    zip: [data/a.zip]", "zip must be a path, not ['data/a.zip']"),
        ("    zip: 'data/.*", "    zip: null", "must have one of zip, tree and table"),
        ("tree: null", "tree: faces", "must have one of zip, tree and table"),
        ("neutral-training-01", "5", "5 cannot be a source's id"),
        ("neutral-training-01", "../outside", "'../outside' cannot be a source's id"),
        ("emotion: neutral", "emotion: joy", "emotion must be one of"),
        ("emotion: neutral", "emotion: null", "must have an emotion"),
        ("level: null", "level: 1", "must have an emotion, or a level or table"),
        ("level: null", "level: -2", "level must be at least -1, not -2"),
        ("folder: training", "folder: 1", "folder must be one of training, validation, not 1"),
        ("images: 16000", "images: many", "images must be a whole number, not 'many'"),
        ("images: 16000", "images: 0", "images must be at least 1, not 0"),
        ("digest: '1+'", "digest: 12", "digest must be 64 hexadecimal digits, not 12"),
        ("    images: 16000\n", "", "key sources.neutral-training-01.images is missing"),
        ("    labels:\n.*\n.*\n", "", "key sources.neutral-training-01.labels is missing"),
        ("    labels:\n.*\n.*\n", "    labels: 3\n", "labels must be a mapping of keys to values"),
        ("zip: '?/mnt.*", "zip: null", "labels.zip must be a path, not null"),
        ("zip: '?/mnt.*", "path: a", "unknown key sources.neutral-training-01.labels.path"),
        ("    images: 16000", "    images: 3\n    images: 16000", "the key 'images' for the second time"),
        ("subject: null", "subject: '([' ", "is not a regular expression"),
        ("rename: {}", "rename: {a: 1}", "rename must map words to classes, not {'a': 1}"),
        ("rename: {}", "rename: {a: B}", "rename must map words to classes"),
        (r"classes:\n    - neutral", "classes: [label]", "classes must be a list of classes, not ['label']"),
        ("voted: \\[\\]", "voted: happy", "voted must be a list of classes, not 'happy'"),
    ],
)
def test_a_field_of_the_wrong_type_is_one_line_that_names_it(tmp_path, old, new, words):
    path = tmp_path / "sources.yaml"
    write_sources(SOURCES, path)
    text, changed = re.subn(old, new, path.read_text(encoding="utf-8"), count=1)
    assert changed
    path.write_text(text, encoding="utf-8")
    with pytest.raises(FaceemoError, match="this is not what 'faceemo scan' writes; run it again") as error:
        read_sources(path)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_missing_file_says_to_scan(tmp_path):
    with pytest.raises(FaceemoError, match="run 'faceemo scan'"):
        read_sources(tmp_path / "sources.yaml")


def test_a_source_is_located_below_the_project_and_at_an_absolute_path(add, project):
    add("data/a.zip")
    path = project / "data/a.zip"
    assert locate("data/a.zip", project).samefile(path)
    assert locate(path.as_posix(), project / "elsewhere").samefile(path)


def test_an_experiment_in_dvcs_temporary_folder_takes_the_projects_source_unless_it_has_its_own(
    add, project, monkeypatch
):
    add("project/data/a.zip", "project/.dvc/tmp/exps/xyz/params.yaml")
    workspace = project / "project/.dvc/tmp/exps/xyz"
    assert locate("data/a.zip", workspace).samefile("project/data/a.zip")
    assert locate("data/b.zip", workspace) == workspace / "data/b.zip"
    monkeypatch.chdir(workspace)
    assert locate("data/a.zip").samefile(project / "project/data/a.zip")
    add("project/.dvc/tmp/exps/xyz/data/a.zip")
    assert locate("data/a.zip", workspace).samefile(workspace / "data/a.zip")
