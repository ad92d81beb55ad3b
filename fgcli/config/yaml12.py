"""YAML as of version 1.2: its core schema, with merge keys; each key once, keys are names, numbers are finite."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any

import yaml

from fgcli.errors import UsageError

INT, FLOAT, STR = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:yaml.org,2002:str"
MERGE = "tag:yaml.org,2002:merge"
SCHEMA = {
    "tag:yaml.org,2002:null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "tag:yaml.org,2002:bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    INT: (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    FLOAT: (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+0123456789."),
    ),
    MERGE: ("<<", ["<"]),
}
"""Plain scalars by tag: pattern and first letters. The first that fits wins, so integers stand before floats."""


class _Loader(yaml.SafeLoader):
    """PyYAML reads version 1.1, where `no` is false, 1:30 is 90 and 010 is 8: its tables are replaced."""

    yaml_implicit_resolvers = {}  # noqa: RUF012, PyYAML's way
    yaml_constructors = {  # noqa: RUF012
        tag: made
        for tag, made in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in ("null", "bool", "float", "str", "seq", "map")
    }


for _tag, (_pattern, _first) in SCHEMA.items():
    _Loader.add_implicit_resolver(_tag, re.compile(rf"^(?:{_pattern})$"), _first)


def _int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node)
    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


_Loader.add_constructor(INT, _int)


def load(text: str, where: str) -> Any:
    """The value that a YAML text holds; `where` it was given, in errors.

    Raises:
        UsageError: not YAML, a key that is no name or stands twice, or a number that is not finite.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _verify(node, where, ())
        return loader.construct_document(node)
    except RecursionError as error:
        raise UsageError(f"{where}: expected YAML, found it nested too deeply; correct it") from error
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).replace("<unicode string>", "the text").split())
        raise UsageError(f"{where}: expected YAML, found a mistake ({reason}); correct it") from error


def _verify(node: yaml.Node, where: str, path: tuple[str, ...]) -> None:
    """Raises UsageError for the first fault at or below `path`, the keys that lead to a node."""
    place = f"{where}, line {node.start_mark.line + 1}: {'.'.join(path)}"
    if isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            _verify(item, where, (*path, str(i)))
    elif isinstance(node, yaml.MappingNode):
        _verify_keys([key for key, _ in node.value], where)
        for key, value in node.value:
            _verify(value, where, (*path, key.value))
    elif node.tag == FLOAT and not math.isfinite(float(re.sub(r"\.(?=[in])", "", node.value.lower()))):
        raise UsageError(f"{place}: expected a finite number, found {node.value}; correct it")


def _verify_keys(keys: list[yaml.Node], where: str) -> None:
    for key, count in Counter(key.value for key in keys if isinstance(key, yaml.ScalarNode)).items():
        if count > 1:
            line = max(k.start_mark.line for k in keys if k.value == key) + 1
            raise UsageError(f"{where}, line {line}: expected each key once, found {key!r} again; keep one of them")
    for node in keys:
        if node.tag not in (STR, MERGE):
            found = node.value if isinstance(node, yaml.ScalarNode) else "a collection"
            raise UsageError(
                f"{where}, line {node.start_mark.line + 1}: expected a name as a key, found {found or 'none'}; "
                "write a name, or the key in quotes"
            )
