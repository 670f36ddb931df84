"""What the file of a video says of itself: how long it is, whether its end is missing, how its frames are mirrored."""

import math
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

MAX_ELEMENTS = 2_000_000  # of Matroska that are followed: those of a live recording of several hours
MAX_HEADER = 1 << 16  # bytes at the beginning of a file in which its kind, and what it says of the whole, stand

_FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")  # of MP4, and of QuickTime before it
_EBML = b"\x1a\x45\xdf\xa3"
_OPEN_MASTERS = (
    b"\x18\x53\x80\x67",
    b"\x1f\x43\xb6\x75",
)  # segment and cluster, whose sizes a live recording leaves open
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_PRELUDE = struct.Struct("<16x8x16xQ8x8xQ8xQL")  # of that object: the file's size, play duration, preroll, flags
_PACK = b"\0\0\1\xba"
_PROGRAM_END = 0xB9
_PACKS_TAIL = 1 << 18  # bytes at the end of a program stream in which a pack begins
_TRANSPORT = ((188, 0), (192, 4))  # of packets their size, and where in them the byte stands that they all have
_SYNC = 0x47
_OPEN = 1 << 62  # the end of a file whose end is not looked for


def mirrored_axis(path: Path) -> int | None:
    """What cv2.flip takes to mend frames that a file says to mirror, None of any other file.

    OpenCV takes such a matrix for a turn that brings the upper side of the frame to where the file wants it, half a
    turn for a face in a mirror, and leaves the other side.
    """
    try:
        with path.open("rb") as file:
            header = _content(file, *_find(file, *_video_track(file, _find(file, *_whole(file), b"moov")), b"tkhd"))
            a, b, _, c, d = struct.unpack_from(">5i", header, 52 if header[0] else 40)  # the beginning of its matrix
    except (OSError, LookupError, struct.error):
        return None
    if a * d >= b * c:
        return None
    return 1 if abs(b) > abs(a) else 0


def mp4_seconds(path: Path) -> float | None:
    """How long the first video track of an MP4 or QuickTime file is shown; None if it does not say.

    OpenCV counts all frames in the file, also those before and after the part that a cut without encoding leaves. The
    track's edit list has that part (ISO/IEC 14496-12: 8.3.2 tkhd, 8.4.3 hdlr, 8.6.6 elst); where it has none, its
    header has the whole. Of a file in fragments (8.8.1 mvex) both have the first alone.
    """
    try:
        with path.open("rb") as file:
            moov = _find(file, *_whole(file), b"moov")
            if any(kind == b"mvex" for kind, _, _ in _boxes(file, *moov)):
                return None
            header = _content(file, *_find(file, *moov, b"mvhd"))
            ticks = int.from_bytes(header[20:24] if header[0] else header[12:16], "big")
            return _track_ticks(file, *_video_track(file, moov)) / ticks or None
    except (OSError, LookupError, ZeroDivisionError):
        return None


def claimed_seconds(path: Path, counted: float) -> float | None:
    """How long a file that was cut says to be as a whole; None if it does not say.

    counted: what OpenCV makes of it, which is what AVI, Matroska and WebM say. Of other kinds OpenCV makes its own
    estimate of what is there.
    """
    with path.open("rb") as file:
        head = file.read(MAX_HEADER)
    seconds = 0.0
    if head.startswith((b"RIFF", _EBML)):
        seconds = counted
    elif head.startswith(_ASF):
        seconds = _asf_whole(head)[1]
    elif head.startswith(b"FLV"):
        at = head.find(b"\0\x08duration\0") + 11  # a number in its metadata: Video File Format Specification 10, E.5
        seconds = struct.unpack_from(">d", head, at)[0] if 11 <= at <= len(head) - 8 else 0.0
    return seconds if 0 < seconds < math.inf else None


def is_cut(path: Path) -> bool:
    """Whether a file ends before it should, as far as its kind tells.

    MP4, AVI, Matroska and WebM are made of parts that begin with their sizes (RFC 8794, 4 to 6); in FLV a tag's size
    stands behind it (Video File Format Specification 10, annex E.3). ASF says how large the file is (Advanced Systems
    Format Specification, 3.2). MPEG's streams say nothing of the whole, so that a cut within a packet alone is known
    (ISO/IEC 13818-1: 2.4.3.2 and 2.5.3); most writers leave out the code that ends a program stream.
    """
    with path.open("rb") as file:
        size, head = _whole(file)[1], file.read(MAX_HEADER)
        if head[4:8] in _FIRST_BOXES:
            return any(size < end < _OPEN for kind, _, end in _boxes(file, 0, _OPEN) if kind)
        if head.startswith(b"RIFF"):
            return _ends_in_riff(file, size)
        if head.startswith(_EBML):
            return _ends_in_element(file, size)
        if head.startswith(b"FLV"):
            file.seek(max(size - 4, 0))
            tag = int.from_bytes(file.read(4), "big")
            file.seek(max(size - 4 - tag, 0))
            return int.from_bytes(file.read(4)[1:], "big") + 11 != tag
        if head.startswith(_ASF):
            return size < _asf_whole(head)[0]
        if head.startswith(_PACK):
            file.seek(max(size - _PACKS_TAIL, 0))
            return _ends_in_pack(file.read())
        return not size or any(_ends_in_packet(file, head, size, *kind) for kind in _TRANSPORT)


def _ends_in_riff(file: BinaryIO, size: int) -> bool:
    """An AVI of more than a gigabyte has several such parts."""
    end = 0
    while end < size:
        start = end + end % 2
        file.seek(start)
        head = file.read(8)
        if not head.startswith(b"RIFF"):
            return False
        end = start + 8 + int.from_bytes(head[4:], "little")
    return end > size


def _ends_in_element(file: BinaryIO, size: int) -> bool:
    at = 0
    for _ in range(MAX_ELEMENTS):
        if at >= size:  # where no disk has a place for it
            break
        file.seek(at)
        head = file.read(12)
        start, length = _ebml_content(head)
        if length is None and not head.startswith(_OPEN_MASTERS):
            break
        at += start + (length or 0)
    return at > size


def _ebml_content(head: bytes) -> tuple[int, int | None]:
    """Where the content of the element that begins with `head` begins, and its length, None where that is left open."""
    start = size = length = 0
    for _ in ("id", "size"):
        length = 9 - head[start].bit_length() if start < len(head) else 9
        if length > 8:
            return start, None
        size = int.from_bytes(head[start : start + length], "big") & (1 << 7 * length) - 1
        start += length
    return start, None if size == (1 << 7 * length) - 1 else size


def _asf_whole(head: bytes) -> tuple[int, float]:
    """Bytes and seconds of the whole file by the header of an ASF file; zeros where that does not say."""
    at = head.find(_ASF_FILE_PROPERTIES)
    if at < 0 or at + _ASF_PRELUDE.size > len(head):
        return 0, 0.0
    size, hundred_ns, preroll_ms, flags = _ASF_PRELUDE.unpack_from(head, at)
    return (0, 0.0) if flags & 1 else (size, max(hundred_ns / 1e7 - preroll_ms / 1e3, 0.0))  # flags & 1: a broadcast


def _ends_in_pack(tail: bytes) -> bool:
    """Whether a program stream that ends with these bytes was cut within a packet.

    Its packets follow one another from the first pack here to the end; where they do not, it was no pack.
    """
    at = tail.find(_PACK)
    while 0 <= at < len(tail):
        end = _packet_end(tail, at)
        at = end if end is not None else tail.find(_PACK, at + 1)
    return at > len(tail)


def _packet_end(data: bytes, at: int) -> int | None:
    """Where a packet of a program stream ends, which may be beyond the data; None if none begins here."""
    head = data[at : at + 14]
    if not head.startswith(b"\0\0\1"):
        return None
    if len(head) < 6:
        return len(data) + (head[3:4] != bytes([_PROGRAM_END]))
    if head[3] == _PROGRAM_END:
        return len(data)
    if head[3] > 0xBA:
        return at + 6 + int.from_bytes(head[4:6], "big")
    if not head.startswith(_PACK):
        return None
    if head[4] >> 4 == 0b0010:  # of MPEG-1
        return at + 12
    if head[4] >> 6 == 0b01:
        return at + 14 + (head[13] & 7 if len(head) == 14 else 0)
    return None


def _ends_in_packet(file: BinaryIO, head: bytes, size: int, packet: int, sync: int) -> bool:
    """Whether a file is a transport stream of packets of this size and was cut within one."""
    if len(head) < 3 * packet or any(head[at + sync] != _SYNC for at in range(0, 3 * packet, packet)):
        return False
    rest = size % packet
    file.seek(size - rest - packet)
    end = file.read(packet + rest)
    return rest > sync and end[sync] == end[packet + sync] == _SYNC


def _whole(file: BinaryIO) -> tuple[int, int]:
    return 0, os.fstat(file.fileno()).st_size


def _video_track(file: BinaryIO, moov: tuple[int, int]) -> tuple[int, int]:
    """Start and end of what the first track with pictures holds. Raises LookupError if there is none."""
    for kind, start, end in _boxes(file, *moov):
        if kind == b"trak":
            handler = _content(file, *_find(file, *_find(file, start, end, b"mdia"), b"hdlr"))
            if handler[8:12] == b"vide":
                return start, end
    raise LookupError(b"trak")


def _track_ticks(file: BinaryIO, start: int, end: int) -> int:
    try:
        edits = _content(file, *_find(file, *_find(file, start, end, b"edts"), b"elst"))
    except LookupError:
        header = _content(file, *_find(file, start, end, b"tkhd"))
        return int.from_bytes(header[28:36] if header[0] else header[20:24], "big")
    size = 8 if edits[0] else 4
    entries = range(8, len(edits) - 2 * size - 3, 2 * size + 4)
    durations = (int.from_bytes(edits[at : at + size], "big") for at in entries)
    begins = (int.from_bytes(edits[at + size : at + 2 * size], "big", signed=True) for at in entries)
    return sum(duration for duration, begin in zip(durations, begins, strict=True) if begin >= 0)  # below: a pause


def _find(file: BinaryIO, start: int, end: int, wanted: bytes) -> tuple[int, int]:
    """Start and end of what the first box of this kind holds. Raises LookupError if there is none."""
    for kind, first, last in _boxes(file, start, end):
        if kind == wanted:
            return first, last
    raise LookupError(wanted)


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind of each box in this part of the file, and start and end of what it holds."""
    while start + 8 <= end:
        file.seek(start)
        head = file.read(16)
        size, kind, begin = int.from_bytes(head[:4], "big"), head[4:8], start + 8
        if size == 1:
            size, begin = int.from_bytes(head[8:], "big"), start + 16
        stop = start + size if size else end
        if stop <= start:
            return
        yield kind, begin, min(stop, end)
        start = stop


def _content(file: BinaryIO, start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(min(end - start, 1 << 16))
