"""What lies below a folder, looked at again and again: a folder that has not changed is not listed again."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

SETTLED_S = 2.0
"""Seconds after which a folder's time of change tells of every change: some file systems count whole seconds."""


def stamp(path: Path) -> tuple[int, int, int] | None:
    """Of a file or folder: another one after each change; None where there is none."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_ino, about.st_mtime_ns, about.st_size


class Watch:
    """Files of some names below a folder; links are not followed.

    Args:
        top: the folder. names: of the files.
    """

    def __init__(self, top: Path, names: Iterable[str]) -> None:
        self.top, self.names = top, frozenset(names)
        self.listed: dict[Path, tuple[int, list[Path], list[Path]]] = {}

    def files(self) -> list[Path]:
        """They, of now."""
        found, folders = [], [self.top]
        for folder in folders:  # which grows meanwhile
            try:
                below, files = self.of(folder)
            except OSError:  # it went away, or is closed to us
                continue
            folders += below
            found += files
        return found

    def of(self, folder: Path) -> tuple[list[Path], list[Path]]:
        """Folders in one, and files of the names in it."""
        changed = folder.stat().st_mtime_ns
        if folder not in self.listed or self.listed[folder][0] != changed:
            with os.scandir(folder) as entries:
                both = [(e.is_dir(follow_symlinks=False), Path(e)) for e in entries]
            below = sorted(path for is_folder, path in both if is_folder)
            files = sorted(path for is_folder, path in both if not is_folder and path.name in self.names)
            settled = time.time() - changed / 1e9 > SETTLED_S
            self.listed[folder] = (changed if settled else 0, below, files)
        return self.listed[folder][1:]
