"""Makes the sample archives beside this script: made-up people in the layout of the AI-Hub emotion pictures.

    python data/sample/make_sample.py [--out FOLDER]

Two public-domain portraits that come with scikit-image and matplotlib are warped into thirty made-up people, each
neutral, anxious and happy. Every run writes the same bytes. `render(Person.made_up(30), ANXIOUS, 0.5, Shot())` gives
a picture of somebody who is in no archive; an intensity that rises from 0 to 1 gives the frames of an expression.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import zipfile
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import cv2
import matplotlib.cbook
import mediapipe as mp
import numpy as np
import skimage.data
from PIL import Image

NEUTRAL, ANXIOUS, HAPPY = "중립", "불안", "기쁨"
EMOTIONS = (NEUTRAL, ANXIOUS, HAPPY)
ANSWERS = ("기쁨", "당황", "분노", "불안", "상처", "슬픔", "중립", "알수없음")

# How far raters see the archive's emotion, as in the real archives: shares of the pictures where all three do, where
# two do and where each sees something else. In the rest two raters or three see one other emotion.
RATED = {NEUTRAL: (0.736, 0.21, 0.03), ANXIOUS: (0.15, 0.228, 0.267), HAPPY: (0.925, 0.05, 0.009)}
SEEN_INSTEAD = {
    NEUTRAL: ("슬픔", "불안", "상처", "분노"),
    ANXIOUS: ("당황", "중립", "당황", "슬픔", "상처", "분노"),
    HAPPY: ("중립", "당황"),
}
PROFESSIONAL_SHARE = 0.48  # of the people
BACKGROUNDS = (
    "실외 자연환경",
    "도심 환경",
    "숙박 및 거주공간",
    "공공시설&종교&의료시설",
    "기념_공공시설&종교&의료시설",
)

TRAINING_PEOPLE = range(0, 24)
VALIDATION_PEOPLE = range(24, 30)
SHOTS_PER_EMOTION = 2

# With this salt the split by subject hash puts 6 of the 30 people into test, 6 into valid and 18 into train, and each
# of the three parts holds people made from both portraits and people from both folders.
SUBJECT_SALT = "44"

PICTURE_WIDTH, PICTURE_HEIGHT = 384, 512
JPEG_QUALITY = 82
ZIP_TIME = (2021, 1, 26, 15, 0, 0)
README_MEMBER = "These pictures are synthetic: they are made by warping two public-domain portraits.\n"

# Lengths are in face widths (cheek to cheek) and the origin is the middle of the face outline, x right and y down.
FACE_WIDTH_PX = 212.0
FACE_CENTRE_PX = (PICTURE_WIDTH / 2, 278.0)
CANVAS_FACE_WIDTH_PX = 220.0
CANVAS_SIZE = (600, 740)
CANVAS_CENTRE = (300.0, 390.0)

CHEEK_TO_CHEEK = (234, 454)
EYE_CORNERS = (33, 263)
OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
EYES = (
    (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
    (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249),
)
UPPER_LIDS = ((161, 160, 159, 158, 157), (388, 387, 386, 385, 384))
LOWER_LIDS = ((163, 144, 145, 153, 154), (390, 373, 374, 380, 381))
IRISES = ((468, 469, 470, 471, 472), (473, 474, 475, 476, 477))
BROWS = ((70, 63, 105, 66, 107, 46, 53, 52, 65, 55), (300, 293, 334, 296, 336, 276, 283, 282, 295, 285))
NOSE = (168, 6, 197, 195, 5, 4, 1, 2, 98, 327, 129, 358, 64, 294, 48, 278)
CHEEKS = (50, 280, 101, 330, 205, 425, 187, 411, 123, 352)
FOREHEAD = (151, 9, 69, 299, 104, 333, 108, 337)
CHIN = (18, 200, 199, 202, 422, 43, 273)
LIP_CORNERS = (61, 291)
OUTER_UPPER_LIP = (185, 40, 39, 37, 0, 267, 269, 270, 409)
OUTER_LOWER_LIP = (146, 91, 181, 84, 17, 314, 405, 321, 375)
INNER_CORNERS = (78, 308)
INNER_UPPER_LIP = (191, 80, 81, 82, 13, 312, 311, 310, 415)
INNER_LOWER_LIP = (95, 88, 178, 87, 14, 317, 402, 318, 324)
SMILE_FOLDS = ((129, 203, 206, 216, 212), (358, 423, 426, 436, 432))

# How far one standard deviation goes: shares of a length, or face widths for the entries that end in _shift.
SHAPE_SPREAD = {
    "face_width": 0.045,
    "face_height": 0.036,
    "jaw_width": 0.07,
    "chin_length": 0.026,
    "forehead_height": 0.025,
    "eye_size": 0.09,
    "eye_spacing_shift": 0.013,
    "eye_height_shift": 0.01,
    "eye_slant_shift": 0.006,
    "brow_height_shift": 0.008,
    "brow_slant_shift": 0.006,
    "nose_length": 0.075,
    "nose_width": 0.13,
    "mouth_width": 0.08,
    "mouth_height_shift": 0.012,
    "lip_fullness": 0.14,
    "asymmetry": 0.006,
}

# Largest change in CIE Lab units, or as a factor for the entries that end in _gain.
COLOUR_SPREAD = {
    "skin_l": 9.0,
    "skin_a": 4.0,
    "skin_b": 6.0,
    "hair_l": 18.0,
    "hair_a": 3.0,
    "hair_b": 10.0,
    "backdrop_l": 16.0,
    "backdrop_a": 16.0,
    "backdrop_b": 18.0,
    "contrast_gain": 0.06,
}

# Facial movements in face widths at intensity 1; positive means what the name says.
MOVEMENTS = {
    "brow_raise": {ANXIOUS: 0.029, HAPPY: 0.003},
    "inner_brow_raise": {ANXIOUS: 0.026, HAPPY: 0.0},
    "brow_together": {ANXIOUS: 0.016, HAPPY: 0.0},
    "upper_lid_raise": {ANXIOUS: 0.012, HAPPY: -0.005},
    "lower_lid_raise": {ANXIOUS: -0.004, HAPPY: 0.011},
    "corner_raise": {ANXIOUS: -0.020, HAPPY: 0.052},
    "corner_stretch": {ANXIOUS: 0.036, HAPPY: 0.042},
    "cheek_raise": {ANXIOUS: 0.0, HAPPY: 0.026},
    "lip_press": {ANXIOUS: 0.010, HAPPY: 0.004},
    "mouth_opening": {ANXIOUS: 0.004, HAPPY: 0.060},
}
PERSON_MIMIC_SHARE = 0.2
MIMIC_JITTER = 0.0035


@dataclass(frozen=True)
class Portrait:
    """One source portrait on the working canvas: upright, its face CANVAS_FACE_WIDTH_PX wide."""

    smiling: np.ndarray
    relaxed: np.ndarray
    landmarks: np.ndarray
    relaxed_landmarks: np.ndarray
    skin: np.ndarray
    hair: np.ndarray
    backdrop: np.ndarray
    shows_teeth: bool
    glasses: bool


@dataclass(frozen=True)
class Person:
    """A made-up person: which portrait, and how its shape and colours are changed."""

    number: int
    portrait: str
    mirrored: bool
    gender: str
    decade: int
    shape: dict[str, float] = field(hash=False)
    colour: dict[str, float] = field(hash=False)
    mimic: dict[str, float] = field(hash=False)

    @classmethod
    def made_up(cls, number: int) -> Person:
        """The person of that number; every number from 0 gives somebody."""
        rng = np.random.default_rng([20210126, number])
        portrait = ("collins", "hopper")[number % 2]
        gender = "남" if rng.random() < 0.4 else "여"
        decade = int(rng.choice((20, 30, 40)) if portrait == "collins" else rng.choice((40, 50)))
        shape = {name: float(np.clip(rng.normal(), -1.8, 1.8)) for name in SHAPE_SPREAD}
        if gender == "남":
            shape["jaw_width"] = abs(shape["jaw_width"])
            shape["chin_length"] = abs(shape["chin_length"])
        colour = {name: float(rng.uniform(-1, 1)) for name in COLOUR_SPREAD}
        mimic = {name: float(np.clip(rng.normal(), -2, 2)) for name in MOVEMENTS}
        return cls(number, portrait, bool(number // 2 % 2), gender, decade, shape, colour, mimic)

    @property
    def subject(self) -> str:
        """The 64 hex digits that stand for the person in member names."""
        return hashlib.sha256(f"faceemo sample person {self.number} {SUBJECT_SALT}".encode()).hexdigest()


@dataclass(frozen=True)
class Shot:
    """How a picture is taken. The plain `Shot()` is frontal, evenly lit and without noise."""

    roll_deg: float = 0.0
    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    scale: float = 1.0
    shift_px: tuple[float, float] = (0.0, 0.0)
    gain: float = 1.0
    gamma: float = 1.0
    gradient: tuple[float, float] = (0.0, 0.0)
    blur_px: float = 0.0
    noise: float = 0.0
    noise_seed: int = 0
    mimic_seed: int | None = None

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Shot:
        """A shot as somebody might take it with a phone."""
        return cls(
            roll_deg=float(np.clip(rng.normal(0, 3.5), -8, 8)),
            yaw_deg=float(np.clip(rng.normal(0, 4), -9, 9)),
            pitch_deg=float(np.clip(rng.normal(0, 2), -5, 5)),
            scale=float(rng.uniform(0.97, 1.06)),
            shift_px=(float(rng.uniform(-18, 18)), float(rng.uniform(-12, 12))),
            gain=float(rng.uniform(0.86, 1.12)),
            gamma=float(rng.uniform(0.85, 1.2)),
            gradient=(float(rng.uniform(-0.16, 0.16)), float(rng.uniform(-0.1, 0.1))),
            blur_px=float(rng.uniform(0.0, 0.7)),
            noise=float(rng.uniform(0.4, 1.4)),
            noise_seed=int(rng.integers(2**31)),
            mimic_seed=int(rng.integers(2**31)),
        )


def ramp(values: np.ndarray, start: float, end: float) -> np.ndarray:
    """Smooth rise from 0 at `start` to 1 at `end`."""
    t = np.clip((values - start) / (end - start), 0, 1)
    return t * t * (3 - 2 * t)


def nearness(points: np.ndarray, centre: np.ndarray, reach: float) -> np.ndarray:
    """Gaussian weight of each point by its distance from `centre`."""
    return np.exp(-((points - centre) ** 2).sum(axis=1) / (2 * reach**2))


def portrait_picture(name: str) -> np.ndarray:
    """The RGB pixels of a portrait as its package ships it."""
    if name == "collins":
        return skimage.data.astronaut()
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as stream:
        return np.array(Image.open(stream).convert("RGB"))


def find_landmarks(picture: np.ndarray) -> np.ndarray:
    """The 478 FaceMesh landmarks of the one face, x, y and z in pixels."""
    with mp.solutions.face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True, max_num_faces=1) as mesh:
        found = mesh.process(picture).multi_face_landmarks
    height, width = picture.shape[:2]
    points = np.array([[mark.x * width, mark.y * height, mark.z * width] for mark in found[0].landmark])
    return np.round(points, 1)


def put_upright(picture: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The picture on the working canvas, and its landmarks in face widths."""
    left, right = points[EYE_CORNERS[0], :2], points[EYE_CORNERS[1], :2]
    angle = np.arctan2(right[1] - left[1], right[0] - left[0])
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    middle = points[list(OVAL), :2].mean(axis=0)
    width = np.linalg.norm(points[CHEEK_TO_CHEEK[0], :2] - points[CHEEK_TO_CHEEK[1], :2])
    landmarks = np.column_stack([(points[:, :2] - middle) @ turn.T, points[:, 2]]) / width
    linear = turn * CANVAS_FACE_WIDTH_PX / width
    affine = np.column_stack([linear, np.array(CANVAS_CENTRE) - linear @ middle])
    canvas = cv2.warpAffine(picture, affine, CANVAS_SIZE, flags=cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT_101)
    return canvas, landmarks


def on_canvas(points: np.ndarray) -> np.ndarray:
    """Points in face widths as canvas pixels."""
    return points[:, :2] * CANVAS_FACE_WIDTH_PX + np.array(CANVAS_CENTRE)


def polygon_mask(points: np.ndarray, softness_px: float) -> np.ndarray:
    """A soft mask of the polygon, 0..1, on the working canvas."""
    mask = np.zeros(CANVAS_SIZE[::-1], np.float32)
    cv2.fillPoly(mask, [np.round(on_canvas(points)).astype(np.int32)], 1.0)
    return cv2.GaussianBlur(mask, (0, 0), softness_px)


def smoothed_folds(canvas: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The canvas with the folds beside a smiling mouth softened."""
    mask = np.zeros(CANVAS_SIZE[::-1], np.float32)
    for fold in SMILE_FOLDS:
        line = np.round(on_canvas(landmarks[list(fold)])).astype(np.int32)
        cv2.polylines(mask, [line], False, 1.0, 16)
    mask = 0.75 * cv2.GaussianBlur(mask, (0, 0), 6)[..., None]
    soft = cv2.GaussianBlur(canvas.astype(np.float32), (0, 0), 11)
    grain = canvas.astype(np.float32) - cv2.GaussianBlur(canvas.astype(np.float32), (0, 0), 1.5)
    return np.clip(canvas * (1 - mask) + (soft + grain) * mask, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class ClosedMouth:
    """How a mouth that shows teeth is closed: columns of pixels slide until the inner lips meet in one line."""

    upper: np.ndarray
    lower: np.ndarray
    left: float
    right: float
    reach_up: float = 0.14
    reach_down: float = 0.27
    upper_share: float = 0.4

    @classmethod
    def of(cls, landmarks: np.ndarray) -> ClosedMouth:
        """Smooth inner lip lines through the landmarks."""
        ends = landmarks[list(INNER_CORNERS), :2]
        lines = []
        for lip in (INNER_UPPER_LIP, INNER_LOWER_LIP):
            points = np.vstack([ends, ends, ends, landmarks[list(lip), :2]])
            lines.append(np.polyfit(points[:, 0], points[:, 1], 4))
        return cls(lines[0], lines[1], float(ends[0, 0]), float(ends[1, 0]))

    def lips_at(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Heights of the upper inner lip, the lower one and the line where they meet."""
        within = np.clip(x, self.left, self.right)
        upper, lower = np.polyval(self.upper, within), np.polyval(self.lower, within)
        ends = np.minimum(within - self.left, self.right - within)
        gap = np.maximum(lower - upper, 0) * ramp(ends, 0.0, 0.03)
        middle = (upper + lower) / 2
        upper = np.where(lower - upper > gap, middle - gap / 2, upper)
        return upper, upper + gap, upper + self.upper_share * gap

    def moved(self, points: np.ndarray) -> np.ndarray:
        """Landmarks of the open mouth in the closed one."""
        upper, lower, line = self.lips_at(points[:, 0])
        above = points[:, 1] < (upper + lower) / 2
        down = (line - upper) * (1 - ramp(upper - points[:, 1], 0, self.reach_up))
        up = (lower - line) * (1 - ramp(points[:, 1] - lower, 0, self.reach_down))
        result = points.copy()
        result[:, 1] += np.where(above, down, -up)
        for lip in (INNER_UPPER_LIP, INNER_LOWER_LIP):
            result[list(lip), 1] = line[list(lip)]
        return result

    def painted(self, canvas: np.ndarray) -> np.ndarray:
        """The canvas with the mouth closed."""
        columns, rows = np.meshgrid(np.arange(canvas.shape[1]), np.arange(canvas.shape[0]))
        x = (columns - CANVAS_CENTRE[0]) / CANVAS_FACE_WIDTH_PX
        y = (rows - CANVAS_CENTRE[1]) / CANVAS_FACE_WIDTH_PX
        upper, lower, line = self.lips_at(x)
        shown = np.where(
            y < line,
            y - (line - upper) * (1 - ramp(line - y, 0, self.reach_up)),
            y + (lower - line) * (1 - ramp(y - line, 0, self.reach_down)),
        )
        shown = (shown * CANVAS_FACE_WIDTH_PX + CANVAS_CENTRE[1]).astype(np.float32)
        closed = cv2.remap(canvas, columns.astype(np.float32), shown, cv2.INTER_CUBIC).astype(np.float32)
        ends = np.minimum(x - self.left, self.right - x)
        seam = np.exp(-(((y - line) / 0.010) ** 2) / 2) * ramp(ends, -0.02, 0.03)
        return np.clip(closed * (1 - seam[..., None] * np.array([0.45, 0.62, 0.58])), 0, 255).astype(np.uint8)


def person_mask(canvas: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """A soft mask of head and shoulders."""
    height, width = canvas.shape[:2]
    centre_x, centre_y = (round(value) for value in CANVAS_CENTRE)
    unit = CANVAS_FACE_WIDTH_PX
    marks = np.full((height, width), cv2.GC_PR_BGD, np.uint8)
    marks[: int(centre_y - 1.3 * unit)] = cv2.GC_BGD
    for left, right in ((0, centre_x - unit), (centre_x + unit, width)):
        marks[: int(centre_y + 0.3 * unit), int(left) : int(right)] = cv2.GC_BGD
    shoulders = np.array([[-0.4, 0.6], [0.4, 0.6], [1.3, 1.6], [-1.3, 1.6]])
    cv2.fillPoly(marks, [np.round(on_canvas(shoulders)).astype(np.int32)], cv2.GC_PR_FGD)
    for radii, kind in (((0.82, 0.85), cv2.GC_PR_FGD), ((0.58, 0.72), cv2.GC_FGD)):
        axes = (int(radii[0] * unit), int(radii[1] * unit))
        cv2.ellipse(marks, (centre_x, int(centre_y - 0.38 * unit)), axes, 0, 0, 360, kind, -1)
    cv2.fillPoly(marks, [np.round(on_canvas(landmarks[list(OVAL)])).astype(np.int32)], cv2.GC_FGD)
    cv2.setRNGSeed(1)
    cv2.grabCut(canvas, marks, None, np.zeros((1, 65)), np.zeros((1, 65)), 4, cv2.GC_INIT_WITH_MASK)
    found = np.isin(marks, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    outlines, _ = cv2.findContours(found, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    mask = cv2.drawContours(np.zeros_like(found), [max(outlines, key=cv2.contourArea)], -1, 1, -1).astype(np.float32)
    return cv2.GaussianBlur(mask, (0, 0), 2.5)


def blurred_backdrop(canvas: np.ndarray, backdrop: np.ndarray) -> np.ndarray:
    """The canvas with everything behind the person out of focus, nothing of the person smeared into it."""
    behind = (backdrop > 0.98).astype(np.float32)[..., None]
    spread = cv2.GaussianBlur(canvas * behind, (0, 0), 7) / (cv2.GaussianBlur(behind, (0, 0), 7)[..., None] + 1e-3)
    share = ramp(backdrop, 0.4, 1.0)[..., None]
    return np.clip(canvas * (1 - share) + spread * share, 0, 255).astype(np.uint8)


def skin_mask(canvas: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """A soft mask of face, ears and neck, by place and by likeness to the colour of the cheeks."""
    head = landmarks[list(OVAL), :2]
    neck = np.array([[-0.32, 0.4], [0.32, 0.4], [0.34, 1.1], [-0.34, 1.1]])
    place = np.maximum(polygon_mask(head * np.array([1.22, 1.05]), 8), polygon_mask(neck, 8))
    lab = cv2.cvtColor(canvas.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    x, y = np.round(on_canvas(landmarks[list(CHEEKS)])).astype(int).T
    tone = np.median(lab[y, x], axis=0)
    away = (((cv2.GaussianBlur(lab, (0, 0), 2) - tone) / np.array([30, 13, 14])) ** 2).sum(axis=2)
    likeness = np.exp(-away / 2)
    inside = polygon_mask(head * 0.9, 12)
    return cv2.GaussianBlur(place * np.maximum(likeness, inside).astype(np.float32), (0, 0), 2)


@lru_cache(maxsize=2)
def load_portrait(name: str) -> Portrait:
    """The named portrait, ready for warping."""
    picture = portrait_picture(name)
    canvas, landmarks = put_upright(picture, find_landmarks(picture))
    gaps = landmarks[list(INNER_LOWER_LIP), 1] - landmarks[list(INNER_UPPER_LIP), 1]
    shows_teeth = bool(gaps.max() > 0.02)
    whole = person_mask(canvas, landmarks)
    canvas = blurred_backdrop(canvas, 1 - whole)
    relaxed, relaxed_landmarks = canvas, landmarks
    if shows_teeth:
        mouth = ClosedMouth.of(landmarks)
        relaxed, relaxed_landmarks = mouth.painted(smoothed_folds(canvas, landmarks)), mouth.moved(landmarks)
    skin = skin_mask(canvas, landmarks) * whole
    head = polygon_mask(landmarks[list(OVAL), :2] * np.array([1.7, 1.5]) + np.array([0, -0.12]), 12)
    above_jaw = ramp(-on_canvas(np.zeros((1, 2)))[0, 1] + np.arange(CANVAS_SIZE[1]), 110, 60)[:, None]
    hair = (whole * head * above_jaw * (1 - skin)).astype(np.float32)
    glasses = under_hat = name == "hopper"
    if under_hat:
        hair[:] = 0
    return Portrait(canvas, relaxed, landmarks, relaxed_landmarks, skin, hair, 1 - whole, shows_teeth, glasses)


def shaped(points: np.ndarray, person: Person, landmarks: np.ndarray) -> np.ndarray:
    """Where the person's shape moves points of the portrait, in face widths."""
    by = {name: person.shape[name] * spread for name, spread in SHAPE_SPREAD.items()}
    x, y = points[:, 0], points[:, 1]
    fade = 1 - ramp(np.hypot(x / 1.15, y / 1.5), 0.45, 1.0)
    move = np.zeros_like(points)
    move[:, 0] += x * (by["face_width"] + by["jaw_width"] * ramp(y, -0.05, 0.5)) * fade
    move[:, 1] += (y * by["face_height"] + by["chin_length"] * ramp(y, 0.2, 0.6)) * fade
    move[:, 1] -= by["forehead_height"] * ramp(-y, 0.2, 0.6) * fade
    move[:, 0] += by["asymmetry"] * np.sin(3 * y) * fade
    for side, eye, brow in zip((-1, 1), EYES, BROWS, strict=True):
        centre = landmarks[list(eye), :2].mean(axis=0)
        near = nearness(points, centre, 0.11)[:, None]
        move += by["eye_size"] * (points - centre) * near
        slant = by["eye_slant_shift"] * side * (x - centre[0]) / 0.1
        move += (
            np.column_stack([np.full(len(x), side * by["eye_spacing_shift"]), by["eye_height_shift"] + slant]) * near
        )
        centre = landmarks[list(brow), :2].mean(axis=0)
        slant = by["brow_slant_shift"] * side * (x - centre[0]) / 0.15
        move[:, 1] -= (by["brow_height_shift"] + slant) * nearness(points, centre, 0.10)
    bridge, tip = landmarks[168, :2], landmarks[2, :2]
    near = nearness(points, landmarks[4, :2], 0.13)
    move[:, 0] += by["nose_width"] * (x - tip[0]) * near
    move[:, 1] += by["nose_length"] * (y - bridge[1]) * near
    mouth = landmarks[list(LIP_CORNERS), :2].mean(axis=0)
    near = nearness(points, mouth, 0.16)
    move[:, 0] += by["mouth_width"] * (x - mouth[0]) * near
    move[:, 1] += by["mouth_height_shift"] * near
    move[:, 1] += by["lip_fullness"] * (y - mouth[1]) * nearness(points, mouth, 0.10)
    return points + move


def movements(person: Person, emotion: str, intensity: float, shot: Shot) -> dict[str, float]:
    """How strongly each facial movement is made, in face widths."""
    strength = {}
    for name, by_emotion in MOVEMENTS.items():
        own = 1 + PERSON_MIMIC_SHARE * person.mimic[name]
        strength[name] = intensity * own * by_emotion.get(emotion, 0.0)
    if shot.mimic_seed is not None:
        rng = np.random.default_rng(shot.mimic_seed)
        for name in strength:
            strength[name] += float(np.clip(rng.normal(), -2, 2)) * MIMIC_JITTER
    return strength


def neutral_landmarks(portrait: Portrait) -> np.ndarray:
    """The portrait's landmarks with the smile taken back, further where it shows teeth."""
    points = portrait.relaxed_landmarks[:, :2].copy()
    drop, narrow, cheek = (0.064, 0.045, 0.016) if portrait.shows_teeth else (0.0, 0.004, 0.0)
    move = mouth_move(points, raise_by=-drop, stretch_by=-narrow) + cheek_move(points, -cheek)
    return points + move


def mouth_move(points: np.ndarray, raise_by: float, stretch_by: float) -> np.ndarray:
    """How points near the mouth go when the lip corners rise and stretch."""
    move = np.zeros_like(points)
    corners = points[list(LIP_CORNERS)]
    middle = corners.mean(axis=0)
    half = (corners[1, 0] - corners[0, 0]) / 2
    across = (points[:, 0] - middle[0]) / half
    bend = np.clip(np.abs(across), 0, 1.6) ** 2 - 0.25
    below = np.exp(-(((points[:, 1] - middle[1]) / 0.11) ** 2) / 2)
    within = below * (1 - ramp(np.abs(across), 1.1, 2.1))
    move[:, 1] = -raise_by * np.clip(bend, -0.25, 1.0) * within
    move[:, 0] = stretch_by * np.clip(across, -1.3, 1.3) * within
    return move


def cheek_move(points: np.ndarray, raise_by: float) -> np.ndarray:
    """How points move when the cheeks rise."""
    move = np.zeros_like(points)
    for cheek in (205, 425):
        move[:, 1] -= raise_by * nearness(points, points[cheek], 0.11)
    return move


def with_lip_gap(points: np.ndarray, opening: float) -> np.ndarray:
    """The landmarks of a closed mouth with the inner lips `opening` apart in the middle, the outer lips following."""
    ends = points[list(INNER_CORNERS)]
    result = points.copy()
    for marks, share in (
        (INNER_UPPER_LIP, -0.4),
        (OUTER_UPPER_LIP, -0.36),
        (INNER_LOWER_LIP, 0.6),
        (OUTER_LOWER_LIP, 0.56),
    ):
        across = (points[list(marks), 0] - ends[:, 0].mean()) / (np.ptp(ends[:, 0]) / 2)
        result[list(marks), 1] += share * opening * np.clip(1 - across**2, 0.06, 1)
    return result


def with_pressed_lips(points: np.ndarray, share: float) -> np.ndarray:
    """The landmarks with that share of the lips' thickness taken away."""
    result = points.copy()
    for outer, inner in ((OUTER_UPPER_LIP, INNER_UPPER_LIP), (OUTER_LOWER_LIP, INNER_LOWER_LIP)):
        result[list(outer), 1] += share * (points[list(inner), 1] - points[list(outer), 1])
    return result


def expressed(points: np.ndarray, strength: dict[str, float], glasses: bool) -> np.ndarray:
    """The neutral landmarks with the facial movements made, the mouth still closed."""
    move = mouth_move(points, strength["corner_raise"], strength["corner_stretch"])
    move += cheek_move(points, strength["cheek_raise"])
    # Brows sit on the rim of the glasses: the rim rises as one piece, bridge included, and bends little.
    raising, inner_raising = strength["brow_raise"], strength["inner_brow_raise"]
    reach = 0.16 if glasses else 0.09
    if glasses:
        move[[168, 6, 9], 1] -= 0.8 * (raising + inner_raising) * np.array([1.0, 0.7, 1.0])
    for side, brow, upper, lower in zip((-1, 1), BROWS, UPPER_LIDS, LOWER_LIDS, strict=True):
        marks = points[list(brow)]
        inner = marks[np.argmin(side * marks[:, 0])]
        for mark in brow:
            inwards = np.exp(-(((points[mark, 0] - inner[0]) / reach) ** 2) / 2)
            move[mark, 1] -= raising + inner_raising * inwards * (0.85 if glasses else 1.0)
            move[mark, 0] -= side * strength["brow_together"] * inwards * (0.3 if glasses else 1.0)
        arch = np.array([0.55, 0.9, 1.0, 0.9, 0.55])
        move[list(upper), 1] -= strength["upper_lid_raise"] * arch
        move[list(lower), 1] -= strength["lower_lid_raise"] * arch
    move[[69, 299, 104, 333, 108, 337], 1] -= 0.6 * raising
    return with_pressed_lips(points + move, strength["lip_press"] / 0.05)


def control_marks(teeth: bool) -> list[int]:
    """The landmarks that steer the warp; a closed mouth has one inner lip line, not two that coincide."""
    marks = [*OVAL, *sum(EYES, ()), *sum(IRISES, ()), *sum(BROWS, ()), *NOSE, *CHEEKS, *FOREHEAD, *CHIN]
    marks += [*LIP_CORNERS, *OUTER_UPPER_LIP, *OUTER_LOWER_LIP, *INNER_UPPER_LIP]
    if teeth:
        marks += [*INNER_CORNERS, *INNER_LOWER_LIP]
    return sorted(set(marks))


def border_anchors() -> np.ndarray:
    """Points around the head that no warp moves."""
    across, down = np.linspace(-1.25, 1.25, 7), np.linspace(-1.7, 1.6, 9)
    sides = [(x, y) for x in across[[0, -1]] for y in down]
    return np.array(sides + [(x, y) for x in across[1:-1] for y in down[[0, -1]]])


def turned_head(points: np.ndarray, depth: np.ndarray, shot: Shot) -> np.ndarray:
    """The landmarks after a small turn of the head around its outline."""
    yaw, pitch = np.radians(shot.yaw_deg), np.radians(shot.pitch_deg)
    forward = depth[list(OVAL)].mean() - depth
    forward = np.where(forward < 0, 0.25 * forward, forward)
    x = points[:, 0] * np.cos(yaw) + forward * np.sin(yaw)
    y = points[:, 1] * np.cos(pitch) + forward * np.sin(pitch)
    return np.column_stack([x, y])


def new_face(person: Person, emotion: str, intensity: float, shot: Shot) -> np.ndarray:
    """The landmarks of the picture to make, in face widths, before they are placed in it."""
    portrait = load_portrait(person.portrait)
    strength = movements(person, emotion, intensity, shot)
    face = expressed(neutral_landmarks(portrait), strength, portrait.glasses)
    if portrait.shows_teeth:
        face = with_lip_gap(face, max(strength["mouth_opening"], 0.0))
    own = portrait.relaxed_landmarks[:, :2]
    face += shaped(own, person, own) - own
    return turned_head(face, portrait.landmarks[:, 2], shot)


def warp_controls(person: Person, face: np.ndarray, teeth: bool) -> tuple[np.ndarray, np.ndarray]:
    """Matching control points in face widths: in the portrait, with or without teeth, and in the new face."""
    portrait = load_portrait(person.portrait)
    landmarks = (portrait.landmarks if teeth else portrait.relaxed_landmarks)[:, :2]
    marks = control_marks(teeth)
    target = face.copy()
    if not teeth:
        target[list(INNER_UPPER_LIP)] = (face[list(INNER_UPPER_LIP)] + face[list(INNER_LOWER_LIP)]) / 2
    ring = portrait.landmarks[list(OVAL)[::2], :2] * 1.45
    anchors = border_anchors()
    source = np.vstack([landmarks[marks], ring, anchors])
    return source, np.vstack([target[marks], shaped(ring, person, portrait.landmarks[:, :2]), anchors])


def thin_plate(at: np.ndarray, values: np.ndarray, stiffness: float = 1e-5) -> np.ndarray:
    """Coefficients of the thin-plate spline that takes the points `at` to `values`."""
    count = len(at)
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = plate_kernel(at, at) + stiffness * np.eye(count)
    system[:count, count:] = np.column_stack([np.ones(count), at])
    system[count:, :count] = system[:count, count:].T
    return np.linalg.solve(system, np.vstack([values, np.zeros((3, 2))]))


def plate_kernel(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """r^2 log r^2 between all points and centres."""
    squared = (points**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1) - 2 * points @ centres.T
    squared = np.maximum(squared, 1e-12)
    return squared * np.log(squared)


def to_picture(points: np.ndarray, person: Person, shot: Shot) -> np.ndarray:
    """Points of the upright face, in face widths, as pixels of the picture."""
    roll = np.radians(shot.roll_deg)
    turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    pixels = points @ turn.T * FACE_WIDTH_PX * shot.scale + np.array(FACE_CENTRE_PX) + np.array(shot.shift_px)
    if person.mirrored:
        pixels[:, 0] = PICTURE_WIDTH - 1 - pixels[:, 0]
    return pixels


def sampling_map(source: np.ndarray, target: np.ndarray, shot: Shot, step: int = 3) -> np.ndarray:
    """For every pixel of the picture before mirroring, the canvas pixel it shows."""
    columns, rows = np.arange(0, PICTURE_WIDTH + step, step), np.arange(0, PICTURE_HEIGHT + step, step)
    grid = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2).astype(np.float64)
    roll = np.radians(shot.roll_deg)
    back = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    upright = (grid - np.array(FACE_CENTRE_PX) - np.array(shot.shift_px)) @ back.T / (FACE_WIDTH_PX * shot.scale)
    spline = thin_plate(target, source)
    shown = plate_kernel(upright, target) @ spline[:-3] + spline[-3] + upright @ spline[-2:]
    coarse = on_canvas(shown).reshape(len(rows), len(columns), 2).astype(np.float32)
    y, x = np.mgrid[0:PICTURE_HEIGHT, 0:PICTURE_WIDTH].astype(np.float32) / step
    return cv2.remap(coarse, x, y, cv2.INTER_LINEAR)


def coloured(canvas: np.ndarray, person: Person, portrait: Portrait) -> np.ndarray:
    """The canvas in the person's skin tone, hair colour and backdrop, as floats 0..1."""
    by = {name: person.colour[name] * spread for name, spread in COLOUR_SPREAD.items()}
    lab = cv2.cvtColor(canvas.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    for part in ("skin", "hair", "backdrop"):
        shift = np.array([by[f"{part}_l"], by[f"{part}_a"], by[f"{part}_b"]], np.float32)
        lab += getattr(portrait, part)[..., None] * shift
    lab[..., 0] = (lab[..., 0] - 55) * (1 + by["contrast_gain"]) + 55
    lab[..., 0] = np.clip(lab[..., 0], 0, 100)
    return np.clip(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), 0, 1)


@lru_cache(maxsize=4)
def painted(person: Person) -> tuple[np.ndarray, np.ndarray]:
    """The person's canvas twice: with the smile's teeth and folds, and relaxed."""
    portrait = load_portrait(person.portrait)
    return coloured(portrait.smiling, person, portrait), coloured(portrait.relaxed, person, portrait)


def exposed(picture: np.ndarray, shot: Shot) -> np.ndarray:
    """The picture in the shot's light, with its blur and noise, as bytes."""
    y, x = np.mgrid[-1 : 1 : PICTURE_HEIGHT * 1j, -1 : 1 : PICTURE_WIDTH * 1j]
    light = shot.gain * (1 + shot.gradient[0] * x + shot.gradient[1] * y)
    result = np.clip(picture, 0, 1) ** shot.gamma * light[..., None]
    if shot.blur_px > 0.1:
        result = cv2.GaussianBlur(result, (0, 0), shot.blur_px)
    grain = np.random.default_rng(shot.noise_seed).normal(0, 1, result.shape[:2])
    return np.clip(np.round(result * 255 + shot.noise * grain[..., None]), 0, 255).astype(np.uint8)


def warped(canvas: np.ndarray, person: Person, face: np.ndarray, teeth: bool, shot: Shot) -> np.ndarray:
    """The canvas warped onto the new face."""
    shown = sampling_map(*warp_controls(person, face, teeth), shot)
    return cv2.remap(canvas, shown[..., 0], shown[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)


def render(person: Person, emotion: str, intensity: float, shot: Shot) -> np.ndarray:
    """An upright RGB picture of the person; intensity 0 is neutral, 1 the emotion in full."""
    smiling, relaxed = painted(person)
    face = new_face(person, emotion, intensity, shot)
    opening = movements(person, emotion, intensity, shot)["mouth_opening"]
    teeth = float(ramp(np.array(opening), 0.010, 0.034)) if load_portrait(person.portrait).shows_teeth else 0.0
    picture = np.zeros((PICTURE_HEIGHT, PICTURE_WIDTH, 3))
    if teeth < 1:
        picture += (1 - teeth) * warped(relaxed, person, face, False, shot)
    if teeth > 0:
        picture += teeth * warped(smiling, person, face, True, shot)
    return exposed(picture[:, ::-1] if person.mirrored else picture, shot)


def face_box(person: Person, emotion: str, intensity: float, shot: Shot) -> dict[str, float]:
    """The face's extent in pixels of the upright picture."""
    points = to_picture(new_face(person, emotion, intensity, shot), person, shot)
    low, high = points.min(axis=0), points.max(axis=0)
    return {"maxX": float(high[0]), "maxY": float(high[1]), "minX": float(low[0]), "minY": float(low[1])}


@dataclass(frozen=True)
class Member:
    """One picture of an archive, with what its label record says."""

    name: str
    jpeg: bytes
    person: Person
    emotion: str
    background: str
    box: dict[str, float]


def jpeg_bytes(picture: np.ndarray, orientation: int = 1) -> bytes:
    """The upright picture as JPEG, stored turned as the EXIF orientation (1, 3, 6 or 8) says."""
    quarter_turns = {1: 0, 3: 2, 6: 1, 8: 3}[orientation]
    image = Image.fromarray(np.ascontiguousarray(np.rot90(picture, quarter_turns)))
    stream = io.BytesIO()
    if orientation == 1:
        image.save(stream, "JPEG", quality=JPEG_QUALITY, optimize=True)
    else:
        exif = Image.Exif()
        exif[0x0112] = orientation
        image.save(stream, "JPEG", quality=JPEG_QUALITY, optimize=True, exif=exif)
    return stream.getvalue()


def landscape(rng: np.random.Generator) -> np.ndarray:
    """A picture with nobody in it: sky over rows of hills."""
    y, x = np.mgrid[0:PICTURE_HEIGHT, 0:PICTURE_WIDTH].astype(np.float64)
    picture = np.array([150, 185, 225]) + (y / PICTURE_HEIGHT)[..., None] * np.array([70, 45, 15])
    for row in range(4):
        waves = sum(rng.uniform(6, 22) * np.sin(x / rng.uniform(25, 90) + rng.uniform(0, 6)) for _ in range(4))
        hill = ramp(y - (230 + 70 * row + waves), -1, 1)[..., None]
        tone = np.array([118, 146, 128]) - row * np.array([22, 20, 26])
        picture = picture * (1 - hill) + tone * hill
    return np.clip(np.round(picture + rng.normal(0, 1.2, picture.shape)), 0, 255).astype(np.uint8)


def member_name(person: Person, emotion: str, background: str, serial: int) -> str:
    """A member name as the set writes them."""
    stamp = f"202101{26 + serial // 3600 % 4:02d}{15 + serial // 600 % 6:02d}{serial // 60 % 60:02d}{serial % 60:02d}"
    number = f"{person.number + 1:03d}-{serial % 1000:03d}"
    return f"{person.subject}_{person.gender}_{person.decade}_{emotion}_{background}_{stamp}-{number}.jpg"


def taken(person: Person, emotion: str, index: int, serial: int) -> Member:
    """The index-th shot of a person making an emotion."""
    rng = np.random.default_rng([7, person.number, EMOTIONS.index(emotion), index])
    intensity = float(rng.uniform(0.6, 1.2))
    shot = Shot.drawn(rng)
    background = BACKGROUNDS[rng.integers(len(BACKGROUNDS))]
    orientation = (3, 6, 8)[serial // 8 % 3] if serial % 8 == 5 else 1
    jpeg = jpeg_bytes(render(person, emotion, intensity, shot), orientation)
    box = face_box(person, emotion, intensity, shot)
    return Member(member_name(person, emotion, background, serial), jpeg, person, emotion, background, box)


def broken_members(serial: int) -> list[Member]:
    """A picture without a face and one cut after a third, both neutral."""
    person = Person.made_up(0)
    whole = taken(person, NEUTRAL, SHOTS_PER_EMOTION, serial)
    cut = Member(whole.name, whole.jpeg[: len(whole.jpeg) // 3], person, NEUTRAL, whole.background, whole.box)
    other = Person.made_up(1)
    name = member_name(other, NEUTRAL, BACKGROUNDS[0], serial + 1)
    picture = jpeg_bytes(landscape(np.random.default_rng(11)))
    return [cut, Member(name, picture, other, NEUTRAL, BACKGROUNDS[0], whole.box)]


def raters_answers(emotion: str, share: float, rng: np.random.Generator) -> list[str]:
    """What three made-up raters see in a picture; share: which part of the archive's pictures it stands for, 0..1."""
    instead = str(rng.choice(SEEN_INSTEAD[emotion]))
    further = str(rng.choice([word for word in ANSWERS if word not in (emotion, instead)]))
    cases = ([emotion] * 3, [emotion, emotion, further], [emotion, instead, further], [instead, instead, emotion])
    answers = cases[np.searchsorted(np.cumsum(RATED[emotion]), share)]
    return [answers[index] for index in rng.permutation(3)]


def rating(member: Member, answer: str, rng: np.random.Generator) -> dict[str, object]:
    """What one made-up rater says about a picture."""
    return {
        "boxes": {side: float(value + rng.normal(0, 3)) for side, value in member.box.items()},
        "faceExp": answer,
        "bg": member.background if rng.random() < 0.9 else BACKGROUNDS[rng.integers(len(BACKGROUNDS))],
    }


def label_record(member: Member, share: float) -> dict[str, object]:
    """The label archive's record of a picture."""
    rng = np.random.default_rng(list(hashlib.sha256(member.name.encode("utf-8")).digest()))
    answers = raters_answers(member.emotion, share, rng)
    return {
        "filename": member.name,
        "gender": member.person.gender,
        "age": member.person.decade,
        "isProf": "전문인" if member.person.number * PROFESSIONAL_SHARE % 1 < PROFESSIONAL_SHARE else "일반인",
        "faceExp_uploader": member.emotion,
        "bg_uploader": member.background,
        **{f"annot_{rater}": rating(member, answer, rng) for rater, answer in zip("ABC", answers, strict=True)},
    }


def label_records(members: list[Member]) -> list[dict[str, object]]:
    """The records of an archive; a hash of the name decides which picture is seen in which way."""
    order = sorted(range(len(members)), key=lambda i: hashlib.sha256(members[i].name.encode("utf-8")).digest())
    share = {index: (rank + 0.5) / len(members) for rank, index in enumerate(order)}
    return [label_record(member, share[index]) for index, member in enumerate(members)]


def write_archive(path: Path, contents: dict[str, bytes]) -> None:
    """A stored ZIP that has the same bytes on every run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in contents.items():
            entry = zipfile.ZipInfo(name, ZIP_TIME)
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)


def write_folder(out: Path, people: range, training: bool) -> None:
    """The source and label archives of Training or Validation."""
    folder = out / ("Training" if training else "Validation")
    for emotion in EMOTIONS:
        shots = [(number, index) for index in range(SHOTS_PER_EMOTION) for number in people]
        members = [taken(Person.made_up(number), emotion, index, i) for i, (number, index) in enumerate(shots)]
        extra: dict[str, bytes] = {}
        if training and emotion == NEUTRAL:
            members += broken_members(len(members))
            extra["readme.txt"] = README_MEMBER.encode("utf-8")
        source = f"[원천]EMOIMG_{emotion}_TRAIN_01.zip" if training else f"[원천]EMOIMG_{emotion}_VALID.zip"
        write_archive(folder / source, {member.name: member.jpeg for member in members} | extra)
        records = json.dumps(label_records(members), ensure_ascii=False)
        label_member = f"img_emotion_{'training' if training else 'validation'}_data({emotion}).json"
        label = f"[라벨]EMOIMG_{emotion}_{'TRAIN' if training else 'VALID'}.zip"
        write_archive(folder / label, {label_member: records.encode("utf-8")})


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder for Training/ and Validation/")
    out = parser.parse_args().out
    write_folder(out, TRAINING_PEOPLE, training=True)
    write_folder(out, VALIDATION_PEOPLE, training=False)


if __name__ == "__main__":
    main()
