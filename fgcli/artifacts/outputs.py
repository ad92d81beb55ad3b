"""What a command is about to write, checked before any work: nothing of the user's is ever written over."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.ExifTags import Base
from PIL.PngImagePlugin import PngInfo

from fgcli.artifacts.files import as_json, load, write_aside
from fgcli.errors import FgError, UsageError

HDF5 = b"\x89HDF\r\n\x1a\n"
WRITTEN = "written by fg"
"""In the metadata of every picture, video and exported network of fg's."""
MARKS = {
    ".html": b'<meta name="generator" content="fg">',
    ".obj": b"# fg",
    ".mtl": b"# fg",
    ".ply": b"comment fg",
    ".yaml": b"# fg",
    ".sh": b"# fg",
}
MARKS |= dict.fromkeys(
    (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".mp4", ".gif", ".npz", ".onnx", ".pt", ".safetensors"),
    WRITTEN.encode(),
)
"""What stands in every file of that ending that fg writes, near its start or its end: others are the user's."""
NEAR = 4096
"""Bytes of a file's start and end where its mark may stand."""


def verify_outputs(reads: Iterable[Path | None], writes: Mapping[str, Path], kinds: Mapping[str, str]) -> None:
    """Raises unless every output can be written and is neither an input, another output, nor a file of another kind.

    Args:
        reads: files that the command reads.
        writes: files and folders that it writes, by their flags.
        kinds: for each flag, the schema of the artifact that is written, "" for a file of another kind, or "folder".

    Raises:
        UsageError: an output that is an input or another output, of another ending, or no place for a file.
        FgError: a file is there that fg did not write as this, or a folder that cannot be written.
    """
    taken = {identity(path): f"{path} is read" for path in reads if path is not None}
    for flag, path in writes.items():
        place(flag, path, kinds[flag])
        if identity(path) in taken:
            raise UsageError(
                f"{flag} {path}: expected a file of its own, found that {taken[identity(path)]}; name another"
            )
        taken[identity(path)] = f"{flag} is {path}, too"
        if kinds[flag] != "folder" and path.exists() and not ours(path, kinds[flag]):
            what = f"a {kinds[flag]} file" if kinds[flag] else f"a {path.suffix} file of fg's"
            raise FgError(f"{path}: expected nothing or {what} to replace, found another file; move it or name another")


def identity(path: Path) -> object:
    """Equal for two names of one file, also through links."""
    try:
        status = path.stat()
        return status.st_dev, status.st_ino
    except OSError:
        return os.path.realpath(path)  # which bears links in a circle


def place(flag: str, path: Path, kind: str) -> None:
    """Raises unless there can be a file, or a folder, at a path."""
    wanted = "a folder" if kind == "folder" else "a file"
    text = str(path)
    if path.exists() and (path.is_dir() != (kind == "folder") or not (path.is_dir() or path.is_file())):
        found = "a folder" if path.is_dir() else "a file" if path.is_file() else "a device"
        raise UsageError(f"{flag} {text}: expected {wanted} to write, found {found}; name {wanted}")
    if kind and kind != "folder" and path.suffix not in (".h5", ".hdf5"):
        raise UsageError(f"{flag} {text}: expected a name that ends in .h5, found {path.name!r}; rename it")
    folder = path.absolute()
    while not folder.exists():
        folder = folder.parent
    if not os.access(folder, os.W_OK) or (folder != path.absolute() and not folder.is_dir()):
        raise FgError(
            f"{path}: expected a folder that can be written, found {folder}, which cannot; choose another output"
        )


def ours(path: Path, kind: str) -> bool:
    """Whether an existing file is what fg wrote as this kind, and so may be replaced."""
    with open(path, "rb") as file:
        found = file.read(NEAR)
        if kind:
            return not found or (found.startswith(HDF5) and is_artifact(path, kind))
        file.seek(max(NEAR, path.stat().st_size - NEAR))
        found += file.read()
    suffix = path.suffix.lower()
    if suffix in MARKS:
        return MARKS[suffix] in found
    return suffix == ".json" and is_json(path)


def picture_mark(kind: str) -> dict[str, Any]:
    """Options with which Pillow writes the mark into a picture of a format."""
    if kind == "PNG":
        mark = PngInfo()
        mark.add_text("Software", WRITTEN)
        return {"pnginfo": mark}
    if kind == "WEBP":
        exif = Image.Exif()
        exif[Base.Software] = WRITTEN
        return {"exif": exif}
    return {"comment": WRITTEN} if kind == "JPEG" else {"software": WRITTEN}


def is_artifact(path: Path, kind: str) -> bool:
    """Whether an HDF5 file is a whole artifact of this kind."""
    try:
        return load(path, names=()).schema.split("/")[0] == kind
    except FgError:
        return False


def is_json(path: Path) -> bool:
    """Whether a file is JSON just as fg writes it: JSON has no room for a mark, and who changed one made it theirs."""
    found = path.read_bytes()
    try:
        return as_json(json.loads(found)) == found
    except ValueError:
        return False


def write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Writes an .npz, whole or not at all, with the mark as the comment of the zip file that it is."""
    with write_aside(path) as part:
        with open(part, "wb") as file:
            np.savez(file, **arrays)
        with zipfile.ZipFile(part, "a") as archive:
            archive.comment = WRITTEN.encode()
