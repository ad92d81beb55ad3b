"""What is wrong with an open file, by its schema: types and shapes of all that it holds, values of what is read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import h5py
import numpy as np

from fgcli.artifacts.schemas import Field, Schema
from fgcli.artifacts.told import mistake
from fgcli.errors import FlawError

NUMBERS = "biuf"


def flaws(file: h5py.File, schema: Schema, head: Mapping[str, Any]) -> Iterator[str]:
    """What a file lacks, or has other than its schema says, as "expected ..., found ..."; no values are read."""
    meta = head["meta"]
    lacking = [f"meta {key}" for key in schema.meta if key not in meta]
    lacking += [name for name, field in schema.fields.items() if not field.optional and name not in file]
    if lacking:
        yield f"expected a whole {schema.tag} file, found no {', '.join(lacking)} in it"
        return
    told = {f"meta {key}": (kind, meta[key]) for key, kind in schema.meta.items()}
    told |= {f"meta {key}": (kind, meta[key]) for key, kind in schema.more.items() if key in meta}
    told |= {"params": (schema.params, head["params"]), "inputs": (dict[str, str], head["inputs"])}
    for place, (kind, value) in told.items():
        if wrong := mistake(kind, value):
            yield f"{place}{wrong}"
            return
    axes = {axis: len(meta[key]) for axis, key in schema.lengths.items()}
    for name, field in schema.fields.items():
        if name in file:
            yield from shape_flaws(name, field, file[name], axes)


def shape_flaws(name: str, field: Field, dataset: Any, axes: dict[str, int]) -> Iterator[str]:
    """What is wrong with the type, shape and layout of one; `axes`: the lengths met before."""
    wanted = f"{'text' if field.dtype == 'str' else field.dtype} ({field.axes.replace(' ', ', ')}) in {name}"
    if not isinstance(dataset, h5py.Dataset):
        yield f"expected {wanted}, found a group"
        return
    fits = dataset.dtype.kind == "S" if field.dtype == "str" else dataset.dtype == np.dtype(field.dtype)
    names = field.axes.split()
    found = f"found {dataset.dtype} {dataset.shape}"
    if not fits or len(dataset.shape) != len(names):
        yield f"expected {wanted}, {found}"
        return
    for axis, size in zip(names, dataset.shape, strict=True):
        length = int(axis) if axis.isdigit() else axes.setdefault(axis, size)
        if size != length:
            yield (
                f"expected {wanted} with {axis} = {length}, {found}"
                if not axis.isdigit()
                else f"expected {wanted}, {found}"
            )
    if dataset.chunks is not None or dataset.is_virtual or dataset.external:
        yield f"expected {name} in one piece, as fg writes it, found it compressed or in chunks"


def read(dataset: Any, name: str, schema: Schema | None, meta: Mapping[str, Any]) -> np.ndarray:
    """The values of a dataset, text decoded.

    Raises:
        FlawError: no dataset or other values than its schema allows.
    """
    if not isinstance(dataset, h5py.Dataset):
        raise FlawError(f"expected the dataset {name}, found a group")
    array = np.asarray(dataset[()])
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8")
    if array.dtype.kind not in NUMBERS or not array.dtype.isnative:
        raise FlawError(f"expected numbers or text in {name}, found {array.dtype}")
    field = schema.fields.get(name) if schema else None
    if field:
        verify_values(name, field, array, meta)
    elif schema and name.startswith(tuple(f"{group}/" for group in schema.finite)) and not np.isfinite(array).all():
        raise FlawError(f"expected finite numbers in {name}, found NaN or infinity")
    return array


def verify_values(name: str, field: Field, array: np.ndarray, meta: Mapping[str, Any]) -> None:
    """Raises FlawError when values are not what the field says."""
    if array.dtype.kind == "f" and not field.nan and not np.isfinite(array).all():
        bad = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(1))
        raise FlawError(
            f"expected finite numbers in {name}, found NaN or infinity in {len(bad)} of {len(array)} rows, the first "
            f"of them {bad[0]}"
        )
    high = min(field.high, len(meta.get(field.names, ())) - 1) if meta.get(field.names) else field.high
    wrong = array[(array < field.low) | (array > high)]
    if wrong.size:
        wanted = f"from {field.low:g} to {high:g}" if high < math.inf else f"of {field.low:g} at least"
        raise FlawError(f"expected {name} {wanted}, found {wrong.flat[0]}")


def verify_arrays(arrays: Mapping[str, np.ndarray], axes: Mapping[str, str]) -> None:
    """Raises FlawError unless arrays are numbers of these axes, as "l d"; "" has none.

    >>> verify_arrays({"mean": np.zeros((1, 8))}, {"mean": "l d"})
    """
    lengths: dict[str, int] = {}
    for name, text in axes.items():
        if name not in arrays:
            raise FlawError(f"expected the array {name}, found none")
        array, letters = arrays[name], text.split()
        known = [
            int(a) if a.isdigit() else lengths.setdefault(a, n) for a, n in zip(letters, array.shape, strict=False)
        ]
        if array.dtype.kind not in NUMBERS or len(letters) != array.ndim or known != list(array.shape):
            about = "".join(f" with {a} = {lengths[a]}" for a in dict.fromkeys(letters) if a in lengths)
            raise FlawError(
                f"expected numbers ({', '.join(letters)}) in {name}{about}, found {array.dtype} {array.shape}"
            )


def verify_state(arrays: Mapping[str, np.ndarray], shapes: Mapping[str, Sequence[int]]) -> None:
    """Raises FlawError unless arrays are a network's: these names and shapes."""
    for name, shape in shapes.items():
        found = f"{arrays[name].dtype} {arrays[name].shape}" if name in arrays else "none"
        if name not in arrays or arrays[name].shape != tuple(shape) or arrays[name].dtype.kind not in NUMBERS:
            raise FlawError(f"expected weights of {tuple(shape)} in {name}, found {found}")
    if more := sorted(set(arrays) - set(shapes)):
        raise FlawError(f"expected the weights of its network alone, found {more[0]} beside them")
