"""Every face of a picture, near and far, by both engines."""

import dataclasses

import cv2
import numpy as np
import pytest
from made_archives import SETTINGS, encoded
from skimage.data import astronaut

from faceemo.extraction.engines.choice import installed_engines
from faceemo.extraction.everyface import MOST_FACES, every_face, largest_first
from faceemo.extraction.worker import FACE_WIDTH, Reading, measure, measure_pixels

pytestmark = pytest.mark.slow

HEAD = astronaut()[:280, 80:360]  # its face is FACE_SHARE as wide
FACE_SHARE = 0.345


@pytest.fixture(params=installed_engines())
def settings(request):
    return every_face(dataclasses.replace(SETTINGS, engine=request.param))


def group(width: int, height: int, places: list[tuple[int, int, int]]) -> np.ndarray:
    """uint8 [height, width, 3] with a head of each side at left, top."""
    picture = np.full((height, width, 3), 150, np.uint8)
    for left, top, side in places:
        picture[top : top + side, left : left + side] = cv2.resize(HEAD, (side, side), interpolation=cv2.INTER_AREA)
    return picture


def rows_of(count: int, columns: int, cell: int, side: int) -> list[tuple[int, int, int]]:
    """Places of heads of `side` in a grid of cells, each shifted a little in its own way."""
    spare = cell - side
    return [
        (index % columns * cell + index * 37 % spare, index // columns * cell + index * 53 % spare, side)
        for index in range(count)
    ]


def assert_at(reading: Reading, places: list[tuple[int, int, int]]) -> None:
    """Each place has one face, and no face is elsewhere."""
    assert reading.status == "ok" and reading.faces == len(places)
    middles = [np.reshape(face.box, (2, 2)).mean(axis=0) for face in reading.each_face()]
    for left, top, side in places:
        inside = [0 < x - left < side and 0 < y - top < side for x, y in middles]
        assert sum(inside) == 1


def test_the_largest_face_has_the_largest_box_in_pixels():
    random = np.random.default_rng(0)
    small, large = (random.random((478, 3)).astype(np.float32) * size for size in (0.2, 0.4))
    flat = random.random((478, 3)).astype(np.float32) * (0.9, 0.05, 0.9)
    np.testing.assert_array_equal(largest_first(np.stack([small, large, flat]), 640, 480)[0], large)


def test_each_of_a_group_is_found_once_the_largest_first(settings):
    places = [(40, 60, 400), (560, 90, 330), (1000, 300, 260), (1400, 40, 240), (1330, 700, 500), (300, 620, 300)]
    reading = measure(encoded(group(2000, 1300, places)), settings)
    assert_at(reading, places)
    faces = reading.each_face()
    assert [face.face for face in faces] == [1, 2, 3, 4, 5, 6]
    widths = [face.box[2] - face.box[0] for face in faces]
    np.testing.assert_allclose(widths, [FACE_SHARE * side for side in (500, 400, 330, 300, 260, 240)], rtol=0.15)
    assert all(not face.others and face.landmarks.shape == (1434,) for face in faces)
    assert len({face.crop.tobytes() for face in faces}) == len(faces)


def test_faces_a_thirtieth_as_wide_as_the_picture_are_found_though_no_view_of_the_whole_shows_them(settings):
    places = rows_of(12, 4, 900, 330)  # faces of 115 pixels
    data = encoded(group(3800, 2800, places))
    assert measure(data, SETTINGS).status == "no_face"
    reading = measure(data, settings)
    assert_at(reading, places)
    for face in reading.each_face():
        assert 100 < face.box[2] - face.box[0] < FACE_WIDTH


def test_faces_of_a_few_pixels_are_left_out(settings):
    places = [(20, 20, 300), (400, 300, 70)]  # the second one's face is 32 pixels wide
    assert_at(measure(encoded(group(640, 480, places)), settings), places[:1])
    places = [(100, 100, 2000), (3000, 1000, 110)]
    assert_at(measure(encoded(group(3800, 2800, places)), settings), places[:1])


def test_of_more_faces_the_largest_are_given_and_all_are_counted(settings):
    places = [(x, y, side + 5 * index) for index, (x, y, side) in enumerate(rows_of(24, 6, 640, 400))]
    reading = measure(encoded(group(4000, 2700, places)), settings)
    assert reading.faces == 24 and len(reading.each_face()) == MOST_FACES == 20
    assert min(face.box[2] - face.box[0] for face in reading.each_face()) > FACE_SHARE * 400 * 0.95


@pytest.mark.parametrize("size", [(512, 512), (2400, 2400)])
def test_one_face_alone_is_read_bit_for_bit_as_without_asking_for_all(settings, size):
    data = encoded(cv2.resize(astronaut(), size), quality=92)
    alone = measure(data, dataclasses.replace(SETTINGS, engine=settings.engine), check_upside_down=True)
    every = measure(data, settings, check_upside_down=True)
    assert every.each_face() == [every] and (every.faces, every.turned) == (1, 0)
    np.testing.assert_array_equal(every.landmarks, alone.landmarks)
    np.testing.assert_array_equal(every.crop, alone.crop)


def test_a_group_upside_down_is_turned(settings):
    places = rows_of(6, 3, 640, 420)
    upright = group(1920, 1280, places)
    reading = measure(encoded(np.ascontiguousarray(upright[::-1, ::-1]), "PNG"), settings, check_upside_down=True)
    assert reading.turned == 180
    assert_at(reading, places)


def test_a_frame_and_a_picture_without_anybody_are_read_alike(settings):
    places = rows_of(4, 2, 640, 500)
    assert_at(measure_pixels(group(1280, 1280, places), settings), places)
    nobody = measure_pixels(group(1280, 960, []), settings)
    assert (nobody.status, nobody.faces) == ("no_face", 0) and nobody.each_face() == [nobody]
