"""A small grey picture of a face: what its picture shows, laid onto a mean mesh by the points of its own mesh."""

import functools
from pathlib import Path

import cv2
import numpy as np

SIDE = 64  # pixels
MARGIN = 1.0  # the crop's side in sides of the mean mesh, the longer one
MESH_POINTS = 468  # the irises are no part of it: they move with the gaze
MEAN_MESH_FILE = Path(__file__).with_name("mean_mesh.npy")


def crop_of(rgb: np.ndarray, face: np.ndarray) -> np.ndarray:
    """uint8 [SIDE, SIDE], grey: a face whose landmarks [478, 3] lie in rgb, uint8 [height, width, 3].

    The points are laid onto the mean mesh by the similarity (turn, scale and shift) with the least squared distances.
    A face larger than the crop is first reduced by a whole number, each pixel a mean; what lies outside of the picture
    is as the pixel at its edge.
    """
    height, width = rgb.shape[:2]
    points = (face[:MESH_POINTS, :2] * (width, height) - 0.5) @ [1, 1j]  # the first pixel's centre is at 0
    mesh = mean_mesh()
    centred = points - points.mean()
    scale = np.vdot(centred, mesh) / np.vdot(centred, centred).real  # how points are scaled and turned, as one number
    shift = mesh.mean() - scale * points.mean()

    step = max(1, int(1 / abs(scale)))
    corners = (np.array([-1 - 1j, SIDE - 1j, -1 + SIDE * 1j, SIDE * (1 + 1j)]) - shift) / scale
    left, top = int(np.floor(corners.real.min())), int(np.floor(corners.imag.min()))
    columns, rows = int(np.ptp(corners.real)) // step + 2, int(np.ptp(corners.imag)) // step + 2
    part = _cut(rgb, left, top, left + columns * step, top + rows * step)
    grey = cv2.cvtColor(part, cv2.COLOR_RGB2GRAY)  # 0.299 R + 0.587 G + 0.114 B
    if step > 1:
        grey = cv2.resize(grey, (columns, rows), interpolation=cv2.INTER_AREA)
    shift += scale * (left + top * 1j + (step - 1) / 2 * (1 + 1j))
    scale *= step
    matrix = np.array([[scale.real, -scale.imag, shift.real], [scale.imag, scale.real, shift.imag]])
    return cv2.warpAffine(grey, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


@functools.cache
def mean_mesh() -> np.ndarray:
    """complex128 [468]: where the points of the mean mesh lie in a crop, x + y i in pixels."""
    mesh = np.load(MEAN_MESH_FILE).astype(float) @ [1, 1j]
    mesh = SIDE / MARGIN * mesh + (SIDE - 1) / 2 * (1 + 1j)
    mesh.flags.writeable = False
    return mesh


def _cut(rgb: np.ndarray, left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """uint8 [bottom - top, right - left, 3]: a part of a picture, outside of it as the pixels at its edge."""
    height, width = rgb.shape[:2]
    if min(left, top) >= 0 and right <= width and bottom <= height:
        return rgb[top:bottom, left:right]
    columns = np.clip(np.arange(left, right), 0, width - 1)
    inside = rgb[:, columns[0] : columns[-1] + 1]
    rows = inside.take(np.arange(top, bottom), axis=0, mode="clip")
    return rows.take(columns - columns[0], axis=1)
