"""Labels that were mended by hand: a copy of the user's table with them, which preprocess reads in its place."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from fgcli import archives, artifacts
from fgcli.artifacts import Artifact, write_aside, write_json
from fgcli.artifacts.outputs import identity
from fgcli.datasets.image_folder import matched, read_table
from fgcli.errors import FgError

Fixes = dict[str, dict[str, int]]
"""By the photo's path below its folder, by attribute: 1 has it, 0 has it not, -1 unknown."""


def path_of(own: Path, data: str) -> Path:
    """The table with the mended labels of a data set."""
    return own / f"{data}-labels.csv"


def fixes(own: Path, data: str) -> Fixes:
    """What was mended so far.

    Raises:
        FgError: the list is damaged.
    """
    return _journal(own, data)["fixes"]


def fix(own: Path, faces: Artifact, source: str, attribute: str, value: int) -> Path:
    """Mends a label and writes the table.

    Args:
        own: the studio's folder. faces: faces.h5, with its sources and those that were rejected.
        source: of the photo, as faces.h5 has it. value: 1, 0 or -1.

    Raises:
        FgError: a data set without a table of its own, or the written one was changed since.
    """
    data, _, photo = source.partition("/")
    table = table_of(faces, data)
    written, journal = path_of(own, data), _journal(own, data)
    if written.exists() and artifacts.sha256(written) != journal["sha256"]:
        raise FgError(
            f"{written}: expected the table that fg studio wrote, found one that was changed since; move it, and name "
            "it in preprocess.datasets to go on from it"
        )
    journal["fixes"].setdefault(photo, {})[attribute] = value
    base = written if written.exists() and identity(table) == identity(written) else table
    header, rows = read_table(base)
    known = [s.partition("/")[2] for s in (*faces["source"], *faces["rejected/source"]) if s.startswith(f"{data}/")]
    _apply(base, rows, known, journal["fixes"])
    header = list(dict.fromkeys([*header, *(name for own in journal["fixes"].values() for name in own)]))
    with write_aside(written) as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, header, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_json(_journal_path(own, data), journal | {"sha256": artifacts.sha256(written)})
    return written


def table_of(faces: Artifact, data: str) -> Path:
    """The table that the labels of a data set came from.

    Raises:
        FgError: it has none, or it is not there.
    """
    sets = {spec.get("label", spec["name"]): spec for spec in faces.params["datasets"]}
    spec = sets.get(data, {})
    if spec.get("name") != "image_folder" or not spec.get("attributes"):
        raise FgError(
            f"{faces.path}: expected labels from a table of an image_folder, found those that {data} brings, which no "
            "table replaces; mend photos of your own"
        )
    table = Path(spec["attributes"]).expanduser()
    if not archives.is_file(table):
        raise FgError(f"{table}: expected the table of {faces.path}, found none; start fg studio where preprocess ran")
    return table


def _apply(base: Path, rows: list[dict[str, str]], known: list[str], mended: Fixes) -> None:
    """Puts the mended labels into rows; photos without a row get one."""
    row_of = {known[i]: row for row, i in matched(base, rows, known)[0]}
    for photo, values in mended.items():
        if photo not in row_of:
            row_of[photo] = {"file": photo}
            rows.append(row_of[photo])
        row_of[photo].update({name: str(value) for name, value in values.items()})


def _journal_path(own: Path, data: str) -> Path:
    return own / f"{data}-labels.json"


def _journal(own: Path, data: str) -> dict[str, Any]:
    path = _journal_path(own, data)
    if not path.exists():
        return {"sha256": "", "fixes": {}}
    try:
        found = json.loads(path.read_bytes())
        return {"sha256": str(found["sha256"]), "fixes": {k: dict(v) for k, v in found["fixes"].items()}}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FgError(f"{path}: expected the labels that fg studio mended, found another file; move it") from error
