"""The seven emotions of the AI-Hub set, in Korean as in its file names and in English as everywhere in faceemo."""

import unicodedata

from faceemo.errors import FaceemoError

ENGLISH = {
    "기쁨": "happy",
    "당황": "embarrassed",
    "분노": "angry",
    "불안": "anxious",
    "상처": "hurt",
    "슬픔": "sad",
    "중립": "neutral",
}
NEUTRAL = ENGLISH["중립"]
KOREAN = {english: korean for korean, english in ENGLISH.items()}


def emotion_name(word: str) -> str:
    """The English name of an emotion given in English or Korean (NFC or NFD).

    Raises FaceemoError for any other word.
    """
    word = unicodedata.normalize("NFC", str(word)).strip()
    if word in KOREAN:
        return word
    if word in ENGLISH:
        return ENGLISH[word]
    known = ", ".join(f"{english} ({korean})" for korean, english in ENGLISH.items())
    raise FaceemoError(f"unknown emotion {word!r}; use one of {known}")
