import os
import re
import unicodedata
from pathlib import Path

import pytest
import yaml

from faceemo.errors import FaceemoError
from faceemo.extraction.scan import scan
from faceemo.extraction.sources import Labels, Source, locate, read_sources, write_sources


@pytest.fixture
def add(make_zip):
    """add(path, pictures=1) writes a source archive whose pictures no other path has."""

    def add(path, pictures=1, content=None):
        content = (content or unicodedata.normalize("NFC", path)).encode()
        return make_zip(path, *((f"{number}.jpg", content) for number in range(pictures)))

    return add


@pytest.fixture
def add_labels(make_zip):
    def add_labels(path, content=None):
        return make_zip(path, ("labels.json", (content or path).encode()))

    return add_labels


def refusal(folders, **options):
    with pytest.raises(FaceemoError) as error:
        scan(folders, **options)
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("Training/[원천]EMOIMG_중립_TRAIN_01.zip", "neutral-training-01"),
        ("Training/[원천]EMOIMG_중립_TRAIN_04.ZIP", "neutral-training-04"),
        ("Validation/[원천]EMOIMG_불안_VALID.zip", "anxious-validation-01"),
        ("1.Training/원천데이터/EMOIMG_중립_TRAIN_02.zip", "neutral-training-02"),
        ("2.Validation/원천데이터/EMOIMG_기쁨_VALID_03.zip", "happy-validation-03"),
        ("Sample/[원천]EMOIMG_상처_SAMPLE.zip", "hurt-sample-01"),
        ("EMOIMG_분노_TRAIN_01.zip", "angry-training-01"),
        ("EMOIMG_분노_VALID.zip", "angry-validation-01"),
        ("video/Validation/슬픔.zip", "sad-validation-01"),
        ("video/당황.zip", "embarrassed-training-01"),
        ("Validation/EMOIMG_중립_TRAIN_01.zip", "neutral-training-01"),
        ("학습/[원천]중립.zip", "neutral-training-01"),
        ("검증/[원천]중립 02.zip", "neutral-validation-02"),
        ("Training/중립/TS_중립_3.zip", "neutral-training-03"),
    ],
)
def test_a_source_archive_is_known_in_every_layout(add, tmp_path, path, expected, form):
    add(unicodedata.normalize(form, f"data/{path}"), pictures=3)
    result = scan([tmp_path / "data"], root=tmp_path)
    assert list(result.sources) == [expected]
    source = result.sources[expected]
    emotion, folder, _ = expected.split("-")
    assert source.emotion == emotion
    assert source.folder == ("validation" if folder == "validation" else "training")
    assert source.images == 3 and len(source.digest) == 64 and source.labels is None
    assert (tmp_path / source.zip).is_file()


def test_parts_and_folders_are_sources_of_their_own_in_order(add, tmp_path):
    for part in (4, 2, 1, 3):
        add(f"Training/[원천]EMOIMG_중립_TRAIN_{part:02d}.zip", pictures=part)
    add("Validation/[원천]EMOIMG_중립_VALID.zip", pictures=7)
    add("Training/[원천]EMOIMG_불안_TRAIN_01.zip", pictures=9)
    result = scan([tmp_path])
    assert {key: source.images for key, source in result.sources.items()} == {
        "anxious-training-01": 9,
        "neutral-training-01": 1,
        "neutral-training-02": 2,
        "neutral-training-03": 3,
        "neutral-training-04": 4,
        "neutral-validation-01": 7,
    }
    assert list(result.sources) == sorted(result.sources)
    assert result.sizes["anxious-training-01"] == (tmp_path / result.sources["anxious-training-01"].zip).stat().st_size


def test_a_project_that_itself_lies_below_a_folder_of_that_name_does_not_decide(add, tmp_path):
    add("validation/project/Training/[원천]중립.zip")
    assert list(scan([tmp_path]).sources) == ["neutral-training-01"]


@pytest.mark.parametrize(
    ("source", "labels"),
    [
        ("Training/[원천]EMOIMG_중립_TRAIN_01.zip", "Training/[라벨]EMOIMG_중립_TRAIN.zip"),
        ("1.Training/원천데이터/EMOIMG_중립_TRAIN_01.zip", "1.Training/라벨링데이터/EMOIMG_중립_TRAIN.zip"),
        ("2.Validation/원천데이터/EMOIMG_중립_VALID.zip", "2.Validation/라벨링데이터/EMOIMG_중립_VALID.zip"),
        ("Training/TS_중립.zip", "Training/TL_중립.zip"),
        ("Sample/[원천]EMOIMG_중립_SAMPLE.zip", "Sample/[라벨]EMOIMG_중립_SAMPLE.zip"),
    ],
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_labels_are_paired_by_emotion_and_folder_and_never_taken_for_pictures(
    add, add_labels, tmp_path, source, labels, form
):
    source, labels = (unicodedata.normalize(form, path) for path in (source, labels))
    add(source)
    add_labels(labels)
    add_labels(labels.replace(unicodedata.normalize(form, "중립"), unicodedata.normalize(form, "불안")))
    result = scan([tmp_path], root=tmp_path)
    (found,) = result.sources.values()
    assert (found.zip, found.labels.zip) == (source, labels)
    assert found.digest != found.labels.digest
    assert [reason for _, reason in result.passed_over] == ["labels without a source archive"]


def test_a_label_archive_that_holds_pictures_is_still_no_source(add, tmp_path):
    add("Training/[라벨]EMOIMG_중립_TRAIN.zip")
    assert "no source archive" in refusal([tmp_path])


def test_one_label_archive_serves_all_parts_of_its_folder_alone(add, add_labels, tmp_path):
    add("Training/[원천]EMOIMG_중립_TRAIN_01.zip")
    add("Training/[원천]EMOIMG_중립_TRAIN_02.zip")
    add("Validation/[원천]EMOIMG_중립_VALID.zip")
    add_labels("Training/[라벨]EMOIMG_중립_TRAIN.zip")
    sources = scan([tmp_path], root=tmp_path).sources
    assert sources["neutral-training-01"].labels == sources["neutral-training-02"].labels
    assert sources["neutral-training-01"].labels.zip == "Training/[라벨]EMOIMG_중립_TRAIN.zip"
    assert sources["neutral-validation-01"].labels is None


def test_two_different_label_archives_for_one_source_are_one_line(add, add_labels, tmp_path):
    add("Training/[원천]EMOIMG_중립_TRAIN_01.zip")
    add_labels("a/Training/[라벨]EMOIMG_중립_TRAIN.zip")
    add_labels("b/Training/[라벨]EMOIMG_중립_TRAIN.zip")
    message = refusal([tmp_path])
    assert "labels of neutral-training-01" in message
    assert all(str(Path(folder) / "Training") in message for folder in "ab")


def test_only_the_emotions_asked_for_are_scanned_and_the_others_not_even_opened(add, tmp_path):
    add("중립.zip")
    add("불안.zip")
    (tmp_path / "기쁨.zip").write_bytes(b"no archive")
    result = scan([tmp_path], emotions=("neutral", "anxious"))
    assert list(result.sources) == ["anxious-training-01", "neutral-training-01"]
    assert result.passed_over == [(tmp_path / "기쁨.zip", "happy, not asked for")]


def test_what_is_passed_over_is_told_with_its_reason(add, make_zip, tmp_path):
    add("[원천]중립.zip")
    add("holiday.zip")
    make_zip("[원천]불안.zip", ("readme.txt", b"1"))
    (tmp_path / "중립.txt").write_text("no zip")
    assert scan([tmp_path]).passed_over == [
        (tmp_path / "[원천]불안.zip", "holds no pictures"),
        (tmp_path / "holiday.zip", "no emotion of the set in its name"),
    ]


def test_a_folder_is_walked_as_often_for_many_archives_as_for_few(make_zip, tmp_path, monkeypatch):
    walks, counts, walk = [], [], os.walk
    monkeypatch.setattr(os, "walk", lambda folder: walks.append(folder) or walk(folder))
    for number in range(3):
        make_zip(f"{number}.zip", *((f"{word}/{number}.jpg", f"{word} {number}".encode()) for word in ("happy", "sad")))
        walks.clear()
        scan([tmp_path])
        counts.append(len(walks))
    assert len(set(counts)) == 1


def test_members_that_are_no_pictures_are_counted(make_zip):
    path = make_zip("[원천]중립.zip", ("a.jpg", b"1"), ("b.jpq", b"2"), ("Thumbs.db", b"3"), ("__MACOSX/._a.jpg", b"4"))
    make_zip("[원천]불안.zip", ("readme.txt", b"5"))
    assert scan([path.parent]).others == {"neutral-training-01": 2}


def test_an_archive_itself_may_be_named(add):
    assert list(scan([add("[원천]중립_02.zip")]).sources) == ["neutral-training-02"]


def test_an_archive_found_twice_is_one_source(add, tmp_path, monkeypatch):
    path = add("data/[원천]중립.zip")
    monkeypatch.chdir(tmp_path)
    assert len(scan([Path("data"), tmp_path / "data", path, Path("data/[원천]중립.zip")]).sources) == 1


def test_two_archives_with_one_id_are_one_line_that_names_both(add, tmp_path):
    first, second = add("a/[원천]중립_01.zip"), add("b/[원천]중립.zip")
    message = refusal([tmp_path])
    assert str(first) in message and str(second) in message and "neutral-training-01" in message


def test_two_archives_with_the_same_pictures_are_one_line_that_names_both(add, tmp_path):
    first = add("[원천]중립_01.zip", content="same")
    second = add("[원천]중립_02.zip", content="same")
    message = refusal([tmp_path])
    assert str(first) in message and str(second) in message and "same pictures" in message


def test_an_unreadable_archive_is_one_line_that_names_it(add, tmp_path):
    add("[원천]불안.zip")
    broken = add("[원천]중립.zip", pictures=50)
    broken.write_bytes(broken.read_bytes()[:1000])
    message = refusal([tmp_path])
    assert str(broken) in message and "not a readable ZIP archive" in message


def test_an_unreadable_label_archive_is_one_line_that_names_it(add, tmp_path):
    add("[원천]중립.zip")
    (tmp_path / "[라벨]중립.zip").write_bytes(b"")
    assert str(tmp_path / "[라벨]중립.zip") in refusal([tmp_path])


@pytest.mark.parametrize("content", ["nothing", "labels", "empty"])
def test_a_scan_that_finds_no_pictures_is_one_line_that_says_where_it_looked(add_labels, make_zip, tmp_path, content):
    if content == "labels":
        add_labels("[라벨]중립.zip")
    elif content == "empty":
        make_zip("[원천]중립.zip")
    message = refusal([tmp_path])
    assert "no source archive" in message and str(tmp_path) in message


def test_a_missing_folder_is_one_line_that_names_it(tmp_path):
    assert str(tmp_path / "없음") in refusal([tmp_path / "없음"])


def test_a_path_below_the_project_is_written_relative_and_another_absolute(add, tmp_path, monkeypatch):
    add("project/data/[원천] 100%/[원천]중립.zip")
    outside = add("elsewhere/[원천]불안.zip")
    (tmp_path / "project/sub").mkdir()
    monkeypatch.chdir(tmp_path / "project/sub")
    sources = scan([Path("../data"), Path("../../elsewhere")], root=Path("..")).sources
    assert sources["neutral-training-01"].zip == "data/[원천] 100%/[원천]중립.zip"
    assert sources["anxious-training-01"].zip == outside.resolve().as_posix()


def test_a_moved_archive_keeps_all_but_its_path(add, tmp_path):
    path = add("a/[원천]중립.zip", pictures=3)
    before = scan([tmp_path / "a"]).sources["neutral-training-01"]
    (tmp_path / "b").mkdir()
    path.rename(tmp_path / "b" / path.name)
    after = scan([tmp_path / "b"]).sources["neutral-training-01"]
    assert before.zip != after.zip
    assert (before.digest, before.images, before.folder) == (after.digest, after.images, after.folder)


SOURCES = {
    "neutral-training-01": Source(
        zip="data/[원천] 100%: #1/EMOIMG_중립_TRAIN_01.zip",
        emotion="neutral",
        folder="training",
        images=16000,
        digest="1" * 64,
        labels=Labels(zip="/mnt/a b/[라벨]EMOIMG_중립_TRAIN.zip", digest="2e10" * 16),
    ),
    "anxious-validation-02": Source(
        zip=unicodedata.normalize("NFD", "불안/" + "긴 이름 " * 40 + ".zip"),
        emotion="anxious",
        folder="validation",
        images=1,
        digest="0" * 64,
        labels=None,
    ),
}


def test_sources_yaml_round_trips_in_order_and_in_utf8(tmp_path):
    path = tmp_path / "new folder/sources.yaml"
    write_sources(SOURCES, path)
    assert read_sources(path) == SOURCES
    assert list(read_sources(path)) == list(SOURCES)
    content = path.read_bytes()
    assert "[원천] 100%: #1/EMOIMG_중립_TRAIN_01.zip".encode() in content  # readable, not escaped
    assert b"\r" not in content
    assert yaml.safe_load(content)["sources"]["neutral-training-01"]["labels"]["digest"] == "2e10" * 16


def test_the_same_sources_are_the_same_bytes(tmp_path):
    write_sources(SOURCES, tmp_path / "a.yaml")
    write_sources(read_sources(tmp_path / "a.yaml"), tmp_path / "b.yaml")
    assert (tmp_path / "a.yaml").read_bytes() == (tmp_path / "b.yaml").read_bytes()


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
    ],
)
def test_a_sources_yaml_that_scan_did_not_write_is_one_line(tmp_path, text):
    path = tmp_path / "sources.yaml"
    path.write_text(text)
    with pytest.raises(FaceemoError, match="is not what 'faceemo scan' writes; run it again") as error:
        read_sources(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("    zip: 'data/.*", "    zip: 5", "sources.neutral-training-01.zip must be a path, not 5"),
        ("    zip: 'data/.*", "    zip: ''", "zip must be a path, not ''"),
        ("    zip: 'data/.*", "    zip: [data/a.zip]", "zip must be a path, not ['data/a.zip']"),
        ("neutral-training-01", "5", "5 cannot be a source's id"),
        ("neutral-training-01", "../outside", "'../outside' cannot be a source's id"),
        ("emotion: neutral", "emotion: joy", "emotion must be one of"),
        ("emotion: neutral", "emotion: null", "must have an emotion"),
        ("folder: training", "folder: 1", "folder must be one of training, validation, not 1"),
        ("images: 16000", "images: many", "images must be a whole number, not 'many'"),
        ("images: 16000", "images: 0", "images must be at least 1, not 0"),
        ("digest: '1+'", "digest: 12", "digest must be 64 hexadecimal digits, not 12"),
        ("attempt: 1", "attempt: true", "attempt must be a whole number, not True"),
        ("    attempt: 1\n", "", "key sources.neutral-training-01.attempt is missing"),
        ("    labels:\n.*\n.*\n", "", "key sources.neutral-training-01.labels is missing"),
        ("    labels:\n.*\n.*\n", "    labels: 3\n", "labels must be a mapping of keys to values"),
        ("zip: '?/mnt.*", "zip: null", "labels.zip must be a path, not null"),
        ("zip: '?/mnt.*", "path: a", "unknown key sources.neutral-training-01.labels.path"),
        ("    images: 16000", "    images: 3\n    images: 16000", "the key 'images' for the second time"),
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


def test_a_missing_sources_yaml_says_to_scan(tmp_path):
    with pytest.raises(FaceemoError, match="run 'faceemo scan'"):
        read_sources(tmp_path / "sources.yaml")


def test_an_archive_is_located_below_the_project_and_at_an_absolute_path(add, tmp_path):
    path = add("data/[원천]중립.zip")
    assert locate("data/[원천]중립.zip", tmp_path).samefile(path)
    assert locate(path.as_posix(), tmp_path / "elsewhere").samefile(path)


def test_an_experiment_in_dvcs_temporary_folder_takes_the_projects_archive(add, tmp_path, monkeypatch):
    path = add("project/data/[원천]중립.zip")
    workspace = tmp_path / "project/.dvc/tmp/exps/xyz"
    workspace.mkdir(parents=True)
    assert locate("data/[원천]중립.zip", workspace).samefile(path)
    monkeypatch.chdir(workspace)
    assert locate("data/[원천]중립.zip").samefile(path)


def test_an_experiments_own_archive_comes_before_the_projects(add, tmp_path):
    add("project/data/a.zip")
    own = add("project/.dvc/tmp/exps/xyz/data/a.zip")
    assert locate("data/a.zip", tmp_path / "project/.dvc/tmp/exps/xyz").samefile(own)


def test_an_archive_that_is_nowhere_is_looked_for_in_the_project(tmp_path):
    (tmp_path / "outer/.dvc/tmp").mkdir(parents=True)
    assert locate("data/a.zip", tmp_path) == tmp_path / "data/a.zip"
