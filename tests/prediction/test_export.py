import dataclasses
import errno
import importlib.metadata
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from made_archives import ANXIOUS, NEUTRAL, SETTINGS, on_a_full_disk
from made_landmarks import ALIGNS, CENTERS, SCALES, UNITS, frontal_face, photo, rotation, settings
from made_models import ROOT, model_file, random_model

import faceemo
from faceemo import EmotionModel
from faceemo.errors import FaceemoError
from faceemo.extraction.archive import Archive
from faceemo.extraction.worker import read_picture
from faceemo.features.geometry import normalize
from faceemo.prediction.export import Normalization, export_onnx
from faceemo.training.model import save_model

SEVEN = ("neutral", "anxious", "happy", "sad", "angry", "surprised", "hurt")
NO_BASELINE = np.zeros((1, 1434), np.float32)


@pytest.fixture(scope="module")
def readings():
    """Eight faces of the sample, as extraction finds them."""
    found = []
    for path in (ANXIOUS, NEUTRAL):
        with Archive(path) as archive:
            several = (read_picture(archive, member, SETTINGS) for member in archive.pictures)
            found += itertools.islice((reading for reading in several if reading.status == "ok"), 4)
    return found


@pytest.fixture(scope="module")
def faces(readings):
    """What goes into the exported model for these readings."""
    return {
        "landmarks": np.stack([reading.landmarks.reshape(478, 3) for reading in readings]),
        "size": np.array([(reading.width, reading.height) for reading in readings], np.float32),
    }


def exported(folder: Path, **options) -> tuple[EmotionModel, onnxruntime.InferenceSession]:
    """A random model, sharp enough to tell faces apart, and its export."""
    path = folder / "emotion.pt"
    save_model(path, dataclasses.replace(random_model(**options), temperature=0.1))
    export_onnx(path, folder / "emotion.onnx")
    return EmotionModel.load(path), onnxruntime.InferenceSession(folder / "emotion.onnx")


def features_of(model: EmotionModel, readings: list) -> np.ndarray:
    return np.concatenate([model.features(reading) for reading in readings])


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape and found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-5


def tilted_faces(pixels: float, pictures: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks [24, 478, 3] and sizes [24, 2] of faces about two `pixels` tall, each turned and placed at random."""
    random = np.random.default_rng(0)
    landmarks, sizes = [], []
    for number in range(24):
        picture = pictures[number % len(pictures)]
        face = frontal_face(number) @ rotation(*random.uniform((-40, -30, -180), (40, 30, 180))).T
        at = random.uniform(0.3, 0.8, 2) * picture
        landmarks.append(photo(face, picture, pixels * random.uniform(0.5, 1.5), at))
        sizes.append(picture)
    return np.stack(landmarks), np.array(sizes, np.float32)


@pytest.mark.parametrize(
    ("pixels", "pictures"),
    [(200, [(900, 1200), (1200, 900), (640, 640)]), (80, [(12000, 9000), (6000, 8000)])],
    ids=["usual", "small faces in large pictures"],
)
@pytest.mark.parametrize(("units", "center", "scale", "align"), list(itertools.product(UNITS, CENTERS, SCALES, ALIGNS)))
def test_the_features_are_those_of_the_pipeline(pixels, pictures, units, center, scale, align):
    landmarks, sizes = tilted_faces(pixels, pictures)
    chosen = settings(units=units, center=center, scale=scale, align=align)
    expected, _ = normalize(landmarks, *sizes.T, chosen)
    with torch.inference_mode():
        found = Normalization(chosen)(torch.from_numpy(landmarks), torch.from_numpy(sizes)).numpy()
    assert_close(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    "normalization",
    [
        {},
        {"units": "image", "center": "nose_tip", "scale": "max_abs"},
        {"align": "roll", "center": "nose_tip"},
        {"align": "roll", "units": "image"},
        {"align": "pose", "scale": "max_abs"},
        {"align": "pose", "units": "image"},
    ],
    ids=lambda changes: "-".join(changes.values()) or "defaults",
)
@pytest.mark.parametrize("classes", [("neutral", "anxious"), SEVEN], ids=len)
def test_onnx_runtime_gives_the_probabilities_of_pytorch(tmp_path, readings, faces, classes, normalization):
    model, session = exported(tmp_path, classes=classes, **normalization)
    assert {value.name: (value.type, value.shape) for value in session.get_inputs()} == {
        "landmarks": ("tensor(float)", ["N", 478, 3]),
        "size": ("tensor(float)", ["N", 2]),
    }
    assert [(value.name, value.shape) for value in session.get_outputs()] == [("probabilities", ["N", len(classes)])]
    (probabilities,) = session.run(None, faces)
    assert_close(probabilities, model.judge(features_of(model, readings)))
    assert np.ptp(probabilities, axis=0).max() > 0.01


@pytest.mark.parametrize("align", ALIGNS)
def test_any_number_of_faces_goes_through_at_once(tmp_path, readings, faces, align):
    model, session = exported(tmp_path, align=align)
    expected = model.judge(features_of(model, readings))
    for count in (1, 2, 1000):
        indices = np.arange(count) % len(readings)
        (probabilities,) = session.run(None, {name: values[indices] for name, values in faces.items()})
        assert_close(probabilities, expected[indices])
    (nobody,) = session.run(None, {name: values[:0] for name, values in faces.items()})
    assert nobody.shape == (0, 2)


@pytest.fixture(scope="module")
def person(tmp_path_factory):
    """A model that judges how a face differs from the same person's, and its export."""
    return exported(tmp_path_factory.mktemp("person"), align="pose", baseline="person")


class TestBaseline:
    def test_features_for_a_baseline_need_none(self, person, readings, faces):
        model, session = person
        (features,) = session.run(["features"], {**faces, "baseline": NO_BASELINE})
        assert_close(features, model.neutral_baseline(features_of(model, readings)))

    def test_one_baseline_serves_all_faces(self, person, readings, faces):
        model, session = person
        (features,) = session.run(["features"], {**faces, "baseline": NO_BASELINE})
        baseline = features[:3].mean(axis=0, keepdims=True)
        probabilities, again = session.run(["probabilities", "features"], {**faces, "baseline": baseline})
        expected = features_of(model, readings)
        assert_close(probabilities, model.judge(expected, model.neutral_baseline(expected[:3].mean(axis=0))))
        assert_close(again, model.neutral_baseline(expected))
        assert np.abs(probabilities - model.judge(expected, NO_BASELINE[0])).max() > 0.01

    def test_each_face_may_have_its_own(self, person, readings, faces):
        model, session = person
        expected = features_of(model, readings)
        baselines = np.roll(expected, 1, axis=0)
        (probabilities,) = session.run(["probabilities"], {**faces, "baseline": baselines})
        assert_close(probabilities, model.judge(expected, baselines))

    def test_it_cannot_be_forgotten(self, person, faces):
        with pytest.raises(ValueError, match="baseline"):
            person[1].run(None, faces)

    def test_it_is_explained(self, person):
        inputs = person[1].get_modelmeta().custom_metadata_map["inputs"]
        assert "baseline [1, 1434]" in inputs and "features" in inputs


ONNX = re.compile(r"```python\n(import json\n.*?InferenceSession.*?)```", re.DOTALL)
PYTHON = re.compile(r"```python\n((?:(?!```).)*?model\.predict\(.*?)```", re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["use.md", "use.ko.md"])
def test_the_python_of_the_docs_runs_as_it_stands_there(tmp_path, name):
    model = EmotionModel.load(model_file(tmp_path))
    export_onnx(tmp_path / "models/emotion.pt", tmp_path / "models/emotion.onnx")
    with Archive(ANXIOUS) as archive:
        (tmp_path / "photo.jpg").write_bytes(archive.read(archive.pictures[0], SETTINGS.max_bytes))
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    blocks = [PYTHON.search(page)[1], ONNX.search(page)[1]]
    for block in blocks:
        code = block + "\nprint(json.dumps([classes, probabilities.tolist()]))" if "onnx" in block else block
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, encoding="utf-8")
        assert (done.returncode, done.stderr) == (0, "")
    classes, probabilities = json.loads(done.stdout)
    assert classes == model.classes_.tolist()
    np.testing.assert_allclose(probabilities, [model.predict_proba(tmp_path / "photo.jpg")], atol=1e-5)


def test_classes_settings_and_the_meaning_of_the_inputs_travel_in_the_metadata(tmp_path):
    model, session = exported(tmp_path, classes=SEVEN, align="roll")
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["classes"]) == list(SEVEN)
    assert json.loads(metadata["settings"]) == model.trained.settings
    assert json.loads(metadata["settings"])["normalize"]["align"] == "roll"
    assert (metadata["format"], metadata["faceemo"]) == ("2", importlib.metadata.version("faceemo"))
    assert "picture widths" in metadata["inputs"] and "baseline" not in metadata["inputs"]


def test_the_file_stands_alone_and_the_same_model_gives_the_same_bytes(tmp_path):
    path = model_file(tmp_path)
    out = tmp_path / "deep" / "er" / "emotion.onnx"
    export_onnx(path, out)
    first = out.read_bytes()
    export_onnx(path, out)
    assert out.read_bytes() == first
    assert [file.name for file in out.parent.iterdir()] == ["emotion.onnx"]
    model = onnx.load(out)
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    for folder in (tmp_path, Path(faceemo.__file__).parent, Path(torch.__file__).parent):
        assert os.fsencode(folder) not in first


def test_one_line_says_what_was_written_and_nothing_else_is_said(tmp_path, capfd, recwarn):
    out = tmp_path / "emotion.onnx"
    export_onnx(model_file(tmp_path), out)
    export_onnx(model_file(tmp_path, baseline="person"), out)
    said = capfd.readouterr()
    assert said.err == "" and not recwarn.list
    assert said.out.splitlines() == [
        f"wrote {out}: landmarks [N, 478, 3], size [N, 2] to probabilities [N, 2]; classes neutral, anxious; 3.6 MB",
        f"wrote {out}: landmarks [N, 478, 3], size [N, 2], baseline [one_or_N, 1434] to probabilities [N, 2], "
        "features [N, 1434]; classes neutral, anxious; 3.6 MB",
    ]


def test_without_onnx_one_line_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(FaceemoError) as error:
        export_onnx(model_file(tmp_path), tmp_path / "emotion.onnx")
    assert str(error.value) == 'export needs ONNX: python -m pip install -c constraints.txt -e ".[export]"'
    assert not (tmp_path / "emotion.onnx").exists()


def test_the_model_itself_is_never_replaced(tmp_path):
    path = model_file(tmp_path)
    before = path.read_bytes()
    with pytest.raises(FaceemoError, match="this is an input and would be replaced; name another"):
        export_onnx(path, tmp_path / "models" / ".." / "models" / path.name)
    assert path.read_bytes() == before


def test_a_missing_model_is_one_clear_line_and_makes_no_folder(tmp_path):
    with pytest.raises(FaceemoError, match="no such model"):
        export_onnx(tmp_path / "emotion.pt", tmp_path / "models" / "emotion.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="sets a POSIX limit")
def test_a_full_disk_is_one_line_and_leaves_the_old_file(tmp_path):
    path, out = model_file(tmp_path), tmp_path / "emotion.onnx"
    out.write_bytes(b"old")
    code = f"""
from pathlib import Path
from faceemo.prediction.export import export_onnx
export_onnx(Path({str(path)!r}), Path({str(out)!r}))
"""
    assert on_a_full_disk(code) == (1, "", f"train: error: {os.strerror(errno.EFBIG)}: {out}\n")
    assert out.read_bytes() == b"old"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["emotion.onnx", "models"]
