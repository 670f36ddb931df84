"""The two engines of extraction against each other, against recorded landmarks, and what each of them imports."""

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from made_archives import ANXIOUS, pictures_in
from made_faces import (
    MAX_FACES,
    distances_percent,
    made_faces,
    needs_litert,
    needs_mediapipe,
    reference_landmarks,
)

from faceemo.errors import FaceemoError
from faceemo.extraction.engines import choice
from faceemo.extraction.engines.choice import ENGINES, choose_engine, installed_engines
from faceemo.extraction.facemesh import FaceMesh, contour_edges, mesh_edges, runtime_folders

MEAN_PERCENT, MAX_PERCENT = 0.005, 0.05  # of the distance between the irises
NETWORKS = Path(choice.__file__).parent / "networks"


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["mediapipe", "litert"])
def test_each_engine_finds_the_faces_that_mediapipe_0_10_21_found(engine):
    if engine not in installed_engines():
        pytest.skip(f"{engine} is not installed")
    assert_same_faces(FaceMesh(MAX_FACES, engine).find, reference_landmarks().get)


@pytest.mark.slow
@needs_mediapipe
@needs_litert
@pytest.mark.parametrize("max_faces", [1, 2])
def test_both_engines_find_the_same_faces(max_faces):
    pictures = made_faces()
    mediapipe = FaceMesh(max_faces, "mediapipe")
    assert_same_faces(FaceMesh(max_faces, "litert").find, lambda name: mediapipe.find(pictures[name]))


def assert_same_faces(find, exact) -> None:
    """Hold find(picture) to exact(name) over made_faces()."""
    distances = []
    for name, picture in made_faces().items():
        found, wanted = find(picture), exact(name)
        assert len(found) == len(wanted), name
        assert found.dtype == np.float32
        height, width = picture.shape[:2]
        distances += distances_percent(found, wanted, width, height)
        # z is as near, in picture widths
        assert np.abs(np.sort(found[..., 2], axis=0) - np.sort(wanted[..., 2], axis=0)).max(initial=0) < 2e-4, name
    assert len(distances) > 30
    print(f"distance: mean {np.mean(distances):.5f} %, largest {np.max(distances):.5f} %")
    assert np.mean(distances) < MEAN_PERCENT
    assert np.max(distances) < MAX_PERCENT


@pytest.mark.slow
@needs_litert
def test_litert_gives_the_same_bits_whatever_was_seen_before_and_in_every_thread():
    pictures = list(made_faces().values())[:8]
    mesh = FaceMesh(1, "litert")
    first = [mesh.find(picture) for picture in pictures]
    again = [mesh.find(picture) for picture in reversed(pictures)][::-1]
    with ThreadPoolExecutor(3) as pool:
        threads = list(pool.map(lambda _: list(map(FaceMesh(1, "litert").find, pictures)), range(3)))
    for other in (again, *threads):
        for left, right in zip(first, other, strict=True):
            np.testing.assert_array_equal(left, right)


def test_auto_takes_the_first_engine_that_is_installed():
    assert choose_engine("auto") == installed_engines()[0]
    assert FaceMesh().engine == installed_engines()[0]
    assert list(ENGINES) == ["mediapipe", "litert"]


def test_an_engine_that_is_not_installed_is_one_clear_line(monkeypatch):
    monkeypatch.setattr(choice, "installed_engines", lambda: ("mediapipe",))
    with pytest.raises(FaceemoError, match=r"litert is not installed here; set it to auto, or run: .*\[litert\]"):
        choose_engine("litert")
    monkeypatch.setattr(choice, "installed_engines", tuple)
    with pytest.raises(FaceemoError, match="install faceemo again"):
        choose_engine("auto")


def test_a_mediapipe_without_the_graph_of_facemesh_counts_as_none(tmp_path):
    (tmp_path / "mediapipe").mkdir()
    (tmp_path / "mediapipe" / "__init__.py").write_text("raise ImportError('must not be imported')", encoding="utf-8")
    code = "from faceemo.extraction.engines.choice import installed_engines; print('mediapipe' in installed_engines())"
    assert in_fresh_python(code, PYTHONPATH=str(tmp_path)).strip() == "False"


UNWANTED = {
    "mediapipe": {"torch", "dvc", "matplotlib", "scipy", "sklearn", "pyarrow", "ai_edge_litert", "flatbuffers"},
    "litert": {"torch", "dvc", "matplotlib", "scipy", "sklearn", "pyarrow", "mediapipe", "jax", "google"},
}


@pytest.mark.slow
@pytest.mark.parametrize("engine", UNWANTED)
def test_a_worker_imports_its_own_engine_alone(engine):
    if engine not in installed_engines():
        pytest.skip(f"{engine} is not installed")
    picture = pictures_in(ANXIOUS)[0]
    code = (
        "import sys; from faceemo.extraction.worker import Task, read_task; from faceemo.params import ExtractParams;"
        "from faceemo.pictures.reader import Picture;"
        f"task = Task([{picture!r}], ExtractParams({engine!r}, True, None)); print(read_task(task)[0].status);"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    *_, status, names = in_fresh_python(code).splitlines()
    names = names.split()
    assert status == "ok" and "simplejpeg" in names
    assert not UNWANTED[engine] & set(names)


def test_the_networks_are_those_of_an_installed_mediapipe_and_of_their_readme():
    readme = (NETWORKS / "README.md").read_text(encoding="utf-8")
    files = sorted(NETWORKS.glob("*.tflite"))
    assert [file.name for file in files] == ["face_detection_short_range.tflite", "face_landmark_with_attention.tflite"]
    sums = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    for name, digest in sums.items():
        assert f"| `{name}` |" in readme
        assert digest in readme
    if "mediapipe" in installed_engines():
        [package] = importlib.util.find_spec("mediapipe").submodule_search_locations
        theirs = {path.name: path for path in Path(package).rglob("*.tflite") if path.name in sums}
        assert {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in theirs.items()} == sums


@pytest.mark.slow
@needs_mediapipe
def test_the_edges_are_those_of_mediapipe():
    code = (
        "import json, mediapipe; mesh = mediapipe.solutions.face_mesh;"
        "print(json.dumps([sorted(mesh.FACEMESH_TESSELATION), sorted(mesh.FACEMESH_CONTOURS | mesh.FACEMESH_IRISES)]))"
    )
    theirs = json.loads(in_fresh_python(code).splitlines()[-1])
    assert [mesh_edges().tolist(), contour_edges().tolist()] == theirs


def test_edges_need_no_engine():
    code = (
        "import sys; from faceemo.extraction.facemesh import contour_edges, mesh_edges;"
        "print(len(mesh_edges()), len(contour_edges()), 'mediapipe' in sys.modules, 'cv2' in sys.modules)"
    )
    assert in_fresh_python(code).split() == ["2556", "132", "False", "False"]


def test_the_runtime_of_windows_is_looked_for_where_its_package_puts_it(tmp_path):
    """Its wheel has the DLLs as data: they land at the root of an environment and in its Scripts."""
    (tmp_path / "Scripts").mkdir()
    assert runtime_folders(tmp_path) == []
    for folder in (tmp_path, tmp_path / "Scripts"):
        (folder / "msvcp140.dll").touch()
    assert runtime_folders(tmp_path) == [tmp_path, tmp_path / "Scripts"]


@pytest.mark.skipif(sys.platform != "win32", reason="DLLs are Windows'")
def test_on_windows_the_runtime_package_is_found():
    assert runtime_folders(Path(sys.prefix))


def in_fresh_python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
