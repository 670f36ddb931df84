import pytest

from faceemo.plainjson import TooDeepError, parse_json, read_json


def test_json_is_read_as_it_is_written(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"중립": [1, 2.5, "\\ud83d\\ude00", null, true]}', encoding="utf-8-sig")
    assert read_json(path) == {"중립": [1, 2.5, "😀", None, True]}
    assert parse_json("[7, Infinity]", parse_int=float, parse_constant=str) == [7.0, "Infinity"]


@pytest.mark.parametrize("text", ["", "{", "[NaN]", '{"a": -Infinity}', b"\xff\xfe\x00", b"\xff", "1" * 5000, "[1] x"])
def test_what_is_no_json_is_a_value_error(text):
    with pytest.raises(ValueError) as error:
        parse_json(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 100_000, "[" * 100_000 + "]" * 100_000])
def test_brackets_in_brackets_without_end_are_a_value_error_too(text):
    with pytest.raises(TooDeepError, match="more levels"):
        parse_json(text)
