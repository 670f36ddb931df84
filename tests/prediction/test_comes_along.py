"""The model that comes along, as it is in the package, on people of the sample."""

from pathlib import Path

import numpy as np
import pytest

from faceemo import EmotionModel
from faceemo.prediction.inputs import find_inputs, read_inputs
from faceemo.training.model import COMES_ALONG_FILE, load_model

VALIDATION = Path(__file__).parents[2] / "data/sample/Validation"
MOST_BYTES = 6_000_000
CLASSES = ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear")
RECORDED = {  # of mediapipe 0.10.21, by how the pictures' names end
    "기쁨_실외 자연환경_20210126150006-007-006.jpg": [0.565, 0.432, 0.000, 0.001, 0.000, 0.002, 0.000],
    "기쁨_도심 환경_20210126150008-002-008.jpg": [0.059, 0.940, 0.001, 0.000, 0.000, 0.000, 0.000],
    "기쁨_공공시설&종교&의료시설_20210126150011-005-011.jpg": [0.001, 0.999, 0.000, 0.000, 0.000, 0.000, 0.000],
    "기쁨_실외 자연환경_20210126150013-007-013.jpg": [0.915, 0.002, 0.000, 0.034, 0.016, 0.031, 0.001],
    "중립_공공시설&종교&의료시설_20210126150006-007-006.jpg": [0.978, 0.000, 0.000, 0.021, 0.000, 0.000, 0.000],
    "중립_실외 자연환경_20210126150015-002-015.jpg": [0.870, 0.000, 0.000, 0.129, 0.000, 0.000, 0.001],
    "중립_도심 환경_20210126150013-007-013.jpg": [0.894, 0.000, 0.000, 0.099, 0.002, 0.004, 0.000],
}
NEAR = 0.05  # what another engine or decoder, whose landmarks lie a little elsewhere, may change


@pytest.fixture(scope="module")
def answers():
    model = EmotionModel.load("faceemo")
    inputs = read_inputs(find_inputs([VALIDATION]), model.extract_settings, 1)
    return {entry.path: model.answer([entry.reading])[0].probability for entry in inputs}


@pytest.mark.parametrize("ending", RECORDED)
def test_its_answers_on_the_sample_are_those_that_were_recorded(answers, ending):
    (probability,) = (found for path, found in answers.items() if path.endswith(ending))
    assert np.abs(probability - RECORDED[ending]).max() < NEAR


def test_it_names_nobody_answers_without_class_shares_and_is_small():
    model = load_model(COMES_ALONG_FILE)
    assert model.classes == CLASSES
    assert model.people is model.salt is None
    assert len(set(model.shares)) == 1
    assert COMES_ALONG_FILE.stat().st_size < MOST_BYTES
