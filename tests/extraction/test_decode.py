import io
import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from faceemo.extraction.containers import jpeg_segments
from faceemo.extraction.decode import DecodeError, EncodedPicture, upright_rgb
from faceemo.pictures.archive import Archive

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of broken metadata

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
    picture = EncodedPicture(data, max_pixels)
    pixels = picture.pixels(reduction)
    assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous
    assert pixels.shape == (-(-picture.height // reduction), -(-picture.width // reduction), 3)
    return pixels


def difference(one, other):
    assert one.shape == other.shape
    return np.abs(one.astype(int) - other.astype(int)).mean()


def reason(data, reduction=1, max_pixels=MAX_PIXELS):
    with pytest.raises(DecodeError) as error:
        EncodedPicture(data, max_pixels).pixels(reduction)
    assert str(error.value) and "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("orientation", range(9))  # 0 is none of the standard's, and as upright as 1
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_every_exif_orientation_is_made_upright_as_pillow_does(kind, orientation):
    data = encoded(kind=kind, exif=exif(orientation))
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    picture = EncodedPicture(data, MAX_PIXELS)
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
    assert EncodedPicture(data, MAX_PIXELS).reductions == (1, 2, 4, 8)
    assert decode(data, reduction).shape == (-(-size[1] // reduction), -(-size[0] // reduction), 3)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP"])
def test_other_formats_are_decoded_at_full_size_only(kind):
    assert EncodedPicture(encoded(kind=kind), MAX_PIXELS).reductions == (1,)


@pytest.mark.parametrize("share", [0.34, 0.8, 0.999])
@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_cut_short_is_a_decode_error_at_every_scale(mode, progressive, share):
    data = encoded(SCENE.convert(mode), progressive=progressive)
    for reduction in (1, 2, 4, 8):
        assert decode(data, reduction).any()
        reason(data[: int(len(data) * share)], reduction)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}], ids=str)
def test_a_jpeg_is_whole_without_its_last_two_bytes_and_lacks_something_if_cut_anywhere_before(mode, options):
    data = encoded(Image.fromarray(scene(40, 24)).convert(mode), **options)
    for cut in range(1, len(data)):
        if cut < len(data) - 2:
            reason(data[:cut])
        else:
            np.testing.assert_array_equal(decode(data[:cut]), decode(data))
    assert decode(data[:-2], 4).shape == (6, 10, 3)


def test_a_progressive_jpeg_that_ends_between_two_scans_is_a_decode_error():
    data = encoded(progressive=True)
    scans = [start for marker, start, _ in jpeg_segments(data) if marker in (0xC4, 0xDA)][1:]
    assert len(scans) > 8
    for start in scans:
        reason(data[:start])


def test_a_jpeg_that_was_filled_up_with_zeros_is_a_decode_error():
    """As an interrupted copy leaves it: a decoder takes them for data."""
    data = encoded()
    for share in (0.5, 0.9, 1):
        reason(data[: int(len(data) * share) - 2] + bytes(4096))


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
@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
@pytest.mark.parametrize(
    "trailer",
    [b"\0", b"SEFT trailer of a phone" * 100, encoded()[:5000], b"\0\0\0\x18ftypmp42" + bytes(500), b"\xff" * 999],
    ids=["zero", "text", "cut JPEG", "video", "fill bytes"],
)
def test_bytes_after_the_end_marker_are_legal(trailer, reduction, mode):
    data = encoded(SCENE.convert(mode))
    np.testing.assert_array_equal(decode(data + trailer, reduction), decode(data, reduction))


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
    assert EncodedPicture(data, MAX_PIXELS).reductions == (1, 2, 4, 8)
    assert difference(decode(data), np.asarray(SCENE)) < 5
    assert decode(data, 4).shape == (51, 76, 3)
    reason(data[: int(len(data) * 0.34)])


def test_zero_bytes_are_a_decode_error_that_says_so():
    assert reason(b"") == "empty, 0 bytes"


@pytest.mark.parametrize("data", [b"\0", b"a text, not a picture\n" * 20, b"PK\x03\x04" + bytes(100), b"\xff\xd8"])
def test_bytes_that_are_no_picture_are_a_decode_error(data):
    reason(data)


def with_frame(at, byte):
    """A JPEG with another byte in its frame's header: 1 is the marker, 4 the bits, 9 the channels."""
    data = encoded()
    place = data.index(b"\xff\xc0") + at
    return data[:place] + bytes([byte]) + data[place + 1 :]


ISO_BOX = b"\0\0\0\x18ftyp"
NOT_PICTURES = [
    (encoded(kind="TIFF"), "a TIFF picture or a camera's raw one, which is not read; save it as JPEG"),
    (b"MM\0*" + bytes(50), "a TIFF picture or"),
    (b"MM\0+\0\x08\0\0" + bytes(50), "a TIFF picture or"),
    (ISO_BOX + b"crx \0\0\0\1", "a TIFF picture or a camera's raw one"),
    (encoded(kind="JPEG2000"), "a JPEG 2000 picture, which is not read; save it as JPEG"),
    (encoded(kind="JPEG2000", no_jp2=True), "a JPEG 2000 picture"),
    (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(50), "a JPEG XL picture, which is not read; save it as JPEG"),
    (b"\xff\x0a\xfa\x1f" + bytes(50), "a JPEG XL picture"),
    (ISO_BOX + b"heic\0\0\0\0mif1heic", "a HEIC or AVIF picture, which is not read; save it as JPEG (iPhone: "),
    (ISO_BOX + b"avif\0\0\0\0avifmif1", "a HEIC or AVIF picture, which is not read; save it as JPEG"),
    (ISO_BOX + b"isom\0\0\2\0isomavc1", "a video, not a picture"),
    (b"RIFF\x24\0\0\0AVI LIST", "a video, not a picture"),
    (encoded(kind="EPS"), "an EPS picture, which is not read"),  # never handed to Ghostscript
    (with_frame(4, 12), "a JPEG of 12 bits a channel, which is not read; save it with 8"),
    (with_frame(1, 0xC3), "a lossless JPEG, which is not read; save it as an ordinary one"),
    (with_frame(1, 0xC5), "a hierarchical JPEG, which is not read"),
    (with_frame(1, 0xF7), "a JPEG-LS picture, which is not read"),
    (with_frame(9, 2), "a JPEG of 2 channels, which is not read"),
    (
        b"\r\n<!DOCTYPE html>\n<html lang=ko>" + b"<p>404" * 999,
        "a web page (HTML), not a picture; download the picture",
    ),
    ("\ufeff<HTML><head><title>로그인</title>".encode(), "a web page (HTML)"),
    ("<html><title>로그인".encode("cp949"), "a web page (HTML)"),
    (b"\x89PNG\n\x1a\n\0\0\0\rIHDR", "a picture that was copied as text; copy it again byte by byte"),
    (b"\xff\xd8\xff\xe0\0\x10JFIF".decode("latin-1").encode(), "a picture that was copied as text"),
    (b"\xff\xd8\xff\xe0\0\x10JFIF".decode("utf-8", "replace").encode(), "a picture that was copied as text"),
    (b"../../.git/annex/objects/aa/bb/SHA256E-s1--0.jpg", "a pointer of git-annex, not the picture itself"),
    (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), "a video, not a picture"),
    (b'<?xml version="1.0"?><!DOCTYPE html PUBLIC "">', "a web page (HTML)"),
    (b'<?xml version="1.0"?><svg width="9">', "an SVG drawing, which is not read"),
    (b'<?xml version="1.0"?><Error><Code>AccessDenied', "a text, not a picture"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2\nsize 12345\n", "run 'git lfs pull'"),
    (b"/annex/objects/SHA256E-s31390--f50d.jpg\n", "run 'git annex get'"),
    (b'{"error": "not found"}', "a text, not a picture"),
    ("사진이 없습니다".encode("cp949"), "a text, not a picture"),
    ("BM 사진".encode("utf-16"), "a text, not a picture"),
    (("가" * 1000).encode()[1:], "not a picture in a known format"),
    (bytes(5000), "zero bytes alone, as an interrupted copy leaves them; copy it again"),
    (b"%PDF-1.7\n", "a PDF, not a picture"),
    (encoded(kind="ICO"), "an icon, which is not read; save it as JPEG"),
    (encoded(kind="PPM"), "a Netpbm picture, which is not read"),
    (b"FUJIFILMCCD-RAW 0201", "a TIFF picture or a camera's raw one"),
    (b"DDS \x7c\0\0\0", "a DDS picture"),
    (b"v/1\1\2\0\0\0", "an OpenEXR picture"),
    (b"qoif\0\0\1\0", "a QOI picture"),
    (b"BPG\xfb\x20", "a BPG picture"),
    (b"icns\0\0\1\0", "an icon"),
    (bytes.fromhex("d0cf11e0a1b11ae1"), "an Office document, not a picture"),
    (b"PK\x03\x04" + bytes(50), "a ZIP archive, not a picture"),
    (encoded()[:12], "a JPEG whose header cannot be read; copy or download it again"),
    (encoded(kind="PNG")[:20], "a PNG whose header cannot be read"),
    (b"GIF89a", "a GIF whose header cannot be read"),
    (encoded(kind="WEBP")[:14], "a WebP whose header cannot be read"),
    (b"BM\0\0", "a BMP whose header cannot be read"),
]


@pytest.mark.parametrize(
    ("data", "said"), NOT_PICTURES, ids=[f"{said[:30]}-{n}" for n, (_, said) in enumerate(NOT_PICTURES)]
)
def test_what_is_not_read_as_a_picture_is_said(data, said):
    assert said in reason(data)


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
        EncodedPicture(data, max_pixels)  # from the header alone
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
        for member in archive.members:
            assert difference(decode(archive.read(member, 10**6)), np.asarray(SCENE)) < 6


def png_chunk(kind, content, checksum=None):
    checksum = zlib.crc32(kind + content) if checksum is None else checksum
    return struct.pack(">L", len(content)) + kind + content + struct.pack(">L", checksum)


SMALL = Image.fromarray(scene(56, 40))
PNG = encoded(SMALL, "PNG")
DATA, END = PNG.index(b"IDAT") - 4, PNG.index(b"IEND") - 4
assert PNG.count(b"IDAT") == 1


def png_with(chunk, place):
    """A PNG with further bytes before its data, in it or behind it."""
    if place == "between":
        data = PNG[DATA + 8 : END - 4]
        half = len(data) // 2
        return PNG[:DATA] + png_chunk(b"IDAT", data[:half]) + chunk + png_chunk(b"IDAT", data[half:]) + PNG[END:]
    at = DATA if place == "before" else END
    return PNG[:at] + chunk + PNG[at:]


LARGE = zlib.compress(bytes(2_000_000))
DAMAGED_METADATA = {
    "large zTXt": png_chunk(b"zTXt", b"parameters\0\0" + LARGE),
    "large iTXt": png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + LARGE),
    "large iCCP": png_chunk(b"iCCP", b"profile\0\0" + LARGE),
    "unknown compression": png_chunk(b"zTXt", b"parameters\0\7" + LARGE),
    "checksum of tEXt": png_chunk(b"tEXt", b"Software\0paint", 1),
    "checksum of iCCP": png_chunk(b"iCCP", b"profile\0\0" + zlib.compress(b"icc"), 1),
    "checksum of pHYs": png_chunk(b"pHYs", bytes(9), 1),
    "checksum of a private chunk": png_chunk(b"npTc", bytes(9), 1),
    "short gAMA": png_chunk(b"gAMA", b"\0"),
    "short tRNS": png_chunk(b"tRNS", b"\0"),
    "short acTL": png_chunk(b"acTL", b"\0"),
    "frame outside": png_chunk(b"fcTL", struct.pack(">5L2H2B", 0, 9999, 9999, 9, 9, 1, 1, 0, 0)),
}


@pytest.mark.parametrize("place", ["before", "between", "behind"])
@pytest.mark.parametrize("damage", DAMAGED_METADATA)
def test_a_png_with_damaged_or_large_metadata_keeps_its_pixels(damage, place):
    data = png_with(DAMAGED_METADATA[damage], place)
    np.testing.assert_array_equal(decode(data), np.asarray(SMALL))
    if place == "behind":
        np.testing.assert_array_equal(upright_rgb(Image.open(io.BytesIO(data))), np.asarray(SMALL))


def test_a_png_with_a_wrong_checksum_of_what_pixels_need_is_a_decode_error():
    palette = encoded(SCENE.convert("P"), "PNG")
    for data, kind in ((PNG, b"IHDR"), (palette, b"PLTE")):
        start = data.index(kind)
        end = start + 4 + int.from_bytes(data[start - 4 : start])
        reason(data[:end] + b"\0\0\0\0" + data[end + 4 :])


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_picture_cut_in_the_metadata_behind_its_pixels_is_whole(orientation):
    png = png_with(
        png_chunk(b"eXIf", exif(orientation).tobytes()[6:]) + png_chunk(b"tEXt", b"a\0" + bytes(500)), "behind"
    )
    webp = encoded(SMALL, "WEBP", lossless=True, exif=exif(orientation), xmp=b"<x/>" * 100)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(webp)))
    for whole, end in ((png, png.index(b"tEXt") + 50), (webp, webp.index(b"XMP ") + 50)):
        for cut in range(end - 20, end):
            np.testing.assert_array_equal(decode(whole[:cut]), np.asarray(upright.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
@pytest.mark.parametrize(
    ("marker", "payload"),
    [
        (0xE0, b"JFIF\0"),
        (0xEE, b"Adobe"),
        (0xE2, b"ICC_PROFILE\0"),
        (0xE2, b"MPF\0II*\0"),
        (0xED, b"Photoshop 3.0\0" + b"8BIM"),
    ],
)
def test_a_jpeg_with_a_damaged_segment_of_an_application_keeps_its_pixels_and_orientation(mode, marker, payload):
    data = encoded(SCENE.convert(mode), exif=exif(6))
    segment = bytes([0xFF, marker]) + struct.pack(">H", len(payload) + 2) + payload
    np.testing.assert_array_equal(decode(data[:2] + segment + data[2:]), decode(data))


def raw_profile(orientation, kind):
    """EXIF as ImageMagick and exiftool write it into a text of a PNG."""
    payload = exif(orientation).tobytes()
    lines = "\n".join(payload.hex()[start : start + 72] for start in range(0, 2 * len(payload), 72))
    return f"\n{kind}\n{len(payload):8}\n{lines}\n".encode()


def orientation_chunks(orientation):
    tiff, profile = exif(orientation).tobytes()[6:], raw_profile(orientation, "exif")
    return {
        "eXIf": png_chunk(b"eXIf", tiff),
        "eXIf with a wrong checksum": png_chunk(b"eXIf", tiff, 1),
        "broken eXIf": png_chunk(b"eXIf", tiff[:12]),
        "raw profile in zTXt": png_chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(profile)),
        "raw profile in tEXt": png_chunk(b"tEXt", b"Raw profile type exif\0" + profile),
        "raw profile in iTXt": png_chunk(b"iTXt", b"Raw profile type exif\0\0\0\0\0" + profile),
        "broken raw profile": png_chunk(b"tEXt", b"Raw profile type exif\0\nexif\n  99\nEXIF"),
        "APP1": png_chunk(b"zTXt", b"Raw profile type APP1\0\0" + zlib.compress(raw_profile(orientation, "APP1"))),
        "XMP": png_chunk(b"iTXt", b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="%d"/>' % orientation),
    }


@pytest.mark.parametrize("place", ["before", "behind"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", orientation_chunks(1))
def test_a_png_is_turned_by_all_that_says_so_and_a_pillow_image_is_too(kind, orientation, place):
    data = png_with(orientation_chunks(orientation)[kind], place)
    image = SMALL.copy()
    image.getexif()[0x0112] = 1 if kind.startswith("broken") else orientation
    upright = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(decode(data), upright)
    if (kind, place) != ("eXIf with a wrong checksum", "before"):  # Pillow does not open it
        np.testing.assert_array_equal(upright_rgb(Image.open(io.BytesIO(data))), upright)


def test_of_several_things_that_say_how_a_png_is_turned_a_file_and_a_pillow_image_heed_the_same():
    rng = np.random.default_rng(0)
    chunks = [*orientation_chunks(6).values(), *orientation_chunks(3).values(), *DAMAGED_METADATA.values()]
    turned = 0
    for _ in range(200):
        data = png_with(b"".join(chunks[index] for index in rng.integers(len(chunks), size=3)), "behind")
        turned += EncodedPicture(data, MAX_PIXELS).width == SMALL.height
        np.testing.assert_array_equal(upright_rgb(Image.open(io.BytesIO(data))), decode(data))
    assert 40 < turned < 160


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG"])
@pytest.mark.parametrize("tags", [{}, {"exif": exif(1)}, {"exif": exif(6)}], ids=["none", "upright", "turned"])
def test_xmp_turns_a_file_as_pillow_turns_an_image(kind, tags):
    """Where EXIF does not say; of a JPEG and a WebP Pillow heeds it since 11.2."""
    xmp = '<x tiff:Orientation="8"/>'
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp)
    data = encoded(kind=kind, **({"pnginfo": info} if kind == "PNG" else {"xmp": xmp.encode()}), **tags)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert difference(upright_rgb(Image.open(io.BytesIO(data))), upright) < 1
    assert difference(decode(data), upright) < 1


def test_a_pillow_image_whose_file_lacks_its_end_or_says_nothing_legible_is_what_a_file_is():
    for data in (encoded()[:-2], with_app1(encoded(), b"Exif\0\0no tags at all"), jpeg_with_thumbnail()):
        assert difference(upright_rgb(Image.open(io.BytesIO(data))), decode(data)) < 1
    with pytest.raises(DecodeError):
        upright_rgb(Image.open(io.BytesIO(encoded()[:-50])))
    with pytest.raises(DecodeError, match="truncated"):  # of a kind that is no file of ours: what Pillow says
        upright_rgb(Image.open(io.BytesIO(encoded(kind="TIFF")[:-50])))


BROKEN_EXIF = [
    b"Exif\0\0",
    b"Exif\0\0II*\0",
    b"Exif\0\0II*\0\xff\xff\xff\xff",
    b"Exif\0\0II*\0\x08\0\0\0\xff\xff",
    b"Exif\0\0MM\0*\0",
    b"Exif\0\0no tags at all",
    b"Exif\0\0" + exif(6).tobytes()[6:-8],
]


@pytest.mark.parametrize("payload", BROKEN_EXIF)
def test_broken_exif_leaves_a_jpeg_as_it_lies(payload):
    np.testing.assert_array_equal(decode(with_app1(encoded(), payload)), decode(encoded()))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize("payload", BROKEN_EXIF)
def test_broken_exif_leaves_other_pictures_as_they_lie(kind, payload):
    np.testing.assert_array_equal(decode(encoded(kind=kind, exif=payload)), decode(encoded(kind=kind)))


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


def test_a_byte_changed_anywhere_in_a_header_is_a_decode_error_or_a_picture():
    small = Image.fromarray(scene(24, 16))
    for kind in ("JPEG", "PNG", "WEBP", "BMP"):
        data = encoded(small, kind, **({} if kind == "BMP" else {"exif": exif(6)}))
        for index in range(min(len(data), 200)):
            for value in (0xFF, data[index] ^ 0x01):
                changed = data[:index] + bytes([value]) + data[index + 1 :]
                try:
                    assert EncodedPicture(changed, MAX_PIXELS).pixels().shape[2] == 3
                except DecodeError as error:
                    assert str(error)
