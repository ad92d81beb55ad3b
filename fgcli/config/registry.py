"""Registries: {name: "module:Class"} tables, and building an entry from a params mapping."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Annotated, Any

import pydantic

from fgcli.config.params import near
from fgcli.errors import UsageError


def _named(spec: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(spec.get("name"), str):
        raise ValueError("expected a mapping with a name")
    return spec


Spec = Annotated[dict[str, Any], pydantic.AfterValidator(_named)]
"""A component in params: its registry `name`, then arguments of its constructor."""


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
        UsageError: an unknown name or argument, a missing argument, or a value that the constructor refuses.
    """
    kind = lookup(registry, spec["name"], f"{path}.name")
    arguments = {k: v for k, v in spec.items() if k != "name"}
    known = [p for p in inspect.signature(kind).parameters if p not in context]
    for key in arguments:
        if key not in known:
            raise UsageError(f"{path}.{key}: unknown key{near(key, known)}; expected one of {', '.join(known)}")
    try:
        inspect.signature(kind).bind(**arguments, **context)
    except TypeError as error:
        raise UsageError(f"{path}: {error} of {spec['name']}") from error
    try:
        return kind(**arguments, **context)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{path}: {error}") from error


def supply(registry: Mapping[str, str], spec: Mapping[str, Any], path: str, **context: Any) -> Any:
    """As `build`, from a wider context: the constructor gets what it names of it.

    Raises:
        UsageError: as `build`.
    """
    wanted = inspect.signature(lookup(registry, spec["name"], f"{path}.name")).parameters
    return build(registry, spec, path, **{name: value for name, value in context.items() if name in wanted})
