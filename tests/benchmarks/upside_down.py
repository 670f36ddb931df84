"""How often extraction tells that a face stands upside down, and how often it says so of one that does not.

    python -m tests.benchmarks.upside_down ARCHIVE.zip...

Every picture of the archives in which a face is found is taken upright and mirrored, each also turned by 180 degrees,
without EXIF, as it is and changed in several ways. A row a change:

upright    faces found in the pictures that stand upright; accused: how many of them extraction turned
again      share of the upright pictures that were looked at a second time, which is what telling costs
lying      faces that FaceMesh by itself finds in the pictures that stand upside down; told: how many extraction turned
besides    faces that are found only because the picture was turned
"""

import argparse
from collections import Counter
from pathlib import Path

import cv2
import numpy as np

from faceemo.extraction.decode import DecodeError, EncodedPicture
from faceemo.extraction.facemesh import FaceMesh, silence_native_log
from faceemo.extraction.worker import UNSURE_SCORE, measure
from faceemo.params import load_params
from faceemo.pictures.archive import ReadError
from faceemo.pictures.reader import PictureReader
from faceemo.pictures.trees import files_at, is_picture_name
from faceemo.status import Status

SIDE = 675  # rows of the pictures looked at, near what extraction decodes a photo to
CHANGES = ("none", "tilted", "cropped", "small", "dark", "bright", "blurred", "grain", "covered", "skewed", "lit aside")


def changed(rgb, change, random):
    """The picture changed at random in one of the ways of CHANGES."""
    height, width, _ = rgb.shape
    if change == "tilted":
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), random.uniform(-45, 45), random.uniform(0.7, 1.1))
        return cv2.warpAffine(rgb, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    if change == "cropped":
        share = random.uniform(0.55, 0.8)
        top, left = int(height * (1 - share) * random.uniform(0.35, 0.8)), int(width * (1 - share) * random.random())
        return rgb[top : top + int(height * share), left : left + int(width * share)]
    if change == "small":
        small = cv2.resize(rgb, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
        return cv2.copyMakeBorder(small, *random.integers(0, 200, 4).tolist(), cv2.BORDER_CONSTANT, value=(90, 100, 90))
    if change == "dark":
        return rgb * random.uniform(0.08, 0.35) + random.normal(0, 4, rgb.shape)
    if change == "bright":
        return rgb * random.uniform(1.3, 2.2) + 20
    if change == "blurred":
        return cv2.GaussianBlur(rgb, (0, 0), random.uniform(2, 8))
    if change == "grain":
        return rgb + random.normal(0, random.uniform(10, 40), rgb.shape)
    if change == "covered":
        top, left = int(height * random.uniform(0.4, 0.7)), int(width * random.uniform(0.25, 0.6))
        rgb = rgb.copy()
        rgb[top : top + height // 10, left : left + width // 4] = random.integers(0, 255, 3)
        return rgb
    if change == "skewed":
        corners = np.float32([(0, 0), (width, 0), (width, height), (0, height)])
        moved = (corners + random.uniform(-0.15, 0.15, (4, 2)) * width).astype(np.float32)
        matrix = cv2.getPerspectiveTransform(corners, moved)
        return cv2.warpPerspective(rgb, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    if change == "lit aside":
        return rgb * np.linspace(*random.permutation([0.9, 0.12]), width)[:, None]
    return rgb


def png(rgb):
    return cv2.imencode(".png", rgb[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()


def look(rgb, turned, mesh, settings):
    """What one picture adds to the counts of its change."""
    found = measure(png(rgb), settings, check_upside_down=True)
    counts = Counter()
    if turned:
        alone = measure(png(rgb), settings)
        counts["lying"] = alone.status == Status.OK
        counts["told"] = alone.status == Status.OK and found.turned == 180
        counts["besides"] = alone.status != Status.OK and found.turned == 180
    else:
        counts["upright"] = found.status == Status.OK
        counts["accused"] = found.turned == 180
        counts["again"] = mesh.find_scored(np.ascontiguousarray(rgb))[1] < UNSURE_SCORE
        counts["pictures"] = 1
    return counts


def upright_pictures(paths, mesh, settings):
    """uint8 [height, width, 3], at most SIDE high, of every picture with a face."""
    for path in paths:
        with PictureReader(path) as reader:
            for picture in filter(lambda one: is_picture_name(one.name), files_at(path)):
                try:
                    rgb = EncodedPicture(reader.read(picture)).pixels()
                except (ReadError, DecodeError):
                    continue
                scale = min(1, SIDE / rgb.shape[0])
                rgb = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
                if len(mesh.find(rgb)):
                    yield rgb


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archives", nargs="+", type=Path)
    args = parser.parse_args()
    silence_native_log()
    settings, mesh, random = load_params().extract, FaceMesh(), np.random.default_rng(0)
    counts = {change: Counter() for change in CHANGES}
    for rgb in upright_pictures(args.archives, mesh, settings):
        for change in CHANGES:
            view = np.clip(changed(rgb, change, random), 0, 255).astype(np.uint8)
            for turned in (False, True):
                for mirrored in (False, True):
                    shown = view[:, ::-1] if mirrored else view
                    counts[change] += look(shown[::-1, ::-1] if turned else shown, turned, mesh, settings)
    counts["all"] = sum(counts.values(), Counter())
    print(f"{'change':10} {'upright':>8} {'accused':>8} {'again':>7} {'lying':>7} {'told':>7} {'besides':>8}")
    for change, found in counts.items():
        again = found["again"] / max(found["pictures"], 1)
        told = found["told"] / max(found["lying"], 1)
        print(
            f"{change:10} {found['upright']:8} {found['accused']:8} {again:7.1%} {found['lying']:7} {told:7.1%} "
            f"{found['besides']:8}"
        )


if __name__ == "__main__":
    main()
