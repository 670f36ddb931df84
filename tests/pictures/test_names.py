"""Names in ZIP archives as programs write them: Windows and macOS without the flag for UTF-8, Info-ZIP, PowerShell."""

import struct
import unicodedata
import zipfile
import zlib

import pytest

from faceemo.pictures.archive import Archive

KOREAN = ("기쁨/홍길동.jpg", "중립/새 폴더/사진 (1).jpg", "표정·놀람/사진①.png", "ㅋㅋ사진.jpg", "（복사본）1×2.jpg")
OTHERS = {
    "German": ("cp850 cp1252", ("für/Überraschung.jpg", "fröhlich/Jürgen.jpg", "Ärger/süß.jpg")),
    "French": ("cp850 cp1252", ("dégoût/été.jpg", "colère/Noël.jpg", "fâché/créée.jpg")),
    "Spanish": ("cp850 cp1252", ("niño/corazón.jpg", "enojón/José.jpg")),
    "Russian": ("cp866 cp1251", ("радость/Иванов.jpg", "гнев/лицо.jpg", "страх/фото.jpg")),
    "Chinese": ("gbk", ("高兴/张三.jpg", "快乐/李四.jpg", "中性/照片.jpg")),
    "Traditional Chinese": ("big5", ("快樂/照片.jpg", "悲傷/人臉.jpg", "中性/圖片.jpg")),
    "Japanese": ("cp932", ("笑顔/太郎.jpg", "無表情/写真.jpg", "ソ連/新しいフォルダー.jpg")),
}


def unicode_path(raw, name):
    field = struct.pack("<BL", 1, zlib.crc32(raw)) + name.encode()
    return struct.pack("<HH", 0x7075, len(field)) + field


@pytest.fixture
def names_of(tmp_path):
    """What an archive makes of raw names, each bytes or (bytes, extra field), and of which of these it is not sure."""

    def read(*raws, flagged=()):
        """flagged: further names, as text: zipfile flags them as UTF-8."""
        path = tmp_path / "names.zip"
        given = [raw if isinstance(raw, tuple) else (raw, b"") for raw in raws]
        holders = [f"{number:x<{len(raw)}}" for number, (raw, _) in enumerate(given, start=10)]
        with zipfile.ZipFile(path, "w") as archive:
            for holder, (_, extra) in zip(holders, given, strict=True):
                info = zipfile.ZipInfo(holder)
                info.extra = extra
                archive.writestr(info, b"bytes")
            for name in flagged:
                archive.writestr(name, b"bytes")
        data = path.read_bytes()
        for holder, (raw, _) in zip(holders, given, strict=True):
            data = data.replace(holder.encode(), raw)
        path.write_bytes(data)
        with Archive(path) as archive:
            assert all(archive.read(member, 10) == b"bytes" for member in archive.members)
            return [member.name for member in archive.members], archive.unsure_names

    return read


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("names", [KOREAN, *(names for _, names in OTHERS.values())])
def test_utf8_without_its_flag_is_read_in_every_language(names_of, names, form):
    raws = [unicodedata.normalize(form, name).encode() for name in names]
    assert names_of(*raws) == ([unicodedata.normalize("NFC", name) for name in names], [])


def test_korean_names_in_cp949_are_read(names_of):
    assert names_of(*(name.encode("cp949") for name in KOREAN)) == (list(KOREAN), [])


@pytest.mark.parametrize(
    ("encoding", "names"), [(encoding, names) for all_, names in OTHERS.values() for encoding in all_.split()]
)
def test_names_of_another_language_never_become_hangul_and_it_is_said(names_of, encoding, names):
    raws = [name.encode(encoding) for name in names]
    kept = [unicodedata.normalize("NFC", raw.decode("cp437").replace("\\", "/")) for raw in raws]
    assert names_of(*raws, b"plain/1.jpg") == ([*kept, "plain/1.jpg"], kept)


def test_it_is_decided_once_for_all_names_of_an_archive(names_of):
    """A Chinese name may by chance have the bytes of common syllables, and a Korean one those of UTF-8."""
    happy = "快乐/1.jpg".encode("gbk")
    assert names_of(happy, "悲伤/1.jpg".encode("gbk"))[1] == [
        raw.decode("cp437") for raw in (happy, b"\xb1\xaf\xc9\xcb/1.jpg")
    ]
    names = ["치.jpg", "기쁨.jpg"]
    assert names[0].encode("cp949").decode() == "ġ.jpg"
    assert names_of(*(name.encode("cp949") for name in names)) == (names, [])


def test_a_damaged_name_does_not_make_the_others_unreadable(names_of):
    names = [f"기쁨/{number}.jpg" for number in range(12)]
    assert names_of(b"\xff\xfe\x80.jpg", *(name.encode("cp949") for name in names)) == (
        ["\xa0■Ç.jpg", *names],
        ["\xa0■Ç.jpg"],
    )


def test_a_rare_syllable_or_a_chinese_character_among_korean_names_is_read(names_of):
    names = [*(f"기쁨/{number}.jpg" for number in range(20)), "뷁.jpg", "金씨.jpg"]
    assert names_of(*(name.encode("cp949") for name in names)) == (names, [])


def test_an_archive_that_two_programs_filled_is_read_name_by_name(names_of):
    assert names_of("기쁨/a.jpg".encode(), "중립/b.jpg".encode("cp949"), flagged=["슬픔/c.jpg"]) == (
        ["기쁨/a.jpg", "중립/b.jpg", "슬픔/c.jpg"],
        [],
    )


def test_a_flagged_name_is_utf8_whatever_the_others_are(names_of):
    raw = "für.jpg".encode("cp850")
    assert names_of(raw, flagged=["für.jpg", "중립.jpg"]) == (["für.jpg", "für.jpg", "중립.jpg"], ["für.jpg"])


@pytest.mark.parametrize(
    "raw", ["감정/é.jpg".encode("cp949", "replace"), "가#U00e9.jpg".encode("cp949"), b"#U00e9.jpg"]
)
def test_a_unicode_path_names_the_member_if_it_belongs_to_its_name(names_of, raw):
    assert names_of((raw, unicode_path(raw, "감정/é.jpg"))) == (["감정/é.jpg"], [])
    stale = names_of((raw, unicode_path(b"other.jpg", "other.jpg")))
    assert stale == names_of(raw)


@pytest.mark.parametrize("raw", [b"faces\\happy\\1.jpg", "faces\\기쁨\\1.jpg".encode("cp949")])
def test_backslashes_part_folders(names_of, raw):
    """PowerShell 5 writes them, with entries for the folders too."""
    name = raw.decode("cp949").replace("\\", "/")
    assert names_of(raw, flagged=["얼굴\\기쁨\\2.jpg"]) == ([name, "얼굴/기쁨/2.jpg"], [])


def test_a_folder_with_a_backslash_is_no_member(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("faces\\happy\\", b"")
        archive.writestr("faces\\happy\\1.jpg", b"1")
    with Archive(tmp_path / "a.zip") as archive:
        assert [member.name for member in archive.members] == ["faces/happy/1.jpg"]


@pytest.mark.parametrize("raw", [b"/faces/happy/1.jpg", b"./faces/happy/1.jpg", b"//faces///./happy//1.jpg"])
def test_a_name_from_the_root_or_from_here_is_the_same_path(names_of, raw):
    assert names_of(raw) == (["faces/happy/1.jpg"], [])


def test_what_names_only_the_root_is_no_member(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("/", "./", "./faces/", "./faces/.hidden", "..."):
            archive.writestr(name, b"")
    with Archive(tmp_path / "a.zip") as archive:
        assert [member.name for member in archive.members] == ["faces/.hidden", "..."]
