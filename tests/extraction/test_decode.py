import io
import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from faceemo.extraction.archive import Archive
from faceemo.extraction.decode import DecodeError, Picture

MAX_PIXELS = 1_000_000
WIDTH, HEIGHT = 301, 203  # no multiple of anything


def scene(width=WIDTH, height=HEIGHT):
    """uint8 [height, width, 3], smooth, a little noisy, and different in each corner."""
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([x * 200 / width, y * 200 / height, 100 + 90 * np.sin((x + 2 * y) / 23)], axis=-1)
    return np.clip(waves + np.random.default_rng(0).normal(0, 4, waves.shape), 0, 255).astype(np.uint8)


SCENE = Image.fromarray(scene())


def encoded(image=SCENE, kind="JPEG", **options):
    file = io.BytesIO()
    image.save(file, kind, **({"quality": 90} if kind == "JPEG" else {}), **options)
    return file.getvalue()


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def with_app1(jpeg, payload):
    """A JPEG with an EXIF segment before all others."""
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + jpeg[2:]


def with_stray_bytes(jpeg):
    """A JPEG with bytes between two segments, which decoders skip with a warning."""
    tables = jpeg.index(b"\xff\xdb")
    return jpeg[:tables] + b"\0\x11\x22" + jpeg[tables:]


def decode(data, reduction=1, max_pixels=MAX_PIXELS):
    picture = Picture(data, max_pixels)
    pixels = picture.pixels(reduction)
    assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous
    assert pixels.shape == (-(-picture.height // reduction), -(-picture.width // reduction), 3)
    return pixels


def difference(one, other):
    assert one.shape == other.shape
    return np.abs(one.astype(int) - other.astype(int)).mean()


def reason(data, reduction=1, max_pixels=MAX_PIXELS):
    with pytest.raises(DecodeError) as error:
        Picture(data, max_pixels).pixels(reduction)
    assert str(error.value) and "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("orientation", range(9))  # 0 is none of the standard's, and as upright as 1
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_every_exif_orientation_is_made_upright_as_pillow_does(kind, orientation):
    data = encoded(kind=kind, exif=exif(orientation))
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    picture = Picture(data, MAX_PIXELS)
    assert (picture.width, picture.height) == upright.size
    assert difference(decode(data), np.asarray(upright)) < 1


@pytest.mark.parametrize("reduction", [2, 4, 8])
@pytest.mark.parametrize("orientation", range(9))
def test_a_reduced_picture_is_upright_and_shows_the_same(orientation, reduction):
    data = encoded(Image.fromarray(scene(304, 208)), exif=exif(orientation))
    shrunk = Image.fromarray(decode(data)).reduce(reduction)
    assert difference(decode(data, reduction), np.asarray(shrunk)) < 2


@pytest.mark.parametrize("reduction", [1, 2, 4, 8])
@pytest.mark.parametrize("size", [(301, 203), (304, 208), (1, 1), (9, 17)])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_reduced_jpeg_has_its_size_rounded_up(mode, size, reduction):
    data = encoded(Image.fromarray(scene(*size)).convert(mode))
    assert Picture(data, MAX_PIXELS).reductions == (1, 2, 4, 8)
    assert decode(data, reduction).shape == (-(-size[1] // reduction), -(-size[0] // reduction), 3)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP"])
def test_other_formats_are_decoded_at_full_size_only(kind):
    assert Picture(encoded(kind=kind), MAX_PIXELS).reductions == (1,)


@pytest.mark.parametrize("share", [0.34, 0.8, 0.999])
@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_cut_short_is_a_decode_error_at_every_scale(mode, progressive, share):
    data = encoded(SCENE.convert(mode), progressive=progressive)
    for reduction in (1, 2, 4, 8):
        assert decode(data, reduction).any()
        reason(data[: int(len(data) * share)], reduction)


@pytest.mark.parametrize("missing", [1, 2, 3])
@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
def test_a_jpeg_that_lacks_only_its_end_marker_is_a_decode_error(progressive, missing):
    reason(encoded(progressive=progressive)[:-missing])


@pytest.mark.parametrize("share", [0.02, 0.34, 0.8, 0.999])
def test_a_cut_jpeg_is_a_decode_error_also_where_another_oddity_comes_first(share):
    data = with_stray_bytes(encoded())
    reason(data[: int(len(data) * share)])


@pytest.mark.parametrize("share", [0.34, 0.8, 0.999])
def test_a_cut_jpeg_with_restart_markers_is_a_decode_error(share):
    data = encoded(restart_marker_rows=1)
    reason(data[: int(len(data) * share)])


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP"])
@pytest.mark.parametrize("share", [0.34, 0.8, 0.99])
def test_another_picture_cut_short_is_a_decode_error(kind, share):
    data = encoded(kind=kind)
    reason(data[: int(len(data) * share)])


@pytest.mark.parametrize("reduction", [1, 2, 4, 8])
@pytest.mark.parametrize("trailer", [b"\0", b"SEFT trailer of a phone" * 100, encoded()[:5000]])
def test_bytes_after_the_end_marker_are_legal(trailer, reduction):
    np.testing.assert_array_equal(decode(encoded() + trailer, reduction), decode(encoded(), reduction))


@pytest.mark.parametrize("reduction", [1, 2, 4, 8])
def test_stray_bytes_between_segments_are_legal(reduction):
    pixels = decode(with_stray_bytes(encoded()), reduction)
    assert difference(pixels, decode(encoded(), reduction)) < 2


def jpeg_with_thumbnail():
    thumbnail = encoded(Image.new("RGB", (40, 30), "red"))
    ifd = struct.pack("<H", 3)
    for tag, kind, value in ((0x0103, 3, 6), (0x0201, 4, 14 + 42), (0x0202, 4, len(thumbnail))):
        ifd += struct.pack("<HHII", tag, kind, 1, value)
    tiff = b"II*\0" + struct.pack("<I", 8) + struct.pack("<HI", 0, 14) + ifd + struct.pack("<I", 0)
    assert len(tiff) == 14 + 42
    return with_app1(encoded(), b"Exif\0\0" + tiff + thumbnail)


def test_an_exif_thumbnail_is_legal_and_never_taken_for_the_picture():
    data = jpeg_with_thumbnail()
    np.testing.assert_array_equal(decode(data), decode(encoded()))
    for share in (0.34, 0.8, 0.999):
        reason(data[: int(len(data) * share)])


def test_a_phones_multi_picture_jpeg_is_its_first_picture():
    second = Image.new("RGB", SCENE.size, "red")
    data = encoded(kind="MPO", save_all=True, append_images=[second])
    assert Picture(data, MAX_PIXELS).reductions == (1, 2, 4, 8)
    assert difference(decode(data), np.asarray(SCENE)) < 5
    assert decode(data, 4).shape == (51, 76, 3)
    reason(data[: int(len(data) * 0.34)])


def test_zero_bytes_are_a_decode_error_that_says_so():
    assert reason(b"") == "empty, 0 bytes"


@pytest.mark.parametrize("data", [b"\0", b"a text, not a picture\n" * 20, b"PK\x03\x04" + bytes(100), b"\xff\xd8"])
def test_bytes_that_are_no_picture_are_a_decode_error(data):
    reason(data)


def test_an_eps_file_is_no_picture_and_is_never_handed_to_ghostscript():
    assert "known format" in reason(encoded(kind="EPS"))


def claiming(data, kind, width, height):
    """The picture with other sizes in its header."""
    if kind == "JPEG":
        frame = data.index(b"\xff\xc0") + 5
        return data[:frame] + struct.pack(">HH", height, width) + data[frame + 4 :]
    header = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize(("side", "max_pixels"), [(60_000, 120_000_000), (13_000, 120_000_000), (301, 301 * 301 - 1)])
def test_a_picture_of_more_pixels_than_the_bound_is_refused_before_any_is_allocated(kind, side, max_pixels):
    data = claiming(encoded(kind=kind), kind, side, side)
    tracemalloc.start()
    with pytest.raises(DecodeError, match=r"pixels"):
        Picture(data, max_pixels)  # from the header alone
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_picture_of_exactly_the_bound_is_decoded(kind):
    assert decode(encoded(kind=kind), max_pixels=WIDTH * HEIGHT).shape == (HEIGHT, WIDTH, 3)


def test_a_jpeg_of_more_pixels_than_its_bytes_hold_is_a_decode_error():
    reason(claiming(encoded(), "JPEG", WIDTH, HEIGHT * 2))


@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_jpegs_of_every_kind_show_the_scene(progressive, subsampling):
    data = encoded(progressive=progressive, subsampling=subsampling)
    assert difference(decode(data), np.asarray(SCENE)) < 6


def test_a_cmyk_jpeg_has_its_colours_and_not_their_negative():
    assert difference(decode(encoded(SCENE.convert("CMYK"))), np.asarray(SCENE)) < 6


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
def test_a_greyscale_picture_has_three_equal_channels(kind):
    grey = SCENE.convert("L")
    pixels = decode(encoded(grey, kind))
    assert (pixels == pixels[..., :1]).all()
    assert difference(pixels[..., 0], np.asarray(grey)) < 3


def test_16_bit_grey_is_scaled_and_not_clipped_to_white():
    ramp = np.linspace(0, 65535, WIDTH * HEIGHT).astype(np.uint16).reshape(HEIGHT, WIDTH)
    pixels = decode(encoded(Image.fromarray(ramp), "PNG"))
    assert difference(pixels[..., 0], ramp >> 8) <= 1
    assert (pixels == pixels[..., :1]).all()


def test_16_bit_colour_is_scaled_and_not_clipped_to_white():
    deep = scene().astype(np.uint16) * 257
    data = cv2.imencode(".png", deep[..., ::-1])[1].tobytes()
    assert data[24] == 16  # bits a channel, in the header
    assert difference(decode(data), scene()) <= 1


@pytest.mark.parametrize("mode", ["P", "1", "LA", "RGBA"])
def test_png_of_other_modes_shows_the_scene(mode):
    converted = SCENE.convert(mode)
    assert difference(decode(encoded(converted, "PNG")), np.asarray(converted.convert("RGB"))) < 1


def test_a_palette_with_transparency_is_decoded():
    data = encoded(SCENE.convert("P"), "PNG", transparency=3)
    assert difference(decode(data), np.asarray(SCENE.convert("P").convert("RGB"))) < 1


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animated_picture_is_its_first_frame(kind):
    frames = [Image.new("RGB", SCENE.size, colour) for colour in ("red", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(SCENE, kind, save_all=True, append_images=frames, **options)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    np.testing.assert_array_equal(decode(data), np.asarray(SCENE))


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True})])
def test_lossless_formats_are_decoded_exactly(kind, options):
    np.testing.assert_array_equal(decode(encoded(kind=kind, **options)), np.asarray(SCENE))


def test_a_wrong_ending_does_not_matter(make_zip):
    path = make_zip("a.zip", ("a.jpg", encoded(kind="PNG")), ("b.png", encoded()), ("c.bmp", encoded(kind="WEBP")))
    with Archive(path) as archive:
        for member in archive.pictures:
            assert difference(decode(archive.read(member, 10**6)), np.asarray(SCENE)) < 6


BROKEN_EXIF = [
    b"Exif\0\0",
    b"Exif\0\0II*\0",
    b"Exif\0\0II*\0\xff\xff\xff\xff",
    b"Exif\0\0II*\0\x08\0\0\0\xff\xff",
    b"Exif\0\0MM\0*\0",
    b"Exif\0\0no tags at all",
    b"Exif\0\0" + exif(6).tobytes()[6:-8],
]


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("payload", BROKEN_EXIF)
def test_broken_exif_leaves_a_jpeg_as_it_lies(payload):
    np.testing.assert_array_equal(decode(with_app1(encoded(), payload)), decode(encoded()))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize("payload", BROKEN_EXIF)
def test_broken_exif_leaves_other_pictures_as_they_lie(kind, payload):
    np.testing.assert_array_equal(decode(encoded(kind=kind, exif=payload)), decode(encoded(kind=kind)))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("orientation", [0, 9, 65535, "6", 6.0, (6, 6)])
def test_an_orientation_out_of_range_or_of_another_type_is_no_crash(orientation):
    kind, size = {int: ("H", 1), str: ("c", 1), float: ("f", 1), tuple: ("HH", 2)}[type(orientation)]
    values = orientation if isinstance(orientation, tuple) else (orientation,)
    data = struct.pack("<" + kind, *(v.encode() if isinstance(v, str) else v for v in values)).ljust(4, b"\0")
    field = struct.pack("<HHI", 0x0112, {"c": 2, "f": 11}.get(kind, 3), size) + data
    payload = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + field + struct.pack("<I", 0)
    pixels = decode(with_app1(encoded(), payload))
    if orientation in (0, 9, 65535):
        np.testing.assert_array_equal(pixels, decode(encoded()))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_a_byte_changed_anywhere_in_a_header_is_a_decode_error_or_a_picture():
    small = Image.fromarray(scene(24, 16))
    for kind in ("JPEG", "PNG", "WEBP", "BMP"):
        data = encoded(small, kind, **({} if kind == "BMP" else {"exif": exif(6)}))
        for index in range(min(len(data), 200)):
            for value in (0xFF, data[index] ^ 0x01):
                changed = data[:index] + bytes([value]) + data[index + 1 :]
                try:
                    assert Picture(changed, MAX_PIXELS).pixels().shape[2] == 3
                except DecodeError as error:
                    assert str(error)
