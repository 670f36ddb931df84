import shutil
from pathlib import Path

import pytest
from matplotlib import font_manager, get_data_path

from faceemo.fonts import _font_with, drawn_names, font_with, missing_letters, page_font

RUNIC = "ᚠᚢᚦ"  # of which no font here is expected


@pytest.fixture
def fonts(monkeypatch):
    """Makes these files all the fonts of the machine."""
    found: list[str] = []
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: found)
    _font_with.cache_clear()
    yield found
    _font_with.cache_clear()


def test_english_names_are_drawn_as_they_are_without_a_look_at_fonts(monkeypatch):
    monkeypatch.setattr(font_manager, "findSystemFonts", None)
    assert drawn_names(["neutral", "very_sad-2"]) == ["neutral", "very_sad-2"]
    assert missing_letters(["neutral", "very_sad-2"]) is None


def test_letters_that_no_font_has_are_drawn_by_number_and_told_in_one_line(fonts):
    classes = ["happy", "지루함", "разный"]  # matplotlib's own font has Cyrillic letters
    assert drawn_names(classes) == ["happy", "class 2", "разный"]
    told = missing_letters(classes)
    assert "'지루함'" in told and "'class 2'" in told and "\n" not in told


def test_the_first_font_with_all_letters_is_taken_and_broken_ones_are_passed_over(fonts, tmp_path):
    broken, has_it = tmp_path / "a.ttf", tmp_path / "b.ttf"
    broken.write_bytes(b"no font")
    shutil.copy(Path(get_data_path()) / "fonts/ttf/DejaVuSansMono.ttf", has_it)
    fonts += [str(has_it), str(broken), str(tmp_path / "gone.ttf")]
    mathematical = "∯"  # in DejaVu Sans, so that the machine's fonts are not needed
    assert font_with(mathematical) == Path(get_data_path()) / "fonts/ttf/DejaVuSans.ttf"
    assert font_with(RUNIC) is None


def test_plots_for_a_paper_take_the_font_of_the_report(fonts, tmp_path):
    style = (Path(__file__).parents[1] / "faceemo/report/report.css").read_text(encoding="utf-8")
    places = [style.index(name) for name in ('"Segoe UI"', "Roboto", '"Noto Sans"', '"Malgun Gothic"')]
    assert places == sorted(places)
    assert page_font() is None  # matplotlib's own
    for name in ("batang.ttf", "NotoSans-Regular.ttf", "Roboto-Regular.ttf", "segoeui.ttf"):
        fonts.append(str(tmp_path / name))
        assert page_font() == (None if name == "batang.ttf" else tmp_path / name)


def test_a_plain_font_comes_before_others(fonts, tmp_path, monkeypatch):
    mono = Path(get_data_path()) / "fonts/ttf/DejaVuSansMono.ttf"
    monkeypatch.setattr("matplotlib.get_data_path", lambda: str(tmp_path))  # without matplotlib's own
    order = ["malgun.ttf", "NotoSansKR-Regular.ttf", "batang.ttf", "malgunbd.ttf", "NotoSansKR-Black.ttf"]
    for name in sorted(order):
        shutil.copy(mono, tmp_path / name)
        fonts.append(str(tmp_path / name))
    for name in order:
        assert font_with("ж").name == name
        fonts.remove(str(tmp_path / name))
        _font_with.cache_clear()
