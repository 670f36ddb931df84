"""What bytes are that no decoder takes for a picture, told by their beginning."""

import codecs
import unicodedata

from faceemo.extraction.containers import FRAMES, JPEG_SIGNATURE, PNG_SIGNATURE, jpeg_segments
from faceemo.pictures.archive import LFS_POINTER, OTHER_ARCHIVES

_SAVE = "which is not read; save it as JPEG"
_TIFF = f"a TIFF picture or a camera's raw one, {_SAVE}"
_BROKEN = "whose header cannot be read; copy or download it again"
_AS_TEXT = "a picture that was copied as text; copy it again byte by byte"
_PAGE = "a web page (HTML), not a picture; download the picture itself"

# Of pictures in ISO base media files: https://github.com/nokiatech/heif and AV1 Image File Format 1.1
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis")
_CANON_RAW = b"crx "
_SIGNATURES = (
    (b"II*\0", _TIFF),
    (b"MM\0*", _TIFF),
    (b"II+\0", _TIFF),
    (b"MM\0+", _TIFF),
    (b"\0\0\0\x0cjP  \r\n\x87\n", f"a JPEG 2000 picture, {_SAVE}"),
    (b"\xff\x4f\xff\x51", f"a JPEG 2000 picture, {_SAVE}"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", f"a JPEG XL picture, {_SAVE}"),
    (b"\xff\x0a", f"a JPEG XL picture, {_SAVE}"),
    (b"II\xbc\1", f"a JPEG XR picture, {_SAVE}"),
    (b"8BPS", f"a Photoshop picture, {_SAVE}"),
    (b"%!PS", f"an EPS picture, {_SAVE}"),
    (b"FUJIFILMCCD-RAW", _TIFF),
    (b"\0\0\1\0", f"an icon, {_SAVE}"),
    (b"icns", f"an icon, {_SAVE}"),
    *((b"P" + kind, f"a Netpbm picture, {_SAVE}") for kind in (b"4\n", b"5\n", b"6\n", b"7\n")),
    (b"DDS ", f"a DDS picture, {_SAVE}"),
    (b"v/1\1", f"an OpenEXR picture, {_SAVE}"),
    (b"qoif", f"a QOI picture, {_SAVE}"),
    (b"BPG\xfb", f"a BPG picture, {_SAVE}"),
    (b"%PDF-", "a PDF, not a picture"),
    (b"\xd0\xcf\x11\xe0", "an Office document, not a picture"),
    (b"PK\3\4", "a ZIP archive, not a picture"),
    *((beginning, f"{kind}, not a picture") for beginning, kind in OTHER_ARCHIVES),
    *(
        (beginning, "a video, not a picture")
        for beginning in (b"\x1a\x45\xdf\xa3", b"FLV\1", b"\0\0\1\xba", b"\x30\x26\xb2\x75")
    ),
    (JPEG_SIGNATURE, f"a JPEG {_BROKEN}"),
    (PNG_SIGNATURE, f"a PNG {_BROKEN}"),
    # The beginnings of PNG and JPEG with other line ends, in UTF-8, and with what stands there for bytes that are none.
    *((beginning, _AS_TEXT) for beginning in (b"\x89PNG", b"\xc2\x89PNG", b"\xc3\xbf\xc3\x98", b"\xef\xbf\xbd")),
    (b"GIF8", f"a GIF {_BROKEN}"),
)
_TEXT_SIZE = 1024  # bytes that are looked at
_UNKNOWN = "not a picture in a known format"


def what_it_is(data: bytes) -> str:
    """What is said of bytes that are read as no picture, with what to do about it."""
    if not data.strip(b"\0"):
        return "zero bytes alone, as an interrupted copy leaves them; copy it again"
    return unread_jpeg(data) or _of_boxes(data) or _signed(data) or _of_text(data) or _UNKNOWN


def unread_jpeg(data: bytes) -> str | None:
    """What is said of a JPEG of a kind that is not read, None of any other: ITU-T T.81, table B.1, and T.87."""
    if not data.startswith(JPEG_SIGNATURE):
        return None
    for marker, start, end in jpeg_segments(data):
        if marker in FRAMES and end - start >= 10:
            return _unread_frame(marker, bits=data[start + 4], channels=data[start + 9])
    return None


def _unread_frame(marker: int, bits: int, channels: int) -> str | None:
    if marker == 0xF7:
        return f"a JPEG-LS picture, {_SAVE}"
    if marker in (0xC3, 0xC7, 0xCB, 0xCF):
        return "a lossless JPEG, which is not read; save it as an ordinary one"
    if marker in (0xC5, 0xC6, 0xCD, 0xCE):
        return "a hierarchical JPEG, which is not read; save it as an ordinary one"
    if bits != 8:
        return f"a JPEG of {bits} bits a channel, which is not read; save it with 8"
    if channels not in (1, 3, 4):
        return f"a JPEG of {channels} channels, which is not read; save it with 3"
    return None


def _of_boxes(data: bytes) -> str | None:
    """Of the ISO base media kind, as HEIC and MP4, and of the RIFF kind, as WebP and AVI."""
    kind, brand = data[4:8], data[8:12]
    if kind == b"ftyp" and brand in _HEIC_BRANDS:
        return f"a HEIC or AVIF picture, {_SAVE} (iPhone: Camera, Formats, Most Compatible)"
    if kind == b"ftyp" and brand == _CANON_RAW:
        return _TIFF
    if kind in (b"ftyp", b"moov", b"mdat") or (data.startswith(b"RIFF") and brand == b"AVI "):
        return "a video, not a picture"
    return f"a WebP {_BROKEN}" if data.startswith(b"RIFF") and brand == b"WEBP" else None


def _signed(data: bytes) -> str | None:
    return next((meaning for signature, meaning in _SIGNATURES if data.startswith(signature)), None)


def _of_text(data: bytes) -> str | None:
    text = _beginning(data)
    if text is None:
        return f"a BMP {_BROKEN}" if data.startswith(b"BM") else None
    if text.startswith(LFS_POINTER.decode()):
        return "a pointer of Git LFS, not the picture itself; run 'git lfs pull'"
    if text.startswith(("/annex/objects/", "../")) and "annex/objects/" in text:
        return "a pointer of git-annex, not the picture itself; run 'git annex get'"
    if text.startswith("<"):
        if any(tag in text for tag in ("<!doctype html", "<html", "<head", "<body", "<script")):
            return _PAGE
        if "<svg" in text:
            return f"an SVG drawing, {_SAVE}"
    return "a text, not a picture"


def _beginning(data: bytes) -> str | None:
    """How a text begins, in small letters; None of what is no text."""
    encodings = ("utf-16",) if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "cp949")
    for encoding in encodings:
        try:
            decoder = codecs.getincrementaldecoder(encoding)()
            text = decoder.decode(data[:_TEXT_SIZE], final=len(data) <= _TEXT_SIZE)
        except UnicodeDecodeError:
            continue
        if not any(unicodedata.category(letter) == "Cc" and letter not in "\t\n\v\f\r\x1a" for letter in text):
            return text.strip().lower()
    return None
