"""Runs and a paper's table -> paper.html, paper.json: our numbers beside the printed ones, and its claims judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def run(paper: Path, folder: Path, output: Path, results: Path) -> dict[str, Any]:
    """Writes the page to `output`, the numbers and verdicts to `results`.

    Args:
        paper: the printed table, where our numbers for it stand, and the claims (`fgcli/reports/paper/layout.py`).
        folder: of the runs, FOLDER/[GROUP/]ROW/seed*/ with their metrics.json and other numbers.

    Raises:
        UsageError: a mistake in `paper`, named by its place.
        FgError: a run or a number that is missing.
    """
    from fgcli import artifacts
    from fgcli.reports.paper.layout import load
    from fgcli.reports.paper.page import render, results_of
    from fgcli.reports.paper.runs import cells
    from fgcli.reports.paper.verdicts import judge

    content = load(paper)
    numbers = {key: cells(table, folder, paper) for key, table in content.tables.items()}
    judged = [judge(claim, content.tables[claim.table], numbers[claim.table]) for claim in content.claims]
    found = results_of(content, numbers, judged)
    text = render(content, numbers, judged, folder)
    artifacts.write_json(results, found)
    with artifacts.write_aside(output) as part:
        part.write_text(text, encoding="utf-8")
    return {"output": str(output), "claims": {claim: entry["verdict"] for claim, entry in found["claims"].items()}}
