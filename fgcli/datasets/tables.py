"""The text tables of CelebA and CelebA-HQ; Kaggle's edition has the first as CSV, with a header."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fgcli.errors import FgError, reason


def attribute_table(path: Path) -> tuple[list[str], list[str], np.ndarray]:
    """Files, attribute names and labels (n, k) int8 of a table: count, names, then `file -1 1 …` lines.

    A .csv has no count, and `image_id` before the names.

    Raises:
        FgError: a line of another form.
    """
    lines = _lines(path)
    if _is_csv(path):
        names, rows = _header(path, lines), lines[1:]
    elif len(lines) < 2 or len(lines[0]) != 1:
        raise FgError(f"{path}: expected the number of photos, then attribute names, found another table")
    else:
        names, rows = lines[1], lines[2:]
    for number, row in enumerate(rows, len(lines) - len(rows) + 1):
        if len(row) != len(names) + 1 or not set(row[1:]) <= {"-1", "1", "0"}:
            raise FgError(f"{path}: expected a file and {len(names)} of -1 or 1 in line {number}, found otherwise")
    table = np.array([[value == "1" for value in row[1:]] for row in rows], np.int8).reshape(len(rows), len(names))
    return [row[0] for row in rows], names, table


def pairs(path: Path) -> dict[str, str]:
    """A table of `file value` lines, in a .csv under a header.

    Raises:
        FgError: a line of another form.
    """
    found = {}
    lines = _lines(path)
    skipped = 1 if _is_csv(path) and _header(path, lines) else 0
    for number, row in enumerate(lines[skipped:], skipped + 1):
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


def _is_csv(path: Path) -> bool:
    return path.suffix == ".csv"


def _header(path: Path, lines: list[list[str]]) -> list[str]:
    """Names of a CSV's columns after the photo's."""
    if not lines or lines[0][0] != "image_id":
        raise FgError(f"{path}: expected a header that starts with image_id, found another table; take Kaggle's file")
    return lines[0][1:]


def _lines(path: Path) -> list[list[str]]:
    mark = "," if _is_csv(path) else None
    try:
        return [line.split(mark) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise FgError(f"{path}: expected a readable text table, found {reason(error)}; check the file") from error
