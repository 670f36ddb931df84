"""YAML as the project's files need it: mappings, lists and single values, written out, of bounded depth and length.

Anchors, tags and keys given twice are refused: a few lines of nested anchors hold more values than memory does, a tag
makes PyYAML raise whatever its constructor raises, and of two equal keys all but the last are lost without a word.
"""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
MAX_CHARACTERS = 40_000  # of one value; a path on Windows has at most 32,767
SHOWN_CHARACTERS = 80
ERROR_CHARACTERS = 300


def read_yaml(path: Path) -> Any:
    """What a YAML file holds.

    Raises ValueError with one line if it is not UTF-8, too large or not YAML of this kind; OSError if it cannot be
    read.
    """
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(str(error)) from None
    return parse_yaml(text)


def parse_yaml(text: str) -> Any:
    """What a YAML text holds. Raises ValueError with one line if it is not YAML of this kind."""
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        raise ValueError(f"line {error.problem_mark.line + 1}: {error.problem}"[:ERROR_CHARACTERS]) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # values like 0x_ or 1:1:…:1.5 fail as Python numbers
        raise ValueError(" ".join(str(error).split())[:ERROR_CHARACTERS]) from None


def shown(value: Any) -> str:
    """A value as an error shows it: printable, on one line, cut short."""
    try:
        text = "null" if value is None else repr(value)
    except ValueError:  # a whole number of more digits than Python writes
        text = "a number of thousands of digits"
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."


def shown_key(key: Any) -> str:
    """A key as it stands in the file where that is short and printable, else as any value."""
    return key if isinstance(key, str) and key.isprintable() and len(key) <= SHOWN_CHARACTERS else shown(key)


class _Loader(yaml.SafeLoader):
    """SafeLoader for plain documents."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node:
        event = self.peek_event()
        if getattr(event, "anchor", None) is not None:  # of an alias, too
            raise _refused(event, "an anchor or alias; write the value out where it is meant")
        if getattr(event, "tag", None) is not None:
            raise _refused(event, "a tag; write the value without it")
        if self.depth == MAX_DEPTH:
            raise _refused(event, f"more than {MAX_DEPTH} levels, one in another")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def compose_scalar_node(self, anchor: str | None) -> yaml.ScalarNode:
        node = super().compose_scalar_node(anchor)
        if len(node.value) > MAX_CHARACTERS:
            raise _refused(node, f"a value of more than {MAX_CHARACTERS} characters")
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        mapping = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise _refused(key_node, "a key that is a list or a mapping")
            if key in mapping:
                raise _refused(key_node, f"the key {shown(key)} for the second time")
            mapping[key] = self.construct_object(value_node, deep=deep)
        return mapping


def _refused(where: yaml.Event | yaml.Node, what: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=what, problem_mark=where.start_mark)
