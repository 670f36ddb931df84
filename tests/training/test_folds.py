import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from made_targets import by_number

from faceemo.cli import main
from faceemo.errors import FaceemoError
from faceemo.params import load_params
from faceemo.training import folds
from faceemo.training.dataset import Dataset
from faceemo.training.folds import FoldRun, fold_lines, interval_over_people, judge, predict_over_folds

ROOT = Path(__file__).parents[2]
DEFAULTS = load_params(ROOT / "params.yaml")
PLAIN = dataclasses.replace(DEFAULTS.train, whiten=None)  # finding components would take most of the time
PARAMS = dataclasses.replace(DEFAULTS, epochs=2, batch_size=16, seed=0, train=PLAIN)
CLASSES = ("neutral", "anxious")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def people(count: int = 12, pictures: int = 4, nobodys: int = 0, told_by: str = "class") -> tuple[Dataset, np.ndarray]:
    """Faces of both classes; features show the class, or who it is and nothing of the class."""
    random = np.random.default_rng(0)
    person = np.repeat(np.arange(count), pictures)
    target = np.arange(len(person)) % 2 if told_by == "class" else person % 2
    features = random.normal(size=(len(person), 1434))
    if told_by == "class":
        features[:, :300] += 2 * target[:, None]
    else:
        features += 3 * random.normal(size=(count, 1434))[person]
    subjects = [None if row < nobodys else f"{number:064x}" for row, number in enumerate(person)]
    rows = {"emotion": [CLASSES[number] for number in target], "subject": subjects}
    dataset = Dataset(
        CLASSES,
        pa.table(rows),
        np.full(len(person), "", object),
        target,
        by_number(target, CLASSES),
        np.arange(len(person)),
        settings={"normalize": {"baseline": "none"}},
        face=np.zeros((478, 3)),
    )
    return dataset, features.astype(np.float32)


@pytest.mark.slow
def test_every_face_is_predicted_once_by_a_network_that_has_not_seen_its_person(monkeypatch):
    (dataset, features), seen = people(), []

    def watched(fold, features, params, interrupted_path):
        subjects, split = fold.column("subject"), fold.split
        seen.append((set(subjects[split == "train"]), set(subjects[split == "valid"])))
        assert not params.train.best_epoch and params.train.patience is None and params.seed == 7
        return train(fold, features, params, interrupted_path)

    train = folds.train
    monkeypatch.setattr(folds, "train", watched)
    before = features.copy()
    predicted = predict_over_folds(dataset, features, dataclasses.replace(PARAMS, seed=7), 3)
    np.testing.assert_array_equal(features, before)
    assert [len(trained & judged) for trained, judged in seen] == [0, 0, 0]
    assert sorted(subject for _, judged in seen for subject in judged) == sorted(set(dataset.column("subject")))
    assert (predicted == dataset.targets.archive).mean() > 0.9


@pytest.mark.slow
def test_what_only_tells_people_apart_helps_nobody_unseen():
    dataset, features = people(count=20, told_by="person")
    predicted = predict_over_folds(dataset, features, PARAMS, 5)
    assert (predicted == dataset.targets.archive).mean() < 0.8


@pytest.mark.slow
def test_faces_of_nobody_known_are_not_judged():
    predicted = predict_over_folds(*people(nobodys=3), PARAMS, 2)
    assert list(np.flatnonzero(predicted < 0)) == [0, 1, 2]


def test_fewer_people_than_folds_is_one_clear_line():
    with pytest.raises(FaceemoError, match="3 people cannot be put into 5 folds; lower --folds"):
        predict_over_folds(*people(count=3), PARAMS, 5)


def test_fewer_pictures_of_each_class_than_folds_is_one_clear_line():
    with pytest.raises(FaceemoError, match="3 pictures of a class cannot be put into 5 folds; lower --folds"):
        predict_over_folds(*people(count=6, pictures=1), PARAMS, 5)


@pytest.mark.slow
def test_a_class_that_a_fold_leaves_nobody_to_train_on_is_not_weighed():
    (dataset, features), truth = people(count=6), np.repeat([1, 0, 0, 0, 0, 0], 4)
    dataset = dataclasses.replace(dataset, archive=truth, targets=by_number(truth, CLASSES))
    params = dataclasses.replace(PARAMS, train=dataclasses.replace(PARAMS.train, class_weights=True))
    assert (predict_over_folds(dataset, features, params, 3) >= 0).all()


def test_a_fold_whose_faces_have_no_class_but_by_raters_is_predicted_too():
    (dataset, features), truth = people(count=6), np.repeat([1, 0, 1, 0, 1, -1], 4)
    targets = dataclasses.replace(by_number(np.abs(truth), CLASSES), archive=truth, valid=truth)
    dataset = dataclasses.replace(dataset, archive=truth, targets=targets)
    assert (predict_over_folds(dataset, features, PARAMS, 6) >= 0).all()


@pytest.mark.filterwarnings("error")
def test_a_class_of_fewer_pictures_than_folds_warns_of_nothing():
    (dataset, features), truth = people(count=6), np.repeat([1, 0, 0, 0, 0, 0], 4)
    truth[1:4] = 0
    dataset = dataclasses.replace(dataset, archive=truth, targets=by_number(truth, CLASSES))
    assert (predict_over_folds(dataset, features, PARAMS, 3) >= 0).all()


def test_a_judgement_is_the_mean_over_seeds_with_its_spread():
    truth = np.array([0, 0, 0, 1])
    found = judge(np.array([[0, 0, 0, 0], [0, 0, 1, 1]]), truth)
    assert found.accuracy == 0.75 and found.accuracy_std == 0
    assert found.balanced_accuracy == pytest.approx((0.5 + 5 / 6) / 2)
    assert found.balanced_accuracy_std == pytest.approx(np.std([0.5, 5 / 6], ddof=1))
    assert found.macro_f1 == pytest.approx((3 / 7 + (0.8 + 2 / 3) / 2) / 2)


def test_an_interval_over_people_is_wider_than_one_over_pictures_and_the_same_whatever_their_names():
    random = np.random.default_rng(0)
    person = np.repeat(np.arange(30), 20)
    values = random.normal(size=30)[person]
    low, high = interval_over_people(values, person.astype(str))
    alone_low, alone_high = interval_over_people(values, np.arange(600).astype(str))
    assert low < values.mean() < high
    assert high - low > 3 * (alone_high - alone_low)


def test_by_groups_each_counts_the_same_and_a_draw_without_one_takes_the_others():
    subject = np.array(["a", "a", "b", "c"])
    values, group = np.array([1.0, 1.0, 1.0, 0.0]), np.array([0, 0, 0, 1])
    assert interval_over_people(values, subject, group) == (0.0, 1.0)
    assert interval_over_people(np.ones(4), subject, group) == (1.0, 1.0)


def test_a_face_without_a_class_by_one_truth_is_judged_by_the_other_alone():
    truths = {"archive": np.array([0, 1, -1]), "majority": np.array([1, -2, 0])}
    run = FoldRun(np.array([[0, 1, 0]]), np.array(["a", "b", "c"], object), truths)
    assert run.judged("archive")[2].tolist() == ["a", "b"]
    assert run.judged("majority")[1].tolist() == [1, 0]


class TestCommand:
    @pytest.fixture
    def project(self, tmp_path, monkeypatch):
        """A project whose features were made from faces of twelve people."""
        from test_dataset import ANXIOUS_VOTES, NEUTRAL_VOTES, VOTED, person, write_features

        text = (ROOT / "params.yaml").read_text(encoding="utf-8")
        (tmp_path / "params.yaml").write_text(text.replace("epochs: 30", "epochs: 1"), encoding="utf-8")
        monkeypatch.chdir(tmp_path)
        for mark, name, votes in ((0.0, "neutral", NEUTRAL_VOTES), (5.0, "anxious", ANXIOUS_VOTES)):
            rows = [
                {"mark": mark + number / 100, "emotion": name, "subject": person(number), "status": "ok",
                 "folder": "training", "votes": votes if number else None}
                for number in range(12)
            ]  # fmt: skip
            write_features(tmp_path / "data" / "features", f"{name}-training-01", rows, voted=VOTED)
        return tmp_path

    @pytest.mark.slow
    def test_prints_both_settings_and_their_paired_difference_and_writes_them(self, project, capsys):
        arguments = ["folds", "--folds", "2", "--seeds", "2", "-S", "train.mirror=false", "-S", "labels.target=archive"]
        assert main(arguments) == 0
        out = capsys.readouterr().out
        result = json.loads((project / "folds.json").read_text(encoding="utf-8"))
        archive, majority = (result["truths"][truth] for truth in ("archive", "majority"))
        changed = "train.mirror=false labels.target=archive"
        assert set(archive["settings"]) == {"params.yaml", changed}
        assert (archive["images"], majority["images"], archive["people"], majority["people"]) == (24, 22, 12, 11)
        difference, low, high = archive["differences"][changed]["accuracy"]
        means = [archive["settings"][name]["accuracy"] for name in (changed, "params.yaml")]
        assert difference == pytest.approx(means[0] - means[1]) and low <= difference <= high
        assert "\n".join(fold_lines(result)) in out
        assert f"{changed} minus params.yaml, 95 % over people: accuracy" in out

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ("normalize.align=roll", "give KEY=VALUE with a key that training alone reads"),
            ("lr", "give KEY=VALUE"),
            ("lr=[", "the value is not valid YAML"),
            ("train.none=1", "unknown key train.none"),
            ("lr.rate=1", "no key lr.rate"),
            ("train.whiten=0", "train.whiten must be at least 1"),
        ],
    )
    def test_a_change_that_cannot_be_made_is_one_line(self, project, capsys, change, message):
        assert main(["folds", "-S", change]) == 1
        error = capsys.readouterr().err
        assert error.startswith("faceemo: error: ") and message in error and error.count("\n") == 1
