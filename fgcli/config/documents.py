"""YAML files that are not params: read whole into typed objects, mistakes named by their place in the file."""

from __future__ import annotations

import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from fgcli.config.params import Section, near, parse
from fgcli.errors import UsageError

S = TypeVar("S", bound=Section)


def document(path: Path, kind: type[S], what: str) -> S:
    """The YAML file at `path` as a `kind`; `what` it is called in errors.

    Raises:
        UsageError: no such file, not YAML, or a key that is unknown, missing or of another type, named by its path.
    """
    try:
        return kind.model_validate(parse(path, what))
    except pydantic.ValidationError as error:
        raise UsageError(f"{path}: {_sentence(kind, error.errors()[0])}") from error


def _sentence(kind: Any, error: Any) -> str:
    *outer, key = error["loc"]
    where = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        known = list(_inside(kind, outer).model_fields)
        return f"{where}: unknown key{near(str(key), known)}; expected one of {', '.join(known)}"
    if error["type"] == "missing":
        return f"{where}: expected a value, found none; add it"
    message = error["msg"][0].lower() + error["msg"][1:]
    return f"{where}: {message}, found {error['input']!r}; correct it"


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
