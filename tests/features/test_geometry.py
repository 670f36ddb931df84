import itertools

import numpy as np
import pytest
from made_landmarks import (
    ALIGNS,
    CENTERS,
    LANDSCAPE,
    PORTRAIT,
    SCALES,
    UNITS,
    frontal_face,
    normalized,
    photo,
    rotation,
    settings,
)

from faceemo.features.geometry import LEFT_EYE, RIGHT_EYE, normalize
from faceemo.training.mirror import mirrored_features, mirrored_points


@pytest.mark.parametrize(("center", "scale"), list(itertools.product(CENTERS, SCALES)))
def test_features_do_not_change_when_a_face_is_shifted_and_scaled(center, scale):
    here, _ = normalized(photo(frontal_face()), center=center, scale=scale)
    there, _ = normalized(photo(frontal_face(), size=71.0, at=(250.0, 800.0)), center=center, scale=scale)
    np.testing.assert_allclose(there, here, atol=1e-4)


def test_the_centre_is_the_origin_and_the_size_is_one():
    points, _ = normalized(photo(frontal_face()), center="centroid", scale="rms")
    points = points.reshape(478, 3)
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-5)
    assert np.sqrt((points**2).sum(axis=1).mean()) == pytest.approx(1, abs=1e-5)
    points, _ = normalized(photo(frontal_face()), center="nose_tip", scale="max_abs")
    assert not points.reshape(478, 3)[1].any()
    assert np.abs(points).max() == 1


def test_a_portrait_and_a_landscape_picture_give_the_same_features_in_equal_units_only():
    upright, wide = photo(frontal_face(), PORTRAIT), photo(frontal_face(), LANDSCAPE)
    np.testing.assert_allclose(normalized(wide, LANDSCAPE)[0], normalized(upright, PORTRAIT)[0], atol=1e-4)
    in_fractions = [normalized(wide, LANDSCAPE, units="image")[0], normalized(upright, PORTRAIT, units="image")[0]]
    assert np.abs(in_fractions[0] - in_fractions[1]).max() > 0.1


def test_a_squeezed_copy_of_a_picture_is_squeezed_back_by_its_true_size():
    """FaceMesh's fractions of a picture and of a copy half as high are the same numbers; the size tells them apart."""
    landmarks = photo(frontal_face(), (1000, 1000))
    tall, _ = normalized(landmarks, (1000, 1000))
    flat, _ = normalized(landmarks, (1000, 500))
    squeezed, _ = normalized(photo(frontal_face() * (1, 0.5, 1), (1000, 1000)), (1000, 1000))
    np.testing.assert_allclose(flat, squeezed, atol=1e-4)
    assert np.abs(flat - tall).max() > 0.1


@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("roll", [-170, -40, 12, 95])
def test_align_roll_undoes_a_rotation_in_the_picture(units, roll):
    straight, tilted = photo(frontal_face()), photo(frontal_face() @ rotation(0, 0, roll).T)
    expected, _ = normalized(straight, align="roll", units=units)
    np.testing.assert_allclose(normalized(tilted, align="roll", units=units)[0], expected, atol=1e-4)
    assert np.abs(normalized(tilted, units=units)[0] - normalized(straight, units=units)[0]).max() > 0.1


@pytest.mark.parametrize("units", UNITS)
def test_align_roll_makes_the_eye_line_level(units):
    tilted = photo(frontal_face() @ rotation(10, 5, 35).T)
    points = normalized(tilted, align="roll", units=units)[0].reshape(478, 3)
    across = points[list(RIGHT_EYE)].mean(axis=0) - points[list(LEFT_EYE)].mean(axis=0)
    assert across[0] > 0
    assert across[1] == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("angles", [(25, 0, 0), (0, -20, 0), (-30, 15, 50), (100, -60, 170), (-170, 80, -90)])
def test_align_pose_undoes_any_rotation(units, angles):
    straight, turned = photo(frontal_face()), photo(frontal_face() @ rotation(*angles).T)
    expected, _ = normalized(straight, align="pose", units=units)
    np.testing.assert_allclose(normalized(turned, align="pose", units=units)[0], expected, atol=1e-4)
    assert np.abs(normalized(turned, units=units)[0] - normalized(straight, units=units)[0]).max() > 0.1


def test_align_leaves_a_frontal_upright_face_as_it_is():
    plain, _ = normalized(photo(frontal_face()))
    for align in ("roll", "pose"):
        np.testing.assert_allclose(normalized(photo(frontal_face()), align=align)[0], plain, atol=1e-4)


@pytest.mark.parametrize(("units", "center", "scale", "align"), list(itertools.product(UNITS, CENTERS, SCALES, ALIGNS)))
def test_the_mirrored_picture_gives_the_mirrored_features(units, center, scale, align):
    chosen = {"units": units, "center": center, "scale": scale, "align": align}
    landmarks = photo(frontal_face() @ rotation(20, -8, 15).T)
    mirrored = landmarks[mirrored_points()]
    mirrored[:, 0] = 1 - mirrored[:, 0]
    order, sign = mirrored_features()
    features, angles = normalized(landmarks, **chosen)
    of_mirrored, mirrored_angles = normalized(mirrored, **chosen)
    np.testing.assert_allclose(of_mirrored, features[order] * sign, atol=1e-4)
    np.testing.assert_allclose(mirrored_angles, angles * (-1, 1, -1), atol=1e-2)


def test_the_published_recipe_is_nose_tip_to_zero_and_largest_coordinate_to_one_in_raw_fractions():
    landmarks = np.stack([photo(frontal_face(seed)) for seed in range(3)])
    published = settings(units="image", center="nose_tip", scale="max_abs")
    features, _ = normalize(landmarks, np.full(3, 900), np.full(3, 1200), published)
    centred = landmarks - landmarks[:, 1:2]
    expected = (centred / np.abs(centred).max((1, 2), keepdims=True)).reshape(3, 1434)
    np.testing.assert_allclose(features, expected, atol=1e-6)


def test_every_face_of_a_batch_is_normalised_by_itself_and_the_input_stays():
    faces = np.stack([photo(frontal_face(seed), size=100 + 50 * seed) for seed in range(4)])
    sizes = [PORTRAIT, LANDSCAPE, PORTRAIT, (640, 640)]
    before = faces.copy()
    features, angles = normalize(faces, *np.array(sizes).T, settings(align="pose"))
    assert features.dtype == np.float32 and features.shape == (4, 1434) and angles.shape == (4, 3)
    np.testing.assert_array_equal(faces, before)
    for number, (face, size) in enumerate(zip(faces, sizes, strict=True)):
        np.testing.assert_array_equal(features[number], normalized(face, size, align="pose")[0])


@pytest.mark.parametrize("picture", [PORTRAIT, LANDSCAPE])
@pytest.mark.parametrize("angles", [(0, 0, 0), (25, 0, 0), (0, -15, 0), (0, 0, 40), (20, -10, 30), (-35, 12, -120)])
def test_pose_angles_are_those_that_a_frontal_face_was_turned_by(picture, angles):
    turned = photo(frontal_face() @ rotation(*angles).T, picture)
    for chosen in ({}, {"units": "image", "align": "pose", "scale": "max_abs"}):
        np.testing.assert_allclose(normalized(turned, picture, **chosen)[1], angles, atol=0.01)


def test_signs_of_the_angles_as_seen_in_the_picture():
    def nose_and_right_eye(face: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        eyes = face[list(LEFT_EYE + RIGHT_EYE)].mean(axis=0)
        return face[1] - eyes, face[list(RIGHT_EYE)].mean(axis=0) - eyes

    nose, _ = nose_and_right_eye(frontal_face())
    for angles, index, moved in (((20, 0, 0), 0, -1), ((0, 20, 0), 1, 1)):  # x to the left, y down
        turned = frontal_face() @ rotation(*angles).T
        assert np.sign(nose_and_right_eye(turned)[0] - nose)[index] == moved
        np.testing.assert_allclose(normalized(photo(turned))[1], angles, atol=0.01)
    _, eye = nose_and_right_eye(frontal_face() @ rotation(0, 0, 20).T)
    assert eye[1] > 0  # clockwise: the eye on the right sinks
