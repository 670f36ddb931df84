import copy
import shutil
import unicodedata
from pathlib import Path

import pytest
import yaml
from dvc.utils.hydra import apply_overrides

from faceemo.errors import FaceemoError
from faceemo.params import GONE, load_params

REPOSITORY = Path(__file__).resolve().parents[1]
MISSING = object()


@pytest.fixture
def values():
    """The mapping in the repository's params.yaml, to be changed by a test."""
    return yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def load(tmp_path):
    """load(mapping or text) writes a params.yaml and loads it."""

    def load(content, encoding="utf-8"):
        path = tmp_path / "params.yaml"
        text = content if isinstance(content, str) else yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
        path.write_text(text, encoding=encoding)
        return load_params(path)

    return load


def set_key(values, key, value):
    """Set `section.key` in the mapping, or drop it."""
    *sections, last = key.split(".")
    for section in sections:
        values = values[section]
    if value is MISSING:
        del values[last]
    else:
        values[last] = value


def message_of(load, content):
    with pytest.raises(FaceemoError) as error:
        load(content)
    message = str(error.value)
    assert "\n" not in message
    assert "params.yaml" in message
    return message


@pytest.mark.parametrize(
    ("change", "back"),
    [
        ("lr=1e-5", "lr=0.001"),
        ("limit=100", "limit=null"),
        ("train.whiten=null", "train.whiten=300"),
        ("emotions=[neutral,{low:[sad,hurt]}]", "emotions=null"),
    ],
)
def test_an_experiment_changes_its_own_lines_of_params_yaml_alone(tmp_path, change, back):
    path = shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    before = Path(path).read_text(encoding="utf-8")
    apply_overrides(path, [change])  # what dvc exp run -S does to the file
    after = Path(path).read_text(encoding="utf-8")
    key = change.partition("=")[0].rpartition(".")[2]
    kept = [line for line in before.splitlines() if not line.lstrip().startswith(key)]
    assert after != before and all(line in after.splitlines() for line in kept)
    apply_overrides(path, [back])
    assert Path(path).read_text(encoding="utf-8") == before


def test_the_repositorys_params_load_and_are_typed():
    params = load_params(REPOSITORY / "params.yaml")
    assert params.emotions is None
    assert isinstance(params.lr, float) and params.lr > 0
    assert isinstance(params.batch_size, int) and isinstance(params.train.mirror, bool)
    assert params.limit is None and params.workers is None and params.extract.scheduler is None
    assert params.split.by == "person" and params.split.valid + params.split.test < 1


def test_a_number_that_dvc_wrote_back_as_text_is_a_number(load, values):
    assert load({**values, "lr": "1e-05"}).lr == 1e-05
    assert load(yaml.safe_dump({**values, "lr": 1}).replace("lr: 1\n", "lr: 1e-05\n")).lr == 1e-05


def test_a_whole_number_that_came_as_a_float_or_as_text_is_an_int(load, values):
    params = load({**values, "epochs": 3.0, "seed": "7", "limit": "1e3"})
    assert (params.epochs, params.seed, params.limit) == (3, 7, 1000)
    assert all(isinstance(number, int) for number in (params.epochs, params.seed, params.limit))


def test_an_entry_may_be_a_group_of_emotions(load, values):
    entries = ["neutral", {"슬픔": ["상처", "sad"]}, {"strong": ["happy", "분노"]}]
    assert list(load({**values, "emotions": entries}).emotions.items()) == [
        ("neutral", ("neutral",)),
        ("sad", ("hurt", "sad")),
        ("strong", ("happy", "angry")),
    ]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_korean_emotion_names_become_english_in_the_order_given(load, values, form):
    words = [unicodedata.normalize(form, word) for word in ("불안", "중립", "기쁨")]
    assert list(load({**values, "emotions": words}).emotions) == ["anxious", "neutral", "happy"]


def test_a_file_saved_by_windows_notepad_loads(load, values):
    text = yaml.safe_dump(values, allow_unicode=True).replace("\n", "\r\n")
    assert load(text, encoding="utf-8-sig") == load(values)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("lr", "abc", "must be a number, not 'abc'"),
        ("lr", None, "must be a number, not null"),
        ("lr", -1, "must be above 0, not -1"),
        ("lr", 0, "must be above 0, not 0"),
        ("lr", float("nan"), "must be a number, not nan"),
        ("lr", float("inf"), "must be a number, not inf"),
        ("lr", "nan", "must be a number"),
        ("lr", True, "must be a number, not True"),
        ("lr", [0.1], "must be a number, not [0.1]"),
        ("lr", MISSING, "missing"),
        ("epochs", 0, "must be at least 1, not 0"),
        ("epochs", 1.5, "must be a whole number, not 1.5"),
        ("epochs", False, "must be a whole number, not False"),
        ("batch_size", 1, "must be at least 2, not 1"),
        ("seed", -1, "must be at least 0, not -1"),
        ("seed", 2**32, "must be at most 4294967295, not 4294967296"),
        pytest.param("seed", 10**400, "must be", id="seed-400 digits"),
        ("workers", 0, "must be at least 1, not 0"),
        ("limit", 0, "must be at least 1, not 0"),
        ("limit", "all", "must be a whole number, not 'all'"),
        ("emotions", ["neutral", "joy!"], "has 'joy!', which cannot name a class"),
        ("emotions", [], "must be a list of emotions"),
        ("emotions", "neutral", "must be a list of emotions, not 'neutral'"),
        ("emotions", MISSING, "missing"),
        ("emotions", ["neutral", "anxious", "중립"], "names neutral twice"),
        ("emotions", ["neutral", {"sad": ["sad", "hurt"]}, {"low": ["hurt"]}], "has hurt in sad and low"),
        ("emotions", ["neutral", "hurt", {"sad": ["sad", "상처"]}], "has hurt in hurt and sad"),
        ("emotions", ["neutral", {"sad": ["sad", "sad"]}], "has an emotion twice in group sad"),
        ("emotions", ["neutral", {"sad": ["hurt", "angry"]}], "has a group sad without sad in it"),
        ("emotions", ["neutral", {"중립": ["hurt", "angry"]}], "names neutral twice"),
        ("emotions", ["neutral", {"sad": []}], "has a group sad without emotions"),
        ("emotions", ["neutral", {"sad": None}], "has a group sad without emotions"),
        ("emotions", ["neutral", {"sad": "hurt"}], "has a group sad without emotions"),
        ("emotions", ["neutral", {}], "has an entry that is not one group"),
        ("emotions", ["neutral", {"low": ["sad"], "high": ["happy"]}], "has an entry that is not one group"),
        ("emotions", ["neutral", {"나쁨": ["sad", "hurt"]}], "a group's name is an emotion or letters of ASCII"),
        ("emotions", ["neutral", {"label": ["sad", "hurt"]}], "has a group label, the name of a column"),
        ("emotions", ["neutral", {"low": ["sad", "우울?"]}], "has '우울?', which cannot name a class"),
        ("split.by", "picture", "must be one of person, folder, not 'picture'"),
        ("split.valid", 0, "must be above 0"),
        ("split.test", 1, "must be below 1"),
        ("split.test", MISSING, "missing"),
        ("extract.engine", "dlib", "must be one of auto, mediapipe, litert, not 'dlib'"),
        ("extract.crops", "yes", "must be true or false, not 'yes'"),
        ("extract.scheduler", "host:8786", "tcp://host:8786"),
        ("normalize.center", "nose", "must be one of centroid, nose_tip, not 'nose'"),
        ("normalize.scale", ["rms"], "must be one of rms, max_abs, not ['rms']"),
        ("train.weight_decay", -0.1, "must be at least 0, not -0.1"),
        ("train.label_smoothing", 1, "must be below 1, not 1"),
        ("labels.target", "name", "must be one of archive, majority, votes, not 'name'"),
        ("train.network", "resnet", "must be one of mlp, mlp_dropout, cnn, both, not 'resnet'"),
        ("train.mirror", "yes", "must be true or false, not 'yes'"),
        ("train.recall_target", 1.5, "must be below 1"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_key_and_what_it_must_be(load, values, key, value, words):
    set_key(values, key, value)
    message = message_of(load, values)
    assert key in message and words in message


@pytest.mark.parametrize("key", ["lrr", "split.bye", "train.dropout"])
def test_an_unknown_key_is_one_line_that_names_it_and_the_known_ones(load, values, key):
    set_key(values, key, 1)
    message = message_of(load, values)
    assert f"unknown key {key};" in message
    assert ("recall_target" if key.startswith("train") else "by" if key.startswith("split") else "lr") in message


def test_keys_of_an_older_version_are_one_line_that_says_what_holds_now(load, values):
    for key, now in GONE.items():
        changed = copy.deepcopy(values)
        set_key(changed, key, None)
        assert message_of(load, changed).endswith(f"params.yaml: no parameter any more, delete: {key} (now: {now})")
    for key in GONE:
        set_key(values, key, 1)
    message = message_of(load, values)
    assert all(f"{key} (now: {now})" in message for key, now in GONE.items())


@pytest.mark.parametrize("section", [None, 3, ["by"]])
def test_a_section_that_is_no_mapping_is_named(load, values, section):
    assert "split must be a mapping" in message_of(load, {**values, "split": section})


@pytest.mark.parametrize(("valid", "test"), [(0.5, 0.5), (0.9, 0.2)])
def test_split_shares_that_leave_nobody_to_train_are_refused(load, values, valid, test):
    values["split"].update(valid=valid, test=test)
    message = message_of(load, values)
    assert "split.valid" in message and "split.test" in message and "below 1" in message


@pytest.mark.parametrize("text", ["", "- neutral\n- anxious\n", "neutral\n", "3\n"])
def test_a_file_that_is_no_mapping_is_one_line(load, text):
    assert "must be a mapping" in message_of(load, text)


@pytest.mark.parametrize(
    "text",
    [
        "lr: [1\nseed: 2\n",
        "lr: 1\n\tseed: 2\n",
        "lr: !!python/object:os.system 1\n",
        "? [a]\n: 1\n",
        "lr: 2020-13-45\n",
    ],
)
def test_broken_yaml_is_one_line(load, text):
    assert "not valid YAML" in message_of(load, text)


def test_a_file_that_is_not_utf8_is_one_line(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_bytes("lr: 0.1  # 학습률\n".encode("cp949"))
    with pytest.raises(FaceemoError, match=r"params\.yaml: not valid YAML") as error:
        load_params(path)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_one_line_that_says_where_to_run(tmp_path):
    with pytest.raises(FaceemoError, match=r"params\.yaml is not here; run this in the project's folder"):
        load_params(tmp_path / "params.yaml")
