"""Zip files read as folders are: a member is a path below the file, as photos.zip/anna.jpg; nothing is unpacked."""

from __future__ import annotations

import io
import os
import stat
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from fgcli.errors import FgError, reason

LARGEST = 1 << 30
"""Bytes of a member at most: it is read into memory."""
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError)
"""What zipfile raises on damage, on passwords, and on ways to pack that it does not know."""


class Archive:
    """An open zip file.

    members: by their paths in it, without folders; of two of one name the last, as other tools have it.

    Raises:
        FgError: damaged, packed with a password, or with names that lead out of it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.file = zipfile.ZipFile(path)
        except BROKEN as error:
            raise FgError(f"{path}: expected a whole zip file, found {reason(error)}; pack it anew") from error
        self.members: dict[str, zipfile.ZipInfo] = {}
        for info in self.file.infolist():
            name = info.filename.replace("\\", "/")
            if name.endswith("/"):
                continue
            if name.startswith("/") or name[1:2] == ":" or not {"", ".", ".."}.isdisjoint(name.split("/")):
                raise FgError(f"{path}: expected names inside of it, found {name!r}, which leads out; pack it anew")
            if info.flag_bits & 1:
                raise FgError(f"{path}: expected a zip file without a password, found one; pack it anew without")
            if not stat.S_ISLNK(info.external_attr >> 16):
                self.members[name] = info

    def read(self, name: str) -> bytes:
        """The content of a member.

        Raises:
            OSError: it is damaged, or too large.
        """
        info = self.members[name]
        if info.file_size > LARGEST:
            raise OSError(f"{info.file_size >> 20} MiB, more than {LARGEST >> 20}")
        try:
            return self.file.read(info)
        except BROKEN as error:
            raise OSError(reason(error)) from error


def located(path: Path) -> tuple[Archive, str] | None:
    """The zip file that a path leads into, and the path in it: "" for the file itself; None for others."""
    for place in (path, *path.parents):
        if place.suffix.lower() == ".zip" and place.is_file():
            status = place.stat()
            inner = PurePosixPath(path.relative_to(place)).as_posix()
            return _opened(place, status.st_size, status.st_mtime_ns), "" if inner == "." else inner
    return None


@lru_cache(maxsize=4)
def _opened(path: Path, size: int, changed: int) -> Archive:
    return Archive(path)


def holder(path: Path) -> Path:
    """The zip file that a path leads into; another path as it is."""
    found = None if os.path.lexists(path) else located(path)
    return path if found is None else found[0].path


def is_file(path: Path) -> bool:
    """Whether there is a file, or a member of a zip file."""
    return path.is_file() if os.path.lexists(path) else bool((found := located(path)) and found[1] in found[0].members)


def is_folder(path: Path) -> bool:
    """Whether there is a folder, a zip file, or a folder in one."""
    found = None if path.is_dir() else located(path)
    if found is None:
        return path.is_dir()
    archive, inner = found
    return not inner or any(name.startswith(f"{inner}/") for name in archive.members)


def exists(path: Path) -> bool:
    """Whether there is either."""
    return os.path.exists(path) or is_file(path) or is_folder(path)


def files_below(path: Path) -> list[Path]:
    """The members of a zip file, or of a folder in it, in the order of their names; [] of another path."""
    found = located(path)
    if found is None:
        return []
    archive, inner = found
    start = f"{inner}/" if inner else ""
    return sorted(archive.path / name for name in archive.members if name.startswith(start))


def opened(path: Path) -> BinaryIO:
    """A file, or a member of a zip file, for reading.

    Raises:
        OSError: there is none, or it cannot be read.
    """
    found = None if os.path.lexists(path) else located(path)
    if found is None or found[1] not in found[0].members:
        return open(path, "rb")
    return io.BytesIO(found[0].read(found[1]))


def stamp(path: Path) -> tuple[int, int]:
    """What tells whether a file is still the same: its size, and its time of change or, of a member, its checksum.

    Raises:
        OSError: there is no such file.
    """
    found = None if os.path.lexists(path) else located(path)
    if found is None or found[1] not in found[0].members:
        status = path.stat()
        return status.st_size, status.st_mtime_ns
    info = found[0].members[found[1]]
    return info.file_size, info.CRC
