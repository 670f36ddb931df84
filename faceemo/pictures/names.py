"""Names of the members of ZIP archives. Most archives do not say in which encoding they are."""

import re
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Sequence

UTF8_FLAG = 0x800
MOST = 0.9  # of the names: the others of an archive stay readable beside a few damaged ones

# Bytes in CP949 of ASCII, of the 2,350 common syllables of KS X 1001 and of its signs, letters and circled numbers. Not
# its Chinese characters and not the 8,822 rare syllables: names in GBK, in Shift-JIS and in Europe's code pages decode
# to those.
_SYLLABLE = rb"[\xb0-\xc8][\xa1-\xfe]"
_SIGN = rb"[\xa1-\xa3][\xa1-\xfe]|\xa4[\xa1-\xd3]|[\xa8\xa9][\xb1-\xfe]"
_KOREAN = re.compile(rb"(?:[\x00-\x7f]|%b)*(?:%b)(?:[\x00-\x7f]|%b|%b)*" % (_SIGN, _SYLLABLE, _SYLLABLE, _SIGN))

_SUPERFLUOUS = re.compile(r"(^|/)\.?/")
_FIELD = struct.Struct("<HH")  # kind and length of an extra field: APPNOTE.TXT of PKWARE, 4.5.1
_UNICODE_PATH = 0x7075
_UNICODE_PATH_HEAD = struct.Struct("<BL")  # version, CRC-32 of the name in the header: 4.6.9


def member_names(infos: Sequence[zipfile.ZipInfo]) -> list[str]:
    r"""The names of the members of one archive, in NFC and with one / between folders, where PowerShell 5 writes \.

    What says no more than where it is from is left out: / before the first folder, and ./ as tar writes it.

    Where the archive says the name's encoding, that holds: the flag for UTF-8, a Unicode Path field. For all other
    names it is decided once: UTF-8 if all are, CP949 if they are Korean in it, else code page 437, the standard's.
    """
    names = zip(_known_names(infos), infos, strict=True)
    return [_normalised(info.filename if name is None else name) for name, info in names]


def unsure_names(infos: Sequence[zipfile.ZipInfo]) -> list[str]:
    """Those of `member_names` whose encoding is not known: they were written with other letters, unless it is 437."""
    names = zip(_known_names(infos), infos, strict=True)
    return [_normalised(info.filename) for name, info in names if name is None]


def _normalised(name: str) -> str:
    name = unicodedata.normalize("NFC", name.partition("\0")[0].replace("\\", "/"))
    if not _SUPERFLUOUS.search(name):
        return name
    *folders, base = name.split("/")
    return "/".join([*(part for part in folders if part not in ("", ".")), base]) or name


def _known_names(infos: Sequence[zipfile.ZipInfo]) -> list[str | None]:
    """Each member's name, None where its encoding is not known."""
    names: list[str | None] = []
    raws = {}
    for index, info in enumerate(infos):
        flagged = bool(info.flag_bits & UTF8_FLAG)
        raw = info.orig_filename.encode("utf-8" if flagged else "cp437")
        names.append(_unicode_path(info.extra, raw) or (info.orig_filename if flagged else None))
        if names[index] is None:
            raws[index] = raw
    for index, name in zip(raws, _decoded(list(raws.values())), strict=True):
        names[index] = name
    return names


def _unicode_path(extra: bytes, raw: bytes) -> str | None:
    """The name in a Unicode Path field, if the member's header has the name `raw`. Python reads it from 3.12 on."""
    while len(extra) >= _FIELD.size:
        kind, length = _FIELD.unpack_from(extra)
        field, extra = extra[_FIELD.size :][:length], extra[_FIELD.size + length :]
        if kind == _UNICODE_PATH and field.startswith(_UNICODE_PATH_HEAD.pack(1, zlib.crc32(raw))):
            return _decode(field[_UNICODE_PATH_HEAD.size :], "utf-8")
    return None


def _decoded(raws: list[bytes]) -> list[str | None]:
    """Names whose encoding the archive does not say, as text; None where it cannot be known."""
    utf8 = [_decode(raw, "utf-8") for raw in raws]
    if None not in utf8:
        return utf8
    if are_korean([raw for raw in raws if not raw.isascii()]):
        return [_decode(raw, "cp949") or name for raw, name in zip(raws, utf8, strict=True)]
    if are_korean([raw for raw, name in zip(raws, utf8, strict=True) if name is None]):  # two programs packed it
        return [name or _decode(raw, "cp949") for raw, name in zip(raws, utf8, strict=True)]
    return utf8


def are_korean(raws: Sequence[bytes]) -> bool:
    """Whether nearly all of these texts, each with bytes beyond ASCII, are common Korean in CP949."""
    return sum(_KOREAN.fullmatch(raw) is not None for raw in raws) >= MOST * len(raws)


def _decode(raw: bytes, encoding: str) -> str | None:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        return None
