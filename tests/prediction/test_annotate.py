import cv2
import numpy as np
import pytest
from made_archives import ANXIOUS, SETTINGS
from PIL import Image

from faceemo.extraction.worker import Reading
from faceemo.prediction.annotate import annotate, draw
from faceemo.prediction.inputs import Input, read_inputs
from faceemo.prediction.predict import Prediction

CLASSES = ["neutral", "anxious"]
SURE = np.array([0.2, 0.8], np.float32)


@pytest.fixture(scope="module")
def face():
    """A prediction of a sample picture."""
    first = next(iter(read_inputs([ANXIOUS], SETTINGS, 1)))
    return Prediction(first, "anxious", SURE)


def changed(face, **fields):
    return Prediction(Input(**{**vars(face.input), **fields}), face.label, face.probability)


def no_face(path, shape=(60, 80, 3)):
    reading = Reading("no_face", None, shape[1], shape[0], 0)
    return Prediction(Input(path, None, None, reading, lambda: np.full(shape, 128, np.uint8)))


def test_the_mesh_lies_on_the_face_and_the_panel_beside_it(face):
    before = face.input.pixels()
    after = draw(before, face, CLASSES)
    assert after.shape == before.shape and after.dtype == np.uint8
    moved = np.abs(after.astype(int) - before).sum(axis=2) > 0
    left, top, right, bottom = map(int, face.box)
    assert moved[top:bottom, left:right].mean() > 0.2
    assert moved[:30, :60].mean() > 0.95  # the panel in its corner
    assert not moved[bottom + 5 :, : left - 5].any()


def test_the_panel_goes_where_the_face_is_not(face):
    """A face in one corner leaves another to the panel."""
    height, width = face.input.reading.height, face.input.reading.width
    for right_half in (False, True):
        for lower_half in (False, True):
            landmarks = face.input.reading.landmarks.reshape(478, 3) * (0.5, 0.5, 0.5)
            landmarks = np.add(landmarks, (0.5 * right_half, 0.5 * lower_half, 0)).astype(np.float32)
            moved = changed(face, reading=Reading("ok", None, width, height, 1, landmarks.reshape(-1)))
            blank = np.zeros((height, width, 3), np.uint8)
            shown = draw(blank, moved, CLASSES)
            white = np.argwhere((shown > 240).all(axis=2))  # letters
            left, top, right, bottom = moved.box
            inside = ((white >= (top, left)) & (white <= (bottom, right))).all(axis=1)
            assert len(white) > 20 and not inside.any()


def test_a_picture_that_stands_upside_down_is_drawn_upright(face, tmp_path):
    lies = tmp_path / "lies.png"
    Image.fromarray(face.input.pixels()[::-1, ::-1]).save(lies)
    [found] = read_inputs([lies], SETTINGS, 1)
    turned = Prediction(found, face.label, face.probability)
    np.testing.assert_array_equal(draw(found.pixels(), turned, CLASSES), draw(face.input.pixels(), face, CLASSES))


@pytest.mark.parametrize("shape", [(20, 30, 3), (2000, 1500, 3)])
def test_any_size_can_be_drawn_on(shape):
    assert draw(np.zeros(shape, np.uint8), no_face("a.jpg", shape), CLASSES).shape == shape


def test_pictures_are_passed_on_and_written_under_names_that_stay_in_the_folder(tmp_path, face):
    out = tmp_path / "new" / "out"
    paths = [
        "a/사진.jpg",
        "b/사진.png",
        "x.zip/../../evil.jpg",
        'x.zip/q:"*?.jpg',
        "x.zip/" + "가" * 300 + ".jpg",
        "x/.jpg",
    ]
    predictions = [changed(face, path=path) for path in paths]
    broken = Prediction(Input("cut.jpg", None, None, Reading("decode_error", "cut"), None))
    everything = [*predictions, broken, no_face("none.jpg")]
    assert list(annotate(everything, CLASSES, out)) == everything
    written = sorted(path.name for path in out.iterdir())
    assert len(written) == len(paths) + 1
    assert {"사진.jpg", "사진-2.jpg", "evil.jpg", "q_.jpg", "none.jpg"} <= set(written)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    with Image.open(out / "사진.jpg") as picture:
        assert picture.size == (384, 512)


def test_a_picture_too_long_for_a_jpeg_is_written_reduced(tmp_path):
    list(annotate([no_face("long.png", (66_000, 8, 3))], CLASSES, tmp_path))
    with Image.open(tmp_path / "long.jpg") as picture:
        assert picture.size == (4, 33_000)


def test_a_video_becomes_a_video_with_as_many_frames(tmp_path, face):
    source = tmp_path / "사람.mp4"
    writer = cv2.VideoWriter(str(source), cv2.VideoWriter_fourcc(*"mp4v"), 12.5, (384, 512))
    for _ in range(7):
        writer.write(face.input.pixels()[:, :, ::-1].copy())
    writer.release()
    frames = [changed(face, path=str(source), seconds=number / 12.5) for number in range(7)]
    assert list(annotate([no_face("a.jpg"), *frames, no_face("b.jpg")], CLASSES, tmp_path / "out"))[1:-1] == frames
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.jpg", "b.jpg", "사람.mp4"]
    video = cv2.VideoCapture(str(tmp_path / "out" / "사람.mp4"))
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(12.5)
    shown = []
    while (frame := video.read())[0]:
        shown.append(frame[1])
    assert len(shown) == 7
    drawn = draw(face.input.pixels(), face, CLASSES)[:, :, ::-1].astype(int)
    assert np.abs(shown[3] - drawn).mean() < np.abs(shown[3] - face.input.pixels()[:, :, ::-1].astype(int)).mean() / 2


def test_an_interrupted_video_leaves_nothing_half(tmp_path, face):
    def frames():
        yield changed(face, path="x.mp4", seconds=0.0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(annotate(frames(), CLASSES, tmp_path / "out"))
    assert list((tmp_path / "out").iterdir()) == []
