import cv2
import numpy as np
import pytest
from made_archives import ANXIOUS, SETTINGS
from PIL import Image
from video import video_file

from faceemo.errors import FaceemoError
from faceemo.extraction.everyface import every_face
from faceemo.extraction.worker import Reading
from faceemo.fonts import font_with
from faceemo.prediction.annotate import annotate, check_drawing_folder, draw
from faceemo.prediction.inputs import DRAWN_MARK, Input, read_inputs
from faceemo.prediction.model import Answer
from faceemo.prediction.predict import Prediction
from faceemo.prediction.videos import video_codec

CLASSES = ["neutral", "anxious"]
SURE = np.array([0.2, 0.8], np.float32)


@pytest.fixture(scope="module")
def face():
    """A prediction of a sample picture."""
    first = next(iter(read_inputs([ANXIOUS], SETTINGS, 1)))
    return predicted(first)


def predicted(entry, label="anxious"):
    return Prediction(entry, [Answer(reading, label, SURE) for reading in entry.reading.each_face()])


def changed(face, **fields):
    return predicted(Input(**{**vars(face.input), **fields}))


def no_face(path, shape=(60, 80, 3)):
    reading = Reading("no_face", None, shape[1], shape[0], 0)
    return Prediction(Input(path, None, None, reading, lambda: np.full(shape, 128, np.uint8)), [Answer(reading)])


@pytest.mark.slow
def test_the_mesh_lies_on_the_face_and_the_panel_beside_it(face):
    before = face.input.pixels()
    after = draw(before, face.answers, CLASSES)
    assert after.shape == before.shape and after.dtype == np.uint8
    moved = np.abs(after.astype(int) - before).sum(axis=2) > 0
    left, top, right, bottom = map(int, face.answers[0].box)
    assert moved[top:bottom, left:right].mean() > 0.2
    assert moved[:30, :60].mean() > 0.95  # the panel in its corner
    assert not moved[bottom + 5 :, : left - 5].any()


def test_the_mesh_is_seen_alike_on_fair_and_on_dark_skin(face):
    left, top, right, bottom = map(int, face.answers[0].box)

    def seen(skin):
        picture = np.full_like(face.input.pixels(), skin)
        drawn = draw(picture, face.answers, CLASSES)[top:bottom, left:right].astype(float)
        return drawn.mean(axis=2).std()  # how far its greys lie apart

    contrasts = [seen(skin) for skin in ((240, 215, 200), (200, 160, 135), (120, 80, 60), (60, 40, 32))]
    assert min(contrasts) > 10 and max(contrasts) < 3 * min(contrasts), contrasts


def test_the_panel_goes_where_the_face_is_not(face):
    """A face in one corner leaves another to the panel."""
    height, width = face.input.reading.height, face.input.reading.width
    for right_half in (False, True):
        for lower_half in (False, True):
            landmarks = face.input.reading.landmarks.reshape(478, 3) * (0.5, 0.5, 0.5)
            landmarks = np.add(landmarks, (0.5 * right_half, 0.5 * lower_half, 0)).astype(np.float32)
            moved = changed(face, reading=Reading("ok", None, width, height, 1, landmarks.reshape(-1)))
            blank = np.zeros((height, width, 3), np.uint8)
            shown = draw(blank, moved.answers, CLASSES)
            white = np.argwhere((shown > 240).all(axis=2))  # letters
            left, top, right, bottom = moved.answers[0].box
            inside = ((white >= (top, left)) & (white <= (bottom, right))).all(axis=1)
            assert len(white) > 20 and not inside.any()


def test_a_picture_that_stands_upside_down_is_drawn_upright(face, tmp_path):
    lies = tmp_path / "lies.png"
    Image.fromarray(face.input.pixels()[::-1, ::-1]).save(lies)
    [found] = read_inputs([lies], SETTINGS, 1)
    drawn = [draw(one.input.pixels(), one.answers, CLASSES) for one in (predicted(found), face)]
    np.testing.assert_array_equal(*drawn)


def test_each_of_several_faces_has_its_mesh_and_its_tag_and_there_is_no_panel(face, tmp_path):
    side_by_side = tmp_path / "two.png"
    picture = face.input.pixels()
    Image.fromarray(np.hstack([picture, picture[:, ::-1]])).save(side_by_side)
    [found] = read_inputs([side_by_side], every_face(SETTINGS), 1)
    two = predicted(found)
    faces = two.answers
    assert [one.face for one in faces] == [1, 2]
    everything = [no_face("none.jpg"), two, two, no_face("none.jpg")]
    assert list(annotate(everything, CLASSES, tmp_path / "out")) == everything
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [DRAWN_MARK, "none-2.jpg", "none.jpg", "two-2.jpg", "two.jpg"]
    before = found.pixels()
    moved = np.abs(draw(before, faces, CLASSES).astype(int) - before).sum(axis=2) > 0
    outside = moved.copy()
    for one in faces:
        left, top, right, bottom = map(int, one.box)
        assert moved[top:bottom, left:right].mean() > 0.2
        assert moved[max(top - 12, 0) : top, left:right].mean() > 0.25  # the tag
        outside[max(top - 40, 0) : bottom + 3, left - 40 : right + 40] = False
    assert not outside.any()


@pytest.mark.parametrize("shape", [(20, 30, 3), (2000, 1500, 3)])
def test_any_size_can_be_drawn_on(shape):
    assert draw(np.zeros(shape, np.uint8), no_face("a.jpg", shape).answers, CLASSES).shape == shape


def test_pictures_are_passed_on_and_written_under_names_that_stay_in_the_folder(tmp_path, face):
    out = tmp_path / "new" / "out"
    paths = [
        "a/사진.jpg",
        "b/사진.png",
        "x.zip/../../evil.jpg",
        'x.zip/q:"*?.jpg',
        "x.zip/" + "가" * 300 + ".jpg",
        "x/.jpg",
        "x.zip/CON.jpg",
        "x.zip/com1.b.jpg",
    ]
    predictions = [changed(face, path=path) for path in paths]
    cut = Reading("decode_error", "cut")
    broken = Prediction(Input("cut.jpg", None, None, cut, None), [Answer(cut)])
    everything = [*predictions, broken, no_face("none.jpg")]
    assert list(annotate(everything, CLASSES, out)) == everything
    written = sorted(path.name for path in out.iterdir())
    assert len(written) == len(paths) + 2 and DRAWN_MARK in written
    assert {"사진.jpg", "사진-2.jpg", "evil.jpg", "q_.jpg", "none.jpg", "_CON.jpg", "_com1.b.jpg"} <= set(written)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    with Image.open(out / "사진.jpg") as picture:
        assert picture.size == (384, 512)


def test_a_picture_too_long_for_a_jpeg_is_written_reduced(tmp_path):
    list(annotate([no_face("long.png", (66_000, 8, 3))], CLASSES, tmp_path))
    with Image.open(tmp_path / "long.jpg") as picture:
        assert picture.size == (4, 33_000)


def frames_of(path):
    video = cv2.VideoCapture(str(path))
    rate, shown = video.get(cv2.CAP_PROP_FPS), []
    while (frame := video.read())[0]:
        shown.append(frame[1][:, :, ::-1])
    return rate, shown


def test_a_video_becomes_a_video_with_as_many_frames(tmp_path, face):
    source = video_file(tmp_path / "사람.mp4", [face.input.pixels()] * 7, 12.5)
    frames = [changed(face, path=str(source), seconds=number / 12.5, video=0) for number in range(7)]
    out = tmp_path / "out"
    assert list(annotate([no_face("a.jpg"), *frames, no_face("b.jpg")], CLASSES, out))[1:-1] == frames
    drawn_video = f"사람{video_codec()[1]}"
    assert sorted(path.name for path in out.iterdir()) == [DRAWN_MARK, "a.jpg", "b.jpg", drawn_video]
    rate, shown = frames_of(out / drawn_video)
    assert rate == pytest.approx(12.5) and len(shown) == 7
    before = face.input.pixels().astype(int)
    drawn = draw(face.input.pixels(), face.answers, CLASSES).astype(int)
    assert np.abs(shown[3] - drawn).mean() < np.abs(shown[3] - before).mean() / 2


def test_the_same_video_twice_is_two_videos(tmp_path, face):
    source = video_file(tmp_path / "talk.mp4", [face.input.pixels()] * 3, 10)
    found = read_inputs([source, source], SETTINGS, 1)
    list(annotate(map(predicted, found), CLASSES, tmp_path / "out"))
    suffix = video_codec()[1]
    for name in (f"talk{suffix}", f"talk-2{suffix}"):
        assert len(frames_of(tmp_path / "out" / name)[1]) == 3


def test_an_interrupted_video_leaves_nothing_half(tmp_path, face):
    def frames():
        yield changed(face, path="x.mp4", seconds=0.0, video=0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(annotate(frames(), CLASSES, tmp_path / "out"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == [DRAWN_MARK]


def test_a_folder_is_not_drawn_into_where_that_could_replace_a_picture(tmp_path, face):
    mine = tmp_path / "mine"
    mine.mkdir()
    check_drawing_folder("--annotate", mine, [])
    (mine / "notes.txt").touch()
    check_drawing_folder("--annotate", mine, [])
    (mine / "a.jpg").touch()
    for files, message in (([], "may not be drawn ones"), ([mine / "a.jpg"], "pictures to judge lie there")):
        with pytest.raises(FaceemoError, match=message):
            check_drawing_folder("--annotate", mine, files)
    with pytest.raises(FaceemoError, match="this is not a folder"):
        check_drawing_folder("--annotate", mine / "a.jpg", [])
    list(annotate([no_face("a.jpg")], CLASSES, tmp_path / "drawn"))
    check_drawing_folder("--annotate", tmp_path / "drawn", [mine / "a.jpg"])  # another run draws there again


def test_a_class_in_hangul_is_drawn_by_its_letters_or_its_number(face):
    blank = np.zeros(face.input.pixels().shape, np.uint8)
    one, other, numbered = (
        draw(blank, predicted(face.input, name).answers, ["neutral", name]) for name in ("지루함", "놀라움", "class 2")
    )
    drawn_by_letters = font_with("지루함") is not None
    assert np.array_equal(one, other) != drawn_by_letters
    assert np.array_equal(one, numbered) != drawn_by_letters
    one, other = (
        draw(blank, predicted(face.input, name).answers * 2, ["neutral", name]) for name in ("지루함", "놀라움")
    )
    assert np.array_equal(one, other) != drawn_by_letters  # as of a group
