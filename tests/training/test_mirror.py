import numpy as np
import pytest
import torch
from skimage.data import astronaut

from faceemo.extraction.facemesh import FaceMesh, mesh_edges
from faceemo.training.mirror import mirror_basis, mirrored_features, mirrored_points
from faceemo.training.recipe import MeshMirror

# https://github.com/google-ai-edge/mediapipe/blob/v0.10.21/mediapipe/python/solutions/face_mesh_connections.py
RIGHT_IRIS = [(469, 470), (470, 471), (471, 472), (472, 469)]
LEFT_IRIS = [(474, 475), (475, 476), (476, 477), (477, 474)]


def undirected(edges) -> set[frozenset]:
    return {frozenset(map(int, edge)) for edge in edges}


def test_the_mirror_image_of_the_mirror_image_is_the_face_itself():
    twin = mirrored_points()
    assert sorted(twin) == list(range(478))
    np.testing.assert_array_equal(twin[twin], np.arange(478))


@pytest.mark.parametrize(
    ("left", "right"),
    [(33, 263), (133, 362), (61, 291), (159, 386), (105, 334), (468, 473), (1, 1), (10, 10), (152, 152)],
)
def test_known_twins(left, right):
    twin = mirrored_points()
    assert twin[left] == right
    assert twin[right] == left


def test_points_forehead_to_chin_are_their_own_twins():
    middle = np.flatnonzero(mirrored_points() == np.arange(478))
    assert set(middle) >= {0, 1, 4, 5, 6, 8, 9, 10, 13, 14, 17, 151, 152, 168, 175, 195, 197}
    assert len(middle) < 40


def test_the_mesh_is_mapped_onto_itself_but_for_the_diagonals_that_it_has_on_one_side_only():
    edges = undirected(mesh_edges())
    mapped = undirected(mirrored_points()[mesh_edges()])
    assert len(edges) > 1200
    assert len(edges - mapped) <= 12


def test_each_iris_is_mapped_onto_the_other():
    mapped = undirected(mirrored_points()[np.array(RIGHT_IRIS)])
    assert mapped == undirected(LEFT_IRIS)


def test_the_mirrored_picture_of_a_real_face_has_the_mirrored_landmarks():
    picture = astronaut()
    mesh = FaceMesh()
    (face,), (flipped,) = mesh.find(picture), mesh.find(np.ascontiguousarray(picture[:, ::-1]))
    mesh.close()
    expected = face[mirrored_points()] * (-1, 1, 1) + (1, 0, 0)
    across = np.ptp(face[:, 0])
    distance = np.linalg.norm((flipped - expected)[:, :2], axis=1) / across
    assert distance.mean() < 0.02
    assert distance.max() < 0.08


def test_mirrored_features_flip_x_and_swap_twins():
    points = np.random.default_rng(0).normal(size=(478, 3)).astype(np.float32)
    order, sign = mirrored_features()
    mirrored = (points.reshape(-1)[order] * sign).reshape(478, 3)
    np.testing.assert_array_equal(mirrored[33], points[263] * (-1, 1, 1))
    np.testing.assert_array_equal(mirrored[263], points[33] * (-1, 1, 1))
    np.testing.assert_array_equal(mirrored[1], points[1] * (-1, 1, 1))


def test_mirror_does_to_rows_on_a_device_what_mirrored_features_say():
    features = torch.randn(5, 1434, generator=torch.Generator().manual_seed(0))
    order, sign = mirrored_features()
    mirrored = MeshMirror()(features)
    np.testing.assert_array_equal(mirrored.numpy(), features.numpy()[:, order] * sign)
    assert mirrored.dtype == torch.float32


def test_in_the_coordinates_of_the_mirror_only_signs_change():
    basis, parity = mirror_basis()
    order, sign = mirrored_features()
    np.testing.assert_allclose((basis.T @ basis).toarray(), np.eye(1434), atol=1e-12)
    features = np.random.default_rng(0).normal(size=(5, 1434))
    np.testing.assert_allclose((features[:, order] * sign) @ basis, (features @ basis) * parity, atol=1e-12)
    assert set(parity) == {-1, 1}
