import contextlib
import io
import itertools
import random
import shutil
import struct
import tracemalloc
import unicodedata
import zipfile
from collections import Counter

import pytest
from made_archives import SETTINGS, pictures_in
from PIL import Image
from systems import WINDOWS, needs_posix

from faceemo.errors import FaceemoError
from faceemo.extraction.worker import read_picture
from faceemo.pictures.archive import Archive, PictureName, ReadError, parse_picture_name
from faceemo.pictures.reader import Picture, PictureReader, digest_of, first_by_hash
from faceemo.pictures.scan import scan
from faceemo.pictures.trees import files_at

SUBJECT = "0123456789abcdef" * 4
MAX_BYTES = 10_000_000
LOCAL, CENTRAL = b"PK\x03\x04", b"PK\x01\x02"  # signatures of a member's header and of its directory entry


def patch(path, signature, offset, data, which=0):
    """Overwrite bytes `offset` after the which-th occurrence of a signature."""
    content = bytearray(path.read_bytes())
    at = -1
    for _ in range(which + 1):
        at = content.index(signature, at + 1)
    content[at + offset : at + offset + len(data)] = data
    path.write_bytes(content)


@pytest.fixture
def zip_with_raw_name(make_zip):
    """An archive of one member whose name has these very bytes, with the UTF-8 flag or without."""

    def make(raw, utf8_flag=False):
        path = make_zip("raw.zip", ("x" * len(raw), b"bytes"))
        path.write_bytes(path.read_bytes().replace(b"x" * len(raw), raw))
        flags = struct.pack("<H", 0x800 if utf8_flag else 0)
        patch(path, LOCAL, 6, flags)
        patch(path, CENTRAL, 8, flags)
        return path

    return make


def only_member(path):
    with Archive(path) as archive:
        (member,) = archive.members
        assert archive.read(member, MAX_BYTES) == b"bytes"
        return member


def peak_memory(call):
    """Bytes that Python allocated at most while `call` ran into a ReadError or not."""
    tracemalloc.start()
    try:
        with contextlib.suppress(ReadError):
            call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("raw", "utf8_flag"),
    [
        ("중립/사진.jpg".encode("cp949"), False),
        ("중립/사진.jpg".encode(), True),
        ("중립/사진.jpg".encode(), False),
        (unicodedata.normalize("NFD", "중립/사진.jpg").encode(), True),
        (unicodedata.normalize("NFD", "중립/사진.jpg").encode(), False),
    ],
    ids=["cp949", "utf-8 flag", "utf-8 without flag", "nfd", "nfd without flag"],
)
def test_a_korean_name_is_read_in_nfc_however_it_was_packed(zip_with_raw_name, raw, utf8_flag):
    assert only_member(zip_with_raw_name(raw, utf8_flag)).name == "중립/사진.jpg"


def test_a_name_in_no_known_encoding_still_names_a_picture(zip_with_raw_name):
    path = zip_with_raw_name(b"\xff\xfe\x80.jpg")
    assert only_member(path).name.endswith(".jpg")
    assert len(pictures_in(path)) == 1


def test_a_member_without_a_name_is_no_picture_and_no_crash(zip_with_raw_name):
    assert pictures_in(zip_with_raw_name(b"\0.jpg")) == []


def test_a_name_flagged_utf8_that_is_not_utf8_is_one_line_about_the_archive(zip_with_raw_name):
    path = zip_with_raw_name("사진.jpg".encode("cp949"), utf8_flag=True)
    with pytest.raises(FaceemoError, match="not a readable ZIP archive") as error:
        Archive(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_pictures_are_told_by_their_ending_in_any_case_and_kept_in_order(make_zip):
    pictures = ["z.jpg", "b/A.JPG", "a.jpeg", "m.Png", "c.bmp", "d.WebP", "f/e.JFIF"]
    others = ["__MACOSX/z.jpg", "x/__MACOSX/y/._z.jpg", "._/A.JPG", "Thumbs.db", "notes.txt", "jpg", "c.jpg.txt"]
    members = [(name, b"1") for pair in zip(pictures, others, strict=True) for name in pair]
    path = make_zip("a.zip", ("folder.jpg/", b""), *members)
    with Archive(path) as archive:
        assert [picture.name for picture in pictures_in(path)] == pictures
        assert len(archive.members) == len(members)  # the folder is no member


def test_an_archive_within_the_archive_is_no_picture(make_zip):
    inner = make_zip("inner.zip", ("a.jpg", b"1")).read_bytes()
    outer = make_zip("outer.zip", ("inner.zip", inner), ("b.jpg", b"2"))
    assert [picture.name for picture in pictures_in(outer)] == ["b.jpg"]


def test_two_members_of_one_name_are_both_kept_with_their_own_bytes(make_zip):
    with Archive(make_zip("a.zip", ("a.jpg", b"first"), ("a.jpg", b"second"))) as archive:
        assert [archive.read(member, MAX_BYTES) for member in archive.members] == [b"first", b"second"]


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_bytes_are_a_read_error_of_that_member_alone(make_zip, compression):
    data = random.Random(0).randbytes(500)
    path = make_zip("a.zip", ("a.jpg", data), ("b.jpg", data), compression=compression)
    patch(path, LOCAL, 60, b"\xff\x00\xff\x00\xff")
    with Archive(path) as archive:
        damaged, whole = archive.members
        with pytest.raises(ReadError) as error:
            archive.read(damaged, MAX_BYTES)
        assert str(error.value)
        assert archive.read(whole, MAX_BYTES) == data


def test_a_wrong_crc_is_a_read_error_that_says_so(make_zip):
    path = make_zip("a.zip", ("a.jpg", b"whole bytes"))
    patch(path, CENTRAL, 16, b"\1\2\3\4")
    with Archive(path) as archive, pytest.raises(ReadError, match="CRC-32"):
        archive.read(archive.members[0], MAX_BYTES)


def test_an_encrypted_member_is_a_read_error(make_zip):
    path = make_zip("a.zip", ("a.jpg", b"secret"))
    patch(path, LOCAL, 6, b"\1")
    patch(path, CENTRAL, 8, b"\1")
    with Archive(path) as archive, pytest.raises(ReadError, match="encrypted"):
        archive.read(archive.members[0], MAX_BYTES)


def test_an_unsupported_compression_is_a_read_error(make_zip):
    path = make_zip("a.zip", ("a.jpg", b"bytes"))
    patch(path, LOCAL, 8, struct.pack("<H", 97))
    patch(path, CENTRAL, 10, struct.pack("<H", 97))
    with Archive(path) as archive, pytest.raises(ReadError, match="compression"):
        archive.read(archive.members[0], MAX_BYTES)


def test_a_member_that_claims_gigabytes_is_never_read(make_zip):
    path = make_zip("a.zip", ("a.jpg", b"bytes"))
    patch(path, CENTRAL, 20, struct.pack("<II", 4_000_000_000, 4_000_000_000))
    with Archive(path) as archive:
        (member,) = archive.members
        with pytest.raises(ReadError, match=r"4000000000 bytes, above the bound of 10000000"):
            archive.read(member, MAX_BYTES)
        assert peak_memory(lambda: archive.read(member, MAX_BYTES)) < 1_000_000


def test_a_member_of_exactly_the_bound_is_read(make_zip):
    with Archive(make_zip("a.zip", ("a.jpg", b"12345"))) as archive:
        assert archive.read(archive.members[0], 5) == b"12345"
        with pytest.raises(ReadError):
            archive.read(archive.members[0], 4)


def test_a_member_that_unpacks_to_more_than_it_claims_takes_no_more_memory_than_it_claims(make_zip):
    path = make_zip("a.zip", ("a.jpg", bytes(50_000_000)), compression=zipfile.ZIP_DEFLATED)
    patch(path, CENTRAL, 24, struct.pack("<I", 1000))
    with Archive(path) as archive:
        (member,) = archive.members
        assert peak_memory(lambda: archive.read(member, MAX_BYTES)) < MAX_BYTES
        with pytest.raises(ReadError):
            archive.read(member, MAX_BYTES)


def test_a_packed_size_of_gigabytes_takes_no_memory(make_zip):
    path = make_zip("a.zip", ("a.jpg", b"bytes"))
    patch(path, CENTRAL, 20, struct.pack("<I", 2_000_000_000))
    with Archive(path) as archive:
        assert peak_memory(lambda: archive.read(archive.members[0], MAX_BYTES)) < MAX_BYTES


@pytest.mark.parametrize("offset", [1, 40, 4_000_000_000])
def test_a_member_said_to_lie_where_it_does_not_is_a_read_error(make_zip, offset):
    path = make_zip("a.zip", ("a.jpg", b"bytes"))
    patch(path, CENTRAL, 42, struct.pack("<I", offset))
    with Archive(path) as archive, pytest.raises(ReadError):
        archive.read(archive.members[0], MAX_BYTES)


def test_a_zero_byte_member_is_read_as_nothing(make_zip):
    with Archive(make_zip("a.zip", ("a.jpg", b""))) as archive:
        assert archive.read(archive.members[0], MAX_BYTES) == b""


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:-10],
        lambda content: content.replace(CENTRAL, b"\xde\xad\xbe\xef"),
        lambda content: content[: content.index(CENTRAL) + 20] + content[content.index(CENTRAL) + 60 :],
        lambda content: b"",
        lambda content: b"\xff\xd8\xff\xe0 a picture, not an archive" * 10,
    ],
    ids=["cut in half", "cut at the end", "garbage directory", "directory with a hole", "empty", "no archive"],
)
def test_an_unreadable_archive_is_one_line_that_names_it(make_zip, damage):
    path = make_zip("중립.zip", ("a.jpg", b"1" * 200), ("b.jpg", b"2" * 200))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FaceemoError, match=r"not a readable ZIP archive \(.+\); download or copy it again") as error:
        Archive(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_byte_changed_anywhere_in_an_archive_is_an_error_of_ours_or_none(make_zip):
    path = make_zip("a.zip", ("중.jpg", b"1" * 50), ("b.jpg", b"2" * 50), compression=zipfile.ZIP_DEFLATED)
    content = path.read_bytes()
    for index in range(len(content)):
        path.write_bytes(content[:index] + bytes([content[index] ^ 0xFF]) + content[index + 1 :])
        try:
            with Archive(path) as archive:
                for member in archive.members:
                    archive.read(member, MAX_BYTES)
        except (FaceemoError, ReadError) as error:
            assert str(error)


def test_a_missing_archive_and_a_folder_are_one_line(tmp_path):
    with pytest.raises(FaceemoError, match="no such archive"):
        Archive(tmp_path / "중립.zip")
    with pytest.raises(FaceemoError, match="not a readable ZIP archive"):
        Archive(tmp_path)


# What the end record says


def test_an_entry_swallowed_by_its_neighbours_comment_is_one_line_and_not_a_picture_less(make_zip):
    path = make_zip("중립.zip", *((f"{name}.jpg", b"1") for name in "abcd"))
    content = path.read_bytes()
    first = content.index(CENTRAL)
    length = content.index(CENTRAL, first + 1) - first
    patch(path, CENTRAL, 32, struct.pack("<H", length))
    with pytest.raises(
        FaceemoError, match=r"directory is damaged \(it lists 3 files, its end record counts 4\)"
    ) as error:
        Archive(path)
    assert str(path) in str(error.value) and str(error.value).endswith("download it again")


def test_a_picture_whose_name_lost_its_ending_is_counted_among_the_other_members(make_zip):
    path = make_zip("a.zip", ("folder/", b""), ("a.jpg", b"1"), ("b.jpg", b"2"), ("c.jpg", b"3"), ("d.txt", b"4"))
    content = path.read_bytes()
    path.write_bytes(content.replace(b"b.jpg", b"b.jqg").replace(b"c.jpg", b"c.jp/"))
    with Archive(path) as archive:
        assert [picture.name for picture in pictures_in(path)] == ["a.jpg"]
        assert len(archive.members) == 4


def end_record(path):
    """Where the end record begins."""
    return path.read_bytes().rindex(b"PK\5\6")


def prepend(path):
    path.write_bytes(b"MZ a program that unpacks itself" + path.read_bytes())


def comment(path):
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"a comment " * 6000


def short_comment(path):
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"\0\0\0"


def say_see_zip64(path):
    patch(path, b"PK\5\6", 8, b"\xff\xff\xff\xff")


def prepend_and_say_see_zip64(path):
    say_see_zip64(path)
    prepend(path)


@pytest.mark.parametrize("zip64", [False, True])
@pytest.mark.parametrize(
    "change",
    [prepend, comment, short_comment, say_see_zip64, prepend_and_say_see_zip64],
    ids=lambda change: change.__name__,
)
def test_an_unusual_archive_that_is_whole_is_read(make_zip, monkeypatch, zip64, change):
    if zip64:
        monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)  # write the end record of ZIP64
    path = make_zip("a.zip", ("a.jpg", b"1"), ("b/", b""), ("b/c.jpg", b"2"), ("b/c.jpg", b"3"))
    change(path)
    assert (b"PK\6\6" in path.read_bytes()) == zip64
    with Archive(path) as archive:
        assert [archive.read(member, 9) for member in archive.members] == [b"1", b"2", b"3"]


@pytest.fixture(scope="module")
def many_members(tmp_path_factory):
    """70,000 members, so that ZIP64 counts them; the bytes of the archive."""
    path = tmp_path_factory.mktemp("many") / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(70_000):
            archive.writestr(f"{number}.jpg", b"")
    return path.read_bytes()


def without_zip64(content):
    """As macOS writes it: no record of ZIP64, and the count modulo 65,536."""
    start = content.rindex(b"PK\6\6")
    size, offset = struct.unpack_from("<2Q", content, start + 40)
    return content[:start] + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, *[70_000 % 65_536] * 2, size, offset, 0)


@pytest.mark.slow
@pytest.mark.parametrize("form", [bytes, without_zip64])
def test_more_members_than_16_bits_count_are_read_and_one_lost_is_noticed(tmp_path, many_members, form):
    path = tmp_path / "many.zip"
    path.write_bytes(form(many_members))
    with Archive(path) as archive:
        assert len(archive.members) == 70_000
    patch(path, CENTRAL, 32, struct.pack("<H", 46 + len("1.jpg")))
    with pytest.raises(FaceemoError, match="directory is damaged"):
        Archive(path)


def damaged(content, random_):
    """The bytes of an archive after one to four accidents, most of them in its directory."""
    content = bytearray(content)
    for _ in range(random_.randint(1, 4)):
        at = random_.randrange(content.find(CENTRAL) if random_.random() < 0.6 else 0, len(content))
        kind = random_.randrange(4)
        if kind == 0:
            content[at] ^= 1 << random_.randrange(8)
        elif kind == 1:
            content[at : at + 4] = random_.choice([b"\0\0\0\0", b"\xff\xff\0\0", b"\xff" * 4, b"\0\0\0\x80"])
        elif kind == 2:
            del content[at : at + random_.randint(1, 20)]
        else:
            content[at:at] = random_.randbytes(random_.randint(1, 20))
    return bytes(content)


@pytest.mark.slow
def test_500_damaged_archives_are_one_line_or_a_row_a_picture(make_zip, monkeypatch):
    picture = io.BytesIO()
    Image.new("L", (8, 8)).save(picture, "PNG")
    members = [
        ("중/사진.jpg", picture.getvalue()),
        ("b.png", picture.getvalue()),
        ("__MACOSX/._b.png", b"1"),
        ("c", b"2"),
    ]
    outcomes = Counter()
    for seed in range(500):
        monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1 if seed % 3 else 65_535)
        compression = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA][seed % 4]
        path = make_zip("중립.zip", *members, compression=compression)
        whole = path.read_bytes()
        path.write_bytes(damaged(whole, random.Random(seed)))
        try:
            (source,) = scan([path]).sources.values()
            with Archive(path) as archive, PictureReader(path) as reader:
                rows = [read_picture(reader, picture, SETTINGS) for picture in pictures_in(path)]
                assert len(rows) == source.images
                outcomes.update(row.status for row in rows)
                if path.read_bytes().endswith(whole[-22:]):  # its end record still counts four
                    assert len(archive.members) == 4
        except FaceemoError as error:
            assert "\n" not in str(error)
            outcomes["directory is damaged" if "directory is damaged" in str(error) else "FaceemoError"] += 1
    assert min(outcomes[name] for name in ("no_face", "read_error", "FaceemoError", "directory is damaged")) > 5, (
        outcomes
    )


def digest(path):
    return digest_of(files_at(path))


def test_the_digest_is_of_the_members_and_not_of_path_time_or_packing(make_zip):
    first = make_zip("a.zip", ("a.jpg", b"1" * 100), ("b.jpg", b"2" * 100))
    moved = shutil.copy(first, first.with_name("moved.zip"))
    old = zipfile.ZipInfo("a.jpg", (1999, 1, 1, 0, 0, 0))
    dated = make_zip("dated.zip", (old, b"1" * 100), ("b.jpg", b"2" * 100))
    packed = make_zip("packed.zip", ("a.jpg", b"1" * 100), ("b.jpg", b"2" * 100), compression=zipfile.ZIP_DEFLATED)
    assert digest(first) == digest(moved) == digest(dated) == digest(packed)
    assert len(digest(first)) == 64


def test_the_digest_changes_with_a_byte_a_name_a_member_and_their_order(make_zip):
    a, b = ("a.jpg", b"1" * 100), ("b.jpg", b"2" * 100)
    archives = [
        make_zip("0.zip", a, b),
        make_zip("1.zip", a, ("b.jpg", b"2" * 99 + b"3")),
        make_zip("2.zip", a, ("c.jpg", b"2" * 100)),
        make_zip("3.zip", a),
        make_zip("4.zip", b, a),
    ]
    assert len({digest(path) for path in archives}) == len(archives)


@pytest.mark.parametrize("folder", ["[원천] 100% a", "%20", "a b/[x]/%(y)s", "[!a]" if WINDOWS else "[!a]*"])
def test_an_archive_is_read_whatever_its_path_holds(make_zip, folder):
    assert only_member(make_zip(f"{folder}/[원천]EMOIMG_중립_TRAIN_01.zip", ("a.jpg", b"bytes"))).name == "a.jpg"


@needs_posix("long paths are off on most Windows")
def test_an_archive_is_read_at_a_path_of_more_than_260_characters(make_zip):
    path = make_zip("/".join(["folder" * 10] * 5) + "/a.zip", ("a.jpg", b"bytes"))
    assert len(str(path)) > 260
    assert only_member(path).name == "a.jpg"


def members(*names):
    return [Picture(name, name) for name in names]


def test_a_smaller_limit_is_a_subset_of_a_larger_in_the_archives_order():
    pictures = members(*(f"{number}.jpg" for number in range(40)))
    chosen = [first_by_hash(pictures, limit) for limit in range(1, 45)]
    for limit, (smaller, larger) in enumerate(itertools.pairwise(chosen), start=1):
        assert len(smaller) == min(limit, 40)
        assert set(smaller) <= set(larger)
        assert smaller == sorted(smaller)
    assert chosen[4] != [0, 1, 2, 3, 4]  # by hash, not the first of the archive


def test_a_limit_chooses_the_same_names_wherever_they_stand_and_whatever_the_seed():
    names = [f"{number}.jpg" for number in range(40)]
    random.seed(1)
    expected = {names[index] for index in first_by_hash(members(*names), 7)}
    random.seed(2)
    turned = names[::-1]
    assert {turned[index] for index in first_by_hash(members(*turned), 7)} == expected


def test_no_limit_is_every_picture():
    assert first_by_hash(members("b", "a", "c"), None) == [0, 1, 2]


def test_a_limit_counts_two_pictures_of_one_name_as_two():
    assert len(first_by_hash(members("a", "a", "a", "a"), 2)) == 2


@pytest.mark.parametrize(
    "background",
    ["실외 자연환경", "숙박 및 거주공간", "오락&공연시설", "교통_운송수단", "a_b & c_d", "상업시설.점포&시장"],
)
def test_a_name_of_the_set_tells_subject_sex_age_and_background(background):
    name = f"{SUBJECT.upper()}_여_20_중립_{background}_20210126133507-001-002.jpg"
    assert parse_picture_name(name) == PictureName(SUBJECT, "female", 20, "neutral", background)
    assert parse_picture_name(f"중립/{name}") == PictureName(SUBJECT, "female", 20, "neutral", background)


def test_a_man_is_male_and_the_ending_may_be_another():
    name = f"{SUBJECT}_남_60_불안_실내_20210126133507-001-002.PNG"
    assert parse_picture_name(name) == PictureName(SUBJECT, "male", 60, "anxious", "실내")


@pytest.mark.parametrize(
    "rest",
    [
        "여_20_중립_실내.jpg",
        "여_20_joy_실내_20210126133507-001-002.jpg",
        "woman_20_중립_실내_20210126133507-001-002.jpg",
        "여_스물_중립_실내_20210126133507-001-002.jpg",
        "여_20_중립_실내_20210126133507-001-002 (1).jpg",
        "여_20_중립__20210126133507-001-002.jpg",
        ".jpg",
    ],
)
def test_a_name_that_leaves_the_pattern_after_its_subject_still_tells_the_subject(rest):
    assert parse_picture_name(f"{SUBJECT}_{rest}") == PictureName(SUBJECT, None, None, None, None)


@pytest.mark.parametrize(
    "name",
    ["IMG_0001.jpg", "", f"{SUBJECT}.jpg", f"{SUBJECT}0_여_20.jpg", f"{SUBJECT[1:]}_여_20.jpg", f"x{SUBJECT}_여.jpg"],
)
def test_a_name_off_the_pattern_tells_nothing(name):
    assert parse_picture_name(name) == PictureName(None, None, None, None, None)
