"""The imported files of a foreign head, each kept as an HDF5 file of its own in the assets folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fgcli import artifacts, assets
from fgcli.artifacts import HEAD_PART
from fgcli.errors import FgError
from fgcli.foreign import pickles

Parser = Callable[[Path, Mapping[str, Any]], dict[str, np.ndarray]]
"""Checks the content of a published file and gives its arrays under our names."""


class Reader:
    """The arrays of a published file, checked as they are taken out.

    Args:
        path: named in errors.
        content: values by key.
        need: the keys that must be there; alternatives are divided by "|".

    Raises:
        FgError: a key is missing.
    """

    def __init__(self, path: Path, content: Mapping[str, Any], need: tuple[str, ...]) -> None:
        self.path, self.content, self.sizes = path, content, dict[str, int]()
        missing = [key.split("|")[0] for key in need if not self.key(key)]
        if missing:
            self.refuse(f"the keys {', '.join(missing)} too", f"only {', '.join(content) or 'none'}")

    def key(self, names: str) -> str | None:
        """The first of the alternatives that is there."""
        return next((name for name in names.split("|") if name in self.content), None)

    def refuse(self, expected: str, found: str) -> None:
        """Raises the error."""
        raise FgError(f"{self.path}: expected {expected}, found {found}; give the file as it was published")

    def floats(self, names: str, axes: str | None = None) -> np.ndarray:
        """Finite numbers; `axes` as in schemas: a length, or a name that has one length in the whole file."""
        array = self._array(names, axes, "fiu")
        array = array if array.dtype.kind == "f" else array.astype(np.float64)
        if not np.isfinite(array.sum()):
            self.refuse(f"finite numbers in {names.split('|')[0]}", "others")
        return array

    def ids(self, names: str, axes: str, below: str | None = None) -> np.ndarray:
        """Non-negative integers; `below`: the axis into which they point."""
        key = names.split("|")[0]
        array = self._array(names, axes, "fiu")
        whole = array.astype(np.int64)
        if (whole != array).any() or (whole < 0).any():
            self.refuse(f"ids in {key}", "negative or broken numbers")
        if below and whole.size and whole.max() >= self.sizes[below]:
            self.refuse(f"ids below {self.sizes[below]} in {key}", str(whole.max()))
        return whole

    def _array(self, names: str, axes: str | None, kinds: str) -> np.ndarray:
        key = self.key(names) or names
        try:
            array = pickles.plain(self.content[key])
        except FgError:
            raise
        except Exception as error:  # a damaged stand-in may fail in any way
            raise FgError(f"{self.path}: expected an array {key}, found damage ({error}); download it again") from error
        wanted = axes.split() if axes else ["..."] * array.ndim
        if array.ndim == len(wanted) + 1 and len(array) == 1:
            array = array[0]
        sizes = [int(axis) if axis.isdigit() else self.sizes.get(axis) for axis in wanted]
        fits = array.dtype.kind in kinds and array.ndim == len(sizes)
        if not fits or any(size not in (None, have) for size, have in zip(sizes, array.shape, strict=True)):
            shape = ", ".join(str(size or axis) for size, axis in zip(sizes, wanted, strict=True))
            self.refuse(f"numbers ({shape}) in {key}", f"{array.dtype} {array.shape}")
        if axes:
            self.sizes.update(zip(wanted, array.shape, strict=True))
        return array


def save(name: str, source: Path, arrays: Mapping[str, np.ndarray], **more: Any) -> Path:
    """Stores the arrays of the asset `name`, read from `source`, in the assets folder."""
    asset = assets.ASSETS[name]
    meta = {
        "part": name,
        "name": source.name,
        "source_sha256": artifacts.sha256(source),
        "content_sha256": _digest(arrays),
        "licence": asset.licence,
    }
    path = assets.folder() / asset.file
    stored = {f"arrays/{key}": array for key, array in arrays.items()}
    artifacts.save(path, HEAD_PART, stored, params={}, inputs={}, meta=meta | more)
    return path


def load(name: str, who: str = "") -> artifacts.Artifact | None:
    """The stored part; None where it was not imported, unless somebody (`who`) needs it.

    Raises:
        FgError: not here and needed, or no part of that name.
    """
    path = assets.need(name, who) if who else assets.find(name)
    if path is None:
        return None
    part = artifacts.load(path, HEAD_PART, names=())
    if part.meta["part"] != name:
        raise FgError(f"{path}: expected {name}, found {part.meta['part']}; run fg assets import again")
    return part


def damage(name: str, path: Path) -> str:
    """What is wrong with the stored part, or ""."""
    try:
        part = artifacts.load(path, HEAD_PART)
    except FgError as error:
        return str(error).split("found ", 1)[1].split(";")[0]
    if part.meta["part"] != name:
        return f"the part {part.meta['part']}"
    return "" if _digest(part.group("arrays")) == part.meta["content_sha256"] else "other content than was imported"


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for key in sorted(arrays):
        array = np.ascontiguousarray(arrays[key])
        digest.update(f"{key} {array.dtype.str} {array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()
