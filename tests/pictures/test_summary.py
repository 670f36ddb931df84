"""What `faceemo scan` says of what it found."""

import struct
import zlib
from pathlib import Path

from made_sources import of_set

from faceemo.pictures.scan import scan
from faceemo.pictures.scan_source import ScanOptions
from faceemo.pictures.summary import left_out_lines, scan_lines


def said(*places, earlier=None, **options):
    """What is said of places, by its first word but the table."""
    asked = ScanOptions(**options)
    result = scan([Path(place) for place in places], options=asked, earlier=earlier or {})
    return list(scan_lines(result, asked, earlier or {}))[len(result.found) + 2 :]


def test_each_source_is_said_with_classes_people_and_what_is_not_read(add, make_zip):
    add("faces/happy/kim_1.jpg", "faces/happy/lee_1.jpg", "faces/sad/kim_2.jpg", "faces/sad/3.jpg", "faces/top.jpg")
    add("faces/hurt/1.heic", "faces/hurt/2.heic", "faces/notes.txt", "faces/sad/Thumbs.db", "faces/happy/none")
    assert said("faces", subject="([a-z]+)_") == [
        "faces: 2 happy, 2 sad",
        "faces: 2 people, 1 picture of unknown people",
        "faces: 1 picture passed over: no folder names a class",
        "faces: not read: 2 .heic, 1 without a suffix, 1 .txt, 1 .db; save pictures as .jpg or .png",
        "faces: no picture of hurt is of a kind that is read",
    ]
    make_zip("[원천]중립.zip", (of_set(1), b"1"), ("b.TIFF", b"2"), *((f"c.{n}", b"3") for n in range(9)))
    lines = said("[원천]중립.zip")
    suffixes = ", ".join(f"1 .{n}" for n in range(7))
    assert lines[-1] == (f"neutral-training-01: not read: 1 .tiff, {suffixes}, 2 others; save pictures as .jpg or .png")


def test_each_file_among_pictures_is_told_once_and_by_what_it_is(add, make_zip):
    add("own/happy/1.jpg", "own/sad/2.jpg", "own/LICENSE", "own/backup.tar.gz", "own/x.zip.sha256", "own/x.zip.jpg")
    add("own/y.zip.gz", "own/list.csv", "own/z.zip.part")
    make_zip("own/more.zip", ("happy/3.jpg", b"3"))
    packed = "an archive of a kind that is not read; unpack it, or pack it anew as .zip"
    lines = said("own")
    assert sorted(lines) == sorted(
        [
            f"passed over: {Path('own/backup.tar.gz')} ({packed})",
            f"passed over: {Path('own/y.zip.gz')} ({packed})",
            f"passed over: {Path('own/list.csv')} (a table in a folder; name it itself to scan it)",
            f"passed over: {Path('own/more.zip')} (an archive among pictures; name it itself to scan it)",
            f"passed over: {Path('own/z.zip.part')} "
            "(looks like an unfinished download; wait for it, or download it again)",
            "own: 1 happy, 1 sad",
            "own: 1 picture passed over: no folder names a class",
            "own: not read: 1 without a suffix, 1 .sha256",
        ]
    )


def test_what_is_left_out_is_said_where_models_are_judged_too(add):
    add("faces/happy/1.jpg", "faces/happy/2.tif", "faces/top.jpg", "faces/.git/1.jpg")
    assert list(left_out_lines(scan([Path("faces")], options=ScanOptions(to_judge=True)))) == [
        f"passed over: {Path('faces/.git')} (a hidden or system folder)",
        "faces: 1 picture passed over: no folder names a class",
        "faces: not read: 1 .tif; save pictures as .jpg or .png",
    ]


def test_names_in_an_unknown_encoding_are_said_with_what_to_do(make_zip):
    path = make_zip("faces.zip", ("sad/xxx.jpg", b"1"), ("happy/1.jpg", b"2"))
    path.write_bytes(path.read_bytes().replace(b"xxx", "f\N{LATIN SMALL LETTER U WITH DIAERESIS}r".encode("cp1252")))
    assert said("faces.zip")[-1] == (
        "faces: the archive does not say how names are encoded (1 in doubt, the first reads sad/f\u207fr.jpg); if that "
        "is wrong, pack it anew with names in UTF-8 (7-Zip: -mcu=on)"
    )


def test_every_picture_a_person_and_options_of_the_last_scan_are_said(add):
    add("faces/happy/kim_1.jpg", "faces/surprise/lee_1.jpg")
    given = ScanOptions(subject="each", rename={"surprise": "bored"})
    earlier = scan([Path("faces")], options=given).sources
    assert said("faces", earlier=earlier) == [
        "faces: 1 bored, 1 happy",
        "faces: --subject 'each' as in the last scan; --subject= forgets it",
        "faces: --rename surprise=bored as in the last scan; --rename= forgets it",
        "faces: every picture counts as a person of its own",
    ]


def test_many_places_passed_over_for_one_reason_are_one_line(add):
    add("faces/happy/1.jpg", "faces/a.csv", "faces/b.csv", *(f"faces/{n}/.git/1.jpg" for n in range(4)))
    assert [line for line in said("faces") if line.startswith("passed over")] == [
        f"passed over: 4 places, the first is {Path('faces/0/.git')} (a hidden or system folder)",
        f"passed over: {Path('faces/a.csv')} (a table in a folder; name it itself to scan it)",
        f"passed over: {Path('faces/b.csv')} (a table in a folder; name it itself to scan it)",
    ]


def copies(lines):
    return [line for line in lines if "the same bytes" in line]


def test_the_same_bytes_in_two_classes_or_under_two_people_are_said(add, make_zip, table):
    add("faces/happy/kim_1.jpg", "faces/happy/kim_2.jpg", "faces/sad/kim_3.jpg", content=b"the same")
    add("faces/sad/lee_4.jpg", "faces/sad/kim_5.jpg", content=b"others")
    add("faces/happy/lee_6.jpg", "faces/sad/kim_7.jpg")
    for name in ("happy/lee_8", "sad/kim_9"):
        Path(f"faces/{name}.jpg").write_bytes(b"")  # empty: no faces
    of_classes, of_people = copies(said("faces", subject="([a-z]+)_"))
    assert of_classes == (
        "3 pictures have the same bytes as one in another class, such as happy/kim_1.jpg of faces and sad/kim_3.jpg of "
        "faces: a model would learn and be judged on both; keep the one that is right"
    )
    assert of_people.startswith("2 pictures have the same bytes as one under another person, such as ")
    assert "kim_5.jpg" in of_people and "lee_4.jpg" in of_people and "give it one person, or" in of_people
    assert len(copies(said("faces"))) == 1  # nobody is known
    assert copies(said("faces", subject="each"))[1].startswith("5 pictures have the same bytes as one under another")

    make_zip("more.zip", ("angry/a.jpg", b"the same"), ("angry/b.jpg", b"new"))
    (line,) = copies(said("faces", "more.zip"))
    assert line.startswith("4 pictures")
    path = table("path,emotion\nfaces/happy/kim_1.jpg,happy\nmore.zip/angry/a.jpg,hurt\n")
    (line,) = copies(said(path))
    assert "such as faces/happy/kim_1.jpg of faces and more.zip/angry/a.jpg of faces: " in line


def test_copies_of_one_class_and_person_are_no_matter(add):
    add("faces/happy/kim_1.jpg", "faces/happy/kim_2.jpg", content=b"the same")
    add("faces/sad/kim_1.jpg")
    assert not copies(said("faces", subject="([a-z]+)_"))


def png_with(text):
    """A PNG with this text, of no pixels: whole by its checksums."""
    parts = ((b"IHDR", struct.pack(">2I5B", 1, 1, 8, 0, 0, 0, 0)), (b"tEXt", text), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_two_pngs_of_one_size_and_crc_are_no_copies(project):
    first = png_with(b"\0" * 6)
    texts = (number.to_bytes(6, "big") for number in range(1, 2**24))
    second = next(png for text in texts if zlib.crc32(png := png_with(text)) == zlib.crc32(first))
    for name, data in {"happy/1": first, "sad/2": second, "sad/3": first}.items():
        Path(f"faces/{name}.png").parent.mkdir(parents=True, exist_ok=True)
        Path(f"faces/{name}.png").write_bytes(data)
    (line,) = copies(said("faces"))
    assert line.startswith("2 pictures") and "happy/1.png of faces and sad/3.png of faces" in line
