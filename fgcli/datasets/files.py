"""Files of published layouts, found or asked for in one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fgcli.errors import FgError

IMAGE_ENDINGS = frozenset([".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".pgm", ".ppm", ".gif"])


def need(name: str, root: Path, *places: str) -> Path:
    """The first of `places` (files or folders below `root`) that is there.

    Raises:
        FgError: `root` or all of them are missing; `name` is the data set.
    """
    if not root.is_dir():
        raise FgError(f"{root}: expected the folder of {name}, found none; check preprocess.datasets")
    for place in places:
        if (root / place).exists():
            return root / place
    raise FgError(f"{root}: expected {' or '.join(places)} of {name}, found none; check the layout")


def photos_below(folder: Path) -> list[Path]:
    """Image files in a folder and the folders in it, in the order of their names; hidden ones are left out."""
    found = (p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_ENDINGS and p.is_file())
    return sorted(p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts))


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
