"""What is said before the work: what only more pictures can mend, and what is refused since nothing can."""

import dataclasses
from pathlib import Path

import pytest
from made_archives import make_zip
from made_sources import KOREAN, label_json, of_set, person, rating, record

from faceemo.console import run
from faceemo.errors import FaceemoError
from faceemo.params import READ_CROPS, Params, load_params
from faceemo.pictures.scan import scan
from faceemo.pictures.scan_source import ScanOptions
from faceemo.pictures.sources import write_sources
from faceemo.training import preflight
from faceemo.training.preflight import look_ahead, next_line, what_is_missing
from faceemo.training.recipe import CROP, MESH, RECIPES
from faceemo.training.split import split_of_rows
from stages import extract

PARAMS_FILE = Path(__file__).parents[2] / "params.yaml"
PARAMS = load_params(PARAMS_FILE)
EVERYBODY = range(40)
TRAINING, VALIDATION = "Training/[원천]EMOIMG_{}_TRAIN_01.zip", "Validation/[원천]EMOIMG_{}_VALID.zip"


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def archives(*emotions: str, people=EVERYBODY, shots: int = 1, where: str = TRAINING) -> None:
    """Archives of the set whose pictures nobody may need to read."""
    for emotion in emotions:
        names = [of_set(number, KOREAN[emotion], shot) for number in people for shot in range(1, shots + 1)]
        make_zip(Path("set") / where.format(KOREAN[emotion]), {name: name.encode() for name in names})


def labels(emotion: str, seen: str) -> None:
    """The label archive of an emotion: what all three raters saw in everybody's picture."""
    records = [record(of_set(number, KOREAN[emotion]), *[rating(KOREAN[seen], None)] * 3) for number in EVERYBODY]
    make_zip(Path(f"set/Training/[라벨]EMOIMG_{KOREAN[emotion]}_TRAIN.zip"), {"a.json": label_json(*records)})


def params(*emotions: str, **changes: object) -> Params:
    """The repository's parameters with these emotions, and some keys like labels__target set to other values."""
    result = dataclasses.replace(PARAMS, emotions={name: (name,) for name in emotions} or None)
    for key, value in changes.items():
        section, _, name = key.rpartition("__")
        if section:
            value = dataclasses.replace(getattr(result, section), **{name: value})
        result = dataclasses.replace(result, **{section or name: value})
    return result


def sources(place: str = "set", **options: object) -> dict:
    return scan([Path(place)], options=ScanOptions(**options)).sources


def missing(*emotions: str, **changes: object) -> str | None:
    """What the sources below set/ lack."""
    found = what_is_missing(params(*emotions, **changes), sources())
    assert found is None or "\n" not in found
    return found


def outside(split: str) -> list[int]:
    """Everybody who is not in a split."""
    splits = split_of_rows([person(number) for number in EVERYBODY], ["training"] * len(EVERYBODY), PARAMS.split)
    return [number for number in EVERYBODY if splits[number] != split]


def test_what_a_scan_has_read_is_not_read_again_unless_a_limit_takes_a_part(monkeypatch):
    archives("neutral", "anxious", people=outside("test"))
    result = scan([Path("set")])
    manifests = {key: one.manifest for key, one in result.found.items()}
    asked = params("neutral", "anxious", labels__target="archive")
    expected = what_is_missing(asked, result.sources)
    assert expected is not None
    read = []
    monkeypatch.setattr(preflight, "_look", lambda key, *_, **__: read.append(key))
    assert what_is_missing(asked, result.sources, manifests) == expected and not read
    what_is_missing(dataclasses.replace(asked, limit=5), result.sources, manifests)
    assert set(read) == set(manifests)


def test_archives_of_all_classes_with_enough_people_lack_nothing():
    archives("neutral", "anxious")
    assert missing() is None and missing("neutral", "anxious") is None
    assert look_ahead(PARAMS, sources()) is None


def test_a_single_class_is_not_enough_to_train_on():
    archives("neutral")
    assert missing() == "only neutral was scanned, and a model needs two classes; scan others too"


def test_a_class_of_which_nothing_was_scanned_is_missing_unless_raters_saw_it_in_other_archives():
    archives("neutral", "happy")
    expected = "params.yaml: emotions: no scanned source has 'anxious'; there are happy, neutral"
    assert missing("neutral", "anxious").startswith(expected)
    labels("happy", seen="happy")
    assert missing("neutral", "anxious").startswith(expected)
    labels("happy", seen="anxious")
    assert missing("neutral", "anxious") is None
    assert missing("neutral", "anxious", labels__target="archive").startswith(expected)


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_a_split_without_people_of_a_class_is_missing(split):
    archives("neutral")
    others = outside(split)
    archives("anxious", people=others)
    assert f"the {split} split has nobody with anxious: {len(others)} people are too few" in missing()


def test_a_limit_that_leaves_too_few_people_is_told():
    archives("neutral", "anxious")
    assert "2 people are too few for " in missing(limit=2)
    assert "1 person is too few for " in missing(limit=1)


def test_archives_called_like_the_sets_whose_pictures_tell_nobody_are_ones_own():
    for emotion in ("중립", "불안"):
        pictures = {f"p{number}_1.jpg": f"{emotion} {number}".encode() for number in EVERYBODY}
        make_zip(Path(f"set/[원천]EMOIMG_{emotion}_TRAIN_01.zip"), pictures)
    assert next_line(PARAMS, sources()).startswith("not ready for dvc repro: emoimg-anxious-train-01: it is not known")
    assert next_line(PARAMS, sources(subject="(p[0-9]+)_")) == "next:\ndvc repro"


def test_a_split_by_folder_needs_the_validation_folder():
    archives("neutral", "anxious")
    assert "split.by is folder" in missing(split__by="folder")
    archives("neutral", "anxious", people=range(3), shots=2, where=VALIDATION)
    assert missing(split__by="folder") is None


def test_a_neutral_baseline_needs_neutral_pictures_of_the_same_people():
    def lacking(*emotions):
        return missing(*emotions, normalize__baseline="neutral")

    archives("happy", "anxious")
    assert "normalize.baseline is neutral, and no neutral pictures were scanned" in lacking("happy", "anxious")
    archives("neutral", people=outside("test"))
    assert "nobody with happy in the test split can have a baseline" in lacking("happy", "anxious")
    archives("neutral")
    assert lacking("happy", "anxious") is None
    own = "nobody with neutral in the train split can have a baseline"  # a face is no baseline of its own
    assert own in lacking("neutral", "anxious")
    archives("neutral", shots=2)
    assert lacking("neutral", "anxious") is None


def test_a_persons_baseline_needs_enough_pictures():
    archives("neutral", shots=4)
    archives("anxious", shots=3)
    labels("anxious", seen="anxious")
    assert "normalize.baseline: person, which needs 8 pictures" in missing(normalize__baseline="person")
    archives("anxious", shots=4)
    assert missing(normalize__baseline="person") is None


def test_a_source_that_was_taken_away_after_the_scan_counts_as_one_that_has_everybody():
    archives("neutral", "happy")
    archives("anxious", people=[1])
    labels("happy", seen="anxious")
    found = sources()
    assert what_is_missing(params("neutral", "anxious", labels__target="archive"), found)
    Path(found["anxious-training-01"].zip).unlink()
    for changes in ({"labels__target": "archive"}, {"normalize__baseline": "person"}):
        assert what_is_missing(params("neutral", "anxious", **changes), found) is None
    del found["anxious-training-01"]
    Path(found["happy-training-01"].zip).unlink()
    Path(found["happy-training-01"].labels.zip).unlink()
    assert what_is_missing(params("neutral", "anxious"), found) is None


def test_archives_of_the_set_are_read_until_nothing_is_missing(monkeypatch):
    read, read_manifest = [], preflight.read_manifest
    monkeypatch.setattr(preflight, "read_manifest", lambda key, *rest: read.append(key) or read_manifest(key, *rest))
    for part in (1, 2, 3):
        archives("neutral", "anxious", where=f"Training/[원천]EMOIMG_{{}}_TRAIN_0{part}.zip", shots=part)
    archives("sad")
    assert missing("neutral", "anxious") is None
    assert read == ["anxious-training-01", "neutral-training-01"]


def own_pictures() -> None:
    for number in EVERYBODY:
        for word in ("Bored", "중립"):
            path = Path(f"faces/{word}/p{number}_1.jpg")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(str(path).encode())


def test_pictures_of_ones_own_of_which_nobody_is_known_are_refused_and_scan_says_so_last():
    own_pictures()
    with pytest.raises(FaceemoError, match=r"faces: it is not known who is in which picture.*--subject each"):
        what_is_missing(PARAMS, sources("faces"))
    assert next_line(PARAMS, sources("faces")).startswith("not ready for dvc repro: faces: it is not known who is in")
    for subject in ("each", r"/([^/_]+)_"):
        found = sources("faces", subject=subject)
        assert what_is_missing(PARAMS, found) is None and next_line(PARAMS, found) == "next:\ndvc repro"


def test_a_class_that_nothing_can_hold_is_refused():
    own_pictures()
    found = sources("faces", subject="each")
    with pytest.raises(FaceemoError, match=r"emotions: no source holds 'board'; known are bored, neutral$") as error:
        what_is_missing(params("neutral", "board"), found)
    assert "\n" not in str(error.value)
    assert "no scanned source has 'anxious'" in what_is_missing(params("neutral", "anxious"), found)


@pytest.mark.parametrize("network", READ_CROPS)
def test_a_network_of_crops_without_crops_is_refused_before_hours_of_extraction(network):
    archives("neutral", "anxious")
    asked = params(train__network=network, extract__crops=False)
    expected = rf"train\.network: {network} learns from crops, and the features have none; set extract\.crops to true"
    with pytest.raises(FaceemoError, match=expected):
        look_ahead(asked, sources())
    assert next_line(asked, sources()).startswith("not ready for dvc repro: train.network: ")
    assert look_ahead(params(train__network="mlp", extract__crops=False), sources()) is None
    assert set(READ_CROPS) == {name for name, recipe in RECIPES.items() if CROP in recipe.columns}


@pytest.mark.parametrize("baseline", ["neutral", "person"])
def test_a_baseline_of_landmarks_with_a_network_that_reads_none_is_refused(baseline):
    archives("neutral", "anxious", shots=9)
    expected = rf"train\.network: cnn reads no landmarks, and normalize\.baseline: {baseline} changes these alone"
    with pytest.raises(FaceemoError, match=expected):
        look_ahead(params(train__network="cnn", normalize__baseline=baseline), sources())
    assert look_ahead(params(train__network="both", normalize__baseline=baseline), sources()) is None
    assert {name for name, recipe in RECIPES.items() if MESH not in recipe.columns} == {"cnn"}


@pytest.mark.parametrize("start", ["models/emotion.pt", "models/../models/emotion.pt", "models/frist.pt", "faceemo.pt"])
def test_a_start_that_will_not_be_there_is_refused_before_hours_of_extraction(start):
    archives("neutral", "anxious")
    for name in ("emotion.pt", "first.pt"):
        Path("models").mkdir(exist_ok=True)
        Path("models", name).touch()
    says = (
        "is what training writes, and dvc removes it before; name a copy of it"
        if "emotion" in start
        else ("is not there; name a model file, or faceemo for the one that comes along")
    )
    with pytest.raises(FaceemoError) as error:
        look_ahead(params(train__start=start), sources())
    assert str(error.value) == f"params.yaml: train.start: {Path(start).as_posix()} {says}"
    assert all(
        look_ahead(params(train__start=name), sources()) is None for name in (None, "faceemo", "models/first.pt")
    )


def test_a_class_that_a_table_has_votes_for_alone_is_learnt_from_these():
    own_pictures()
    lines = [f"faces/{word}/p{number}_1.jpg,{word},p{number},1,{count},{2 - count}" for number in EVERYBODY
             for word, count in (("Bored", 0), ("중립", 2))]  # fmt: skip
    Path("list.csv").write_text("\n".join(["path,emotion,subject,중립,bored,tired", *lines]), encoding="utf-8")
    found = sources("list.csv")
    assert what_is_missing(params("neutral", "tired"), found) is None
    assert "no scanned source has 'tired'" in what_is_missing(
        params("neutral", "tired", labels__target="archive"), found
    )


@pytest.mark.parametrize(
    ("emotions", "lines"),
    [
        ((), ["next:"]),
        (("neutral", "happy"), ["next:"]),
        (("neutral", "anxious"), [
            "'emotions' in params.yaml leaves out happy; null there learns all classes",
            "no pictures of anxious were found, which 'emotions' in params.yaml names",
            "not enough to train yet: params.yaml: emotions: no scanned source has 'anxious'; there are happy, "
            "neutral; run 'faceemo scan' on its pictures too, or take it out",
            "extraction can begin all the same; next:",
        ]),
    ],
)  # fmt: skip
def test_the_next_command_stands_alone_on_the_last_line(emotions, lines):
    archives("neutral", "happy")
    assert next_line(params(*emotions), sources()).splitlines() == [*lines, "dvc repro"]


class TestStageExtract:
    @pytest.fixture
    def stage(self, capsys):
        """stage(emotions) runs the stage for neutral pictures, none of which is a whole picture."""
        archives("neutral")
        write_sources(sources())

        def stage(emotions):
            text = PARAMS_FILE.read_text(encoding="utf-8")
            text = text.replace("\nemotions: ", f"\nemotions: {emotions} ").replace("\nworkers: ", "\nworkers: 1 ")
            Path("params.yaml").write_text(text, encoding="utf-8")
            code = run("extract", lambda: extract.main(["neutral-training-01"]))
            out, err = capsys.readouterr()
            return code, out.splitlines(), err

        return stage

    @pytest.mark.parametrize("emotions", ["", "[neutral, anxious]"])
    def test_goes_on_where_more_pictures_can_mend_what_is_missing_and_says_so_first_and_last(self, stage, emotions):
        code, lines, err = stage(emotions)
        assert (code, err) == (0, "")
        assert lines[0] == lines[-1] and lines[0].startswith("note: training will stop as things are: ")
        assert len(list(Path("data/landmarks/neutral-training-01").glob("*.parquet"))) == 1

    def test_is_refused_where_nothing_can(self, stage):
        code, lines, err = stage("[neutral, board]")
        assert (code, lines) == (1, [])
        assert err.startswith("extract: error: params.yaml: emotions: no source holds 'board'") and err.count("\n") == 1
        assert not Path("data/landmarks").exists()
