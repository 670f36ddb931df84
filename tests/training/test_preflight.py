"""What is told before the work: each of these runs would stop in a later stage."""

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
from made_archives import make_zip

from faceemo.errors import FaceemoError
from faceemo.extraction.own import OwnOptions
from faceemo.extraction.scan import scan
from faceemo.params import Params, load_params
from faceemo.training.preflight import check_run, next_line
from faceemo.training.split import split_of_rows

PARAMS = load_params(Path(__file__).parents[2] / "params.yaml")
EVERYBODY = range(40)
KOREAN = {"neutral": "중립", "anxious": "불안", "happy": "기쁨"}


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def person(number: int) -> str:
    return hashlib.sha256(f"person {number}".encode()).hexdigest()


def picture(number: int, emotion: str, shot: int = 1) -> str:
    return f"{person(number)}_여_20_{KOREAN[emotion]}_실내_20210126133507-001-{shot:03d}.jpg"


def archive(
    emotion: str, people=EVERYBODY, shots: int = 1, where: str = "Training/[원천]EMOIMG_{}_TRAIN_01.zip"
) -> None:
    """An archive of the set whose pictures nobody may need to read."""
    names = [picture(number, emotion, shot) for number in people for shot in range(1, shots + 1)]
    make_zip(Path("set") / where.format(KOREAN[emotion]), {name: name.encode() for name in names})


def labels(emotion: str, seen: dict[int, str]) -> None:
    """The label archive of an emotion: what all three raters saw in each person's picture."""
    records = [
        {
            "filename": picture(number, emotion),
            **{f"annot_{rater}": {"faceExp": KOREAN[word], "boxes": None} for rater in "ABC"},
        }
        for number, word in seen.items()
    ]
    name = f"set/Training/[라벨]EMOIMG_{KOREAN[emotion]}_TRAIN.zip"
    make_zip(Path(name), {"a.json": json.dumps(records, ensure_ascii=False).encode()})


def params(**changes: object) -> Params:
    """The repository's parameters, with some keys like labels__target set to other values."""
    result = PARAMS
    for key, value in changes.items():
        section, _, name = key.rpartition("__")
        if section:
            value = dataclasses.replace(getattr(result, section), **{name: value})
        result = dataclasses.replace(result, **{section or name: value})
    return result


def refusal(settings: Params = PARAMS) -> str:
    with pytest.raises(FaceemoError) as error:
        check_run(settings, scan([Path("set")]).sources)
    assert "\n" not in str(error.value)
    return str(error.value)


def in_split(split: str) -> list[int]:
    splits = split_of_rows([person(number) for number in EVERYBODY], ["training"] * len(EVERYBODY), PARAMS.split)
    return [number for number in EVERYBODY if splits[number] == split]


def test_archives_of_all_classes_with_enough_people_pass():
    archive("neutral")
    archive("anxious")
    check_run(PARAMS, scan([Path("set")]).sources)


def test_a_class_of_which_nothing_was_scanned_is_told():
    archive("neutral")
    archive("happy")
    assert "params.yaml: emotions: no scanned source has 'anxious'; there are happy, neutral" in refusal()


def test_a_class_that_raters_saw_in_other_archives_passes_where_votes_are_learnt():
    archive("neutral")
    archive("happy")
    labels("happy", dict.fromkeys(EVERYBODY, "anxious"))
    check_run(PARAMS, scan([Path("set")]).sources)
    assert "no scanned source has 'anxious'" in refusal(params(labels__target="archive"))


def test_a_class_that_raters_saw_too_seldom_in_other_archives_is_told():
    archive("neutral")
    archive("happy")
    labels("happy", dict.fromkeys(EVERYBODY, "happy"))
    assert "no scanned source has 'anxious'" in refusal()


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_a_split_without_people_of_a_class_is_told(split):
    archive("neutral")
    others = [number for number in EVERYBODY if number not in in_split(split)]
    archive("anxious", others)
    assert f"the {split} split has nobody with anxious: {len(others)} people are too few" in refusal()


def test_a_limit_that_leaves_too_few_people_is_told():
    archive("neutral")
    archive("anxious")
    assert "2 people are too few for " in refusal(params(limit=2))


def test_names_that_tell_nobody_are_told():
    for emotion in ("중립", "불안"):
        make_zip(Path(f"set/[원천]EMOIMG_{emotion}_TRAIN_01.zip"), {f"{emotion}.jpg": emotion.encode()})
    assert "it is not known who is in the pictures" in refusal()


def test_a_split_by_folder_needs_the_validation_folder():
    archive("neutral")
    archive("anxious")
    by_folder = params(split__by="folder")
    assert "split.by is folder" in refusal(by_folder)
    for emotion in ("neutral", "anxious"):
        archive(emotion, range(3), 2, "Validation/[원천]EMOIMG_{}_VALID.zip")
    check_run(by_folder, scan([Path("set")]).sources)


def test_a_neutral_baseline_needs_neutral_pictures_of_the_same_people():
    archive("happy")
    archive("anxious")
    emotions = {"happy": ("happy",), "anxious": ("anxious",)}
    settings = params(emotions=emotions, normalize__baseline="neutral")
    assert "normalize.baseline is neutral, and no neutral pictures were scanned" in refusal(settings)
    archive("neutral", [number for number in EVERYBODY if number not in in_split("test")])
    assert "nobody with happy in the test split can have a baseline" in refusal(settings)
    archive("neutral")
    check_run(settings, scan([Path("set")]).sources)
    of_neutral = dataclasses.replace(settings, emotions=PARAMS.emotions)
    assert "nobody with neutral in the train split can have a baseline" in refusal(of_neutral)  # its own does not count
    archive("neutral", shots=2)
    check_run(of_neutral, scan([Path("set")]).sources)


def test_a_persons_baseline_needs_enough_pictures():
    archive("neutral", shots=4)
    archive("anxious", shots=3)
    labels("anxious", dict.fromkeys(EVERYBODY, "anxious"))
    assert "normalize.baseline: person, which needs 8 pictures" in refusal(params(normalize__baseline="person"))
    check_run(params(normalize__baseline="person", normalize__baseline_min=7), scan([Path("set")]).sources)


def test_an_archive_that_was_taken_away_after_extraction_stops_nothing():
    archive("neutral")
    archive("anxious")
    sources = scan([Path("set")]).sources
    Path(sources["anxious-training-01"].zip).unlink()
    check_run(PARAMS, sources)
    check_run(params(normalize__baseline="person"), sources)


def test_raters_answers_that_were_taken_away_with_their_archive_stop_nothing():
    archive("neutral")
    archive("happy")
    labels("happy", dict.fromkeys(EVERYBODY, "anxious"))
    sources = scan([Path("set")]).sources
    Path(sources["happy-training-01"].zip).unlink()
    Path(sources["happy-training-01"].labels.zip).unlink()
    check_run(PARAMS, sources)


def test_pictures_of_ones_own_are_checked_as_archives_are():
    for number in EVERYBODY:
        for word in ("Bored", "중립"):
            path = Path(f"faces/{word}/p{number}_1.jpg")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"{path}".encode())
    own = params(emotions={"neutral": ("neutral",), "bored": ("bored",)})
    with pytest.raises(FaceemoError, match="faces: it is not known who is in which picture"):
        check_run(own, scan([Path("faces")]).sources)
    sources = scan([Path("faces")], options=OwnOptions(subject=r"/([^/_]+)_")).sources
    check_run(own, sources)
    assert next_line(PARAMS, sources, None) == (
        "no pictures of anxious were found, which 'emotions' in params.yaml names; next: "
        'dvc exp run -S "emotions=[neutral,bored]"'
    )


def test_the_next_command_has_the_emotions_that_were_scanned_where_params_yaml_has_others():
    archive("neutral")
    archive("happy")
    sources = scan([Path("set")]).sources
    assert 'params.yaml names; next: dvc exp run -S "emotions=[neutral,happy]"' in next_line(PARAMS, sources, None)
    archive("anxious")
    sources = scan([Path("set")]).sources
    assert next_line(PARAMS, sources, None) == next_line(PARAMS, sources, ("anxious", "neutral")) == "next: dvc repro"
    assert next_line(PARAMS, sources, ("neutral", "happy")).startswith(
        'next: dvc exp run -S "emotions=[neutral,happy]" (dvc repro alone still learns neutral, anxious)'
    )
    archive("anxious", [0])
    assert next_line(PARAMS, scan([Path("set")]).sources, None).startswith("not ready for dvc repro: the ")
