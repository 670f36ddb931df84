import random
import re
from pathlib import Path

import pytest

from faceemo.errors import FaceemoError
from faceemo.params import load_params
from faceemo.pictures.sources import read_sources
from faceemo.plainyaml import MAX_BYTES, read_yaml, shown, shown_key

ROOT = Path(__file__).parents[1]


@pytest.fixture
def read(tmp_path):
    """read(text) writes a file and reads it."""

    def read(text):
        path = tmp_path / "a.yaml"
        path.write_text(text, encoding="utf-8")
        return read_yaml(path)

    return read


def test_plain_values_are_read_as_yaml_says(read):
    text = "a: 1\nb: [x, 0x10, null, true, 1.5]\nc:\n  - {d: 1e-05, e: '중립'}\n  - ''\n1: 2026-01-31\n"
    values = read(text)
    assert values["a"] == 1
    assert values["b"] == ["x", 16, None, True, 1.5]
    assert values["c"] == [{"d": "1e-05", "e": "중립"}, ""]
    assert str(values[1]) == "2026-01-31"


LAUGHS = "a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha]\n" + "".join(
    f"a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 9)}]\n" for number in range(1, 10)
)
MERGED = "a0: &a0 {x: 1}\n" + "".join(
    f"a{number}: &a{number}\n  <<: [{', '.join([f'*a{number - 1}'] * 9)}]\n" for number in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(LAUGHS, "line 1: an anchor or alias", id="anchors in anchors"),
        pytest.param(MERGED, "line 1: an anchor or alias", id="merged anchors"),
        ("a: 1\nb: *a\n", "line 2: an anchor or alias"),
        ("a: {<<: {b: 1}}\n", "merge"),
        pytest.param("a: " + "[" * 1000 + "]" * 1000, "line 1: more than 20 levels", id="1,000 lists"),
        pytest.param("a: " + "{b: " * 1000 + "}" * 1000, "line 1: more than 20 levels", id="1,000 mappings"),
        pytest.param("- " * 1000 + "a", "line 1: more than 20 levels", id="1,000 block lists"),
        pytest.param("[" * (MAX_BYTES - 1), "line 1: more than 20 levels", id="a file of brackets"),
        ('a: !!int ""\n', "line 1: a tag"),
        ("a: 1\nb: !!bool maybe\n", "line 2: a tag"),
        ("a: !!timestamp x\n", "line 1: a tag"),
        ("a: !!set {b}\n", "line 1: a tag"),
        ("a: !b c\n", "line 1: a tag"),
        ("a: 1\nb: 2\na: 3\n", "line 3: the key 'a' for the second time"),
        ("a:\n  b: 1\n  'b': 2\n", "line 3: the key 'b' for the second time"),
        ("? [a]\n: 1\n", "line 1: a key that is a list or a mapping"),
        ("a: 0x_\n", "invalid literal"),
        pytest.param("a: 1" + ":1" * 300 + ".5\n", "too large", id="a float to base 60"),
        pytest.param("a: 1" + ":1" * 100_000, "more than 40000 characters", id="an integer to base 60"),
        pytest.param("a: " + "1" * 5000, "4300 digits", id="5,000 digits"),
        pytest.param("a" * (MAX_BYTES + 1), "larger than", id="a large file"),
        ("a: \0\n", "special characters are not allowed"),
        ("a: [1\n", "expected ',' or ']'"),
    ],
)
def test_what_is_not_plain_is_one_short_line(read, text, words):
    with pytest.raises(ValueError, match=re.escape(words)) as error:
        read(text)
    assert "\n" not in str(error.value) and len(str(error.value)) <= 300


def test_a_value_or_a_key_is_shown_printable_and_short():
    assert (shown("a\nb"), shown(None), shown([1])) == ("'a\\nb'", "null", "[1]")
    assert len(shown("x" * 1000)) == len(shown(["x"] * 1000)) == 80
    assert "digits" in shown(16**5000)
    assert (shown_key("lrr"), shown_key("a\x1b[31m"), shown_key(5)) == ("lrr", "'a\\x1b[31m'", "5")
    assert len(shown_key("x" * 1000)) == 80


NASTY = [
    *(":", "- ", "? ", "[", "]", "{", "}", "&a ", "*a", "!!int ", "!!bool ", "! ", "|\n", "> ", "<<: ", "'", '"', "#"),
    *("\n", "\t", "\n\n---\n", "...\n", "%YAML 9\n", "\0", "\x1b", "\ufeff", "\u2028", '"\\ud800"', '"\\0"', "~", "="),
    *("0x_", "0b_", ".inf", ".nan", "-1", "1e999", "1:1:1.5", "2020-13-45", "true", "null", "[]", "{}", "[" * 50),
    *("9" * 5000, "0x" + "f" * 5000, "x" * 50_000),
]  # fmt: skip


def mutated(text, random_):
    """The text of a YAML file after one to three accidents."""
    for _ in range(random_.randint(1, 3)):
        at, end = random_.randrange(len(text)), random_.randint(1, 30)
        kind = random_.randrange(4)
        if kind == 0:
            text = text[:at] + random_.choice(NASTY) + text[at:]
        elif kind == 1:
            text = text[:at] + text[at + end :]
        elif kind == 2:  # another value for a key
            lines = text.split("\n")
            number = random_.randrange(len(lines))
            lines[number] = lines[number].partition(":")[0] + ": " + random_.choice(NASTY)
            text = "\n".join(lines)
        else:
            text = text[:at] + text[random_.randrange(len(text)) :][:end] + text[at:]
    return text


@pytest.mark.slow
@pytest.mark.parametrize(("name", "load"), [("params.yaml", load_params), ("data/sources.yaml", read_sources)])
def test_200_mutations_of_a_file_are_read_or_one_line_that_names_it(tmp_path, name, load):
    text = (ROOT / name).read_text(encoding="utf-8")
    path = tmp_path / Path(name).name
    refused = 0
    for seed in range(200):
        path.write_text(mutated(text, random.Random(seed)), encoding="utf-8")
        try:
            load(path)
        except FaceemoError as error:
            refused += 1
            assert str(path) in str(error)
            assert str(error).isprintable() and len(str(error)) < 800 + len(str(path))
    assert 50 < refused < 200
