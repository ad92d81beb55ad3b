"""Photos and pictures inside installed packages, and our annotations of them."""

from __future__ import annotations

import csv
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from fgcli.errors import FgError

ANNOTATIONS = Path(__file__).with_name("data")


def package_folder(package: str, folder: str, extra: str = "demo") -> Path:
    """A folder inside an installed package, found without importing the package; an extra of fg brings the package.

    Raises:
        FgError: the package, or the folder in it, is not there.
    """
    spec = find_spec(package)
    path = Path(spec.origin).parent / folder if spec and spec.origin else None
    if path is None or not path.is_dir():
        raise FgError(
            f'{package}: expected the installed package with {folder}, found none; pip install "fgcli[{extra}]"'
        )
    return path


def annotation_rows(name: str) -> list[dict[str, str]]:
    """The rows of one of our annotation tables."""
    with open(ANNOTATIONS / name, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def label_table(rows: list[dict[str, str]], names: list[str], unsure: list[set[str]]) -> np.ndarray:
    """Attributes (n, k) int8 of annotation rows with columns `names`, "male"/"sex" and "pose".

    turned_left and turned_right say where the nose points in the image. Labels in `unsure` become -1.
    """
    table = np.full((len(rows), len(names)), -1, np.int8)
    for i, (row, doubtful) in enumerate(zip(rows, unsure, strict=True)):
        turned = {f"turned_{side}": str(int(row["pose"] == side)) for side in ("left", "right")}
        known = row | turned
        doubtful = doubtful | ({"turned_left", "turned_right"} if "pose" in doubtful else set())
        table[i] = [-1 if name in doubtful else int(known[name]) for name in names]
    return table
