import subprocess
import sys

import numpy as np
import pytest
from made_archives import encoded
from made_faces import needs_mediapipe
from PIL import Image
from skimage.data import astronaut

from faceemo.extraction import facemesh
from faceemo.extraction.decode import EncodedPicture
from faceemo.extraction.engines.choice import installed_engines
from faceemo.extraction.facemesh import (
    COORDINATES,
    LANDMARKS,
    FaceMesh,
    face_width,
    mesh_edges,
    within,
)
from faceemo.extraction.worker import UNSURE_SCORE, UPRIGHT_SCORE


@pytest.fixture(scope="module", params=installed_engines())
def mesh(request):
    mesh = FaceMesh(engine=request.param)
    yield mesh
    mesh.close()


def in_fresh_python(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, encoding="utf-8")
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_one_face_gives_478_points_where_the_face_is(mesh):
    faces = mesh.find(astronaut())
    assert faces.shape == (1, LANDMARKS, 3) == (1, 478, 3)
    assert faces.dtype == np.float32
    assert COORDINATES == 1434
    left, top = faces[0, :, :2].min(axis=0) * 512
    right, bottom = faces[0, :, :2].max(axis=0) * 512
    assert 160 < left < 200 and 250 < right < 290  # the face in the portrait
    assert 50 < top < 100 and 170 < bottom < 210
    assert faces[0, 33, 0] < faces[0, 263, 0]  # eyes: left and right are the picture's
    assert faces[0, 10, 1] < faces[0, 1, 1] < faces[0, 152, 1]  # forehead, nose, chin: y grows downwards
    assert faces[0, 1, 2] < faces[0, 234, 2]  # the nose is nearer to the camera than the cheek


def test_x_is_in_picture_widths_and_y_in_picture_heights(mesh):
    square = mesh.find(astronaut())[0] * (512, 512, 512)
    taller = np.zeros((768, 512, 3), np.uint8)
    taller[:512] = astronaut()
    found = mesh.find(taller)[0] * (512, 768, 512)
    assert np.abs(found - square)[:, :2].max() < 6  # pixels


def test_a_picture_without_a_face_gives_none(mesh):
    assert mesh.find(np.full((240, 320, 3), 128, np.uint8)).shape == (0, 478, 3)


@pytest.mark.slow
def test_no_picture_is_too_large_or_too_thin_to_be_looked_at():
    """In a process of its own: what the graph cannot take ends it."""
    code = """
import numpy as np
from faceemo.extraction.facemesh import FaceMesh
mesh = FaceMesh()
for height, width in ((1, 1), (1, 32766), (32766, 1), (32767, 1), (1, 32768), (2000, 40000), (1000000, 3)):
    mesh.find(np.zeros((height, width, 3), np.uint8))
print("went through")
"""
    assert in_fresh_python(code) == "went through\n"


def test_landmarks_of_a_reduced_picture_are_those_of_the_picture(mesh, monkeypatch):
    picture = np.asarray(Image.fromarray(astronaut()).resize((1501, 1500), Image.BICUBIC))
    whole = mesh.find(picture)[0]
    for bound in ("MAX_SIDE", "MAX_PIXELS"):
        with monkeypatch.context() as patch:
            patch.setattr(facemesh, bound, {"MAX_SIDE": 800, "MAX_PIXELS": 800 * 800}[bound])
            found = mesh.find(picture)[0]
        assert 0 < np.abs(found - whole)[:, :2].max() < 0.005  # of a picture in which the face is 0.2 wide


def test_a_picture_within_the_bounds_is_not_copied_and_another_is_within_them():
    picture = np.zeros((30, 21, 3), np.uint8)
    assert within(picture, 30, 630) is picture
    assert within(picture, 29, 630).shape == (15, 11, 3)
    assert within(picture, 30, 629).shape == (15, 11, 3)
    assert within(picture, 30, 164).shape == (10, 7, 3)
    assert within(picture, 30, 164).flags.c_contiguous


def test_the_same_picture_gives_the_same_bits_whatever_was_seen_before(mesh):
    picture = astronaut()
    first = mesh.find(picture)
    mesh.find(np.ascontiguousarray(picture[:, ::-1]))
    mesh.find(np.zeros((64, 64, 3), np.uint8))
    np.testing.assert_array_equal(mesh.find(picture), first)
    another = FaceMesh(engine=mesh.engine)
    np.testing.assert_array_equal(another.find(picture), first)
    another.close()


def test_the_detector_is_surer_of_an_upright_face_than_of_one_upside_down(mesh):
    upright = astronaut()
    lies = np.ascontiguousarray(upright[::-1, ::-1])
    faces, score = mesh.find_scored(upright)
    np.testing.assert_array_equal(faces, mesh.find(upright))
    faces_lying, score_lying = mesh.find_scored(lies)
    assert len(faces_lying) == 1
    assert 0.5 < score_lying < UNSURE_SCORE < UPRIGHT_SCORE < score < 1
    none, nothing = mesh.find_scored(np.full((240, 320, 3), 128, np.uint8))
    assert (len(none), nothing) == (0, 0.0)


@pytest.mark.parametrize("engine", installed_engines())
def test_more_faces_are_found_when_asked_for(engine):
    head = astronaut()[:280, 80:360]
    picture = np.full((420, 700, 3), 90, np.uint8)
    picture[:280, :280] = head
    picture[:, 280:] = head[np.arange(420) * 2 // 3][:, np.arange(420) * 2 // 3]  # half as large again
    mesh = FaceMesh(2, engine)
    faces = mesh.find(picture)
    mesh.close()
    assert faces.shape == (2, 478, 3)
    assert sorted(faces[:, 1, 0] > 0.5) == [False, True]


def test_the_width_of_a_face_is_in_pixels():
    face = np.full((478, 3), 0.5, np.float32)
    face[7, 0], face[9, 0] = 0.25, 0.75
    assert face_width(face, 640) == pytest.approx(320)


def test_the_edges_of_the_mesh_join_its_468_points():
    edges = mesh_edges()
    assert edges.dtype == np.int64
    assert edges.shape[1] == 2
    assert set(edges.ravel()) == set(range(468))
    assert (edges[:, 0] != edges[:, 1]).all()


@pytest.mark.slow
@needs_mediapipe
@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_mediapipe_itself_works_in_the_same_process_before_and_after(first):
    ours = "from faceemo.extraction.facemesh import FaceMesh, mesh_edges; mesh = FaceMesh(1, 'mediapipe')"
    theirs = "import mediapipe; their = mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=True)"
    code = f"""
import numpy as np
from skimage.data import astronaut
{ours if first == "ours" else theirs}
{theirs if first == "ours" else ours}
faces = mesh.find(astronaut())
points = their.process(astronaut()).multi_face_landmarks[0]
canvas = np.zeros((512, 512, 3), np.uint8)
mediapipe.solutions.drawing_utils.draw_landmarks(canvas, points)
edges = mediapipe.solutions.face_mesh.FACEMESH_TESSELATION
print(faces.shape, len(points.landmark), canvas.any(), len(edges) == len(mesh_edges()))
"""
    assert in_fresh_python(code).splitlines()[-1] == "(1, 478, 3) 468 True True"


@pytest.mark.slow
@needs_mediapipe
def test_faces_are_those_of_mediapipe_itself_bit_for_bit(tmp_path):
    """Even one that is hardly a face: found with the sigmoid before the threshold and not without."""
    picture = np.full((2000, 2000, 3), 180, np.uint8)
    head = Image.fromarray(astronaut()[30:250, 115:335])
    picture[300:816, 300:816] = head.resize((516, 516), Image.BICUBIC)
    np.save(tmp_path / "hardly.npy", EncodedPicture(encoded(picture, quality=92), 10**7).pixels(2))
    np.save(tmp_path / "clearly.npy", astronaut())
    for name in ("hardly", "clearly"):
        ours = f"""
import numpy as np
from faceemo.extraction.facemesh import FaceMesh
faces = FaceMesh(1, 'mediapipe').find(np.load({str(tmp_path / f"{name}.npy")!r}))
print(len(faces), faces.tobytes().hex())
"""
        theirs = f"""
import mediapipe, numpy as np
mesh = mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True, max_num_faces=1)
faces = mesh.process(np.load({str(tmp_path / f"{name}.npy")!r})).multi_face_landmarks
points = [[(point.x, point.y, point.z) for point in face.landmark] for face in faces]
print(len(faces), np.array(points, np.float32).tobytes().hex())
"""
        found = in_fresh_python(ours).splitlines()[-1]
        assert found.startswith("1 ")
        assert found == in_fresh_python(theirs).splitlines()[-1]


@needs_mediapipe
def test_every_option_of_the_graph_is_known_to_python():
    code = """
import importlib.util, os, re, sys
from faceemo.extraction.engines.choice import ENGINES
from faceemo.extraction.facemesh import FaceMesh
FaceMesh(1, "mediapipe").close()
from google.protobuf import text_format
loaded = sys.modules  # an import would bring in all of mediapipe, which knows the options anyway
graph = loaded["mediapipe.python._framework_bindings.validated_graph_config"].ValidatedGraphConfig()
[package] = importlib.util.find_spec("mediapipe").submodule_search_locations
graph.initialize(binary_graph_path=os.path.join(package, ENGINES["mediapipe"][1]))
config = loaded["mediapipe.framework.calculator_pb2"].CalculatorGraphConfig.FromString(graph.binary_config)
text = text_format.MessageToString(config, print_unknown_fields=True)
print(len(config.node), re.findall(r"^ *[0-9]+[ :].*", text, re.MULTILINE))
"""
    nodes, _, unknown = in_fresh_python(code).splitlines()[-1].partition(" ")
    assert int(nodes) > 20
    assert unknown == "[]"


def test_native_log_is_silenced_and_pythons_own_words_are_not_however_often():
    code = (
        "import os, sys; from faceemo.extraction.facemesh import silence_native_log;"
        "silence_native_log(); silence_native_log(); os.write(2, b'native'); print('ours', file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8")
    assert done.stderr == "ours\n"
