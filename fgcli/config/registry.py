"""Registries: {name: "module:Class"} tables, and building an entry from a params mapping."""

from __future__ import annotations

import importlib
import inspect
import json
import typing
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import pydantic

from fgcli.config.params import mistake, near
from fgcli.errors import UsageError


def _named(spec: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(spec.get("name"), str):
        raise ValueError("expected a mapping with a name")
    return spec


Spec = Annotated[dict[str, Any], pydantic.AfterValidator(_named)]
"""A component in params: its registry `name`, then arguments of its constructor."""


STRICT = pydantic.ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=False)


def is_spec(field: pydantic.fields.FieldInfo) -> bool:
    """Whether a param is one component."""
    return any(getattr(entry, "func", None) is _named for entry in field.metadata)


def lookup(registry: Mapping[str, str], name: str, path: str) -> Any:
    """The class behind a registry name; `path` says where the name was given.

    Raises:
        UsageError: no such entry.
    """
    if name not in registry:
        raise UsageError(f"{path}: expected one of {', '.join(registry)}, found {name!r}{near(name, registry)}")
    module, _, attribute = registry[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def build(registry: Mapping[str, str], spec: Mapping[str, Any], path: str, **context: Any) -> Any:
    """The object that `spec` describes; `context` are arguments that come from the data, not from the user.

    Raises:
        UsageError: an unknown name or argument, a missing argument, one of another type or beyond the range that the
            constructor's annotation says, or a value that it refuses.
    """
    kind = lookup(registry, spec["name"], f"{path}.name")
    arguments = {k: v for k, v in spec.items() if k != "name"}
    known = [p for p in inspect.signature(kind).parameters if p not in context]
    for key in arguments:
        if key not in known:
            raise UsageError(f"{path}.{key}: unknown key{near(key, known)}; expected one of {', '.join(known)}")
    arguments = {key: _typed(kind, key, value, f"{path}.{key}") for key, value in arguments.items()}
    try:
        inspect.signature(kind).bind(**arguments, **context)
    except TypeError as error:
        raise UsageError(f"{path}: {error} of {spec['name']}") from error
    try:
        return kind(**arguments, **context)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{path}: {error}") from error


def _typed(kind: Any, key: str, value: Any, path: str) -> Any:
    """An argument as the constructor's annotation has it, as a list for a tuple; nothing is taken for another type.

    Ranges stand in the annotations alone; `fgcli.config.fields` has those that many arguments share.
    """
    made = kind.__init__ if inspect.isclass(kind) else kind
    annotation = {k: v for k, v in getattr(made, "__annotations__", {}).items() if k == key}
    if not annotation:
        return value
    # Only this one is evaluated: the annotations of what comes from the data may be known to type checkers alone.
    hint = typing.get_type_hints(SimpleNamespace(__annotations__=annotation), made.__globals__, include_extras=True)
    adapter = pydantic.TypeAdapter(hint[key], config=STRICT)
    try:
        return adapter.validate_json(json.dumps(value))
    except pydantic.ValidationError as error:
        first: Any = error.errors()[0]
        where = ".".join([path, *(str(part) for part in first["loc"] if isinstance(part, int))])
        raise UsageError(f"{where}: {mistake(first)}") from error


def supply(registry: Mapping[str, str], spec: Mapping[str, Any], path: str, **context: Any) -> Any:
    """As `build`, from a wider context: the constructor gets what it names of it.

    Raises:
        UsageError: as `build`.
    """
    wanted = inspect.signature(lookup(registry, spec["name"], f"{path}.name")).parameters
    return build(registry, spec, path, **{name: value for name, value in context.items() if name in wanted})


def pick(known: Mapping[str, Any], label: str, path: Path) -> str:
    """The label asked for, or the last one fitted."""
    if label and label not in known:
        raise UsageError(f"{path}: expected one of {', '.join(known)}, found {label!r}; fit it or choose another")
    return label or list(known)[-1]
