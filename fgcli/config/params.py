"""Reading params: documented defaults, then params.yaml, then `--set section.key=value`."""

from __future__ import annotations

import difflib
import json
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from fgcli.config import yaml12
from fgcli.errors import UsageError

DEFAULTS = Path(__file__).with_name("defaults.yaml")
"""The params.yaml of the demo: every key of every stage, documented."""


NAMES = {list: "a list", str: "a word", bool: "true or false", int: "a number", float: "a number"}
"""What YAML holds besides mappings, in words."""


class Section(pydantic.BaseModel):
    """A stage's params: immutable, every key declared with its range, nothing else accepted."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


def defaults() -> dict[str, Any]:
    """fg's own params.yaml."""
    return parse(DEFAULTS)


def read(files: Iterable[str], sets: Iterable[str] = ()) -> dict[str, Any]:
    """All sections: the defaults, overlaid with each of `files` in turn, then with `sets`.

    Args:
        files: FILE, or FILE:LABEL for the sections under one key of a file; none: ./params.yaml if it exists.
        sets: section.key=value.

    Raises:
        UsageError: no such file or label, not YAML, an unknown section, no keys in one, or a malformed `--set`.
    """
    params = defaults()
    for file in list(files) or [p for p in ("params.yaml",) if Path(p).exists()]:
        given = _labelled(file)
        for name, keys in given.items():
            if name not in params:
                raise UsageError(f"{file}: expected sections {', '.join(params)}, found {name!r}{near(name, params)}")
            _keys(keys, f"{file}: section {name}")
        params = overlay(params, given)
    for item in sets:
        params = apply(params, item)
    return params


def _labelled(file: str) -> dict[str, Any]:
    """The sections of FILE, or of FILE:LABEL."""
    path, colon, label = file.rpartition(":")
    if not colon or Path(file).exists():
        return parse(Path(file))
    labels = parse(Path(path))
    if label not in labels:
        raise UsageError(f"{path}: expected one of {', '.join(labels)}, found {label!r}{near(label, labels)}")
    return _keys(labels[label], file)


def _keys(content: Any, where: str) -> dict[str, Any]:
    """A mapping as it is, and nothing as an empty one.

    Raises:
        UsageError: anything else.
    """
    if not isinstance(content, dict | None):
        raise UsageError(f"{where}: expected keys with values, found {NAMES[type(content)]}; see fg's params.yaml")
    return content or {}


def apply(params: dict[str, Any], item: str) -> dict[str, Any]:
    """Params with one `section.key=value` applied; the value is YAML.

    Raises:
        UsageError: no such section, or a value that is not YAML.
    """
    path, equals, text = item.partition("=")
    keys = path.split(".")
    if not equals or len(keys) < 2:
        raise UsageError(f"--set {item}: expected section.key=value, found no '=' or no section; write it so")
    if keys[0] not in params:
        raise UsageError(f"--set {item}: expected a section of {', '.join(params)}, found {keys[0]!r}")
    value = yaml12.load(text, f"--set {item}")
    for key in reversed(keys):
        value = {key: value}
    return overlay(params, value)


def overlay(base: Any, over: Any) -> Any:
    """`over` on top of `base`, key by key; a component of another `name`, and labelled components, replace whole.

    Nothing (null) in the place of keys leaves them; an empty mapping is an empty component, or no labels.
    """
    if over is None and isinstance(base, Mapping):
        return base
    if not isinstance(base, Mapping) or not isinstance(over, Mapping):
        return over
    if "name" in over and over["name"] != base.get("name"):
        return dict(over)
    labels = bool(base) and all(map(_is_component, (*base.values(), *over.values())))
    if labels or (_is_component(base) and not over):
        return dict(over)
    return {**base, **{k: overlay(base[k], v) if k in base else v for k, v in over.items()}}


def _is_component(value: Any) -> bool:
    return isinstance(value, Mapping) and "name" in value


S = TypeVar("S", bound=Section)


def section(params: Mapping[str, Any], name: str, kind: type[S]) -> S:
    """One section as its typed object.

    Raises:
        UsageError: naming the key's path, what was expected and what was found, with the nearest known name.
    """
    try:
        return kind.model_validate_json(json.dumps(params[name]), strict=True)
    except pydantic.ValidationError as error:
        raise UsageError(sentence(kind, error, name)) from error


def near(word: str, words: Iterable[str]) -> str:
    """' (did you mean ...?)' when one of `words` is close to `word`, else nothing.

    >>> near("smilin", ["smiling", "male"])
    " (did you mean 'smiling'?)"
    """
    found = difflib.get_close_matches(word, list(words), 1, 0.6)
    return f" (did you mean {found[0]!r}?)" if found else ""


def sentence(kind: type[Section], error: pydantic.ValidationError, *above: str) -> str:
    """The first mistake: its path of keys, below those `above`, what was expected and what was found."""
    first: Any = error.errors()[0]
    *outer, key = first["loc"] or ("",)
    where = ".".join(map(str, (*above, *first["loc"])))
    if first["type"] == "extra_forbidden":
        known = list(_inside(kind, outer).model_fields)
        return f"{where}: unknown key{near(str(key), known)}; expected one of {', '.join(known)}"
    if first["type"] == "missing":
        return f"{where}: expected a value, found none; add it"
    return f"{where}: {mistake(first)}"


def mistake(error: Any) -> str:
    """What pydantic expected and found, of one of its `errors()`."""
    if error["type"] == "json_invalid":  # what was read as YAML is JSON but for half a letter
        return "expected text in UTF-8, found other bytes; rename it"
    return f"{error['msg'][0].lower()}{error['msg'][1:]}, found {shown(error['input'])}; correct it"


def shown(value: Any) -> str:
    """A value as YAML has it; text in quotes.

    >>> shown(None), shown([True, 1]), shown("x")
    ('null', '[true, 1]', "'x'")
    """
    return json.dumps(value, ensure_ascii=False) if isinstance(value, bool | list | dict | None) else repr(value)


def _inside(kind: Any, place: Iterable[Any]) -> Any:
    """The type that a path of keys leads to: through fields of sections, values of mappings, items of lists."""
    for part in place:
        if isinstance(kind, type) and issubclass(kind, Section):
            kind = kind.model_fields[part].annotation
        else:
            kind = typing.get_args(kind)[-1]
        if typing.get_origin(kind) is typing.Annotated:
            kind = typing.get_args(kind)[0]
    return kind


def parse(path: Path, what: str = "a params file") -> dict[str, Any]:
    """The mapping that a YAML file holds; `what` it should be.

    Raises:
        UsageError: no such file, not YAML, or no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UsageError(f"{path}: expected {what}, found none; check the path") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: expected YAML in UTF-8, found other bytes; save it as UTF-8") from error
    return _keys(yaml12.load(text, str(path)), str(path))
