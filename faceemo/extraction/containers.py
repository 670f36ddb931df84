"""The parts that a picture's file is made of: chunks of PNG and WebP, segments of JPEG. Pixels need few of them."""

import re
import struct
import zlib
from collections.abc import Iterator

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"
JPEG_END = b"\xff\xd9"
START_OF_SCAN = 0xDA
FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # markers of a frame's header: ITU-T T.81, table B.1, and T.87

_PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
# Keywords of text chunks that may say how a picture is turned, as ImageMagick, exiftool and Adobe's programs write it.
_ORIENTATION_TEXTS = (b"exif\0", b"Raw profile type exif\0", b"Raw profile type APP1\0", b"XML:com.adobe.xmp\0")
_MARKER = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")  # of a segment; neither a stuffed byte nor a restart
_ADOBE_SIZE = 12  # of what says how a JPEG's colours are coded
_ALL_COEFFICIENTS = 2**64 - 1


def without_metadata(data: bytes) -> bytes:
    """A picture's file without the parts that no pixel needs and that may be damaged; other bytes as they are."""
    if data.startswith(PNG_SIGNATURE):
        return _bare_png(data)
    if data.startswith(JPEG_SIGNATURE):
        return _bare_jpeg(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _whole_webp(data)
    return data


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start, end) of each whole chunk of a PNG: length, kind, content and checksum are data[start:end]."""
    start = len(PNG_SIGNATURE)
    while start + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, start)
        end = start + 12 + length
        if end > len(data) or not kind.isalpha():
            return
        yield kind, start, end
        start = end


def png_orientation_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """(kind, content) of a PNG's chunks that may say how it is turned; of several of one keyword the last.

    Of an animation those of its first frame.
    """
    found: dict[bytes, tuple[bytes, bytes]] = {}
    pixels = False
    for kind, start, end in png_chunks(data):
        if kind == b"IDAT":
            pixels = True
        elif kind in (b"fcTL", b"fdAT") and pixels:
            break
        elif kind == b"eXIf":
            found[b"exif\0"] = kind, data[start + 8 : end - 4]  # as a text of that keyword is
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            for keyword in _ORIENTATION_TEXTS:
                if data.startswith(keyword, start + 8):
                    found[keyword] = kind, data[start + 8 : end - 4]
    return list(found.values())


def one_pixel_png(chunk: tuple[bytes, bytes]) -> bytes:
    """A PNG of one black pixel with this chunk (kind, content)."""
    header = struct.pack(">2L5B", 1, 1, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), chunk, (b"IDAT", zlib.compress(b"\0\0")), (b"IEND", b""))
    framed = (
        struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content))
        for kind, content in chunks
    )
    return PNG_SIGNATURE + b"".join(framed)


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end) of each whole segment of a JPEG, up to its end: data[start + 4 : end] is the content."""
    at = 2
    while (found := _MARKER.search(data, at)) and found[0] != JPEG_END:
        start = found.start()
        if start + 4 > len(data):
            return
        end = start + 2 + int.from_bytes(data[start + 2 : start + 4])
        if end > len(data):
            return
        yield data[start + 1], start, end
        at = max(end, start + 4)


def has_all_scans(data: bytes) -> bool:
    """Whether a JPEG's scans hold every bit of all its coefficients, which those before a cut between two do not."""
    known: dict[int, int] = {}  # component -> which of its coefficients are there to their last bit
    for marker, start, end in jpeg_segments(data):
        content = data[start + 4 : end]
        if marker in FRAMES:
            known = dict.fromkeys(content[6::3], 0)
        elif marker == START_OF_SCAN and content and len(content) >= 4 + 2 * content[0]:
            first, last, bits = content[1 + 2 * content[0] :][:3]
            if bits & 0x0F == 0:
                for component in content[1 : 1 + 2 * content[0] : 2]:
                    known[component] = known.get(component, 0) | ((2 << last) - (1 << first))
    return bool(known) and all(bits == _ALL_COEFFICIENTS for bits in known.values())


def _bare_png(data: bytes) -> bytes:
    kept, rest = [PNG_SIGNATURE], len(PNG_SIGNATURE)
    for kind, start, end in png_chunks(data):
        if kind in _PIXEL_CHUNKS:
            kept.append(data[start:end])
        rest = end
    if data[rest + 4 : rest + 8] in _PIXEL_CHUNKS:  # it is cut
        kept.append(data[rest:])
    return b"".join(kept)


def _bare_jpeg(data: bytes) -> bytes:
    """Without the segments of applications and without comments, but with EXIF and the colours' coding."""
    kept, at = [], 0
    for marker, start, end in jpeg_segments(data):
        if marker == START_OF_SCAN:
            break
        content = data[start + 4 : end]
        if marker == 0xE1 and content.startswith(b"Exif\0\0"):
            continue
        if marker == 0xEE and content.startswith(b"Adobe") and len(content) >= _ADOBE_SIZE:
            continue
        if 0xE0 <= marker <= 0xEF or marker == 0xFE:
            kept.append(data[at:start])
            at = end
    return b"".join([*kept, data[at:]])


def _whole_webp(data: bytes) -> bytes:
    """Up to the last chunk that is whole: EXIF and XMP follow the pixels."""
    at = 12
    while at + 8 <= len(data):
        end = at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")
        end += end % 2
        if end > len(data):
            break
        at = end
    return b"RIFF" + struct.pack("<I", at - 8) + data[8:at]
