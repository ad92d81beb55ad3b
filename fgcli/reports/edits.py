"""The page of `fg edits`: a table and curves for each attribute (Doubinsky et al., Figure 4 and Table 2)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fgcli.artifacts import write_aside
from fgcli.reports.page import render
from fgcli.reports.plots import together

COLUMNS = {
    "target_change": "attribute changed",
    "attributes_kept": "others kept",
    "identity": "identity",
    "really_changed": "pictures changed with their codes",
}
"""Numbers of the table, and what readers call them."""


def write(path: Path, results: Mapping[str, Any]) -> None:
    """Writes the page of what edits.json holds."""
    sections = []
    for attribute, methods in results["edits"].items():
        drawings = [
            together(
                {label: (m["curve"]["target_change"], m["curve"][kind]) for label, m in methods.items()},
                COLUMNS["target_change"],
                COLUMNS[kind],
            )
            for kind in ("attributes_kept", "identity")
            if all(len(m["curve"][kind]) == len(m["curve"]["target_change"]) for m in methods.values())
        ]
        judge = results["judges"].get(attribute)
        sections.append({"attribute": attribute, "methods": methods, "drawings": drawings, "judge": judge})
    text = render({"sections": sections, "columns": COLUMNS}, "edits.html.jinja")
    with write_aside(path) as part:
        part.write_bytes(text.encode())
