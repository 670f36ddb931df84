"""Pictures as Python programs have them, handed to EmotionModel."""

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from made_archives import ANXIOUS, SETTINGS, encoded
from made_faces import needs_litert, needs_mediapipe
from made_models import random_model
from PIL import Image

from faceemo import EmotionModel
from faceemo.errors import FaceemoError
from faceemo.prediction.inputs import read_inputs
from faceemo.prediction.predict import predict_inputs


@pytest.fixture(scope="module")
def model():
    return EmotionModel(random_model())


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("photos") / "사진.jpg"
    with zipfile.ZipFile(ANXIOUS) as archive:
        path.write_bytes(archive.read(archive.namelist()[0]))
    return path


@pytest.fixture(scope="module")
def rgb(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_a_path_is_judged_as_the_command_judges_it(model, path):
    [prediction] = predict_inputs(model, read_inputs([path], SETTINGS, 1))
    [expected] = prediction.answers
    for given in (path, str(path)):
        np.testing.assert_array_equal(model.predict_proba(given), expected.probability)
        assert model.predict(given) == expected.label


def test_an_open_file_is_judged_as_its_path(model, path):
    expected = model.predict_proba(path)
    with path.open("rb") as file, io.BytesIO(path.read_bytes()) as in_memory:
        np.testing.assert_array_equal(model.predict_proba(file), expected)
        np.testing.assert_array_equal(model.predict_proba(in_memory), expected)
        for given in (file, in_memory):  # read to its end by now
            assert model.predict([given, given]).tolist() == [model.predict(path)] * 2
    from_network = SimpleNamespace(read=path.read_bytes)  # where there is no going back
    np.testing.assert_array_equal(model.predict_proba(from_network), expected)
    with pytest.raises(FaceemoError, match="the file: decode_error: empty"):
        model.predict(io.BytesIO())
    with pytest.raises(TypeError, match=r"open\(path, 'rb'\)"):
        model.predict(io.StringIO("text"))


def test_every_face_of_a_picture_is_answered_the_largest_first(model, rgb):
    half = rgb[::2, ::2]
    group = np.full((rgb.shape[0], rgb.shape[1] + half.shape[1] + 60, 3), 120, np.uint8)
    group[:, : rgb.shape[1]], group[: half.shape[0], rgb.shape[1] + 60 :] = rgb, half
    answers = model.answer(model.find_faces(group))
    assert [answer.face for answer in answers] == [1, 2] and answers[0].box[2] < rgb.shape[1] < answers[1].box[0]
    assert answers[0].label == model.predict(group)
    np.testing.assert_allclose(answers[0].probability, model.predict_proba(group), atol=1e-6)
    assert model.find_faces(np.zeros((60, 80, 3), np.uint8)) == [] == model.answer([])


def test_a_pillow_image_is_judged_upright_whatever_its_mode(model, path, rgb):
    expected = model.predict_proba(rgb)
    lies = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side
    Image.fromarray(np.rot90(rgb)).save(lies, "PNG", exif=exif)
    with Image.open(path) as image, Image.open(lies) as on_its_side:
        assert on_its_side.size == (512, 384)
        for given in (image, image.convert("RGBA"), on_its_side):
            np.testing.assert_array_equal(model.predict_proba(given), expected)


def test_a_grey_picture_is_three_channels_of_the_same(model, rgb):
    grey = np.asarray(Image.fromarray(rgb).convert("L"))
    expected = model.predict_proba(np.stack([grey] * 3, axis=2))
    assert not np.isnan(expected).any()
    for given in (grey, grey[..., None], Image.fromarray(grey), Image.fromarray(grey.astype(np.uint16) << 8)):
        np.testing.assert_array_equal(model.predict_proba(given), expected)


def test_several_of_any_kind_give_what_each_gives_alone(model, path, rgb):
    with Image.open(path) as image:
        several = [path, image, rgb, np.zeros((9, 9), np.uint8)]
        expected = [model.predict(one) for one in several]
        assert expected[0] is not None and expected[3] is None
        assert model.predict(several).tolist() == expected
        assert model.predict(one for one in several).tolist() == expected
    assert model.predict(np.array([str(path)] * 2)).tolist() == expected[:1] * 2
    assert model.mean_face([path, rgb]).shape == model.mean_face(path).shape == (2,)


ARRAY = "a picture must be uint8 [height, width, 3], RGB, or uint8 [height, width], grey, not "


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((8, 9, 4), np.uint8), "uint8 [8, 9, 4]; leave the fourth channel out: picture[:, :, :3]"),
        (np.zeros((3, 8, 9), np.uint8), "uint8 [3, 8, 9]; put the channels last: picture.transpose(1, 2, 0)"),
        (np.zeros((8, 9, 3)), "float64 [8, 9, 3]; if its values go from 0 to 1: (picture * 255).astype(np.uint8)"),
        (np.zeros((8, 9), np.uint16), "uint16 [8, 9]; (picture >> 8).astype(np.uint8)"),
        (np.zeros((0, 9, 3), np.uint8), "uint8 [0, 9, 3]"),
        (np.zeros(640, np.uint8), "uint8 [640]"),
        (np.zeros((2, 8, 9, 4), np.uint8), "uint8 [8, 9, 4]; leave the fourth channel out: picture[:, :, :3]"),
    ],
)
def test_an_array_that_is_no_picture_is_told_with_what_to_do(model, given, message):
    for pictures in (given, [given]) if given.ndim < 4 else (given,):
        with pytest.raises(ValueError) as error:
            model.predict(pictures)
        assert str(error.value) == ARRAY + message


@pytest.mark.parametrize("given", [None, 3, b"\xff\xd8", [None], [[1, 2]]])
def test_what_is_no_picture_at_all_is_a_type_error(model, given):
    with pytest.raises(
        TypeError, match=r"a picture must be a path, an open file, a Pillow image or an array uint8 \[height, width, 3"
    ):
        model.predict(given)


def test_a_file_that_cannot_be_read_is_named(model, tmp_path, path):
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(path.read_bytes()[:4000])
    for given, message in (
        (tmp_path / "none.jpg", f"none.jpg: read_error: {os.strerror(2)}"),
        (cut, "cut.jpg: decode_error: "),
        (Path(__file__), "test_readings.py: decode_error: a text, not a picture"),
    ):
        with pytest.raises(FaceemoError) as error:
            model.predict([path, given])
        assert message in str(error.value)
    png = tmp_path / "cut.png"
    png.write_bytes(encoded(np.asarray(Image.open(path)), "PNG")[:9000])
    with Image.open(png) as image, pytest.raises(FaceemoError, match=r"cut\.png' cannot be read: "):
        model.predict(image)


@pytest.mark.slow
@pytest.mark.parametrize(
    "engine", [pytest.param("mediapipe", marks=needs_mediapipe), pytest.param("litert", marks=needs_litert)]
)
def test_finding_a_face_says_nothing_and_leaves_stderr_as_it_was(engine, path):
    code = f"""
import os, subprocess, sys
from dataclasses import replace
from made_archives import SETTINGS
from faceemo.prediction.readings import read
print("before", file=sys.stderr)
for picture in ({str(path)!r}, {str(path)!r}):
    assert read(picture, replace(SETTINGS, engine={engine!r})).status == "ok"
os.write(2, b"after\\n")
subprocess.run([sys.executable, "-c", "import os; os.write(2, b'child')"])
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, encoding="utf-8"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "before\nafter\nchild")
