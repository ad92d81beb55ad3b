"""The text tables of CelebA and CelebA-HQ."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fgcli.errors import FgError


def attribute_table(path: Path) -> tuple[list[str], list[str], np.ndarray]:
    """Files, attribute names and labels (n, k) int8 of a table: count, names, then `file -1 1 …` lines.

    Raises:
        FgError: a line of another form.
    """
    lines = _lines(path)
    if len(lines) < 2 or len(lines[0]) != 1:
        raise FgError(f"{path}: expected the number of photos, then attribute names, found another table")
    names, rows = lines[1], lines[2:]
    for number, row in enumerate(rows, 3):
        if len(row) != len(names) + 1 or not set(row[1:]) <= {"-1", "1", "0"}:
            raise FgError(f"{path}: expected a file and {len(names)} of -1 or 1 in line {number}, found otherwise")
    table = np.array([[value == "1" for value in row[1:]] for row in rows], np.int8).reshape(len(rows), len(names))
    return [row[0] for row in rows], names, table


def pairs(path: Path) -> dict[str, str]:
    """A table of `file value` lines.

    Raises:
        FgError: a line of another form.
    """
    found = {}
    for number, row in enumerate(_lines(path), 1):
        if len(row) != 2:
            raise FgError(f"{path}: expected a file and a value in line {number}, found {len(row)} words")
        found[row[0]] = row[1]
    return found


def cover(path: Path, table: dict[str, str], files: list[str]) -> list[str]:
    """The values of `files` in a table read from `path`.

    Raises:
        FgError: a file has no line.
    """
    missing = [f for f in files if f not in table]
    if missing:
        raise FgError(f"{path}: expected a line for every photo, found none for {missing[0]} ({len(missing)} missing)")
    return [table[f] for f in files]


def _lines(path: Path) -> list[list[str]]:
    try:
        return [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise FgError(f"{path}: expected a readable text table, found {type(error).__name__}") from error
