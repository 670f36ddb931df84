"""Pictures of faces that both engines of extraction are held to, and MediaPipe's landmarks of them.

The pictures are made by indexing alone, so that no version of a library changes a pixel. In an environment with
mediapipe 0.10.21 `python tests/made_faces.py` records its landmarks again.
"""

import importlib.metadata
from pathlib import Path

import numpy as np
import pytest
from made_archives import pictures_in
from made_set import SAMPLE
from skimage.data import astronaut

from faceemo.extraction.decode import EncodedPicture
from faceemo.extraction.engines.choice import installed_engines
from faceemo.extraction.facemesh import LANDMARKS, FaceMesh
from faceemo.pictures.reader import PictureReader

REFERENCE = Path(__file__).parent / "extraction" / "landmarks_mediapipe.npz"
MAX_FACES = 2
SAMPLE_PICTURES = 10  # of each of two archives

needs_mediapipe = pytest.mark.skipif("mediapipe" not in installed_engines(), reason="mediapipe is not installed")
needs_litert = pytest.mark.skipif("litert" not in installed_engines(), reason="ai-edge-litert is not installed")


def resized(picture: np.ndarray, factor: float) -> np.ndarray:
    """The nearest pixels."""
    rows, columns = (np.arange(int(size * factor)) * size // int(size * factor) for size in picture.shape[:2])
    return picture[rows][:, columns]


def made_faces() -> dict[str, np.ndarray]:
    """Pictures by what is hard about them: uint8 [height, width, 3], read-only, one face each if not said otherwise."""
    portrait = astronaut()
    head = portrait[:280, 80:360]
    two = np.full((420, 700, 3), 90, np.uint8)
    two[:280, :280], two[:, 280:] = head, resized(head, 1.5)
    far = np.full((700, 900, 3), 120, np.uint8)
    far[300:510, 500:710] = resized(head, 0.75)
    pictures = {
        "portrait": portrait,
        "mirrored": portrait[:, ::-1],
        "large": resized(portrait, 3),
        "head alone": portrait[30:250, 115:335],
        "turned left": np.rot90(portrait),
        "turned right": np.rot90(portrait, -1),
        "upside down": portrait[::-1, ::-1],
        "left half cut": portrait[:300, 215:400],
        "right half cut": portrait[:300, 60:240],
        "chin cut": portrait[:165, 80:360],
        "tiny": resized(portrait, 0.125),
        "small in a large picture": far,
        "dark": portrait // 8,
        "bright": 255 - (255 - portrait) // 4,
        "grey": np.repeat(portrait[..., 1:2], 3, axis=2),
        "wide": np.hstack([np.full((512, 300, 3), 30, np.uint8), portrait]),
        "tall": np.vstack([portrait, np.full((300, 512, 3), 30, np.uint8)]),
        "two faces": two,
        "no face": portrait[300:],
        "one pixel": portrait[:1, :1],
        "noise": np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8),
    }
    pictures |= sample_faces()
    for name, picture in pictures.items():
        pictures[name] = np.ascontiguousarray(picture)
        pictures[name].flags.writeable = False  # as decoded pictures are
    return pictures


def sample_faces() -> dict[str, np.ndarray]:
    """Some pictures of the sample."""
    pictures = {}
    for path in sorted((SAMPLE / "Training").glob("*.zip")):
        for index, picture in enumerate(pictures_in(path)[:SAMPLE_PICTURES]):
            with PictureReader(path) as reader:
                pictures[f"{path.stem} {index}"] = EncodedPicture(reader.read(picture)).pixels()
    return pictures


def distances_percent(found: np.ndarray, exact: np.ndarray, width: int, height: int) -> list[float]:
    """Mean distance of the points of faces [faces, 478, 3] in the picture plane, in % of that between the irises.

    Both have the same faces, in any order.
    """
    assert len(found) == len(exact)
    size = np.array([width, height])
    distances = []
    for face in exact[..., :2] * size:
        nearest = min(np.linalg.norm(other - face, axis=1).mean() for other in found[..., :2] * size)
        distances.append(100 * nearest / np.linalg.norm(face[468] - face[473]))
    return distances


def reference_landmarks() -> dict[str, np.ndarray]:
    """float32 [faces, 478, 3] of each of made_faces(), by mediapipe 0.10.21 on Linux."""
    with np.load(REFERENCE) as file:
        ends = np.cumsum(file["counts"])
        return dict(zip(file["names"].tolist(), np.split(file["landmarks"], ends[:-1]), strict=True))


def main() -> None:
    assert importlib.metadata.version("mediapipe") == "0.10.21"
    mesh = FaceMesh(MAX_FACES, "mediapipe")
    found = {name: mesh.find(picture) for name, picture in made_faces().items()}
    counts = [len(faces) for faces in found.values()]
    landmarks = np.concatenate(list(found.values())).reshape(-1, LANDMARKS, 3)
    np.savez_compressed(REFERENCE, names=list(found), counts=counts, landmarks=landmarks)
    print(f"wrote {REFERENCE}: {dict(zip(found, counts, strict=True))}")


if __name__ == "__main__":
    main()
