import unicodedata

import pytest

from faceemo.emotions import ENGLISH, KOREAN, class_name, emotion_name
from faceemo.errors import FaceemoError


def test_the_sets_seven_emotions_have_one_name_each_in_both_languages():
    assert set(ENGLISH.values()) == {"happy", "embarrassed", "angry", "anxious", "hurt", "sad", "neutral"}
    assert {korean: KOREAN[english] for korean, english in ENGLISH.items()} == {korean: korean for korean in ENGLISH}


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_korean_names_are_taken_in_either_unicode_form(form):
    assert emotion_name(unicodedata.normalize(form, "불안")) == "anxious"
    assert emotion_name(unicodedata.normalize(form, "중립")) == "neutral"


def test_english_names_and_spaces_around_them_are_taken():
    assert emotion_name(" happy ") == "happy"


@pytest.mark.parametrize("word", ["joy", "", "Neutral!", None, 3])
def test_another_word_is_one_line_that_lists_the_known_ones(word):
    with pytest.raises(FaceemoError) as error:
        emotion_name(word)
    message = str(error.value)
    assert "\n" not in message and repr(str(word)) in message
    assert all(korean in message and english in message for korean, english in ENGLISH.items())


@pytest.mark.parametrize(
    ("word", "name"),
    [
        (" Very  Sad", "very-sad"),
        ("상처", "hurt"),
        (unicodedata.normalize("NFD", "지루함"), "지루함"),
        ("Überrascht_2", "überrascht_2"),
        ("\u03aa\u0301", "\u0390"),  # which have another composed form in lower case
        ("खुश", "खुश"),  # with a vowel sign
        ("joy!", None),
        ("2nd", None),
        ("-joy", None),
        ("지루\u200b함", None),  # a space of no width
        ("a/b", None),
        ("Label", None),
        ("", None),
    ],
)
def test_a_class_is_a_word_of_letters_of_any_script(word, name):
    assert class_name(word) == name
