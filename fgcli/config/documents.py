"""YAML files that are not params: read whole into typed objects, mistakes named by their place in the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import pydantic
import yaml

from fgcli.config.params import Section, parse, sentence
from fgcli.errors import UsageError

S = TypeVar("S", bound=Section)


def document(path: Path, kind: type[S], what: str) -> S:
    """The YAML file at `path` as a `kind`; `what` it is called in errors.

    Raises:
        UsageError: no such file, not YAML, or a key that is unknown, missing or of another type, named by its path.
    """
    try:
        return kind.model_validate_json(json.dumps(parse(path, what)), strict=True)
    except pydantic.ValidationError as error:
        raise UsageError(f"{path}: {sentence(kind, error)}") from error


def text(content: Section) -> str:
    """What `document` reads, as YAML."""
    return yaml.safe_dump(content.model_dump(), sort_keys=False, allow_unicode=True)


def flow(value: Any) -> str:
    """A value as YAML on one line.

    >>> flow({"name": "rae", "beta": 0.5}), flow(3)
    ('{name: rae, beta: 0.5}', '3')
    """
    dumped = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=float("inf"))
    return dumped.removesuffix("\n").removesuffix("\n...")
