"""paper.html and paper.json: either side's table, the claims, and pictures of the runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import fgcli
from fgcli.reports import page
from fgcli.reports.images import Picture, picture
from fgcli.reports.paper import drawings
from fgcli.reports.paper.layout import Column, Comparison, Paper, Table
from fgcli.reports.paper.runs import Cell, folders
from fgcli.reports.paper.verdicts import FAILS, HOLDS, MIXED, UNCLEAR, UNMEASURED, Judged, Outcome, Printed
from fgcli.reports.tables import DASH, MINUS

TEMPLATE = "paper/paper.html.jinja"
SHEETS = ("optimum.png", "samples.png", "train/samples/*.png")
"""What a search found, or sample sheets of a run: the last of the first kind that there is."""
SHEET_PX = 760
"""Their width on the page at most, px."""
MOST_DRAWN, MOST_OPEN = 16, 12
"""Comparisons of a claim that are drawn, and that are listed without a click, at most."""
CLASSES = {HOLDS: "holds", UNCLEAR: "mixed", FAILS: "fails", MIXED: "mixed", UNMEASURED: "unmeasured"}

Cells = Mapping[str, Mapping[str, Cell]]


@dataclass(frozen=True)
class Shown:
    """A cell's text; whether it is the best of its column; the letter of the note that says why it is empty."""

    text: str
    best: bool = False
    note: str = ""


@dataclass(frozen=True)
class Side:
    """One side's table: column titles with arrows, then a label and cells per row."""

    columns: list[str]
    rows: list[tuple[str, list[Shown]]]
    notes: list[tuple[str, str]]


def results_of(paper: Paper, numbers: Mapping[str, Cells], judged: Sequence[Judged]) -> dict[str, Any]:
    """The content of paper.json: nested mappings only, so that metrics viewers can walk it."""
    tables = {
        key: {row: {column: _cell_json(cell) for column, cell in row_cells.items()} for row, row_cells in cells.items()}
        for key, cells in numbers.items()
    }
    return {"title": paper.title, "tables": tables, "claims": {j.claim.id: _claim_json(j) for j in judged}}


def _cell_json(cell: Cell) -> dict[str, Any]:
    if cell.gap:
        return {"left_out": cell.gap}
    found: dict[str, Any] = {"mean": cell.mean, "std": cell.spread, "seeds": _strings(cell.seeds)}
    if cell.keys:
        found["keys"] = {key: _strings(seeds) for key, seeds in cell.keys.items()}
    return {k: v for k, v in found.items() if v is not None}


def _claim_json(judged: Judged) -> dict[str, Any]:
    holds, of = judged.score
    compared = {
        o.text: {"left_out": o.gap} if o.gap else {
            "holds": int(o.holds is True), "seeds_held": o.held, "seeds": len(o.differences),
            "difference": o.mean, **({"std": o.spread} if o.spread is not None else {}),
            **({"low": o.interval[0], "high": o.interval[1]} if o.interval else {}),
        }
        for o in judged.outcomes
    }  # fmt: skip
    printed = {"holds": sum(p.holds for p in judged.printed), "of": len(judged.printed)}
    found = {"text": judged.claim.text, "verdict": judged.verdict, "holds": holds, "of": of}
    clearly = {} if judged.clearly is None else {"clearly": judged.clearly}
    return {**found, **clearly, "printed": printed, "comparisons": compared}


def _strings(seeds: Mapping[int, float]) -> dict[str, float]:
    return {str(seed): value for seed, value in seeds.items()}


def render(paper: Paper, numbers: Mapping[str, Cells], judged: Sequence[Judged], folder: Path) -> str:
    """The page.

    Args:
        numbers: cells of each table. folder: of the runs, for their sample sheets.
    """
    content = {
        "paper": paper,
        "tables": [_table(key, paper, numbers[key], judged, folder) for key in paper.tables],
        "claims": [_claim(j, paper) for j in judged],
        "version": fgcli.__version__,
    }
    return page.render(content, TEMPLATE)


def _table(key: str, paper: Paper, cells: Cells, judged: Sequence[Judged], folder: Path) -> dict[str, Any]:
    table = paper.tables[key]
    rivals = [other for other, t in paper.tables.items() if t.folder == table.folder and not t.without]
    bounds = {
        (o.comparison.column, o.comparison.right)
        for j in judged
        if j.claim.table == key
        for o in j.outcomes
        if isinstance(o.comparison.right, float)
    }
    drawn = [_drawing(key, name, table, cells, bounds) for name in table.columns]
    return {
        "key": key,
        "about": table,
        "ours": _ours(table, cells) if cells else None,
        "theirs": _theirs(table) if any(row.printed for row in table.rows.values()) else None,
        "seeds": _seeds(cells),
        "drawings": [d for d in drawn if d],
        "sheets": _sheets(table, folder) if rivals[:1] == [key] else [],
    }


def _seeds(cells: Cells) -> str:
    """How many seeds the numbers are of."""
    counts = sorted({len(cell.seeds) for row in cells.values() for cell in row.values() if not cell.gap})
    if not counts:
        return ""
    said = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])
    return said + (" seed" if counts == [1] else " seeds")


def _heads(columns: Iterable[Column]) -> list[str]:
    arrows = {"higher": " ↑", "lower": " ↓", None: ""}
    return [c.title + (", worst" if "*" in c.ours.split(".") else "") + arrows[c.better] for c in columns]


def _ours(table: Table, cells: Cells) -> Side:
    letters: dict[str, str] = {}
    best = {name: _best({r: c[name].mean for r, c in cells.items() if name in c and not c[name].gap}, column)
            for name, column in table.columns.items()}  # fmt: skip

    def shown(label: str, name: str) -> Shown:
        cell = cells.get(label, {}).get(name)
        gap = table.rows[label].without if label not in cells else cell.gap if cell else ""
        if cell is None or gap:
            return Shown(DASH, note=letters.setdefault(gap, chr(ord("a") + len(letters))) if gap else "")
        return Shown(measured(cell.mean, cell.spread, table.columns[name].digits), label in best[name])

    rows = [(table.shown(label), [shown(label, name) for name in table.columns]) for label in table.rows]
    return Side(_heads(table.columns.values()), rows, [(letter, reason) for reason, letter in letters.items()])


def _theirs(table: Table) -> Side:
    printed = {name: {r: row.printed[name] for r, row in table.rows.items() if name in row.printed}
               for name in table.columns}  # fmt: skip
    columns = {name: column for name, column in table.columns.items() if printed[name]}
    best = {name: _best(printed[name], column) for name, column in columns.items()}

    def shown(label: str, name: str) -> Shown:
        value = printed[name].get(label)
        return Shown(DASH) if value is None else Shown(as_printed(value, table, name), label in best[name])

    rows = [(table.shown(label), [shown(label, name) for name in columns]) for label in table.rows]
    return Side(_heads(columns.values()), rows, [])


def _best(values: Mapping[str, float], column: Column) -> set[str]:
    """Rows with the best value; none where neither way is better or there is nothing to beat."""
    if len(values) < 2 or column.better is None:
        return set()
    best = (min if column.better == "lower" else max)(values.values())
    return {row for row, value in values.items() if value == best}


def measured(mean: float, spread: float | None, digits: int) -> str:
    """Mean and standard deviation."""
    told = f" ± {spread:.{digits}f}" if spread is not None else ""
    return minus(f"{mean:.{digits}f}{told}")


def minus(text: str) -> str:
    """A number with a true minus."""
    return text.replace("-", MINUS)


def as_printed(value: float, table: Table, column: str) -> str:
    """A printed number with as many decimal places as the longest of its column."""
    others = [row.printed[column] for row in table.rows.values() if column in row.printed]
    return minus(f"{value:.{max(map(decimals, others))}f}")


def decimals(value: float) -> int:
    """Decimal places that a printed number has."""
    return len(f"{value:.10f}".rstrip("0").partition(".")[2])


def _drawing(key: str, name: str, table: Table, cells: Cells, bounds: set[Any]) -> dict[str, Any] | None:
    """A column's numbers as dots, or over the keys of its `*` place."""
    column = table.columns[name]
    known = {r: c[name] for r, c in cells.items() if name in c and not c[name].gap}
    if not known:
        return None
    title = f"{key} {name}"
    unit = column.title
    if any(cell.keys for cell in known.values()):
        rows = {table.shown(r): {k: list(v.values()) for k, v in c.keys.items()} for r, c in known.items() if c.keys}
        lines = sorted({bound for column_name, bound in bounds if column_name == name})
        return {"title": unit, "svg": drawings.series(title, rows, unit, lines), "wide": True}
    dots = {table.shown(r): list(c.seeds.values()) for r, c in known.items()}
    return {"title": unit, "svg": drawings.dots(title, dots), "wide": False}


def _sheets(table: Table, folder: Path) -> list[Picture]:
    """A sample sheet of the first seed of each row that drew one."""
    found = []
    for label in table.rebuilt():
        runs = folders(folder / table.folder / (table.rows[label].runs or label))
        seed, run = next(iter(runs.items()))
        paths = next((files for kind in SHEETS if (files := sorted(run.glob(kind)))), [])
        if paths and not table.rows[label].runs:
            with Image.open(paths[-1]) as sheet:
                image = np.asarray(sheet.convert("RGB"))
            said = f"{table.shown(label)}, seed {seed}"
            found.append(picture(image, f"sample sheet of {said}", said, SHEET_PX))
    return found


def _claim(judged: Judged, paper: Paper) -> dict[str, Any]:
    claim, table = judged.claim, paper.tables[judged.claim.table]
    holds, of = judged.score
    printed = {p.comparison: p for p in judged.printed}
    lines = [_line(o, table, printed) for o in judged.outcomes]
    return {
        "id": claim.id,
        "text": claim.text,
        "table": table.title,
        "verdict": judged.verdict,
        "kind": CLASSES[judged.verdict],
        "score": DASH if judged.verdict == UNMEASURED else f"{holds} of {of}",
        "clearly": judged.clearly,
        "intervals": any(o.interval for o in judged.outcomes),
        "one_is_enough": bool(claim.any),
        "lines": lines,
        "folded": len(lines) > MOST_OPEN,
        "failing": [line for line in lines if not line["holds"]],
        "printed": _printed(judged, table),
        "has_printed": any(line["printed"] for line in lines),
        "drawing": _margins(judged, table),
        "reason": "" if judged.verdict == HOLDS else paper.reasons.get(claim.id, ""),
    }


def words(comparison: Comparison, table: Table) -> str:
    """A comparison with the names that readers know."""
    left, column = table.shown(comparison.row), table.columns[comparison.column].title
    sign = {"<=": "≤", ">=": "≥"}.get(comparison.sign, comparison.sign)
    if isinstance(comparison.right, float):
        return f"{column} of {left} {sign} {comparison.right:g}"
    row, other = table.shown(comparison.right[0]), table.columns[comparison.right[1]].title
    if other == column:
        return f"{column}: {left} {sign} {row}"
    if row == left:
        return f"{left}: {column} {sign} {other}"
    return f"{left} {column} {sign} {row} {other}"


def _short(comparison: Comparison, columns: int, table: Table) -> str:
    """A comparison in the few words that fit beside a drawing: labels, and the column if there are several."""
    right = comparison.right
    other = "" if isinstance(right, float) or right[0] == comparison.row else f" {comparison.sign} {right[0]}"
    return comparison.row + other + (f", {table.columns[comparison.column].title}" if columns > 1 else "")


def _line(outcome: Outcome, table: Table, printed: Mapping[Comparison, Printed]) -> dict[str, Any]:
    """A comparison as a row of the claim's table."""
    comparison = outcome.comparison
    digits = table.columns[comparison.column].digits
    said = printed.get(comparison) if not outcome.key else None
    found = {
        "words": words(comparison, table) + (f", at {outcome.key}" if outcome.key else ""),
        "holds": outcome.holds,
        "gap": outcome.gap,
        "printed": _both(said, table) if said else "",
        "printed_holds": said is None or said.holds,
    }
    if outcome.gap:
        return found
    within = outcome.spread is not None and abs(outcome.mean) < outcome.spread
    return found | {
        "left": minus(f"{outcome.left:.{digits}f}"),
        "right": minus(f"{outcome.right:.{digits}f}"),
        "difference": measured(outcome.mean, outcome.spread, digits),
        "within": within,
        "interval": _range(outcome.interval, digits),
        "unclear": not outcome.clear,
        "seeds": f"{outcome.held} of {len(outcome.differences)}",
    }


def _range(interval: tuple[float, float] | None, digits: int) -> str:
    """An interval; empty where there is none."""
    return minus(f"{interval[0]:.{digits}f} to {interval[1]:.{digits}f}") if interval else ""


def _both(said: Printed, table: Table) -> str:
    """The two printed numbers of a comparison."""
    right = said.comparison.right
    bound = f"{right:g}" if isinstance(right, float) else as_printed(said.right, table, right[1])
    return f"{as_printed(said.left, table, said.comparison.column)} and {bound}"


def _printed(judged: Judged, table: Table) -> str:
    """Whether the claim holds in the paper's own table."""
    if not judged.printed:
        return ""
    failing = [p for p in judged.printed if not p.holds]
    n = len(judged.printed)
    if not failing:
        return "In the printed table it holds" + (f" in all {n} comparisons." if n > 1 else ".")
    which = "; ".join(f"{words(p.comparison, table)} ({_both(p, table)})" for p in failing)
    return f"In the printed table {n - len(failing)} of {n} comparisons hold; not: {which}."


def _margins(judged: Judged, table: Table) -> str:
    """The margins of a claim's comparisons as dots; nothing for one or many, or where the table's curves show them."""
    if any(o.key for o in judged.outcomes):
        return ""
    columns = len({o.comparison.column for o in judged.outcomes})
    rows = {_short(o.comparison, columns, table): list(o.margins.values()) for o in judged.outcomes if o.margins}
    if not 1 < len(rows) <= MOST_DRAWN:
        return ""
    return drawings.dots(f"margins of {judged.claim.id}", rows, "margin, % of the right side", zero=True)
