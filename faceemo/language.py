"""The languages of the report and of plots: their modules hold the English texts, ko.yaml has the Korean for each."""

import ctypes
import gettext
import os
import sys
from pathlib import Path

from faceemo.emotions import IN_KOREAN
from faceemo.plainyaml import read_yaml

LANGUAGES = ("ko", "en")
KOREAN_TEXTS = Path(__file__).with_name("ko.yaml")
WINDOWS_KOREAN = 0x12  # the primary language in the low ten bits of a language identifier
VARIABLES = ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")  # in gettext's order


class Language(gettext.NullTranslations):
    """code: one of LANGUAGES. As Jinja wants it: gettext(text) is the text in this language."""

    def __init__(self, code: str) -> None:
        super().__init__()
        self.code = code
        self._texts: dict[str, str] = read_yaml(KOREAN_TEXTS) if code == "ko" else {}

    def gettext(self, message: str) -> str:
        """Raises KeyError for a text that ko.yaml lacks."""
        return message if self.code == "en" else self._texts[message]

    def say(self, message: str, **values: object) -> str:
        """A text with its places like %(pictures)s filled."""
        return self.gettext(message) % values

    def class_name(self, name: str) -> str:
        """A class in this language if it is one of the set's emotions, else as it is."""
        return IN_KOREAN.get(name, name) if self.code == "ko" else name


def system_language() -> str:
    """The language to write in unless told: "ko" where the system speaks Korean, else "en"."""
    spoken = next((os.environ[name] for name in VARIABLES if os.environ.get(name)), "")
    if not spoken and sys.platform == "win32":
        is_korean = ctypes.windll.kernel32.GetUserDefaultUILanguage() & 0x3FF == WINDOWS_KOREAN
    else:
        is_korean = spoken.lower().startswith("ko")
    return "ko" if is_korean else "en"
