"""Checkpoints: everything a run needs to go on bit for bit, as arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fgcli import artifacts
from fgcli.errors import FgError, FlawError

MEND = "start anew with --no-resume"


def save(path: Path, state: dict[str, Any], *, step: int, fingerprint: str, extra: dict[str, Any]) -> None:
    """Writes nested dicts and lists of tensors and plain values."""
    arrays: dict[str, np.ndarray] = {}
    layout = _flatten(state, "state", arrays)
    meta = {"step": step, "fingerprint": fingerprint, "layout": layout, **extra}
    artifacts.save(path, artifacts.CHECKPOINT, arrays, params={}, inputs={}, meta=meta)


def load(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """State and meta of a checkpoint.

    Raises:
        FgError: no such file, or a damaged one.
    """
    stored = artifacts.load(path, artifacts.CHECKPOINT, mend=MEND)
    try:
        return _restore(stored.meta["layout"], dict(stored.arrays)), stored.meta
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FgError(f"{path}: expected the layout of a checkpoint, found a damaged one; {MEND}") from error


def about(path: Path) -> dict[str, Any]:
    """Meta of a checkpoint, its arrays unread.

    Raises:
        FgError: no such file, or a damaged one.
    """
    return artifacts.load(path, artifacts.CHECKPOINT, (), mend=MEND).meta


def verify_like(found: Any, wanted: Any, place: str) -> None:
    """Raises FlawError unless a state is built as another: the same names, shapes and types; an empty dict has any.

    >>> verify_like({"step": 3}, {"step": 0}, "state")
    """
    if isinstance(wanted, Tensor):
        if not isinstance(found, Tensor) or found.shape != wanted.shape:
            shape = tuple(found.shape) if isinstance(found, Tensor) else found
            raise FlawError(f"expected numbers of {tuple(wanted.shape)} in {place}, found {shape}")
    elif isinstance(wanted, dict | list | tuple):
        kind = dict if isinstance(wanted, dict) else list
        keys = list(wanted) if kind is dict else range(len(wanted))
        if not isinstance(found, kind) or (wanted and set(keys) != set(found if kind is dict else range(len(found)))):
            raise FlawError(f"expected the state of this very run in {place}, found another")
        for key in keys:
            verify_like(found[key], wanted[key], f"{place}/{key}")
    elif type(found) is not type(wanted) and None not in (found, wanted):
        raise FlawError(f"expected another value in {place}, found {found!r}")


def _flatten(value: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, Tensor):
        arrays[path] = value.detach().cpu().numpy()
        return {"array": path}
    if isinstance(value, dict):
        return {"dict": [[k, _flatten(v, f"{path}/{k}", arrays)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        return {"list": [_flatten(v, f"{path}/{i}", arrays) for i, v in enumerate(value)]}
    return {"value": value}


def _restore(layout: Any, arrays: dict[str, np.ndarray]) -> Any:
    ((kind, content),) = layout.items()
    if kind == "array":
        return torch.from_numpy(arrays[content])
    if kind == "dict":
        return {k: _restore(v, arrays) for k, v in content}
    if kind == "list":
        return [_restore(v, arrays) for v in content]
    return content
