"""The page of `fg edits`: a table and curves for each attribute (Doubinsky et al., Figure 4 and Table 2)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fgcli.artifacts import write_aside
from fgcli.reports.images import pictures_of
from fgcli.reports.page import render
from fgcli.reports.plots import together

COLUMNS = {
    "target_change": "attribute changed",
    "attributes_kept": "others kept",
    "identity": "identity",
    "really_changed": "pictures changed with their codes",
}
"""Numbers of the table, and what readers call them."""
REFITTED = {
    "target_change": "refitted: changed as asked",
    "moved": "refitted: moved",
    "attributes_kept": "refitted: others kept",
    "shape_moved": "refitted: shape moved, %",
}
"""And by parameters of heads that are inferred of the pictures."""


MOST = 3
"""Changes that are told of a direction."""


def write(path: Path, results: Mapping[str, Any], strips: Mapping[tuple[str, str], list[np.ndarray]]) -> None:
    """Writes the page of what edits.json holds; `strips` shows each of its directions by method and name."""
    sections, refits = [], results.get("refit", {}).get("held_out", {})
    for attribute, methods in results["edits"].items():
        drawings = [
            together({label: line(m["curve"], kind) for label, m in methods.items()}, COLUMNS["target_change"], name)
            for kind, name in (("attributes_kept", COLUMNS["attributes_kept"]), ("identity", COLUMNS["identity"]))
            if all(m["curve"][kind] for m in methods.values())
        ]
        judge = results["judges"].get(attribute)
        refit = refits.get("images", {}).get(attribute), refits.get("reconstructions", {}).get(attribute)
        about = {"attribute": attribute, "methods": methods, "drawings": drawings, "judge": judge, "refit": refit}
        sections.append(about)
    directions = [
        (label, name, largest(moves), pictures_of(strips[label, name], [f"{name} {place}" for place in range(5)]))
        for label, found in results["directions"].items()
        for name, moves in found.items()
    ]
    told = {
        "directions": directions,
        "columns": COLUMNS,
        "refitted": REFITTED if refits else {},
        "identity_by": results.get("identity_by"),
    }
    text = render({"sections": sections, "shape": results.get("refit", {}).get("shape"), **told}, "edits.html.jinja")
    with write_aside(path) as part:
        part.write_bytes(text.encode())


def largest(moves: Mapping[str, Mapping[str, float]]) -> list[tuple[str, Mapping[str, float]]]:
    """The MOST attributes that move furthest."""
    return sorted(moves.items(), key=lambda pair: -abs(pair[1]["value"]))[:MOST]


def line(curve: Mapping[str, list[float]], kind: str) -> tuple[list[float], list[float]]:
    """The attribute's change, and what is kept, at the strengths where both were measured."""
    places = curve["looked"] if kind == "identity" else range(len(curve[kind]))
    return [curve["target_change"][int(i)] for i in places], curve[kind]
