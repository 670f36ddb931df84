"""Fonts for names of classes in other letters than English ones, such as Hangul, on plots and pictures."""

import functools
import string
import sys
from collections.abc import Sequence
from pathlib import Path

# Upright sans-serif fonts of normal weight with Hangul: of Windows, macOS, and Linux with Noto or Nanum.
PREFERRED = (
    "malgun",
    "AppleSDGothicNeo",
    "NotoSansCJK-Regular",
    "NotoSansKR-Regular",
    "NanumGothic",
    "NanumGothic-Regular",
)
PAGE = ("segoeui", "Roboto-Regular", "NotoSans-Regular")  # those that the report's style sheet names first
HANGUL = "한글"
OTHER_STYLES = ("Bold", "Black", "Heavy", "Thin", "Light", "Italic", "Oblique")
BESIDE_NAMES = string.ascii_letters + string.digits + "% "  # drawn in one piece with a name


def drawn_names(classes: Sequence[str]) -> list[str]:
    """The classes as they are drawn: those whose letters no font of this machine has by their number, from 1."""
    return [name if name.isascii() or font_with(name) else f"class {number}" for number, name in enumerate(classes, 1)]


def missing_letters(classes: Sequence[str]) -> str | None:
    """A note for people if a class cannot be drawn by its name, else None."""
    for name, drawn in zip(classes, drawn_names(classes), strict=True):
        if name != drawn:
            advice = ", such as fonts-nanum of Debian and Ubuntu for Hangul" if sys.platform == "linux" else ""
            return f"note: no font here has the letters of {name!r}, drawn as {drawn!r}; install one{advice}"
    return None


def has_hangul(text: str) -> bool:
    """Whether a text has a Korean syllable in it."""
    return any("가" <= letter <= "힣" for letter in text)


def page_font() -> Path | None:
    """The file of the font in which the report's English is shown here; None where matplotlib's own will do."""
    from matplotlib import font_manager

    found = {path.stem: path for path in map(Path, font_manager.findSystemFonts())}
    return next((found[name] for name in PAGE if name in found), None)


def font_with(name: str) -> Path | None:
    """The file of a font that has the letters of a name, and those that stand beside names; None if there is none."""
    return _font_with("".join(sorted({letter for letter in name if not letter.isascii()})))


@functools.cache
def _font_with(letters: str) -> Path | None:
    from matplotlib import font_manager, get_data_path  # here, since most classes have English letters
    from matplotlib.ft2font import FT2Font

    own = Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    found = sorted(map(Path, font_manager.findSystemFonts()), key=_rank)
    for path in (own, *found):  # not those in font_manager's cache, which does not see what was installed since
        try:
            font = FT2Font(str(path))
        except (OSError, RuntimeError):  # of a kind that FreeType does not read
            continue
        if all(map(font.get_char_index, map(ord, letters + BESIDE_NAMES))):
            return path
    return None


def _rank(path: Path) -> tuple[int, int, str]:
    place = PREFERRED.index(path.stem) if path.stem in PREFERRED else len(PREFERRED)
    return place, any(style in path.stem for style in OTHER_STYLES), str(path)
