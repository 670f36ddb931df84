"""The grey picture of a face that rows hold: what it is, and that every way to a face gives the same one."""

import dataclasses

import cv2
import numpy as np
import pytest
from made_archives import SETTINGS, encoded
from made_faces import made_faces
from PIL import Image
from skimage.data import astronaut

from faceemo.extraction.crop import MARGIN, MEAN_MESH_FILE, MESH_POINTS, SIDE, crop_of, mean_mesh
from faceemo.extraction.engines.choice import installed_engines
from faceemo.extraction.facemesh import FaceMesh
from faceemo.extraction.worker import measure, measure_pixels
from faceemo.prediction.readings import read


def crop_without_faceemo(rgb, landmarks):
    """uint8 [64, 64] of landmarks [478, 3] in rgb: what the docs show; mean_mesh.npy lies in faceemo/extraction."""
    side, margin = 64, 1.0
    height, width = rgb.shape[:2]
    points = (landmarks[:468, :2] * [width, height] - 0.5) @ [1, 1j]  # as complex numbers, the first pixel at 0
    mesh = np.load(MEAN_MESH_FILE) @ [1, 1j] * side / margin + (side - 1) / 2 * (1 + 1j)
    centred = points - points.mean()
    scale = np.vdot(centred, mesh) / np.vdot(centred, centred).real  # least squares: mesh = scale * points + shift
    shift = mesh.mean() - scale * points.mean()
    corners = (np.array([-1 - 1j, side - 1j, -1 + side * 1j, side * (1 + 1j)]) - shift) / scale
    step = max(1, int(1 / abs(scale)))  # so many pixels become one, their mean
    left, top = int(np.floor(corners.real.min())), int(np.floor(corners.imag.min()))
    columns, rows = int(np.ptp(corners.real)) // step + 2, int(np.ptp(corners.imag)) // step + 2
    x = np.clip(left + np.arange(columns * step), 0, width - 1)  # outside of the picture as at its edge
    y = np.clip(top + np.arange(rows * step), 0, height - 1)
    grey = cv2.cvtColor(rgb[y][:, x], cv2.COLOR_RGB2GRAY)
    grey = cv2.resize(grey, (columns, rows), interpolation=cv2.INTER_AREA)
    shift += scale * (left + top * 1j + (step - 1) / 2 * (1 + 1j))
    scale *= step
    matrix = np.array([[scale.real, -scale.imag, shift.real], [scale.imag, scale.real, shift.imag]])
    return cv2.warpAffine(grey, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


@pytest.fixture(scope="module")
def faces():
    """Pictures by what is hard about them, and the face in each."""
    mesh = FaceMesh()
    found = {name: (rgb, mesh.find(rgb)) for name, rgb in made_faces().items()}
    return {name: (rgb, several[0]) for name, (rgb, several) in found.items() if len(several)}


def difference(one, other):
    """Mean difference of two crops, in greys of 255."""
    return np.abs(one.astype(int) - other.astype(int)).mean()


def test_a_crop_is_what_twenty_lines_without_faceemo_make(faces):
    assert (SIDE, MARGIN) == (64, 1.0)
    assert len(faces) > 20
    for name, (rgb, face) in faces.items():
        crop = crop_of(rgb, face)
        assert (crop.dtype, crop.shape) == (np.uint8, (SIDE, SIDE)), name
        np.testing.assert_array_equal(crop, crop_without_faceemo(rgb, face), name)


def test_the_points_of_a_face_lie_on_the_mean_mesh():
    """A white dot in place of each tenth point, in a picture that is turned and large."""
    size = np.array([1500, 1100])
    mesh = np.stack([mean_mesh().real, mean_mesh().imag], axis=1)
    angle = np.radians(25)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (mesh - SIDE / 2) @ turn.T * 9 + size / 2  # nine pixels of the picture to one of the crop
    rgb = np.zeros((*size[::-1], 3), np.uint8)
    for x, y in points[::10]:
        cv2.circle(rgb, (round(x), round(y)), 6, (255, 255, 255), -1)
    face = np.zeros((478, 3), np.float32)
    face[:MESH_POINTS, :2] = (points + 0.5) / size
    crop = crop_of(rgb, face)
    lit = np.argwhere(crop > 60)[:, ::-1]
    distances = np.linalg.norm(lit[:, None] - mesh[None, ::10], axis=2)
    assert distances.min(axis=0).max() < 1 and distances.min(axis=1).max() < 1.5


@pytest.mark.parametrize("change", ["turned", "moved", "larger", "grey"])
def test_a_face_that_is_turned_moved_or_scaled_has_the_same_crop(faces, change):
    rgb, face = faces["portrait"]
    height, width = rgb.shape[:2]
    points = np.c_[face[:, :2] * (width, height), np.ones(len(face))]
    matrix = {
        "turned": cv2.getRotationMatrix2D((width / 2, height / 2), 30, 1),
        "moved": np.array([[1, 0, 7.25], [0, 1, -3.5]]),
        "larger": np.array([[2.5, 0, 0], [0, 2.5, 0]]),
        "grey": np.array([[1.0, 0, 0], [0, 1, 0]]),
    }[change]
    size = (3 * width, 3 * height)
    shift = matrix @ [0.5, 0.5, 0] - 0.5  # OpenCV's pixels have their centre at 0
    changed = cv2.warpAffine(rgb, matrix + np.c_[np.zeros((2, 2)), shift], size, flags=cv2.INTER_CUBIC)
    moved = face.copy()
    moved[:, :2] = points @ matrix.T / size
    if change == "grey":
        changed = np.repeat(cv2.cvtColor(changed, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    assert difference(crop_of(changed, moved), crop_of(rgb, face)) < 3.5  # moved by a pixel: 7


def test_what_lies_outside_of_the_picture_is_as_at_its_edge(faces):
    rgb, face = faces["head alone"]
    height, width = rgb.shape[:2]
    cut = rgb[70:, 30:]
    inside = face.copy()
    inside[:, :2] = (face[:, :2] * (width, height) - (30, 70)) / (cut.shape[1], cut.shape[0])
    filled = np.pad(cut, [(90, 0), (90, 0), (0, 0)], mode="edge")
    within = inside.copy()
    within[:, :2] = (inside[:, :2] * (cut.shape[1], cut.shape[0]) + 90) / (filled.shape[1], filled.shape[0])
    assert difference(crop_of(cut, inside), crop_of(filled, within)) < 0.5
    assert crop_of(cut[:5, :5], inside + 3).shape == (SIDE, SIDE)  # all of it outside


@pytest.mark.parametrize("engine", installed_engines())
def test_every_way_to_the_same_pixels_gives_the_same_crop(tmp_path, engine):
    settings = dataclasses.replace(SETTINGS, engine=engine)
    rgb = astronaut()[:400, 60:360]
    data = encoded(rgb, "PNG")
    (tmp_path / "a.png").write_bytes(data)
    crops = {
        "extract": measure(data, settings, check_upside_down=True).crop,
        "upside down": measure(encoded(np.ascontiguousarray(rgb[::-1, ::-1]), "PNG"), settings, True).crop,
        "the camera": measure(data, settings).crop,
        "a frame of a video": measure_pixels(np.ascontiguousarray(rgb), settings).crop,
        "a path": read(tmp_path / "a.png", settings).crop,
        "an image": read(Image.fromarray(rgb), settings).crop,
        "an array": read(rgb, settings).crop,
    }
    for way, crop in crops.items():
        np.testing.assert_array_equal(crop, crops["extract"], way)
    other = measure(data, dataclasses.replace(SETTINGS, engine="auto"))
    assert difference(crops["extract"], other.crop) < 0.1


def test_a_crop_of_a_jpeg_comes_from_the_scale_that_its_landmarks_come_from():
    rgb = cv2.resize(astronaut()[30:250, 115:335], (2400, 2400), interpolation=cv2.INTER_CUBIC)
    reduced = measure(encoded(rgb, quality=95), SETTINGS)
    whole = measure_pixels(rgb, SETTINGS)
    assert (reduced.width, whole.width) == (2400, 2400)
    assert 0 < difference(reduced.crop, whole.crop) < 3


def test_no_crop_is_made_that_is_not_asked_for():
    data = encoded(astronaut())
    reading = measure(data, dataclasses.replace(SETTINGS, crops=False))
    assert reading.status == "ok" and reading.crop is None
    assert measure(encoded(np.zeros((300, 300, 3), np.uint8)), SETTINGS).crop is None
