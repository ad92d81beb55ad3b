"""The text of params.yaml with other values, its comments kept."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fgcli import config


def put(text: str, values: Mapping[str, object], outer: tuple[str, ...] = ()) -> str:
    """A YAML text of params with other values, its comments kept where a plain value stands in place of one.

    Args:
        text: of mappings, each level indented by two.
        values: keys and values; mappings are entered where the text has one under this key that has no `name`.
        outer: the keys that lead there.
    """
    for key, value in values.items():
        where = (*outer, key)
        if isinstance(value, Mapping) and "name" not in value and key != "methods":
            text = put(text, value, where)
        else:
            text = put_one(text, where, value)
    return text


def put_one(text: str, where: tuple[str, ...], value: object) -> str:
    """The same of one value, at the path of keys `where`.

    Raises:
        KeyError: the text has no such key.
    """
    start, end = 0, len(text)
    for depth, key in enumerate(where):
        margin = "  " * depth
        head = re.compile(rf"^{margin}{re.escape(key)}:(?P<rest>.*)\n(?P<body>(?:{margin}  .*\n|\n)*)", re.MULTILINE)
        found = head.search(text, start, end)
        if not found:
            raise KeyError(".".join(where))
        start, end = found.start("body"), found.end()
    comment = re.search(r" #.*$", found["rest"])
    line = f"{margin}{key}: {config.flow(value)}"
    if comment:
        column = found.start("rest") - found.start() + comment.start()
        line = f"{line:<{column}}{comment[0]}"
    return text[: found.start()] + line + "\n" + text[found.end() :]
