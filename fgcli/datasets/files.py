"""Files of published layouts, found or asked for in one sentence."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fgcli import archives
from fgcli.errors import FgError

PLAIN_ENDINGS = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".pgm", ".ppm", ".gif", ".avif")
IMAGE_ENDINGS = frozenset([*PLAIN_ENDINGS, ".heic", ".heif"])
"""Of photos; the last two are read with the package pillow-heif."""
HIDDEN = "hidden"
OWN = ("path", "attributes", "masks")
"""Arguments of data sets that name the user's files and folders."""


def own_files(sets: Iterable[Mapping[str, Any]]) -> list[Path]:
    """The user's files and folders that data sets of preprocess.datasets, and those that they are made `of`, read.

    Each stands once. Of a glob it is the folder that it is in, of a file in a zip file that one.
    """
    named = [inner for data in sets for inner in (data, data.get("of", {}))]
    files = (archives.holder(fixed(Path(data[key]).expanduser())) for data in named for key in OWN if data.get(key))
    return list(dict.fromkeys(files))


def fixed(path: Path) -> Path:
    """The folders of a glob before its first wildcard; a path that is there, or has none, as it is.

    >>> fixed(Path("shots/2024-*/*.jpg")).as_posix()
    'shots'
    """
    if archives.exists(path):
        return path
    return Path(*itertools.takewhile(lambda part: not glob.has_magic(part), path.parts))


def globbed(pattern: str) -> list[Path]:
    """The files that a glob names, in their order; [] of a path that is there, or has no wildcard."""
    if not glob.has_magic(pattern) or archives.exists(Path(pattern)):
        return []
    return [Path(name) for name in sorted(glob.glob(pattern, recursive=True)) if not os.path.isdir(name)]


def need(name: str, root: Path, *places: str) -> Path:
    """The first of `places` below `root` that is there: a folder where it ends in "/", else a file.

    Raises:
        FgError: `root` or all of them are missing; `name` is the data set.
    """
    root = root.expanduser()
    if not root.is_dir():
        raise FgError(f"{root}: expected the folder of {name}, found none; check preprocess.datasets")
    for place in places:
        found = root / place
        if found.is_dir() if place.endswith("/") else found.is_file():
            return found
    raise FgError(f"{root}: expected {' or '.join(places)} of {name}, found none; check the layout")


def photos_below(folder: Path) -> list[Path]:
    """Image files in a folder and the folders in it, in the order of their names; hidden ones are left out."""
    return photos_among(files_below(folder), folder)[0]


def files_below(folder: Path) -> list[Path]:
    """All files in a folder and the folders in it, links followed, each folder once, in the order of their names; those
    in a zip file likewise.

    Raises:
        FgError: a folder cannot be read, or a zip file.
    """
    if not folder.is_dir():
        return archives.files_below(folder)
    found, seen = [], set()
    for top, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        seen.add(os.path.realpath(top))
        folders[:] = [name for name in sorted(folders) if os.path.realpath(os.path.join(top, name)) not in seen]
        found += [Path(top, name) for name in names]
    return sorted(found)


def by_number(name: str) -> list[str | int]:
    """A key that sorts names by the numbers in them.

    >>> sorted(["f10.png", "f2.png"], key=by_number)
    ['f2.png', 'f10.png']
    """
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"([0-9]+)", name))]


def _refuse(error: OSError) -> None:
    raise FgError(f"{error.filename}: expected a folder that can be read, found one that cannot; change its rights")


def photos_among(files: Iterable[Path], root: Path) -> tuple[list[Path], dict[str, int]]:
    """The image files among `files` below `root`, links that lead nowhere too, and the number of others by ending."""
    photos: list[Path] = []
    others: Counter[str] = Counter()
    for path in files:
        if any(part.startswith(".") for part in path.relative_to(root).parts):
            others[HIDDEN] += 1
        elif path.suffix.lower() in IMAGE_ENDINGS and (path.is_symlink() or archives.is_file(path)):
            photos.append(path)
        else:
            others[path.suffix.lower() or "no ending"] += 1
    return photos, dict(sorted(others.items()))


def verify_photos(name: str, folder: Path, files: list[str]) -> None:
    """Raises FgError when photos that a table of data set `name` lists are not in `folder`."""
    there = {p.name for p in folder.iterdir()}
    missing = [f for f in files if f not in there]
    if missing:
        raise FgError(
            f"{folder}: expected the {len(files)} photos that {name} lists, found {len(missing)} missing, "
            f"first {missing[0]}; unpack them all"
        )


def verify_labels(file: Path, labels: np.ndarray, low: int, high: int) -> np.ndarray:
    """The labels as int32; raises FgError when one of those read from `file` is not a whole number low to high."""
    wrong = ~np.isin(labels, np.arange(low, high + 1))
    if wrong.any():
        raise FgError(f"{file}: expected labels {low} to {high}, found {labels[wrong][0]}; take the published file")
    return labels.astype(np.int32)
