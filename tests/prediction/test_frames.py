"""Videos as phones, editors and interrupted copies leave them. What files say is changed in what OpenCV has written."""

import struct
from pathlib import Path

import numpy as np
import pytest
from video import video_file

from faceemo.prediction.frames import VideoFrames, frames_per_second

RED, GREEN, BLUE = (200, 0, 0), (0, 200, 0), (0, 0, 200)
SONG = Path(__file__).with_name("song.mp4")  # a third of a second of sound, and a picture of 16 x 16 as its cover


@pytest.fixture
def lying(tmp_path):
    """Sixty frames of 80 x 48 at 30 a second, each a little brighter, with three corners that can be told apart."""
    pictures = []
    for number in range(60):
        picture = np.full((48, 80, 3), number, np.uint8)
        picture[:16, :16], picture[:16, -16:], picture[-16:, :16] = RED, GREEN, BLUE
        pictures.append(picture)
    return video_file(tmp_path / "lying.mp4", pictures, rate=30)


def patch(path, box, offset, layout, *values):
    """Write values into the first box of this kind, `offset` bytes behind its name."""
    data = bytearray(path.read_bytes())
    struct.pack_into(layout, data, data.index(box) + 4 + offset, *values)
    path.write_bytes(data)


def turn(path, degrees):
    """As phones do: the matrix of the track's header turns its frames clockwise."""
    a, b = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    lay(path, a, b, -b, a)


def lay(path, a, b, c, d):
    """Where the matrix of the track's header puts x (a, b) and y (c, d)."""
    one = 1 << 16
    patch(path, b"tkhd", 40, ">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)


def stretch(path, factor):
    """The track is shown wider than its frames are."""
    patch(path, b"tkhd", 76, ">I", round(80 * factor) << 16)


def corners(rgb):
    """Names of the colours of the corners: top left, top right, bottom left, bottom right."""
    near = [rgb[4, 4], rgb[4, -5], rgb[-5, 4], rgb[-5, -5]]
    return "".join("-" if pixel.max() < 110 else "RGB"[pixel.argmax()] for pixel in near)


@pytest.mark.parametrize(("degrees", "seen"), [(90, "BR-G"), (180, "-BGR"), (270, "G-RB")])
def test_frames_are_turned_as_the_file_says(lying, degrees, seen):
    assert corners(next(iter(VideoFrames(lying)))[1]) == "RGB-"
    turn(lying, degrees)
    _, rgb = next(iter(VideoFrames(lying)))
    assert corners(rgb) == seen and rgb.shape == ((48, 80, 3) if degrees == 180 else (80, 48, 3))


@pytest.mark.parametrize(
    ("matrix", "seen"),
    [((-1, 0, 0, 1), "GR-B"), ((1, 0, 0, -1), "B-RG"), ((0, 1, 1, 0), "RBG-"), ((0, -1, -1, 0), "-GBR")],
)
def test_frames_are_mirrored_as_the_file_says(lying, matrix, seen):
    lay(lying, *matrix)
    assert corners(next(iter(VideoFrames(lying)))[1]) == seen


@pytest.mark.parametrize(("factor", "size"), [(2, (48, 160)), (0.5, (96, 80)), (1, (48, 80)), (100, (48, 80))])
def test_pixels_become_square_and_those_of_a_damaged_header_stay(lying, factor, size):
    stretch(lying, factor)
    assert next(iter(VideoFrames(lying)))[1].shape[:2] == size


def test_a_turned_video_is_stretched_along_the_side_that_was_its_width(lying):
    stretch(lying, 2)
    turn(lying, 90)
    _, rgb = next(iter(VideoFrames(lying)))
    assert rgb.shape == (160, 48, 3) and corners(rgb) == "BR-G"


def test_a_cut_without_encoding_is_whole(lying):
    """It leaves all frames in the file, and an edit list that says which of them are shown."""
    media = lying.read_bytes()
    scale = struct.unpack_from(">I", media, media.index(b"mdhd") + 16)[0]
    patch(lying, b"elst", 8, ">Ii", 500, scale)  # half a second from the first on; the movie counts in thousandths
    video = VideoFrames(lying)
    frames = list(video)
    assert video.error is None
    assert 10 <= len(frames) <= 20 and frames[0][1][24, 40].mean() > 20


def test_a_copy_that_ended_early_says_so_and_so_does_one_whose_end_is_empty(lying):
    data = lying.read_bytes()
    moov = data.index(b"moov") - 4
    media = data[data.index(b"mdat") - 4 : moov]
    hole = len(media) // 2
    emptied = data[: moov - hole] + bytes(hole) + data[moov:]
    lying.write_bytes(emptied)
    video = VideoFrames(lying)
    assert 10 < len(list(video)) < 50
    assert video.error.startswith("ended after ") and video.error.endswith(" of 2.0 seconds")


def other_kind(path, name, code):
    """The same pictures in a file of another kind."""
    return video_file(path.with_name(name), [rgb for _, rgb in VideoFrames(path)], rate=30, code=code)


KINDS = [("a.mkv", "mp4v"), ("a.webm", "VP80"), ("a.avi", "MJPG"), ("a.flv", "FLV1")]


@pytest.mark.parametrize(("name", "code"), KINDS)
def test_a_copy_of_any_kind_that_ended_early_says_so(lying, name, code):
    path = other_kind(lying, name, code)
    video = VideoFrames(path)
    assert len(list(video)) == 60 and video.error is None
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert 10 < len(list(video)) < 50
    assert video.error.startswith("ended after ") and video.error.endswith(" of 2.0 seconds")


def test_sound_that_goes_on_after_the_last_picture_is_no_early_end(lying):
    """Matroska has one length for all tracks, that of the longest."""
    path = other_kind(lying, "a.mkv", "mp4v")
    data = bytearray(path.read_bytes())
    at = data.index(b"\x44\x89\x88") + 3
    struct.pack_into(">d", data, at, 2 * struct.unpack_from(">d", data, at)[0])
    path.write_bytes(data)
    video = VideoFrames(path)
    assert len(list(video)) == 60 and video.error is None


def test_a_recording_that_never_got_its_directory_is_cut_short(lying):
    data = lying.read_bytes()
    for cut in (data[: data.index(b"moov") - 100], b"FLV", b"RIFF"):
        lying.write_bytes(cut)
        video = VideoFrames(lying)
        assert list(video) == [] and video.error == "cut short; copy it again"


@pytest.mark.parametrize("every", [1, 7, 100])
def test_one_frame_of_so_many_is_given_with_its_time(lying, every):
    video = VideoFrames(lying, every)
    times = [seconds for seconds, _ in video]
    assert times == pytest.approx([number / 30 for number in range(0, 60, every)], abs=1e-3) and video.error is None


def test_a_songs_cover_is_no_video():
    video = VideoFrames(SONG)
    assert list(video) == [] and video.error == "no video, but sound with a cover picture"
    assert frames_per_second(SONG) == 30


@pytest.mark.parametrize("content", [b"", b"not at all", b"\0\0\0\1moov", b"\0\0\0\x10moov\0\0\0\1mvhd" * 9])
def test_what_is_no_video_says_so(tmp_path, content):
    (tmp_path / "a.mp4").write_bytes(content)
    video = VideoFrames(tmp_path / "a.mp4")
    assert list(video) == [] and video.error == "no video in a known format"
