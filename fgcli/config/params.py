"""Reading params: documented defaults, then params.yaml, then `--set section.key=value`."""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pydantic
import yaml

from fgcli.errors import UsageError

DEFAULTS = Path(__file__).with_name("defaults.yaml")
"""The params.yaml of the demo: every key of every stage, documented."""


class Section(pydantic.BaseModel):
    """A stage's params: immutable, every key declared with its range, nothing else accepted."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class _Loader(yaml.SafeLoader):
    """YAML whose floats may be written 1e-3, as people write them."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$"),
    list("-+0123456789."),
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?\d+$"), list("-+0123456789"))
# The first resolver that fits wins: integers must be asked before the wider float pattern.
for _resolvers in _Loader.yaml_implicit_resolvers.values():
    _resolvers.sort(key=lambda pair: pair[0] != "tag:yaml.org,2002:int")


def defaults() -> dict[str, Any]:
    """fg's own params.yaml."""
    return parse(DEFAULTS)


def read(files: Iterable[str], sets: Iterable[str] = ()) -> dict[str, Any]:
    """All sections: the defaults, overlaid with each of `files` in turn, then with `sets`.

    Args:
        files: FILE, or FILE:LABEL for the sections under one key of a file; none: ./params.yaml if it exists.
        sets: section.key=value.

    Raises:
        UsageError: no such file or label, not YAML, an unknown section, or a malformed `--set`.
    """
    params = defaults()
    for file in list(files) or [p for p in ("params.yaml",) if Path(p).exists()]:
        given = _labelled(file)
        for name in given:
            if name not in params:
                raise UsageError(f"{file}: expected sections {', '.join(params)}, found {name!r}{near(name, params)}")
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
    if not isinstance(labels.get(label), dict):
        raise UsageError(f"{path}: expected one of {', '.join(labels)}, found {label!r}{near(label, labels)}")
    return labels[label]


def apply(params: dict[str, Any], item: str) -> dict[str, Any]:
    """Params with one `section.key=value` applied; the value is YAML."""
    path, equals, text = item.partition("=")
    keys = path.split(".")
    if not equals or len(keys) < 2:
        raise UsageError(f"--set {item}: expected section.key=value, found no '=' or no section; write it so")
    if keys[0] not in params:
        raise UsageError(f"--set {item}: expected a section of {', '.join(params)}, found {keys[0]!r}")
    value: Any = yaml.load(text, _Loader)
    for key in reversed(keys):
        value = {key: value}
    return overlay(params, value)


def overlay(base: Any, over: Any) -> Any:
    """`over` on top of `base`, key by key; a component of another `name`, and labelled components, replace whole."""
    if not isinstance(base, Mapping) or not isinstance(over, Mapping):
        return over
    if "name" in over and over["name"] != base.get("name"):
        return dict(over)
    if all(mapping and all(map(_is_component, mapping.values())) for mapping in (base, over)):
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
        return kind.model_validate(params[name] or {})
    except pydantic.ValidationError as error:
        raise UsageError(f"{name}.{sentence(kind, error)}") from error


def near(word: str, words: Iterable[str]) -> str:
    """' (did you mean ...?)' when one of `words` is close to `word`, else nothing.

    >>> near("smilin", ["smiling", "male"])
    " (did you mean 'smiling'?)"
    """
    found = difflib.get_close_matches(word, list(words), 1, 0.6)
    return f" (did you mean {found[0]!r}?)" if found else ""


def sentence(kind: type[Section], error: pydantic.ValidationError) -> str:
    """The first mistake: its path of keys, what was expected and what was found."""
    first: Any = error.errors()[0]
    *outer, key = first["loc"]
    where = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        known = list(_inside(kind, outer).model_fields)
        return f"{where}: unknown key{near(str(key), known)}; expected one of {', '.join(known)}"
    if first["type"] == "missing":
        return f"{where}: expected a value, found none; add it"
    message = first["msg"][0].lower() + first["msg"][1:]
    return f"{where}: {message}, found {first['input']!r}; correct it"


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
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError as error:
        raise UsageError(f"{path}: expected {what}, found none; check the path") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{path}: expected YAML, found a mistake ({reason}); correct it") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: expected sections of keys, found {type(content).__name__}; see fg's params.yaml")
    return content
