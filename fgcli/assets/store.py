"""Finding, importing and checking external weights."""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from fgcli.assets.registry import ASSETS, Asset
from fgcli.errors import FgError, UsageError

HDF5 = b"\x89HDF\r\n\x1a\n"
HTML = (b"<!doctype", b"<html", b"<head", b"<?xml", b"<script")


def folder() -> Path:
    """Where imported weights lie: $FG_ASSETS, else ~/.cache/fg."""
    return Path(os.environ.get("FG_ASSETS") or Path.home() / ".cache" / "fg")


def find(name: str) -> Path | None:
    """The file of an asset, or None where it is not here; its content is not looked at."""
    asset = ASSETS[name]
    if not asset.package:
        path = folder() / asset.file
        return path if path.is_file() else None
    spec = importlib.util.find_spec(asset.package)
    places = [Path(p) / asset.file for p in (spec.submodule_search_locations or [])] if spec else []
    return next((p for p in places if p.is_file()), None)


def need(name: str, who: str) -> Path:
    """The file of an asset, its content verified; `who` needs it.

    Raises:
        FgError: not here, or damaged; says where to get it and what works without it.
    """
    asset, path = ASSETS[name], find(name)
    if path is None:
        raise FgError(
            f"{who}: expected the asset {name}, found none; {how_to_get(asset)} ({asset.licence}); "
            f"{asset.without} works without it"
        )
    about = path.stat()
    problem = _damage_once(asset, path, about.st_size, about.st_mtime_ns)
    if problem:
        raise FgError(f"{path}: expected the asset {name}, found {problem}; {how_to_get(asset)}")
    return path


def state_dict(name: str, who: str) -> dict[str, Any]:
    """The tensors of an asset that is a torch file.

    Raises:
        FgError: as `need`.
    """
    return read_tensors(need(name, who))


def read_tensors(source: Path | BinaryIO) -> Any:
    """What torch.save wrote: tensors in plain containers; anything else in the file is refused, never run.

    A Namespace of arguments, which many checkpoints have beside their tensors, is plain too.
    """
    import torch

    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(source, map_location="cpu", weights_only=True)  # noqa: TID251 - the one reader of foreign weights


def import_file(path: Path, name: str | None = None) -> tuple[Asset, Path]:
    """Copies a downloaded file into the assets folder, whole or not at all, once it is proved to be the right one.

    Args:
        path: the file.
        name: the asset it should be; without it the file's sha256 decides.

    Raises:
        UsageError: no asset of that name can be imported.
        FgError: no such file, an HTML page, a short file, another content, or a file that torch cannot read.
    """
    wanted = [a for a in ASSETS.values() if a.url]
    if name is not None:
        wanted = [a for a in wanted if a.name == name]
        if not wanted:
            known = ", ".join(a.name for a in ASSETS.values() if a.url)
            raise UsageError(f"--name {name}: expected one of {known}, found another name; see fg assets list")
    verify_download(path)
    found = _sha256(path)
    asset = next((a for a in wanted if a.sha256 == found), None)
    if asset is None:
        raise FgError(_mismatch(path, found, wanted))
    try:
        read_tensors(path)
    except Exception as error:
        raise FgError(f"{path}: expected a torch file of tensors, found one that torch cannot read safely") from error
    return asset, _copy(path, folder() / asset.file, asset)


def verify_download(path: Path) -> None:
    """Raises FgError where `path` is no file, is empty, or is a web page saved under its name."""
    if not path.is_file():
        raise FgError(f"{path}: expected a file of weights, found no such file; check the path")
    if not path.stat().st_size:
        raise FgError(f"{path}: expected weights, found an empty file; download the file again")
    if _is_html(path):
        raise FgError(f"{path}: expected weights, found an HTML page saved under that name; download the file again")


def is_known(path: Path) -> bool:
    """Whether the file's sha256 is that of an asset."""
    found = _sha256(path)
    return any(asset.url and asset.sha256 == found for asset in ASSETS.values())


def check() -> Iterator[tuple[Asset, Path, str]]:
    """Re-hashes every asset that is here: (asset, path, what is wrong or "")."""
    for asset in ASSETS.values():
        path = find(asset.name)
        if path is not None:
            yield asset, path, _damage(asset, path)


def how_to_get(asset: Asset) -> str:
    """What a person does to have it here."""
    if asset.package:
        return f"reinstall the package {asset.package}"
    if asset.page:
        return f"get {' or '.join(asset.aliases)} from {asset.page} and run fg assets import FILE"
    return f"download {asset.url} and run fg assets import {asset.file}"


def _damage(asset: Asset, path: Path) -> str:
    if asset.page:
        with open(path, "rb") as file:
            return "" if file.read(len(HDF5)) == HDF5 else "no HDF5 file"
    size = path.stat().st_size
    if size != asset.bytes:
        return f"{size} bytes where {asset.bytes} belong"
    return "" if _sha256(path) == asset.sha256 else "other content than its sha256 says"


@cache
def _damage_once(asset: Asset, path: Path, size: int, changed: int) -> str:
    """The same of a file that was changed at this time, in ns: read once, however often it is needed."""
    return _damage(asset, path)


def _mismatch(path: Path, found: str, wanted: list[Asset]) -> str:
    size = path.stat().st_size
    meant = wanted[0] if len(wanted) == 1 else next((a for a in wanted if a.file == path.name), None)
    if meant is None:
        names = ", ".join(a.name for a in wanted)
        return f"{path}: expected the sha256 of one of {names}, found {found}; download one of those files"
    if size < meant.bytes:
        return f"{path}: expected {meant.bytes} bytes of {meant.name}, found a short file of {size}; download it again"
    return f"{path}: expected sha256 {meant.sha256} of {meant.name}, found {found}; download it from {meant.url}"


def _is_html(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(256).lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(HTML)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copy(source: Path, target: Path, asset: Asset) -> Path:
    part = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, part)
        if _damage(asset, part):
            raise FgError(f"{target}: expected a faithful copy of {source}, found another content; check the disk")
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise FgError(f"{target}: expected to write it, found: {reason}; set FG_ASSETS to another folder") from error
    finally:
        try:
            part.unlink(missing_ok=True)
        except OSError:
            pass
    return target
