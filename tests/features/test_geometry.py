import itertools

import numpy as np
import pytest
import torch
from made_landmarks import (
    CENTERS,
    LANDSCAPE,
    PORTRAIT,
    SCALES,
    frontal_face,
    normalized,
    photo,
    rotation,
    settings,
)

from faceemo.features.geometry import LEFT_EYE, RIGHT_EYE, normalize, pose_angles
from faceemo.training.mirror import mirrored_features, mirrored_points

every_way = pytest.mark.parametrize(("center", "scale"), list(itertools.product(CENTERS, SCALES)))


@every_way
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


def test_a_portrait_and_a_landscape_picture_give_the_same_features():
    upright, wide = photo(frontal_face(), PORTRAIT), photo(frontal_face(), LANDSCAPE)
    np.testing.assert_allclose(normalized(wide, LANDSCAPE)[0], normalized(upright, PORTRAIT)[0], atol=1e-4)


def test_a_squeezed_copy_of_a_picture_is_squeezed_back_by_its_true_size():
    """FaceMesh's fractions of a picture and of a copy half as high are the same numbers; the size tells them apart."""
    landmarks = photo(frontal_face(), (1000, 1000))
    tall, _ = normalized(landmarks, (1000, 1000))
    flat, _ = normalized(landmarks, (1000, 500))
    squeezed, _ = normalized(photo(frontal_face() * (1, 0.5, 1), (1000, 1000)), (1000, 1000))
    np.testing.assert_allclose(flat, squeezed, atol=1e-4)
    assert np.abs(flat - tall).max() > 0.1


@every_way
def test_the_mirrored_picture_gives_the_mirrored_features(center, scale):
    landmarks = photo(frontal_face() @ rotation(20, -8, 15).T)
    mirrored = landmarks[mirrored_points()]
    mirrored[:, 0] = 1 - mirrored[:, 0]
    order, sign = mirrored_features()
    features, angles = normalized(landmarks, center=center, scale=scale)
    of_mirrored, mirrored_angles = normalized(mirrored, center=center, scale=scale)
    np.testing.assert_allclose(of_mirrored, features[order] * sign, atol=1e-4)
    np.testing.assert_allclose(mirrored_angles, angles * (-1, 1, -1), atol=1e-2)


def test_every_face_of_a_batch_is_normalised_by_itself_and_the_input_stays():
    faces = np.stack([photo(frontal_face(seed), size=100 + 50 * seed) for seed in range(4)])
    sizes = [PORTRAIT, LANDSCAPE, PORTRAIT, (640, 640)]
    before = faces.copy()
    features, angles = normalize(faces, *np.array(sizes).T, settings()), pose_angles(faces, *np.array(sizes).T)
    assert features.dtype == np.float32 and features.shape == (4, 1434)
    assert angles.dtype == np.float32 and angles.shape == (4, 3)
    np.testing.assert_array_equal(faces, before)
    for number, (face, size) in enumerate(zip(faces, sizes, strict=True)):
        np.testing.assert_array_equal(features[number], normalized(face, size)[0])
        np.testing.assert_array_equal(angles[number], normalized(face, size)[1])
    assert normalize(faces[:0], *np.array(sizes)[:0].T, settings()).shape == (0, 1434)


@every_way
def test_tensors_give_the_features_that_arrays_give(center, scale):
    random = np.random.default_rng(0)
    pictures = [(900, 1200), (1200, 900), (640, 640), (12000, 9000), (6000, 8000)]
    faces, sizes = [], []
    for number in range(24):
        picture = pictures[number % len(pictures)]
        face = frontal_face(number) @ rotation(*random.uniform((-40, -30, -180), (40, 30, 180))).T
        faces.append(photo(face, picture, 140 * random.uniform(0.3, 1.5), random.uniform(0.3, 0.8, 2) * picture))
        sizes.append(picture)
    landmarks, size = np.stack(faces), np.array(sizes, np.float32)
    chosen = settings(center=center, scale=scale)
    found = normalize(torch.from_numpy(landmarks), *torch.from_numpy(size).T, chosen)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), normalize(landmarks, *size.T, chosen), rtol=0, atol=1e-6)


@pytest.mark.parametrize("picture", [PORTRAIT, LANDSCAPE])
@pytest.mark.parametrize("angles", [(0, 0, 0), (25, 0, 0), (0, -15, 0), (0, 0, 40), (20, -10, 30), (-35, 12, -120)])
def test_pose_angles_are_those_that_a_frontal_face_was_turned_by(picture, angles):
    turned = photo(frontal_face() @ rotation(*angles).T, picture)
    np.testing.assert_allclose(normalized(turned, picture)[1], angles, atol=0.01)


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
