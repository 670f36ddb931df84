"""Videos as phones, editors and interrupted copies leave them. What files say is changed in what OpenCV has written."""

import math
import random
import struct
from pathlib import Path

import numpy as np
import pytest
from video import video_file

from faceemo.prediction.frames import VideoFrames, frames_per_second
from faceemo.prediction.headers import claimed_seconds, is_cut, mirrored_axis, mp4_seconds

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


KINDS = [("a.mkv", "mp4v"), ("a.webm", "VP80"), ("a.avi", "MJPG"), ("a.flv", "FLV1"), ("a.wmv", "WMV2")]


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
    media = data[: data.index(b"moov") - 100]
    for cut in (media, media[data.index(b"mdat") - 4 :], b"FLV", b"RIFF", b""):  # the second as old cameras begin
        lying.write_bytes(cut)
        video = VideoFrames(lying)
        assert list(video) == [] and video.error == "cut short; copy it again"


CUT = "cut short; copy it again"
MPEG = [("a.mpg", "PIM1"), ("a.vob", "mpg2"), ("a.mts", "mp4v"), ("a.m2ts", "mp4v")]


def borders(data):
    """Where a packet of an MPEG stream ends: those of a program stream begin with their kind and say their length."""
    if not data.startswith(b"\0\0\1"):
        packet = 188 if data[0] == 0x47 else 192
        return set(range(0, len(data) + 1, packet))
    found, at = {0}, 0
    while at < len(data):
        in_pack = 14 + data[at + 13] % 8 if data[at + 4] >> 6 else 12
        at += in_pack if data[at + 3] == 0xBA else 6 + int.from_bytes(data[at + 4 : at + 6], "big")
        found.add(at)
    return found


@pytest.mark.parametrize(("name", "code"), MPEG)
def test_an_mpeg_stream_that_was_cut_within_a_packet_says_so(lying, name, code):
    """It does not say how long it is, so that one that was cut between two is none to tell."""
    path = other_kind(lying, name, code)
    data = path.read_bytes()
    ends = borders(data)
    assert max(ends) == len(data)
    least = {0: 3, 0x47: 1}.get(data[0], 5)  # bytes of a packet by which it is known
    near = {end + more for end in ends for more in range(6)}
    for size in sorted(near.union(range(0, len(data), 97)).intersection(range(600, len(data) + 1))):
        path.write_bytes(data[:size])
        assert is_cut(path) == (size - max(end for end in ends if end <= size) >= least), size
    video = VideoFrames(path)
    for size, error in ((len(data), None), (sorted(ends)[-2] - 20, CUT)):
        path.write_bytes(data[:size])
        assert len(list(video)) > 10 and video.error == error


@pytest.mark.parametrize(
    "more", [b"\0\0\1\xb9", b"\0\0\1\xb9" + bytes(100), bytes(2048), b"\xff" * 188, b"any trailer"]
)
@pytest.mark.parametrize(("name", "code"), MPEG)
def test_what_follows_a_whole_mpeg_stream_is_no_early_end(lying, name, code, more):
    path = other_kind(lying, name, code)
    path.write_bytes(path.read_bytes() + more)
    assert not is_cut(path)


def test_a_live_recording_that_says_no_length_is_cut_where_its_last_block_is(lying):
    path = other_kind(lying, "a.webm", "VP80")
    data = bytearray(path.read_bytes())
    for master in (b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"):
        at = data.index(master) + 4
        length = 9 - data[at].bit_length()
        data[at : at + length] = ((1 << 7 * length + 1) - 1).to_bytes(length, "big")
    at = data.index(b"\x44\x89")
    data[at : at + 3 + 8] = b"\xec\x89" + bytes(9)  # nothing in place of the duration
    video = VideoFrames(path)
    for end, error in ((len(data), None), (len(data) // 2, CUT)):
        path.write_bytes(data[:end])
        assert len(list(video)) > 10 and video.error == error


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_flash_video_that_says_no_length_is_cut_short(lying, seconds):
    path = other_kind(lying, "a.flv", "FLV1")
    data = bytearray(path.read_bytes())
    struct.pack_into(">d", data, data.index(b"duration\0") + 9, seconds)
    path.write_bytes(data[: len(data) // 2])
    video = VideoFrames(path)
    assert len(list(video)) > 10 and video.error == CUT


def test_fragments_whose_length_the_header_does_not_say_are_cut_short(lying):
    """As recorders write them that may lose their power; the box that tells so is named in place of another."""
    data = lying.read_bytes()
    video = VideoFrames(lying)
    for end, error in ((b"\0\0\1\0mdat", CUT), (b"\0\0\0\x08mdat", None)):
        lying.write_bytes(data.replace(b"udta", b"mvex") + end)
        assert len(list(video)) == 60 and video.error == error


def test_a_large_avi_has_several_parts_of_which_the_last_may_be_cut(lying):
    path = other_kind(lying, "a.avi", "MJPG")
    data = path.read_bytes()
    for rest, expected in ((b"RIFF\4\0\0\0AVIX", False), (b"RIFF\5\0\0\0AVIX", True), (b"junk", False)):
        path.write_bytes(data + rest)
        assert is_cut(path) == expected


def test_damaged_headers_are_cut_or_not_and_never_an_error(lying):
    """Seeded: bytes changed mostly at the beginning, and a part of the file left out, in each kind."""
    chance = random.Random(5)
    wholes = [other_kind(lying, name, code).read_bytes() for name, code in (*KINDS, *MPEG)] + [lying.read_bytes()]
    lying.write_bytes(b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01\x7f\xff\xff\xff\xff\xff\xff\xec\x80")
    assert is_cut(lying)  # its segment is said to end where no disk has a place
    for number in range(1000):
        data = bytearray(wholes[number % len(wholes)])
        for _ in range(chance.choice((1, 5, 30))):
            data[int(chance.random() ** 3 * len(data))] = chance.choice((0, 255, chance.randrange(256)))
        lying.write_bytes(data[: chance.randrange(len(data) + 1)])
        assert is_cut(lying) in (True, False)
        assert claimed_seconds(lying, chance.choice((-1.0, 3.0, math.nan, math.inf))) != 0
        assert mp4_seconds(lying) != 0 and mirrored_axis(lying) in (None, 0, 1)


@pytest.mark.parametrize("every", [1, 7, 100])
def test_one_frame_of_so_many_is_given_with_its_time(lying, every):
    video = VideoFrames(lying, every)
    times = [seconds for seconds, _ in video]
    assert times == pytest.approx([number / 30 for number in range(0, 60, every)], abs=1e-3) and video.error is None


def test_a_songs_cover_is_no_video():
    video = VideoFrames(SONG)
    assert list(video) == [] and video.error == "no video, but sound with a cover picture"
    assert frames_per_second(SONG) == 30


@pytest.mark.parametrize("content", [b"not at all", b"\0\0\0\1moov", b"\0\0\0\x10moov\0\0\0\1mvhd" * 9])
def test_what_is_no_video_says_so(tmp_path, content):
    (tmp_path / "a.mp4").write_bytes(content)
    video = VideoFrames(tmp_path / "a.mp4")
    assert list(video) == [] and video.error == "no video in a known format"
