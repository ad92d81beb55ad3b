"""The text of params.yaml with other values, its comments kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeGuard

from fgcli import config


def put(text: str, values: Mapping[str, object], outer: tuple[str, ...] = ()) -> str:
    """A YAML text of params with other values, its comments kept.

    Args:
        text: of mappings, each level indented by two.
        values: keys, all of which the text has, and values; a component, or several under labels, replaces all there.
        outer: the keys that lead there.
    """
    for key, value in values.items():
        where = (*outer, key)
        text = put(text, value, where) if _is_keys(value) else _put_one(text, where, config.flow(value))
    return text


def _is_keys(value: object) -> TypeGuard[Mapping[str, object]]:
    """Whether a value is neither plain nor a component, nor several under labels."""
    if not isinstance(value, Mapping) or "name" in value:
        return False
    return not all(isinstance(inner, Mapping) and "name" in inner for inner in value.values())


def _put_one(text: str, where: tuple[str, ...], value: str) -> str:
    found = _place(text, where)
    line = f"{found['head']} {value}"
    if comment := re.search(r" #.*$", found["rest"]):
        line = f"{line:<{len(found['head']) + comment.start()}}{comment[0]}"
    return text[: found.start()] + line + "\n" + text[found.end() :]


def _place(text: str, where: tuple[str, ...]) -> re.Match[str]:
    """The line of the path of keys `where`, and all below it.

    Raises:
        KeyError: the text has no such key.
    """
    start, end, found = 0, len(text), None
    for depth, key in enumerate(where):
        margin = "  " * depth
        head = rf"^(?P<head>{margin}{re.escape(key)}:)(?P<rest>.*)\n(?P<body>(?:{margin}  .*\n|\n)*)"
        found = re.compile(head, re.MULTILINE).search(text, start, end)
        if not found:
            break
        start, end = found.start("body"), found.end()
    if not found:
        raise KeyError(".".join(where))
    return found
