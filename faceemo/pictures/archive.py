"""Members of a ZIP archive: their names as people wrote them, and their bytes."""

import contextlib
import errno
import lzma
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from faceemo.emotions import ENGLISH
from faceemo.errors import FaceemoError, cannot_open, too_long
from faceemo.pictures.names import member_names, unsure_names

JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi", ".pjpeg", ".pjp", ".mpo")
PICTURE_SUFFIXES = (*JPEG_SUFFIXES, ".png", ".apng", ".bmp", ".dib", ".webp")
MACOS_FOLDER = "__MACOSX"  # AppleDouble files alone, a copy of each name: not worth a word
# What Windows, macOS, Linux and network storage (Synology, QNAP, NetApp) keep on a drive: thumbnails, bins, snapshots.
# Hidden folders begin with a dot.
SYSTEM_FOLDERS = (
    *("$recycle.bin", "recycler", "recycled", "system volume information", "found.000", "lost+found"),
    *(MACOS_FOLDER.lower(), "network trash folder", "temporary items"),
    *("@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "~snapshot"),
)
ENCRYPTED_FLAG = 0x1
OTHER_ARCHIVES = (
    *((b"Rar!", "a RAR archive"), (b"7z\xbc\xaf", "a 7z archive"), (b"\x1f\x8b", "a gzip archive")),
    *((b"BZh", "a bzip2 archive"), (b"\xfd7zXZ", "an XZ archive"), (b"ALZ\1", "an ALZ archive")),
    (b"EGGA", "an EGG archive"),
)
LFS_POINTER = b"version https://git-lfs"

# The end record, and that of ZIP64 before it with its locator in between: APPNOTE.TXT of PKWARE, 4.3.14 to 4.3.16.
_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE = b"PK\5\6"
_END64 = struct.Struct("<4sQ2H2L4Q")
_END64_SIGNATURE = b"PK\6\6"
_LOCATOR64_SIZE = 20
_MAX_COMMENT = 0xFFFF
_SEE_END64 = 0xFFFF  # as a count of members

SEX = {"남": "male", "여": "female"}

_SUBJECT = re.compile(r"([0-9a-fA-F]{64})_")
# From both ends: a background may itself hold spaces, & and _.
_PICTURE_NAME = re.compile(
    rf"[0-9a-fA-F]{{64}}_(?P<sex>[남여])_(?P<age>\d{{1,3}})_(?P<emotion>{'|'.join(ENGLISH)})_(?P<background>.+)_\d{{14}}-\d+-\d+"
)


class ReadError(Exception):
    """The bytes of one member cannot be read; the message says why."""


@dataclass(frozen=True)
class Member:
    """One file of an archive; name in NFC."""

    name: str
    info: zipfile.ZipInfo

    @property
    def size(self) -> int:
        """Bytes of the file, unpacked."""
        return self.info.file_size


@dataclass(frozen=True)
class PictureName:
    """What a picture's name says; None for what it does not say."""

    subject: str | None
    sex: str | None
    age: int | None
    emotion: str | None
    background: str | None


class Archive:
    """An open ZIP archive; only its central directory has been read.

    Raises FaceemoError if there is no readable archive at `path`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            if path.exists() and not path.is_file():
                raise ValueError("not a regular file")  # a pipe would be waited for
            self._zip = zipfile.ZipFile(path)
            assert self._zip.fp is not None, "it is open"
            recorded = _recorded_count(self._zip.fp)
        except FileNotFoundError as error:
            raise FaceemoError(f"{path}: {too_long(path, error) or 'no such archive'}") from None
        except (zipfile.BadZipFile, struct.error, OSError, ValueError, NotImplementedError, EOFError) as error:
            if isinstance(error, OSError) and error.errno != errno.EINVAL:  # that of a seek to where a directory says
                raise cannot_open(path, error) from None
            raise FaceemoError(f"{path}: not a readable ZIP archive ({error}); {_remedy(path)}") from None
        listed = len(self._zip.infolist())
        if not _agree(listed, recorded):
            self.close()
            raise FaceemoError(
                f"{path}: the archive's directory is damaged (it lists {listed} files, its end record counts "
                f"{recorded}); download it again"
            )
        named = zip(member_names(self._zip.infolist()), self._zip.infolist(), strict=True)
        self.members = [Member(*one) for one in named if not _is_folder(*one)]

    @property
    def unsure_names(self) -> list[str]:
        """Names of members whose encoding is not known."""
        return unsure_names(self._zip.infolist())

    def read(self, member: Member, max_bytes: int) -> bytes:
        """The bytes of one member, checked against its CRC-32.

        Raises ReadError if they cannot be read, FaceemoError if the archive itself is gone.
        """
        if member.size > max_bytes:
            raise ReadError(f"{member.size} bytes, above the bound of {max_bytes}")
        if member.info.flag_bits & ENCRYPTED_FLAG:
            raise ReadError("encrypted")
        try:
            with self._zip.open(member.info) as file:
                return file.read(member.size)  # no more than it claims: a bomb ends in a wrong CRC-32
        except (
            zipfile.BadZipFile,
            zlib.error,
            lzma.LZMAError,
            EOFError,
            RuntimeError,
            NotImplementedError,
            ValueError,
            OverflowError,
        ) as error:
            raise ReadError(str(error) or type(error).__name__) from None
        except OSError as error:
            Archive(self.path).close()  # a bad sector is one picture's fault, a drive that has gone is not
            raise ReadError(str(error)) from None

    def close(self) -> None:
        """Close the file."""
        self._zip.close()

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _remedy(path: Path) -> str:
    """What to do about a file that is no readable ZIP archive, by its beginning."""
    head = b""
    with contextlib.suppress(OSError):
        if path.is_file():  # a pipe would be waited for
            with path.open("rb") as file:
                head = file.read(512)
    kind = next((kind for beginning, kind in OTHER_ARCHIVES if head.startswith(beginning)), None)
    if kind:
        return f"it is {kind}: unpack it, or pack it anew as .zip"
    if head.startswith(LFS_POINTER):
        return "it is a pointer of Git LFS: run 'git lfs pull'"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return "it is a web page, as of a download without logging in; log in and download it again"
    return "download or copy it again"


def _recorded_count(file: IO[bytes]) -> int | None:
    """How many members the end record of an archive counts, None where it does not say. zipfile does not compare.

    The end record is looked for as zipfile does. Raises OSError if the file cannot be read.
    """
    start = max(file.seek(0, 2) - _MAX_COMMENT - _END.size, 0)
    file.seek(start)
    tail = file.read()
    at = len(tail) - _END.size
    if not (tail.startswith(_END_SIGNATURE, at) and tail.endswith(b"\0\0")):  # else it has no comment
        at = tail.rfind(_END_SIGNATURE)
    count = _END.unpack_from(tail, at)[4]
    if count != _SEE_END64:
        return count
    file.seek(max(start + at - _LOCATOR64_SIZE - _END64.size, 0))
    record = file.read(_END64.size)
    return _END64.unpack(record)[7] if record.startswith(_END64_SIGNATURE) else None


def _agree(listed: int, recorded: int | None) -> bool:
    """Whether a directory of `listed` members is whole. Tools without ZIP64, as macOS's, count modulo 65,536."""
    return recorded is None or listed == recorded or (recorded < _SEE_END64 and (listed - recorded) % 2**16 == 0)


def file_state(path: str) -> tuple[int, ...]:
    """Changes when another file takes a path; the digest does not, for a good copy in place of a damaged one."""
    try:
        found = Path(path).stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns


def parse_picture_name(name: str) -> PictureName:
    """Read `<64 hex subject>_<남|여>_<decade>_<emotion>_<background>_<time stamp>.jpg`.

    A name that begins with a subject but continues in another form still gives the subject.
    """
    base = name.replace("\\", "/").rpartition("/")[2]
    subject = _SUBJECT.match(base)
    match = _PICTURE_NAME.fullmatch(base.rpartition(".")[0] or base) if subject else None
    return PictureName(
        subject[1].lower() if subject else None,
        SEX[match["sex"]] if match else None,
        int(match["age"]) if match else None,
        ENGLISH[match["emotion"]] if match else None,
        match["background"] if match else None,
    )


def is_system_folder(name: str) -> bool:
    """Whether a folder of this name is hidden or a system's own: copies lie there, not the user's pictures."""
    return name.startswith(".") or name.lower() in SYSTEM_FOLDERS


def is_system_file(name: str) -> bool:
    """Whether a file, by its name with or without folders, is an AppleDouble file that macOS adds beside a real one."""
    return name.rpartition("/")[2].startswith("._")


def is_extra(name: str) -> bool:
    """Whether a member of an archive lies in such a folder or is such a file."""
    return is_system_file(name) or any(map(is_system_folder, name.split("/")[:-1]))


def _is_folder(name: str, info: zipfile.ZipInfo) -> bool:
    return name.endswith("/") and not info.file_size  # with bytes it is a file whose name is damaged
