import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from made_datasets import dataset_of, person, single, targets_of, write_features

from faceemo.cli import main
from faceemo.errors import FaceemoError
from faceemo.params import load_params
from faceemo.pictures.labels import VOTED
from faceemo.training.dataset import Dataset
from faceemo.training.folds import FoldRun, fold_lines, over_folds, trainer
from faceemo.training.model import save_model
from faceemo.training.train import train

ROOT = Path(__file__).parents[2]
DEFAULTS = load_params(ROOT / "params.yaml")
PLAIN = dataclasses.replace(DEFAULTS.train, whiten=None)  # finding components would take most of the time
PARAMS = dataclasses.replace(DEFAULTS, epochs=2, batch_size=16, seed=0, train=PLAIN)
CLASSES = ("neutral", "anxious")


def people(count: int = 12, pictures: int = 4, unknown: int = 0, shows: str = "class") -> tuple[Dataset, np.ndarray]:
    """Faces of both classes; features show the class, or who it is and nothing of the class."""
    random = np.random.default_rng(0)
    owner = np.repeat(np.arange(count), pictures)
    target = np.arange(len(owner)) % 2 if shows == "class" else owner % 2
    features = random.normal(size=(len(owner), 1434))
    if shows == "class":
        features[:, :300] += 2 * target[:, None]
    else:
        features += 3 * random.normal(size=(count, 1434))[owner]
    rows = [
        {"emotion": CLASSES[number], "subject": None if row < unknown else person(who)}
        for row, (number, who) in enumerate(zip(target, owner, strict=True))
    ]
    return dataset_of(rows, CLASSES), features.astype(np.float32)


def named(dataset: Dataset, truth: np.ndarray) -> Dataset:
    """The dataset with other names for its pictures, below 0 for none; all the same learnt as a class."""
    learnt = targets_of([CLASSES[number] for number in np.abs(truth)], single(*CLASSES))
    return dataclasses.replace(dataset, named=truth, targets=dataclasses.replace(learnt, named=truth, valid=truth))


def watched(seen: list[tuple[set, set]]):
    """What answers with each face's own class, and remembers who was in train and in test."""

    def fit_predict(dataset: Dataset) -> np.ndarray:
        subject = dataset.column("subject")
        seen.append(tuple(set(subject[dataset.split == split]) for split in ("train", "test")))
        return np.eye(2, dtype=np.float32)[np.maximum(dataset.targets.named, 0)]

    return fit_predict


def test_every_face_is_predicted_once_from_people_of_the_other_folds():
    (dataset, _), seen = people(unknown=3), []
    logits = over_folds(dataset, watched(seen), 3, seed=7)
    everybody = set(dataset.column("subject")) - {None}
    assert [learnt & judged for learnt, judged in seen] == [set()] * 3
    assert all(learnt | judged == {*everybody, None} for learnt, judged in seen)
    assert sorted(subject for _, judged in seen for subject in judged) == sorted(everybody)
    assert list(np.flatnonzero(np.isnan(logits[:, 0]))) == [0, 1, 2]  # of unknown people
    assert (logits[3:].argmax(axis=1) == dataset.targets.named[3:]).all()
    other = []
    over_folds(dataset, watched(other), 3, seed=8)
    assert other != seen


def test_what_only_tells_people_apart_helps_with_nobody_unseen():
    dataset, features = people(count=20, shows="person")
    before = features.copy()
    logits = over_folds(dataset, trainer({"features": features}, PARAMS), 5, seed=0)
    assert (logits.argmax(axis=1) == dataset.targets.named).mean() < 0.8
    np.testing.assert_array_equal(features, before)


def test_fewer_people_than_folds_is_one_clear_line():
    with pytest.raises(FaceemoError, match="3 people cannot be put into 5 folds; lower --folds"):
        over_folds(people(count=3)[0], watched([]), 5, seed=0)


def test_fewer_pictures_of_each_class_than_folds_is_one_clear_line():
    with pytest.raises(FaceemoError, match="3 pictures of a class cannot be put into 5 folds; lower --folds"):
        over_folds(people(count=6, pictures=1)[0], watched([]), 5, seed=0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "truth",
    [
        pytest.param([1, 0, 0, 0, 0, 0], id="a class that one fold alone has"),
        pytest.param([1, 0, 1, 0, 1, -1], id="a class that raters alone saw"),
    ],
)
def test_a_fold_that_lacks_a_class_is_predicted_too(truth):
    dataset, features = people(count=6)
    params = dataclasses.replace(PARAMS, train=dataclasses.replace(PARAMS.train, class_weights=True))
    dataset = named(dataset, np.repeat(truth, 4))
    assert np.isfinite(over_folds(dataset, trainer({"features": features}, params), 3, seed=0)).all()


def test_scores_are_means_over_the_seeds_with_their_spread():
    truth = np.array([0, 0, 0, 1])
    logits = np.eye(2)[[[0, 0, 0, 0], [0, 0, 1, 1]]]
    found = FoldRun(logits, np.array(list("abcd"), object), {"archive": truth}, CLASSES).scores("archive")
    assert found["accuracy"] == 0.75 and found["accuracy_std"] == 0
    assert found["balanced_accuracy"] == pytest.approx((0.5 + 5 / 6) / 2)
    assert found["balanced_accuracy_std"] == pytest.approx(np.std([0.5, 5 / 6], ddof=1))
    assert found["macro_f1"] == pytest.approx((3 / 7 + (0.8 + 2 / 3) / 2) / 2)


def test_a_face_without_a_class_by_one_truth_is_judged_by_the_other_alone():
    truths = {"archive": np.array([0, 1, -1, 0]), "majority": np.array([1, -2, 0, 0])}
    logits = np.eye(2)[[[0, 1, 0, 0]]]
    logits[:, 3] = np.nan  # of an unknown person
    run = FoldRun(logits, np.array(["a", "b", "c", None], object), truths, CLASSES)
    assert run.faces("archive").tolist() == [0, 1] and run.faces("majority").tolist() == [0, 2]
    assert run.outcome("majority").right.tolist() == [0, 1]


class TestCommand:
    @pytest.fixture
    def project(self, tmp_path, monkeypatch):
        """A project whose features were made from faces of twelve people."""
        text = (ROOT / "params.yaml").read_text(encoding="utf-8")
        (tmp_path / "params.yaml").write_text(text.replace("epochs: 30", "epochs: 1"), encoding="utf-8")
        monkeypatch.chdir(tmp_path)
        for mark, name in ((0.0, "neutral"), (5.0, "anxious")):
            votes = [3 * (name == one) for one in VOTED]
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

    @pytest.mark.slow
    def test_a_start_that_knows_the_people_is_said(self, project, capsys):
        inputs = {"features": np.random.default_rng(0).normal(size=(24, 1434)).astype(np.float32)}
        names = [person(number) for number in (3, 4, 5, 99)]
        known = dataset_of(
            [{"emotion": CLASSES[n % 2], "subject": name, "split": "train"} for n, name in enumerate(names * 6)],
            CLASSES,
        )
        settings = dataclasses.replace(PLAIN, network="mlp", start=None)
        start = train(known, inputs, dataclasses.replace(PARAMS, epochs=1, train=settings), None).model
        save_model(project / "start.pt", start)
        assert main(["folds", "--folds", "2", "--seeds", "1", "-S", "train.start=start.pt"]) == 0
        lines = capsys.readouterr().out.splitlines()
        said = "train.start has learnt from 3 of the people of the folds: they make this model look better"
        assert [line for line in lines if "learnt from" in line] == [f"train.start=start.pt: {said}"]

    def test_changes_that_params_yaml_has_already_are_one_line(self, project, capsys):
        assert main(["folds", "-S", "train.mirror=true", "-S", "epochs=1"]) == 1
        assert capsys.readouterr().err == (
            "faceemo: error: -S train.mirror=true epochs=1: nothing differs from params.yaml, where 'dvc exp run -S' "
            "writes what it is given; 'git checkout params.yaml' takes back the last commit's, or give other values\n"
        )

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ("normalize.scale=max_abs", "give KEY=VALUE with a key that training alone reads"),
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
