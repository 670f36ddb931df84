"""Models judged on labelled pictures: on the same pictures the numbers are those of the pipeline."""

import contextlib
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from made_archives import ANXIOUS, NEUTRAL, SAMPLE, SETTINGS, pictures_in
from made_models import ROOT, random_model
from PIL import Image

from faceemo.errors import FaceemoError
from faceemo.extraction.extract import extract
from faceemo.features.normalize import normalize_sources
from faceemo.params import LEAST_PICTURES, load_params
from faceemo.paths import FEATURES_FOLDER, LANDMARKS_FOLDER
from faceemo.pictures.archive import parse_picture_name
from faceemo.pictures.reader import PictureReader
from faceemo.pictures.scan import scan
from faceemo.pictures.scan_source import ScanOptions
from faceemo.prediction.evaluate import Judged, answer_all, ask, compare, given_baselines, scores_of, subject_of_inputs
from faceemo.prediction.inputs import read_inputs
from faceemo.prediction.labelled import find_labelled, read_labelled
from faceemo.prediction.mistakes import draw_mistakes
from faceemo.prediction.model import EmotionModel
from faceemo.prediction.verdict import model_lines
from faceemo.training.dataset import load_dataset, load_inputs
from faceemo.training.evaluate import evaluate
from faceemo.training.metrics import fit_temperature, plain
from faceemo.training.recipe import MESH
from faceemo.training.seen import hash_people
from faceemo.training.train import train

PARAMS = load_params(ROOT / "params.yaml")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with the landmarks of the sample's training archives."""
    folder = tmp_path_factory.mktemp("project")
    with contextlib.chdir(folder):
        for key, source in scan([SAMPLE / "Training"]).sources.items():
            extract(key, source, PARAMS.extract, None, workers=1)
    return folder


def run_pipeline(folder, **normalize):
    """Normalise and train there as the stages do: the model, and its evaluation."""
    with contextlib.chdir(folder):
        sources = scan([SAMPLE / "Training"]).sources
        normalize_sources(sources, LANDMARKS_FOLDER, dataclasses.replace(PARAMS.normalize, **normalize))
        dataset = load_dataset(FEATURES_FOLDER, PARAMS.emotions, PARAMS.split, PARAMS.labels)
        params = dataclasses.replace(
            PARAMS, epochs=3, train=dataclasses.replace(PARAMS.train, network="mlp", whiten=None)
        )
        training = train(dataset, load_inputs(FEATURES_FOLDER, dataset, [MESH]), params, None)
    valid = dataset.valid
    temperature = fit_temperature(training.logits[valid], dataset.targets.valid[valid])
    model = dataclasses.replace(training.model, temperature=temperature)
    return EmotionModel(model), evaluate(dataset, training.logits, temperature, params, {"learnt_valid": False})


@pytest.fixture(scope="module")
def sample():
    """Neutral and anxious pictures without raters."""
    return find_labelled([NEUTRAL, ANXIOUS], ScanOptions())


@pytest.fixture(scope="module")
def readings(sample):
    return read_labelled(sample, np.ones(len(sample), bool), SETTINGS, 1)


def test_the_strongest_mistakes_are_drawn_under_their_rank_and_both_classes(sample, readings, tmp_path):
    model = EmotionModel(random_model())
    one = judged(model, sample, readings)
    truth = one.truth("label")
    count = draw_mistakes(tmp_path / "wrong", model, sample, one.probability, truth, 1)
    answered = ~np.isnan(one.probability[:, 0])
    wrong = np.flatnonzero(answered & (one.probability.argmax(axis=1) != truth))
    drawn = sorted(path.name for path in (tmp_path / "wrong").glob("*.jpg"))
    assert count == len(drawn) == len(wrong) > 1
    first = wrong[one.probability[wrong].max(axis=1).argmax()]
    said = ["anxious", "neutral"] if truth[first] else ["neutral", "anxious"]
    assert drawn[0] == f"01 {said[0]} taken for {said[1]} {sample.every[first].name.rpartition('/')[2]}"
    assert Image.open(tmp_path / "wrong" / drawn[0]).size == (readings[first].width, readings[first].height)


def judged(model, pictures, readings, seen=False, given=None, name="a.pt") -> Judged:
    one = ask(name, model, pictures, seen)
    answer_all(one, pictures, readings, given)
    return one


def scores(one, pictures):
    return plain(scores_of(one, pictures))


@pytest.mark.slow
@pytest.mark.parametrize("baseline", ["none", "neutral", "person"])
def test_on_unseen_people_the_numbers_are_those_of_the_pipelines_own_test(project, baseline, monkeypatch):
    monkeypatch.setitem(LEAST_PICTURES, "person", 1)
    model, evaluation = run_pipeline(project, baseline=baseline)
    pictures = find_labelled([SAMPLE / "Training"], ScanOptions())
    question = ask("a.pt", model, pictures, False)
    readings = read_labelled(pictures, question.needed(pictures, False), SETTINGS, 1)
    answer_all(question, pictures, readings, None)
    found = scores(question, pictures)
    for truth, name in (("archive", "label"), ("majority", "majority")):
        expected = evaluation["test"][truth]
        assert found[name]["images"] == expected["images"] >= 5
        for metric in ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "calibration_error"):
            assert found[name][metric] == pytest.approx(expected[metric], abs=1e-4), (name, metric)
        assert found[name]["balanced_accuracy_interval"] == pytest.approx(expected["balanced_accuracy_interval"])
        recalls = {emotion: one["recall"] for emotion, one in found[name]["per_class"].items()}
        assert recalls == {emotion: one["recall"] for emotion, one in expected["per_class"].items()}
    assert found["label"]["all_pictures"]["accuracy"] == evaluation["test"]["archive"]["all_pictures"]["accuracy"]
    assert found["label"]["all_pictures"]["images"] == evaluation["test"]["archive"]["all_pictures"]["images"]
    people = evaluation["subjects"]
    assert found["seen"]["people"] == people["train"] + people["valid"]
    assert found["label"]["people"] == people["test"]


def knowing(model, *subjects):
    """The model, as if it had been trained on these people."""
    return EmotionModel(dataclasses.replace(model, salt="ab", people=hash_people(subjects, "ab")))


class TestSeen:
    @pytest.mark.slow
    def test_people_of_training_are_counted_and_left_out_unless_asked_for(self, sample, readings):
        first, second, *others = sorted(set(sample.subject))
        model = knowing(random_model(), first, second, "somebody else")
        mine = np.isin(sample.subject, [first, second])
        left = scores(judged(model, sample, readings), sample)
        assert left["seen"] == {"known": True, "people": 2, "pictures": mine.sum(), "judged": False}
        assert left["label"]["people"] == len(others)
        every = scores(judged(model, sample, readings, seen=True), sample)
        assert every["seen"] == {"known": True, "people": 2, "pictures": mine.sum(), "judged": True}
        assert every["label"]["people"] == len(others) + 2

    def test_only_what_is_judged_is_read(self, sample):
        first, *_ = sorted(set(sample.subject))
        needed = ask("a.pt", knowing(random_model(), first), sample, False).needed(sample, False)
        assert (needed == (sample.subject != first)).all()

    def test_a_model_that_knows_everybody_is_one_line(self, sample):
        model = knowing(random_model(), *sample.subject)
        with pytest.raises(FaceemoError, match=r"a\.pt was trained on everybody in the pictures; --seen judges them"):
            ask("a.pt", model, sample, False)

    def test_an_older_model_says_that_it_does_not_know(self, sample, readings):
        found = scores(judged(EmotionModel(random_model()), sample, readings), sample)
        assert found["seen"] == {"known": False, "people": 0, "pictures": 0, "judged": False}


class TestClasses:
    @pytest.mark.slow
    def test_pictures_of_classes_that_the_model_does_not_know_are_counted_and_left_out(self, sample):
        model = EmotionModel(random_model(("neutral", "happy")))
        question = ask("a.pt", model, sample, False)
        assert not question.asked[(sample.emotion == "anxious") & (question.targets.majority < 0)].any()
        readings = read_labelled(sample, question.needed(sample, False), SETTINGS, 1)
        answer_all(question, sample, readings, None)
        found = scores(question, sample)
        left = found["unknown_classes"]["anxious"]
        assert 0 < left <= (sample.emotion == "anxious").sum()
        assert found["label"]["per_class"]["happy"]["support"] == 0
        assert found["label"]["confusion"][1] == [0, 0]

    def test_a_group_of_emotions_is_judged_by_its_members_and_by_its_own_name(self, tmp_path):
        trained = random_model(("neutral", "low"))
        trained.settings["emotions"] = {"neutral": ["neutral"], "low": ["sad", "hurt"]}
        words = {"sad": (ANXIOUS, 1), "hurt": (ANXIOUS, 2), "low": (ANXIOUS, 1), "happy": (NEUTRAL, 1)}
        tree = write_tree(tmp_path / "faces", {**words, "neutral": (NEUTRAL, 2)})
        pictures = find_labelled([tree], ScanOptions())
        question = ask("a.pt", EmotionModel(trained), pictures, False)
        expected = {"neutral": 0, "sad": 1, "hurt": 1, "low": 1, "happy": -1}
        assert question.targets.named.tolist() == [expected[emotion] for emotion in pictures.emotion]
        answer_all(question, pictures, read_labelled(pictures, question.asked, SETTINGS, 1), None)
        found = scores(question, pictures)
        assert found["unknown_classes"] == {"happy": 1} and found["label"]["per_class"]["low"]["support"] == 4
        assert model_lines("a.pt", found, "pictures")[0] == "a.pt: neutral, low: [sad, hurt]"

    def test_no_class_in_common_is_one_line_that_names_both(self, tmp_path):
        tree = write_tree(tmp_path / "faces", {"bored": (ANXIOUS, 2)})
        with pytest.raises(
            FaceemoError, match=r"a\.pt knows neutral, anxious, and the pictures are of bored; --rename"
        ):
            ask("a.pt", EmotionModel(random_model()), find_labelled([tree], ScanOptions()), False)

    def test_a_word_may_mean_another_class_in_archives_of_the_set_too(self):
        pictures = find_labelled([NEUTRAL, ANXIOUS], ScanOptions(rename={"anxious": "fear"}))
        assert set(pictures.emotion) == {"neutral", "fear"}
        with pytest.raises(FaceemoError, match="--rename: no class is called 'hurt'; the words are anxious, neutral"):
            find_labelled([NEUTRAL, ANXIOUS], ScanOptions(rename={"hurt": "pain"}))


def write_tree(folder: Path, classes: dict[str, tuple[Path, int]]) -> Path:
    """Pictures of the sample's people as bored/p00_1.jpg, numbered in the order of the archive, the first so many."""
    people: dict[str, str] = {}
    for name, (path, count) in classes.items():
        (folder / name).mkdir(parents=True)
        with PictureReader(path) as reader:
            for number, picture in enumerate(pictures_in(path)[:count]):
                subject = parse_picture_name(picture.name).subject
                person = people.setdefault(subject, f"p{len(people):02d}")
                (folder / name / f"{person}_{number}.jpg").write_bytes(reader.read(picture))
    return folder


class TestOwnPictures:
    @pytest.fixture
    def tree(self, tmp_path):
        return write_tree(tmp_path / "faces", {"neutral": (NEUTRAL, 6), "scared": (ANXIOUS, 6)})

    @pytest.mark.slow
    def test_a_folder_a_zip_and_a_table_of_the_same_pictures_give_the_same_numbers(self, tree, tmp_path, make_zip):
        files = sorted(tree.rglob("*.jpg"))
        packed = make_zip("packed.zip", *((file.relative_to(tree).as_posix(), file.read_bytes()) for file in files))
        lines = [f"faces/{file.relative_to(tree).as_posix()},{file.parent.name},{file.name[:3]}" for file in files]
        (tmp_path / "list.csv").write_text("\n".join(["path,emotion,subject", *lines]), encoding="utf-8")
        options = ScanOptions("/(p[0-9]+)_", {"scared": "anxious"})
        found = []
        for place, own in (
            (tree, options),
            (packed, options),
            (tmp_path / "list.csv", ScanOptions(None, options.rename)),
        ):
            pictures = find_labelled([place], own)
            assert pictures.is_known.all()
            model = EmotionModel(random_model())
            readings = read_labelled(pictures, np.ones(len(pictures), bool), SETTINGS, 1)
            found.append(scores(judged(model, pictures, readings), pictures))
        assert found[0] == found[1] == found[2] and found[0]["label"]["images"] == 12

    @pytest.mark.parametrize("subject", [None, "each"])
    def test_where_nothing_tells_who_is_who_every_picture_is_counted_for_itself(self, tree, subject):
        pictures = find_labelled([tree], ScanOptions(subject))
        assert not pictures.is_known.any() and len(set(pictures.person)) == 12

    @pytest.mark.slow
    def test_pictures_that_cannot_be_judged_are_counted_and_are_errors_beside(self, tree):
        (tree / "neutral" / "cut.jpg").write_bytes((tree / "neutral/p00_0.jpg").read_bytes()[:500])
        pictures = find_labelled([tree], ScanOptions(rename={"scared": "anxious"}))
        model = EmotionModel(random_model())
        readings = read_labelled(pictures, np.ones(len(pictures), bool), SETTINGS, 1)
        found = scores(judged(model, pictures, readings), pictures)
        assert (found["status"]["ok"], found["status"]["decode_error"]) == (12, 1)
        right = round(found["label"]["accuracy"] * 12)
        assert found["label"]["all_pictures"] == {"images": 13, "accuracy": pytest.approx(right / 13, abs=1e-6)}

    def test_nothing_of_a_scan_is_written_and_one_class_is_enough(self, tree, monkeypatch):
        monkeypatch.chdir(tree.parent)
        assert len(find_labelled([Path("faces/neutral/..")], ScanOptions())) == 12
        (tree.parent / "alone" / "anxious").mkdir(parents=True)
        (tree / "scared/p00_0.jpg").rename("alone/anxious/1.jpg")
        assert len(find_labelled([Path("alone")], ScanOptions())) == 1
        assert sorted(path.name for path in tree.parent.iterdir()) == ["alone", "faces"]


class TestBaseline:
    @pytest.mark.slow
    def test_a_persons_only_neutral_picture_is_no_baseline_of_its_own(self, tmp_path):
        tree = write_tree(tmp_path / "faces", {"neutral": (NEUTRAL, 8), "anxious": (ANXIOUS, 8)})
        pictures = find_labelled([tree], ScanOptions("/(p[0-9]+)_"))
        model = EmotionModel(random_model(baseline="neutral"))
        readings = read_labelled(pictures, np.ones(len(pictures), bool), SETTINGS, 1)
        found = judged(model, pictures, readings)
        for index, status in enumerate(found.status):
            others = (pictures.subject == pictures.subject[index]) & pictures.neutral & (np.arange(16) != index)
            others &= np.array([reading.status == "ok" for reading in readings])
            assert status == ("ok" if others.any() else "no_baseline")
            if others.any():
                own, *rest = (model.features([readings[i]])[0] for i in (index, *np.flatnonzero(others)))
                expected = model.probabilities({"features": own[None]}, np.mean(rest, axis=0))[0]
                np.testing.assert_allclose(found.probability[index], expected, atol=1e-5)
        assert {"ok", "no_baseline"} == set(found.status)

    def test_pictures_of_nobody_known_have_none(self, tmp_path):
        tree = write_tree(tmp_path / "faces", {"neutral": (NEUTRAL, 3)})
        for kind in ("neutral", "person"):
            pictures = find_labelled([tree], ScanOptions())
            model = EmotionModel(random_model(baseline=kind))
            readings = read_labelled(pictures, np.ones(3, bool), SETTINGS, 1)
            assert set(judged(model, pictures, readings).status) == {"no_baseline"}

    @pytest.mark.parametrize("subject", [None, "/(p[0-9]+)_"])
    def test_given_neutral_faces_serve_their_people_and_never_themselves(self, tmp_path, subject):
        tree = write_tree(tmp_path / "faces", {"neutral": (NEUTRAL, 8), "anxious": (ANXIOUS, 8)})
        pictures = find_labelled([tree], ScanOptions(subject))
        model = EmotionModel(random_model(baseline="neutral"))
        neutral = sorted((tree / "neutral").iterdir())[:2]
        inputs = list(read_inputs(neutral, SETTINGS, 1))
        given = given_baselines(model, pictures, inputs, subject_of_inputs(subject, [tree]))
        mean = [model.features([entry.reading])[0] for entry in inputs]
        for index in range(len(pictures)):
            person, place = pictures.subject[index], Path(pictures.every[index].path).resolve()
            using = [
                features
                for path, features in zip(neutral, mean, strict=True)
                if path.resolve() != place and (subject is None or path.name.startswith(f"{person}_"))
            ]
            own = inputs[neutral.index(place) if place in neutral else 0].reading
            found = given(index, own)
            assert (found is None) == (not using)
            if using:
                np.testing.assert_allclose(found, np.mean(using, axis=0), atol=1e-5)


def test_models_are_compared_on_the_pictures_that_all_of_them_judge(sample, readings):
    first, *_ = sorted(set(sample.subject))
    one = judged(EmotionModel(random_model()), sample, readings, name="a.pt")
    other = judged(knowing(random_model(("anxious", "neutral")), first), sample, readings, name="b.pt")
    chance = np.random.default_rng(0)
    one.probability[:], other.probability[:] = (chance.dirichlet(shares, len(sample)) for shares in ((1, 1), (1, 3)))
    found = plain(compare([one, other], sample.person))["label"]
    both = np.flatnonzero(one.answered & (sample.subject != first))
    words = (np.array(["neutral", "anxious"]), np.array(["anxious", "neutral"]))
    right = [
        (names[answers.probability[both].argmax(axis=1)] == sample.emotion[both]).mean()
        for names, answers in zip(words, (one, other), strict=True)
    ]
    assert right[0] != right[1]
    assert found["images"] == len(both) and found["people"] == len(set(sample.subject[both]))
    mean, low, high = found["differences"]["b.pt"]["accuracy"]
    assert mean == pytest.approx(right[1] - right[0], abs=1e-6) and low <= mean <= high and low < high
    assert [found["models"][name]["accuracy"] for name in ("a.pt", "b.pt")] == pytest.approx(right, abs=1e-6)
    losses = [found["models"][name]["log_loss"] for name in ("a.pt", "b.pt")]
    assert found["differences"]["b.pt"]["log_loss"][0] == pytest.approx(losses[1] - losses[0], abs=2e-6)
