"""CSV tables of exported folders."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fgcli.artifacts import write_aside
from fgcli.errors import FgError, reason

MEND = "correct it, or export the file again"


def save_table(path: Path, header: list[str], lines: Iterable[Iterable[Any]]) -> None:
    """Writes a CSV, whole or not at all; float32 numbers in as many digits as tell them apart."""
    with write_aside(path) as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([str(value) for value in line] for line in lines)


def load_table(path: Path, *needed: str) -> tuple[list[str], list[dict[str, str]]]:
    """Header and lines of a CSV.

    Raises:
        FgError: it cannot be read, or lacks columns or values.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            header, lines = list(reader.fieldnames or []), list(reader)
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise FgError(f"{path}: expected a table of fg data export, found {reason(error)}; {MEND}") from error
    lacking = [name for name in needed if name not in header]
    if lacking:
        raise FgError(f"{path}: expected the column {lacking[0]}, found {', '.join(header[:5]) or 'none'}; {MEND}")
    for number, line in enumerate(lines, 2):
        if None in line or None in line.values():
            raise FgError(f"{path}: expected {len(header)} values in line {number}, found another number; {MEND}")
    return header, lines
