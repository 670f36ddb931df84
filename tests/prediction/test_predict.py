import dataclasses
import math
import subprocess
import sys
import threading
from collections import defaultdict

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from made_archives import ANXIOUS, NEUTRAL, SETTINGS, encoded, source_of
from made_faces import needs_litert, needs_mediapipe
from made_models import EXTRACT, NORMALIZE, model_file, random_model, trained_model
from video import video_file

import faceemo
from faceemo import EmotionModel
from faceemo.errors import FaceemoError
from faceemo.extraction import worker
from faceemo.extraction.engines import choice
from faceemo.extraction.engines.choice import choose_engine, installed_engines
from faceemo.extraction.everyface import every_face
from faceemo.extraction.executors import default_workers
from faceemo.extraction.extract import extract
from faceemo.extraction.worker import Reading
from faceemo.features.normalize import normalize_sources
from faceemo.params import LEAST_PICTURES, NormalizeParams
from faceemo.prediction import model as model_module
from faceemo.prediction.baselines import mean_so_far, read_baselines
from faceemo.prediction.inputs import Input, read_inputs
from faceemo.prediction.model import engine_note
from faceemo.prediction.predict import predict_inputs
from faceemo.training.model import save_model


@pytest.fixture(scope="module")
def inputs():
    """The sample's training pictures of one emotion: 48 faces."""
    return list(read_inputs([ANXIOUS], SETTINGS, 1))


@pytest.fixture(scope="module")
def pictures(inputs):
    return [entry.pixels() for entry in inputs[:3]]


@pytest.fixture(scope="module")
def model():
    return EmotionModel(random_model())


@pytest.fixture(scope="module")
def person_model():
    return EmotionModel(random_model(baseline="person"))


@pytest.fixture(scope="module")
def neutral_model():
    return EmotionModel(random_model(baseline="neutral"))


def nameless(entries):
    return [dataclasses.replace(entry, subject=None) for entry in entries]


def of_people(entries, *subjects):
    """The first entries, as pictures of these subjects."""
    return [dataclasses.replace(entry, subject=subject) for entry, subject in zip(entries, subjects, strict=False)]


def expect_change(model, prediction, change):
    """The prediction is that of this difference [1434] between a face and its baseline."""
    expected = model.probabilities({"features": np.asarray(change, np.float32)[None]}, np.zeros(1434, np.float32))[0]
    np.testing.assert_allclose(prediction.answers[0].probability, expected, atol=1e-4)


def statuses(predictions):
    return [answer.status for prediction in predictions for answer in prediction.answers]


BLANK = np.zeros((120, 100, 3), np.uint8)


def by_engines(*engines: str) -> EmotionModel:
    """A model of which each of these engines found landmarks of a source."""
    trained = random_model()
    sources = {str(number): {"engine": engine, "versions": {}} for number, engine in enumerate(engines)}
    return EmotionModel(dataclasses.replace(trained, settings={**trained.settings, "sources": sources}))


class TestEngines:
    def test_faces_are_found_by_the_engine_of_training_where_it_is_installed(self):
        for engine in installed_engines():
            model = by_engines(engine, engine)
            assert model.extract_settings.engine == engine
            assert engine_note(model) is None
            assert engine_note(by_engines("mediapipe", "litert")) is None

    @pytest.mark.slow
    def test_another_engine_is_said(self, monkeypatch, pictures):
        here = choose_engine("auto")
        [other] = {"mediapipe", "litert"} - {here}
        for module in (model_module, choice):
            monkeypatch.setattr(module, "installed_engines", lambda: (here,))
        model = by_engines(other)
        assert engine_note(model) == (
            f"note: the model was trained on landmarks by {other}, here {here} finds them: they differ by 0.0015 % of "
            "the distance between the irises"
        )
        assert model.predict(pictures[0]) in model.classes_

    @pytest.mark.slow
    @needs_mediapipe
    @needs_litert
    def test_a_model_says_the_same_of_the_landmarks_of_both(self, tmp_path):
        model = EmotionModel.load(trained_model(tmp_path))
        probabilities = []
        for engine in ("mediapipe", "litert"):
            settings = dataclasses.replace(model.extract_settings, engine=engine)
            predictions = list(predict_inputs(model, read_inputs([NEUTRAL, ANXIOUS], settings, 1)))
            probabilities.append(
                np.array([answer.probability for p in predictions for answer in p.answers if p.answers[0].label])
            )
        mediapipe, litert = probabilities
        assert len(mediapipe) == len(litert) == 96
        np.testing.assert_array_equal(mediapipe.argmax(axis=1), litert.argmax(axis=1))
        largest = np.abs(mediapipe - litert).max()
        print(f"largest difference of a probability: {largest:.6f}")
        assert 0 < largest < 0.01


class TestLoading:
    @pytest.mark.slow
    def test_the_package_exports_the_model_without_importing_torch_before_it_is_asked_for(self):
        code = "import sys, faceemo; before = 'torch' in sys.modules; faceemo.EmotionModel; print(before)"
        assert (
            subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8").stdout
            == "False\n"
        )
        assert {faceemo.EmotionModel.__name__, faceemo.VideoFrames.__name__} == set(faceemo.__all__)
        with pytest.raises(AttributeError, match="no attribute 'Emotion'"):
            faceemo.Emotion  # noqa: B018

    def test_a_model_is_what_was_saved(self, tmp_path):
        model = EmotionModel.load(str(model_file(tmp_path, classes=("neutral", "happy", "sad"))))
        assert model.classes_.tolist() == ["neutral", "happy", "sad"]
        assert model.extract_settings == dataclasses.replace(SETTINGS, engine=choose_engine("auto"), crops=False)
        assert EmotionModel.load(model_file(tmp_path, network="both")).extract_settings.crops
        assert not model.judges_change
        assert EmotionModel.load(model_file(tmp_path, baseline="person")).judges_change

    def test_a_model_from_before_there_were_two_engines_loads_and_is_mediapipes(self):
        settings = {name: value for name, value in vars(SETTINGS).items() if name != "engine"}
        trained = random_model()
        old = {**trained.settings, "extract": {"settings": settings, "versions": {"mediapipe": "0.10.21"}}}
        model = EmotionModel(dataclasses.replace(trained, settings=old))
        assert model.engines == ["mediapipe"]
        assert model.extract_settings.engine == ("mediapipe" if "mediapipe" in installed_engines() else "auto")

    def test_a_missing_file_says_what_to_do(self, tmp_path):
        with pytest.raises(FaceemoError, match=r"none\.pt: no such model; train one with 'dvc repro'"):
            EmotionModel.load(tmp_path / "none.pt")

    @pytest.mark.parametrize(
        "spoil",
        [
            {"settings": {}},
            {"settings": {"normalize": {}, "extract": {"settings": {}}}},
            {"state_dict": {}},
            {"classes": ("one", "two", "three")},
            {"settings": None},
            {"settings": {"normalize": [], "extract": []}},
            {"settings": {"normalize": "equal", "extract": {"settings": "none"}}},
            {"settings": {"normalize": {**NORMALIZE, "scale": ["rms"]}, "extract": EXTRACT}},
            {"settings": {"normalize": NORMALIZE, "extract": EXTRACT, "sources": {"a": "mediapipe"}}},
            {"settings": {"normalize": NORMALIZE, "extract": EXTRACT, "sources": ["a"]}},
            {"settings": {"normalize": NORMALIZE, "extract": {"settings": {**EXTRACT["settings"], "max_faces": [1]}}}},
        ],
    )
    def test_a_file_whose_parts_do_not_fit_is_named_in_one_line(self, tmp_path, spoil):
        path = tmp_path / "emotion.pt"
        save_model(path, dataclasses.replace(random_model(), **spoil))
        with pytest.raises(FaceemoError, match=r"emotion\.pt: not a model of this version of faceemo; train it again"):
            EmotionModel.load(path)


class TestNoNumber:
    """NaN stands for a picture without a face, and for nothing else."""

    @pytest.fixture
    def exploding(self):
        """A model of finite weights whose logits are not."""
        model = random_model()
        weights = {name: value * 1e30 if name.endswith("weight") else value for name, value in model.state_dict.items()}
        return EmotionModel(dataclasses.replace(model, state_dict=weights))

    def test_a_probability_that_is_not_finite_is_an_error_and_no_label(self, exploding, pictures, inputs):
        for predict in (
            exploding.predict,
            exploding.predict_proba,
            lambda picture: exploding.predict([BLANK, picture]),
        ):
            with pytest.raises(FaceemoError, match="the model's probabilities are not finite numbers; train it again"):
                predict(pictures[0])
        with pytest.raises(FaceemoError, match="not finite"):
            list(predict_inputs(exploding, inputs[:2]))

    def test_a_picture_without_a_face_still_has_none(self, exploding):
        assert np.isnan(exploding.predict_proba(BLANK)).all()
        assert exploding.predict(BLANK) is None


class TestPictures:
    def test_one_picture_gives_one_label_and_one_row(self, model, pictures):
        probability = model.predict_proba(pictures[0])
        assert probability.shape == (2,) and probability.dtype == np.float32
        assert probability.sum() == pytest.approx(1)
        assert model.predict(pictures[0]) == model.classes_[probability.argmax()]

    def test_several_pictures_give_what_each_gives_alone(self, model, pictures):
        many = [pictures[0], BLANK, pictures[1], pictures[2][:, ::2][:, ::1].copy()]
        together = model.predict_proba(many)
        for row, picture in zip(together, many, strict=True):
            np.testing.assert_allclose(row, model.predict_proba(picture), atol=1e-6)
        assert model.predict(many).tolist() == [model.predict(picture) for picture in many]

    def test_an_array_of_pictures_counts_as_several(self, model, pictures):
        stacked = np.stack([pictures[0], pictures[0]])
        assert model.predict(stacked).shape == (2,)

    def test_no_face_is_none_and_nan(self, model):
        assert model.predict(BLANK) is None
        assert np.isnan(model.predict_proba(BLANK)).all()
        assert model.predict([BLANK]).tolist() == [None]

    @pytest.mark.parametrize("size", [(1, 1), (40_000, 1), (2, 32_767)])
    def test_an_array_of_any_size_is_looked_at(self, model, size):
        assert model.predict(np.zeros((*size, 3), np.uint8)) is None

    def test_no_pictures_are_no_rows(self, model):
        assert model.predict_proba([]).shape == (0, 2)

    def test_probabilities_are_calibrated_logits(self, model, inputs):
        features = model.features([inputs[0].reading])
        trained = model.trained
        with torch.no_grad():
            logits = trained.build()(torch.from_numpy(features))
        expected = torch.softmax(logits / trained.temperature, dim=1).numpy()
        np.testing.assert_allclose(model.probabilities({"features": features}), expected, atol=1e-6)

    def test_threads_may_share_a_model(self, model, pictures):
        alone = model.predict_proba(pictures)
        found = {}

        def work(number):
            found[number] = [model.predict_proba(pictures) for _ in range(3)]

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 4
        for results in found.values():
            for result in results:
                np.testing.assert_allclose(result, alone, atol=1e-6)  # sums in another order

    def test_threads_that_come_and_go_share_as_many_meshes_as_there_are_cores(self, model, pictures, monkeypatch):
        """As the threads of a server do, one for each request: each mesh takes 30 MB, and nothing gives them back."""
        meshes = counted_meshes(monkeypatch)
        threads = [threading.Thread(target=model.predict, args=(pictures[0],)) for _ in range(60)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert 1 <= len(meshes) <= default_workers()

    def test_all_videos_share_them_too(self, tmp_path, pictures, monkeypatch):
        meshes = counted_meshes(monkeypatch)
        videos = [video_file(tmp_path / f"{number}.mp4", pictures[:1] * 4) for number in range(21)]
        assert len(list(read_inputs(videos, SETTINGS))) == 84
        assert 1 <= len(meshes) <= default_workers()

    def test_many_faces_are_judged_some_at_a_time(self, model, inputs, monkeypatch):
        """At once, those of the whole set would take more memory than most machines have."""
        readings = [entry.reading for entry in inputs[:5]]
        together, sizes = model.answer(readings), []
        monkeypatch.setattr(model_module, "FACES_AT_ONCE", 2)
        network = model._network
        monkeypatch.setattr(model, "_network", lambda *columns: sizes.append(len(columns[0])) or network(*columns))
        for one, other in zip(model.answer(readings), together, strict=True):
            np.testing.assert_allclose(one.probability, other.probability, atol=1e-6)
        assert sizes == [2, 2, 1]


def counted_meshes(monkeypatch):
    """Every FaceMesh that is made from now on, none before."""
    made = []

    class Counted(worker.FaceMesh):
        def __init__(self, *arguments):
            made.append(arguments)
            super().__init__(*arguments)

    monkeypatch.setattr(worker, "FaceMesh", Counted)
    monkeypatch.setattr(worker, "_idle_meshes", defaultdict(list))
    return made


class TestBaseline:
    def test_a_neutral_face_of_a_person_model_is_judged_as_those_of_training(self, person_model, pictures):
        own = person_model.mean_face(pictures[0])
        neutral = {"features": person_model.trained.neutral.numpy()[None]}
        expected = person_model.probabilities(neutral, np.zeros(1434, np.float32))[0]
        np.testing.assert_allclose(person_model.predict_proba(pictures[0], own), expected, atol=1e-6)

    def test_a_neutral_face_is_taken_as_it_is_by_a_model_trained_on_such(self, neutral_model, pictures, inputs):
        features = np.concatenate([neutral_model.features([entry.reading]) for entry in inputs[:2]])
        mean = neutral_model.mean_face([pictures[0], BLANK, pictures[1]])
        np.testing.assert_allclose(mean, features.mean(axis=0), atol=0.02)  # pixels here, reduced JPEGs there
        baseline_of = read_baselines(neutral_model, nameless(inputs[:2]))
        np.testing.assert_array_equal(baseline_of(inputs[5]), features.mean(axis=0))

    def test_without_a_face_there_is_none(self, neutral_model):
        with pytest.raises(FaceemoError, match="no face found in the pictures of the neutral face"):
            neutral_model.mean_face([BLANK])
        for subject in (None, "x"):
            blank = Input("blank.png", None, subject, Reading("no_face", None, 9, 9, 0), lambda: BLANK)
            with pytest.raises(FaceemoError, match="no face found in the pictures of the neutral face"):
                read_baselines(neutral_model, [blank])

    def test_a_neutral_picture_of_one_person_that_cannot_be_read_is_named(self, neutral_model):
        broken = Input("cut.jpg", None, None, Reading("decode_error", "premature end"), lambda: BLANK)
        with pytest.raises(FaceemoError, match=r"cut\.jpg: decode_error: premature end"):
            read_baselines(neutral_model, [broken])
        named = Input("a.jpg", None, "x", Reading("no_face", None, 9, 9, 0), lambda: BLANK)
        with pytest.raises(FaceemoError, match=r"cut\.jpg: decode_error: premature end"):
            read_baselines(neutral_model, [named, broken])

    def test_pictures_that_tell_whose_they_are_and_pictures_that_do_not_are_not_mixed(self, neutral_model, inputs):
        mixed = [
            dataclasses.replace(inputs[0], path="a.jpg"),
            *nameless([dataclasses.replace(inputs[1], path="b.jpg")]),
        ]
        with pytest.raises(FaceemoError, match=r"the name of a\.jpg says who is in it and that of b\.jpg does not"):
            read_baselines(neutral_model, mixed)

    def test_each_person_is_compared_with_their_own_neutral_faces_and_nobody_elses(self, neutral_model, inputs):
        broken = Input("cut.jpg", None, "x", Reading("decode_error", "premature end"), lambda: BLANK)
        neutral = [*of_people(inputs, "x", "x", "y"), broken]
        baseline_of = read_baselines(neutral_model, neutral)
        a, b, c, d = (neutral_model.features([entry.reading])[0] for entry in inputs[:4])
        asked = of_people([inputs[3], inputs[3], inputs[3], inputs[0], inputs[2]], "x", "y", "z", "x", "y")
        predictions = list(predict_inputs(neutral_model, asked, baseline_of))
        assert statuses(predictions) == ["ok", "ok", "no_baseline", "ok", "no_baseline"]
        [stranger] = predictions[2].answers
        assert stranger.label is None and stranger.probability is None and stranger.box
        for index, change in ((0, d - (a + b) / 2), (1, d - c), (3, a - b)):  # the fourth is not its own baseline
            expect_change(neutral_model, predictions[index], change)

    def test_a_model_says_whether_it_needs_one(self, model, person_model, pictures):
        with pytest.raises(FaceemoError, match="needs a baseline"):
            person_model.predict(pictures[0])
        other = EmotionModel(random_model(("happy", "sad")))
        with pytest.raises(FaceemoError, match="takes no neutral face: neutral is none of its classes"):
            other.predict(pictures[0], np.zeros(2, np.float32))
        assert [one.takes_baseline for one in (model, person_model, other)] == [True, True, False]
        for one in (model, person_model):
            with pytest.raises(FaceemoError, match="this baseline is of another model: take it anew with mean_face"):
                one.predict(pictures[0], np.zeros(5, np.float32))

    def test_a_neutral_face_takes_off_half_of_what_it_is_answered_otherwise(self, model, inputs):
        own, face = inputs[0].reading, inputs[3].reading
        baseline = model.baseline_from([own])
        known, before = (np.log(answer.probability) for answer in model.answer([own, face]))
        expected = np.exp(before - 0.5 * (known - [1, 0]))
        corrected, plain = model.answer([face, face], [baseline, None])
        np.testing.assert_allclose(corrected.probability, expected / expected.sum(), atol=1e-5)
        np.testing.assert_allclose(plain.probability, np.exp(before), atol=1e-6)
        assert np.abs(corrected.probability - plain.probability).max() > 0.01
        [for_all] = model.answer([face], baseline)
        np.testing.assert_allclose(for_all.probability, corrected.probability, atol=1e-6)

    @pytest.mark.parametrize("margin", [math.inf, -math.inf])
    def test_faces_and_neutral_faces_are_answered_by_the_same_of_two_networks(self, inputs, margin):
        """By that of the start for all faces, and by the model's own."""
        start, own = random_model(seed=1, network="cnn"), random_model(network="both")
        both = EmotionModel(dataclasses.replace(own, start=start, margin=margin))
        alone = EmotionModel(start if margin > 0 else own)
        neutral, face = ([inputs[at].reading] for at in (0, 3))
        assert both.left_to_start(face).all() == (margin > 0)
        (found,), (plain,) = both.answer(face, both.baseline_from(neutral)), both.answer(face, [None])
        (expected,) = alone.answer(face, alone.baseline_from(neutral))
        np.testing.assert_allclose(found.probability, expected.probability, atol=1e-5)
        assert np.abs(found.probability - plain.probability).max() > 1e-3
        several = both.answer([*face, *face], [both.baseline_from(neutral), None])
        np.testing.assert_allclose(several[0].probability, found.probability, atol=1e-6)
        np.testing.assert_allclose(several[1].probability, plain.probability, atol=1e-6)

    def test_people_without_a_neutral_face_are_judged_all_the_same(self, model, inputs):
        baseline_of = read_baselines(model, of_people(inputs, "x", "y"))
        asked = of_people([inputs[3], inputs[4]], "x", "z")
        [[known], [stranger]] = (one.answers for one in predict_inputs(model, asked, baseline_of))
        corrected = model.answer([inputs[3].reading], model.baseline_from([inputs[0].reading]))
        for found, [expected] in ((known, corrected), (stranger, model.answer([inputs[4].reading]))):
            np.testing.assert_allclose(found.probability, expected.probability, atol=1e-6)


class TestInputs:
    @pytest.mark.slow
    def test_features_are_bit_for_bit_those_of_extract_and_normalize(self, tmp_path, monkeypatch, inputs):
        monkeypatch.chdir(tmp_path)
        settings = {"center": "nose_tip", "scale": "max_abs", "baseline": "none"}
        source = source_of(ANXIOUS)
        folder = extract("a-training-01", source, SETTINGS, None, workers=1)
        normalize_sources({"a-training-01": source}, folder.parent, NormalizeParams(**settings))
        rows = pq.read_table("data/features/a-training-01.parquet")
        model = EmotionModel(random_model(**settings))
        assert len(inputs) == len(rows) >= 48
        for entry, features in zip(inputs, rows["features"].to_pylist(), strict=True):
            assert (entry.reading.status == "ok") == (features is not None)
            if features is not None:
                np.testing.assert_array_equal(model.features([entry.reading])[0], np.array(features, np.float32))

    @pytest.mark.slow
    def test_every_input_has_a_prediction_in_its_place(self, model):
        everything = list(read_inputs([NEUTRAL], SETTINGS, 1))
        predictions = list(predict_inputs(model, everything))
        assert [prediction.input for prediction in predictions] == everything
        answers = [answer for prediction in predictions for answer in prediction.answers]
        assert len(answers) == len(predictions)
        for answer in answers:
            assert (answer.label is not None) == (answer.reading.status == "ok") == (answer.box is not None)
        assert sum(answer.label is None for answer in answers) == 2
        face = next(answer for answer in answers if answer.label)
        np.testing.assert_allclose(face.probability, model.probabilities(model.inputs([face.reading]))[0], atol=1e-6)

    @pytest.mark.slow
    def test_every_face_of_a_picture_is_judged_as_if_it_were_alone(self, model, inputs, tmp_path):
        left, right = inputs[0].pixels(), inputs[1].pixels()[100:400, 60:320]
        picture = np.full((512, 700, 3), 90, np.uint8)
        picture[:, :384], picture[:300, 440:] = left, right
        (tmp_path / "two.png").write_bytes(encoded(picture, "PNG"))
        files = [tmp_path / "two.png", ANXIOUS, tmp_path / "two.png"]
        predictions = list(predict_inputs(model, read_inputs(files, every_face(SETTINGS), 2)))
        assert [len(prediction.answers) for prediction in predictions] == [2, *[1] * len(inputs), 2]
        assert [answer.face for answer in predictions[0].answers] == [1, 2]
        for one, alone in zip(predictions[1:-1], predict_inputs(model, inputs), strict=True):
            for what in ("label", "status", "box"):
                assert getattr(one.answers[0], what) == getattr(alone.answers[0], what)
        for one in predictions[0].answers:
            [expected] = model.probabilities(model.inputs([one.reading]))
            np.testing.assert_allclose(one.probability, expected, atol=1e-6)
            assert one.label == model.classes_[expected.argmax()]
        first, second = (one.box for one in predictions[0].answers)
        assert first[2] < 384 and second[0] > 440

    def test_every_face_is_for_a_model_of_single_pictures(self, model, person_model, neutral_model):
        assert model.every_face_settings() == every_face(model.extract_settings)
        for other in (person_model, neutral_model):
            with pytest.raises(FaceemoError, match="nothing says who is who"):
                other.every_face_settings()

    def test_the_box_encloses_the_landmarks_in_pixels(self, model, inputs):
        [prediction] = predict_inputs(model, inputs[:1])
        left, top, right, bottom = prediction.answers[0].box
        assert 0 < left < right < 384 and 0 < top < bottom < 512
        assert inputs[0].reading.landmarks.reshape(478, 3)[:, 0].max() * 384 == pytest.approx(right)

    def test_a_baseline_is_subtracted_from_every_face(self, person_model, inputs):
        baseline_of = read_baselines(person_model, nameless(inputs[:4]))
        predictions = list(predict_inputs(person_model, inputs[:5], baseline_of))
        features = person_model.features([entry.reading for entry in inputs[:5]])
        mean = features[:4].mean(axis=0)
        expect_change(person_model, predictions[4], features[4] - mean + person_model.trained.neutral.numpy())

    def test_a_persons_mean_so_far_stands_in_once_it_is_of_enough_pictures(self, person_model, inputs, monkeypatch):
        monkeypatch.setitem(LEAST_PICTURES, "person", 2)
        a, b = (person_model.features([entry.reading])[0] for entry in inputs[:2])
        asked = of_people([inputs[0], inputs[1], inputs[1], inputs[0], inputs[0]], "x", "y", "x", "y", "z")
        predictions = list(predict_inputs(person_model, asked, mean_so_far(person_model)))
        assert statuses(predictions) == ["no_baseline", "no_baseline", "ok", "ok", "no_baseline"]
        expect_change(person_model, predictions[2], (b - a) / 2)
        expect_change(person_model, predictions[3], (a - b) / 2)
