"""Emotions: the seven of the AI-Hub set, in Korean as in its file names and in English as everywhere in faceemo, and
other words, for one's own classes.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from faceemo.errors import FaceemoError
from faceemo.plainyaml import shown

ENGLISH = {
    "중립": "neutral",
    "기쁨": "happy",
    "당황": "embarrassed",
    "분노": "angry",
    "불안": "anxious",
    "상처": "hurt",
    "슬픔": "sad",
}
GROUP_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")  # ASCII: dvc's -S takes no other as a key
# Columns of predictions
TAKEN = ("path", "seconds", "status", "error", "turned", "face", "left", "top", "right", "bottom", "label")
NEUTRAL = ENGLISH["중립"]
KOREAN = {english: korean for korean, english in ENGLISH.items()}
# For people to read: also the other classes of the model that comes along, which are no words of the set
IN_KOREAN = {**KOREAN, "surprise": "놀람", "disgust": "혐오", "fear": "두려움"}


def emotion_name(word: str) -> str:
    """The English name of an emotion given in English or Korean (NFC or NFD).

    Raises FaceemoError for any other word.
    """
    name = plain_word(word)
    if name in KOREAN:
        return name
    known = ", ".join(f"{english} ({korean})" for korean, english in ENGLISH.items())
    raise FaceemoError(f"unknown emotion {str(word)!r}; use one of {known}")


def plain_word(word: str) -> str:
    """A word for an emotion as it is compared: one of the seven in English, any other in NFC and lower case."""
    word = " ".join(unicodedata.normalize("NFC", str(word).lower()).split())
    return ENGLISH.get(word, word)


def class_name(word: str) -> str | None:
    """The class that a word names: one of the seven in English, another word in lower case with `-` for spaces.

    None for a word that cannot be a class: it has only letters of any script, digits, - and _, a letter first, and is
    no column of predictions.
    """
    name = plain_word(word).replace(" ", "-")
    # categories L, M and N: letters, the marks that some scripts write them with, and digits
    is_name = name[:1].isalpha() and all(one in "-_" or unicodedata.category(one)[0] in "LMN" for one in name)
    return name if is_name and name not in TAKEN else None


def name_class(word: str, rename: Mapping[str, str]) -> str | None:
    """The class that a word stands for, `rename` by plain words before its own name; None if it cannot name one."""
    return rename.get(plain_word(word)) or class_name(word)


def emotion_classes(entries: list) -> dict[str, tuple[str, ...]]:
    """The emotions that make up each class, by its name, of entries like `neutral` or `{sad: [sad, hurt]}`.

    Raises FaceemoError for any other entry, for an empty group and for a name or member that comes twice.
    """
    classes: dict[str, tuple[str, ...]] = {}
    for entry in entries:
        name, members = _group(entry) if isinstance(entry, dict) else (_class(entry), (_class(entry),))
        if name in classes:
            raise FaceemoError(f"names {name} twice")
        classes[name] = members
    counts = Counter(member for members in classes.values() for member in members)
    for name, members in classes.items():
        for member in members:
            if counts[member] > 1:
                groups = " and ".join(other for other, names in classes.items() if member in names)
                raise FaceemoError(f"has {member} in {groups}; an emotion belongs to one class")
        if name in KOREAN and name not in members:
            raise FaceemoError(f"has a group {name} without {name} in it; give the group another name")
    return classes


def chosen_classes(
    emotions: Mapping[str, tuple[str, ...]] | None, found: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """The emotions that make up each class, by its name: those of `emotions`, or for None every class that was found.

    Those found come in the order of the set's seven, words of one's own after them.
    """
    if emotions is not None:
        return dict(emotions)
    known = [name for name in KOREAN if name in found]
    return {name: (name,) for name in [*known, *sorted(set(found).difference(KOREAN))]}


def class_text(name: str, members: Sequence[str]) -> str:
    """A class as an entry of `emotions` has it."""
    return name if list(members) == [name] else f"{name}: [{', '.join(members)}]"


def _class(word: object) -> str:
    name = class_name(word) if isinstance(word, str) else None
    if name is None:
        raise FaceemoError(
            f"has {shown(word)}, which cannot name a class; a class has only letters, digits, - and _, a letter first, "
            f"and is none of {', '.join(TAKEN)}; 'faceemo scan DIR --rename WORD=CLASS' gives a word such a name"
        )
    return name


def _group(entry: dict) -> tuple[str, tuple[str, ...]]:
    if len(entry) != 1:
        raise FaceemoError(f"has an entry that is not one group like 'sad: [sad, hurt]': {shown(entry)}")
    ((name, members),) = entry.items()
    word = unicodedata.normalize("NFC", name if isinstance(name, str) else shown(name)).strip()
    word = ENGLISH.get(word, word)
    if not GROUP_NAME.fullmatch(word):
        raise FaceemoError(
            f"has a group {shown(word)}; a group's name is an emotion or letters of ASCII, digits, - and _"
        )
    if word in TAKEN:
        raise FaceemoError(f"has a group {word}, the name of a column of predictions; give it another name")
    if not isinstance(members, list) or not members or not all(isinstance(member, str) for member in members):
        raise FaceemoError(f"has a group {word} without emotions; write '{word}: [sad, hurt]'")
    names = tuple(map(_class, members))
    if len(set(names)) < len(names):
        raise FaceemoError(f"has an emotion twice in group {word}: {', '.join(names)}")
    return word, names
