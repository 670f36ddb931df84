import ast
import contextlib
import dataclasses
import errno
import importlib.metadata
import io
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from made_archives import ANXIOUS, NEUTRAL, SETTINGS, on_a_full_disk
from made_models import ROOT, model_file, random_model
from PIL import Image
from systems import needs_posix
from video import video_file

import faceemo
from faceemo import EmotionModel
from faceemo.errors import FaceemoError
from faceemo.prediction.export import export_onnx
from faceemo.prediction.inputs import read_inputs
from faceemo.training.domains import Likelier
from faceemo.training.model import save_model

pytestmark = pytest.mark.slow

SEVEN = ("neutral", "anxious", "happy", "sad", "angry", "surprised", "hurt")
NO_BASELINE = np.zeros((1, 1434), np.float32)


class Export(NamedTuple):
    model: EmotionModel
    path: Path
    out: Path
    said: str
    session: onnxruntime.InferenceSession


@pytest.fixture(scope="module")
def exports(tmp_path_factory, readings):
    """Random models, sharp enough to tell faces apart, by what is special about each, and their exports."""
    options = {
        "plain": {},
        "seven": {"classes": SEVEN, "center": "nose_tip", "scale": "max_abs"},
        "person": {"baseline": "person"},
        "both": {"network": "both"},
        "cnn": {"network": "cnn"},
        "start": {"network": "both", "start": random_model(SEVEN[::-1], seed=1, network="cnn")},
    }
    found = {}
    for name, chosen in options.items():
        path = tmp_path_factory.mktemp(name) / "emotion.pt"
        model = dataclasses.replace(random_model(**chosen), temperature=0.1)
        if model.start is not None:  # half of the faces
            crops = torch.from_numpy(np.stack([one.crop for one in readings]))
            model = dataclasses.replace(
                model, margin=Likelier(model.domain, model.start.domain)(crops).median().item() + 1e-3
            )
        out = path.parent / "deep" / "er" / "emotion.onnx"
        save_model(path, model)
        with contextlib.redirect_stdout(io.StringIO()) as said:
            export_onnx(path, out)
        session = onnxruntime.InferenceSession(out)
        found[name] = Export(EmotionModel.load(path), path, out, said.getvalue(), session)
    return found


@pytest.fixture(scope="module")
def readings():
    """Eight faces of the sample, as extraction finds them."""
    found = []
    for path in (ANXIOUS, NEUTRAL):
        readings = (entry.reading for entry in read_inputs([path], SETTINGS, 1))
        found += itertools.islice((reading for reading in readings if reading.status == "ok"), 4)
    return found


@pytest.fixture(scope="module")
def faces(readings):
    """What goes into the exported model for these readings."""
    return {
        "landmarks": np.stack([reading.landmarks.reshape(478, 3) for reading in readings]),
        "size": np.array([(reading.width, reading.height) for reading in readings], np.float32),
        "crop": np.stack([reading.crop for reading in readings]),
    }


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape and found.dtype == np.float32
    assert np.abs(found - expected).max() < 2e-6


INPUTS = {
    "landmarks": ("tensor(float)", ["N", 478, 3]),
    "size": ("tensor(float)", ["N", 2]),
    "crop": ("tensor(uint8)", ["N", 64, 64]),
}


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("plain", ("landmarks", "size")),
        ("seven", ("landmarks", "size")),
        ("cnn", ("crop",)),
        ("both", ("landmarks", "size", "crop")),
        ("start", ("landmarks", "size", "crop")),
    ],
)
def test_onnx_runtime_gives_the_probabilities_of_pytorch_for_any_number_of_faces(
    exports, readings, faces, name, inputs
):
    model, session = exports[name].model, exports[name].session
    found = {value.name: (value.type, value.shape) for value in session.get_inputs()}
    assert found == {name: INPUTS[name] for name in inputs}
    classes = len(model.classes_)
    assert [(value.name, value.shape) for value in session.get_outputs()] == [("probabilities", ["N", classes])]
    expected = model.probabilities(model.inputs(readings))
    assert model.left_to_start(readings).sum() == (4 if name == "start" else 0)
    for count in (1, 8, 100):
        indices = np.arange(count) % len(readings)
        (probabilities,) = session.run(None, {name: faces[name][indices] for name in inputs})
        assert_close(probabilities, expected[indices])
    assert np.ptp(probabilities, axis=0).max() > 0.005
    (none,) = session.run(None, {name: faces[name][:0] for name in inputs})
    assert none.shape == (0, classes)


class TestBaseline:
    @pytest.fixture
    def person(self, exports):
        return exports["person"].model, exports["person"].session

    @pytest.fixture
    def faces(self, faces):
        return {name: faces[name] for name in ("landmarks", "size")}

    def test_features_for_a_baseline_need_none(self, person, readings, faces):
        model, session = person
        (features,) = session.run(["features"], {**faces, "baseline": NO_BASELINE})
        assert_close(features, model.neutral_baseline(model.features(readings)))

    def test_one_baseline_serves_all_faces(self, person, readings, faces):
        model, session = person
        (features,) = session.run(["features"], {**faces, "baseline": NO_BASELINE})
        baseline = features[:3].mean(axis=0, keepdims=True)
        probabilities, again = session.run(["probabilities", "features"], {**faces, "baseline": baseline})
        inputs = model.inputs(readings)
        assert_close(probabilities, model.probabilities(inputs, model.baseline_from(readings[:3])))
        assert_close(again, features)
        assert np.abs(probabilities - model.probabilities(inputs, NO_BASELINE[0])).max() > 0.01

    def test_each_face_may_have_its_own(self, person, readings, faces):
        model, session = person
        expected = model.features(readings)
        baselines = np.roll(expected, 1, axis=0)
        (probabilities,) = session.run(["probabilities"], {**faces, "baseline": baselines})
        assert_close(probabilities, model.probabilities({"features": expected}, baselines))

    def test_it_cannot_be_forgotten_and_is_explained(self, person, faces):
        with pytest.raises(ValueError, match="baseline"):
            person[1].run(None, faces)
        inputs = person[1].get_modelmeta().custom_metadata_map["inputs"]
        assert "baseline float32 [1, 1434]" in inputs and "features" in inputs


ONNX = re.compile(r"```python\n(import json\n.*?InferenceSession.*?)```", re.DOTALL)
PYTHON = re.compile(r"```python\n((?:(?!```).)*?model\.predict\(.*?)```", re.DOTALL)
EVERY = re.compile(r"```python\n(from faceemo import EmotionModel, VideoFrames\n.*?)```", re.DOTALL)
CAMERA = re.compile(r"```python\n(import cv2\n.*?)```", re.DOTALL)
JUDGE = re.compile(r"```python\n(.*?)```", re.DOTALL)


def test_the_python_of_the_docs_runs_as_it_stands_there(tmp_path, exports):
    (tmp_path / "models").mkdir()
    for file in (exports["plain"].path, exports["plain"].out):
        shutil.copy(file, tmp_path / "models")
    with zipfile.ZipFile(ANXIOUS) as archive:
        (tmp_path / "photo.jpg").write_bytes(archive.read(archive.namelist()[0]))
    pages = [(ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("use.md", "use.ko.md")]
    shutil.copy(tmp_path / "photo.jpg", tmp_path / "group.jpg")
    video_file(tmp_path / "talk.mp4", [np.asarray(Image.open(tmp_path / "photo.jpg"))] * 6)
    found = [[code_in(pattern.search(page)[1]) for page in pages] for pattern in (PYTHON, EVERY, CAMERA, ONNX)]
    assert all(english == korean for english, korean in found)
    found[2] = [found[2][0].replace("VideoCapture(0)", "VideoCapture('talk.mp4')")] * 2
    code = "\n".join(english for english, _ in found) + "\nprint(json.dumps([classes, probabilities.tolist()]))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stderr) == (0, "")
    *_, first, second = (lines := done.stdout.splitlines())[:-7]
    assert (first.split()[0], second.split()[0]) == ("0.0", "0.5")
    *camera, last = lines[-7:]
    shares = [ast.literal_eval(line) for line in camera]
    assert {tuple(one) for one in shares} == {tuple(exports["plain"].model.classes_)}
    assert all(len(str(share)) <= len("0.12") for one in shares for share in one.values())
    classes, probabilities = json.loads(last)
    model = exports["plain"].model
    assert classes == model.classes_.tolist()
    np.testing.assert_allclose(probabilities, [model.predict_proba(tmp_path / "photo.jpg")], atol=1e-5)


@pytest.mark.parametrize("name", ["seven", "cnn", "both"])
def test_whoever_has_no_faceemo_judges_a_picture_by_the_lines_of_the_docs(tmp_path, exports, name):
    pytest.importorskip("mediapipe")
    pages = [(ROOT / "docs" / page).read_text(encoding="utf-8") for page in ("give.md", "give.ko.md")]
    english, korean = (JUDGE.search(page)[1] for page in pages)
    assert code_in(english) == code_in(korean)
    (tmp_path / "judge.py").write_text(english, encoding="utf-8")
    shutil.copy(exports[name].out, tmp_path / "emotion.onnx")
    shutil.copy(ROOT / "faceemo/extraction/mean_mesh.npy", tmp_path)
    with zipfile.ZipFile(ANXIOUS) as archive:
        (tmp_path / "photo.jpg").write_bytes(archive.read(archive.namelist()[0]))
    command = [sys.executable, "judge.py", "photo.jpg"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", check=True)
    expected = exports[name].model.predict_proba(tmp_path / "photo.jpg")
    found = ast.literal_eval(done.stdout)
    assert list(found) == exports[name].model.classes_.tolist()
    np.testing.assert_allclose(list(found.values()), expected, atol=0.01)  # as simplejpeg and OpenCV decode alike


def code_in(block: str) -> str:
    """Python without its comments, which each page writes in its own language."""
    return ast.unparse(ast.parse(block))


def test_classes_settings_and_the_meaning_of_the_inputs_travel_in_the_metadata(exports):
    model, session = exports["seven"].model, exports["seven"].session
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["classes"]) == list(SEVEN)
    assert json.loads(metadata["settings"]) == model.trained.settings
    assert json.loads(metadata["settings"])["normalize"]["scale"] == "max_abs"
    assert (metadata["format"], metadata["faceemo"]) == ("3", importlib.metadata.version("faceemo"))
    assert "picture widths" in metadata["inputs"] and "baseline" not in metadata["inputs"]


def test_the_file_stands_alone_and_the_same_model_gives_the_same_bytes_without_a_word(exports, capfd, recwarn):
    _, path, out, said, _ = exports["plain"]
    first = out.read_bytes()
    export_onnx(path, out)
    assert out.read_bytes() == first
    assert capfd.readouterr() == (said, "") and not recwarn.list
    assert [file.name for file in out.parent.iterdir()] == ["emotion.onnx"]
    model = onnx.load(out)
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    for folder in (path.parent, Path(faceemo.__file__).parent, Path(torch.__file__).parent):
        assert os.fsencode(folder) not in first


def test_one_line_says_what_was_written(exports):
    plain, person = exports["plain"], exports["person"]
    assert plain.said == (
        f"wrote {plain.out}: landmarks [N, 478, 3], size [N, 2] to probabilities [N, 2]; classes neutral, anxious; "
        f"{plain.out.stat().st_size / 1e6:.1f} MB\n"
    )
    assert person.said == (
        f"wrote {person.out}: landmarks [N, 478, 3], size [N, 2], baseline [one_or_N, 1434] to probabilities [N, 2], "
        "features [N, 1434]; classes neutral, anxious; "
        f"{person.out.stat().st_size / 1e6:.1f} MB\n"
    )


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


@needs_posix("bounds the size of files")
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
