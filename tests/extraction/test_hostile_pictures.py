"""Pictures that were never meant to be one: whatever the bytes, a reading with a status, no exception and no crash."""

import io
import random
import struct
import time
import zlib

import numpy as np
import pytest
from hostile import TIMES
from made_archives import SETTINGS
from PIL import Image
from skimage.data import astronaut

from faceemo.extraction.decode import EncodedPicture
from faceemo.extraction.worker import Reading, measure
from faceemo.status import Status

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore::PIL.Image.DecompressionBombWarning")

MUTATIONS = 4000 * TIMES
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_chunks(data):
    """(kind, data) of each chunk of a PNG."""
    chunks, start = [], len(PNG_SIGNATURE)
    while start < len(data):
        (length,) = struct.unpack_from(">I", data, start)
        chunks.append((data[start + 4 : start + 8], data[start + 8 : start + 8 + length]))
        start += 12 + length
    return chunks


def png(chunks):
    return PNG_SIGNATURE + b"".join(png_chunk(*chunk) for chunk in chunks)


def blank_png(width, height):
    rows = zlib.compress((b"\0" + bytes(width)) * height)
    size = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return png([(b"IHDR", size), (b"IDAT", rows), (b"IEND", b"")])


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def seeds():
    """Whole pictures of every kind that is read, and of kinds that Pillow knows and are not."""
    small = Image.fromarray(np.asarray(Image.fromarray(astronaut()[30:250, 115:335]).resize((40, 32))))
    turned = Image.Exif()
    turned[0x0112] = 6
    sixteen = Image.fromarray(np.arange(40 * 32, dtype=np.uint16).reshape(32, 40) * 50)
    frames = {"save_all": True, "append_images": [small.rotate(90)]}
    yield from (saved(small.convert(mode), "JPEG", exif=turned) for mode in ("RGB", "L", "CMYK"))
    yield saved(small, "JPEG", progressive=True, restart_marker_rows=1)
    yield saved(small, "MPO", **frames)
    yield from (saved(small.convert(mode), "PNG", exif=turned) for mode in ("RGB", "RGBA", "LA", "P", "1"))
    yield saved(small.convert("P"), "PNG", transparency=3)
    yield saved(sixteen, "PNG")
    yield saved(small, "PNG", **frames)
    yield from (saved(small.convert(mode), "BMP") for mode in ("RGB", "RGBA", "P", "1"))
    yield saved(small, "WEBP", exif=turned)
    yield saved(small, "WEBP", lossless=True, **frames)
    yield from (saved(small, "GIF"), saved(small, "GIF", **frames))
    yield from (saved(small, kind) for kind in ("TIFF", "PPM", "TGA", "ICO", "DDS", "SGI", "PCX", "JPEG2000", "AVIF"))


def mutated(data, others, rng):
    """Bytes with one to four things wrong: flipped, set, cut, doubled, moved, or taken from another picture."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place = min(int(rng.expovariate(1 / 60)), len(data) - 1) if rng.random() < 0.7 else rng.randrange(len(data))
        kind = rng.randrange(8)
        length = rng.randint(1, 12)
        if kind == 0:
            data[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[place] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif kind == 2:
            data[place : place + 4] = struct.pack(
                rng.choice("<>") + "I", rng.choice((0, 1, 2**15, 2**31 - 1, 2**32 - 1))
            )
        elif kind == 3:
            del data[place : place + length]
        elif kind == 4:
            data[place:place] = data[place : place + length]
        elif kind == 5:
            del data[max(place, 1) :]
        elif kind == 6:
            other = rng.choice(others)
            data[place:] = other[min(place, len(other)) :]
        else:
            data[place : place + length] = rng.randbytes(length)
        data = data or bytearray(b"\0")
    return bytes(data)


def mutated_png(data, others, rng):
    """A PNG whose chunks are dropped, doubled, swapped or damaged, each with a checksum that fits: decoders look on."""
    chunks = png_chunks(data)
    index = rng.randrange(len(chunks))
    kind, content = chunks[index]
    change = rng.randrange(4)
    if change == 0:
        del chunks[index]
    elif change == 1:
        chunks.insert(rng.randrange(len(chunks)), (kind, content))
    elif change == 2:
        chunks[index] = (rng.choice((b"PLTE", b"tRNS", b"acTL", b"fcTL", b"iCCP", b"zTXt", b"eXIf", b"gAMA")), content)
    else:
        chunks[index] = (kind, mutated(content or b"\0", [other[1] for other in chunks], rng))
    return png(chunks)


@pytest.mark.slow
def test_thousands_of_damaged_pictures_are_readings_with_a_status():
    rng = random.Random(1)
    wholes = list(seeds())
    statuses = []
    for number in range(MUTATIONS):
        whole = wholes[number % len(wholes)]
        mutate = mutated_png if whole.startswith(PNG_SIGNATURE) and rng.random() < 0.7 else mutated
        data = mutate(whole, wholes, rng)
        reading = measure(data, SETTINGS)
        statuses.append(reading.status)
        if reading.status == Status.OK:
            assert np.isfinite(reading.mesh).all() and (np.ptp(reading.mesh, axis=0)[:2] > 0).all()
        if reading.status == Status.DECODE_ERROR:
            assert reading.error and "\n" not in reading.error
        else:
            assert EncodedPicture(data).pixels().shape == (reading.height, reading.width, 3)
    assert all(statuses.count(status) > 100 for status in (Status.OK, Status.NO_FACE, Status.DECODE_ERROR))


def test_a_damaged_picture_of_a_format_that_is_not_read_is_never_looked_into():
    emf = b"\1\0\0\0".ljust(40, b"\0") + b" EMF"  # of no size: Pillow divides by it
    dds = b"DDS " + struct.pack("<I", 124).ljust(76, b"\0") + struct.pack("<I", 32) + bytes(200)
    for data, said in (
        (emf, "not a picture in a known format"),
        (dds, "a DDS picture, which is not read; save it as JPEG"),
    ):
        assert measure(data, SETTINGS) == Reading(Status.DECODE_ERROR, said)


@pytest.mark.parametrize("options", [{}, {"transparency": 0}], ids=str)
def test_a_palette_that_is_missing_is_a_decode_error(options):
    chunks = png_chunks(saved(Image.new("P", (4, 4)), "PNG", **options))
    reading = measure(png([chunk for chunk in chunks if chunk[0] != b"PLTE"]), SETTINGS)
    assert (reading.status, reading.error) == (Status.DECODE_ERROR, "a PNG that lacks its palette")


def test_a_png_of_very_many_chunks_costs_no_more_than_its_bytes():
    """Each says how the picture is turned; only the last is read."""
    turned = Image.Exif()
    turned[0x0112] = 6
    chunks = png_chunks(blank_png(40, 30))
    texts = [(b"eXIf", b""), (b"tEXt", b"Raw profile type exif\0")] * 50_000
    data = png([*chunks[:2], *texts, (b"eXIf", turned.tobytes()[6:]), *chunks[2:]])
    started = time.process_time()
    picture = EncodedPicture(data)
    assert (picture.width, picture.height) == (30, 40)
    assert time.process_time() - started < 5


@pytest.mark.parametrize("size", [(1, 1), (1, 32_766), (1, 32_768), (32_768, 1), (40_000, 1_000), (1, 1_000_000)])
def test_a_long_or_thin_picture_is_looked_at_like_any_other(size):
    reading = measure(blank_png(*size), SETTINGS)
    assert (reading.status, reading.width, reading.height) == (Status.NO_FACE, *size)


@pytest.mark.parametrize("size", [(1, 40_000_000), (40_000_000, 1)])
def test_a_picture_that_is_one_line_of_millions_is_a_decode_error(size):
    reading = measure(blank_png(*size), SETTINGS)
    assert reading.status == Status.DECODE_ERROR and "a side above the bound" in reading.error
