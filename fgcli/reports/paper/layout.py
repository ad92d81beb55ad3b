"""paper.yaml: what a paper prints, where our numbers for it stand, and what it claims.

    title, citation                 of the paper
    protocol: {theirs, ours, differs}   how either side measured; differs is a list of sentences
    tables:                         one per data set
      KEY:
        title, note                 what our side is
        folder                      where under --folder its runs are: FOLDER/folder/ROW/seed*/
        theirs                      which printed table stands beside it, of which data
        without                     why there are no runs of it here; then only the printed side is shown
        root                        place that those beginning with a dot continue
        columns:
          KEY: {title, ours, better, digits, times, plus}   shown is times * our number + plus
        rows:
          LABEL: {title, printed: {COLUMN: number}, ours: {COLUMN: place}, runs: folder's name, without: why no runs}
    claims:
      - {id, text, table, every: [comparison, ...]}         or any: [...], of which one is enough
    reasons: {CLAIM: why we think that it does not hold}    shown where it does not

A place is `FILE.json:key.key.key`; one key may be `*`, any: then there is a number for every key, the table shows the
worst, and a comparison must hold for each. `{row}` in a place is the row's label. A row's own place, or null where
the column does not apply, comes before the column's. A comparison is `ROW COLUMN < ROW COLUMN` or
`ROW COLUMN <= NUMBER`, with <, <=, > or >=; `*` on the right means every other row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from fgcli.config import Section, document, near
from fgcli.errors import UsageError

Word = Annotated[str, Field(pattern=r"^[^\s*]+$")]
"""A key that comparisons can name."""
ROOT = r"[\w/-]+\.json:\S+"
Place = Annotated[str, Field(pattern=rf"^({ROOT}|\.\S+)$")]
"""A number in a run's file."""
COMPARISON = re.compile(r"(\S+) (\S+) (<=|>=|<|>) (?:(\S+) (\S+)|(-?\d+\.?\d*))")
"""Row, column, sign; then another row and column, or a bound."""


class Column(Section):
    """One measure."""

    title: str
    """What readers call it."""

    ours: Place
    """Where our number stands."""

    better: Literal["lower", "higher"] | None = None
    """Which way is better; none where neither is."""

    digits: Annotated[int, Field(ge=0, le=8)]
    """Decimal places of our numbers."""

    times: float = 1.0
    """Factor to the paper's unit."""

    plus: float = 0.0
    """Then added: times -1, plus 1 for 1 - SSIM."""


class Row(Section):
    """One model."""

    title: str = ""
    """What readers call it; empty: its label."""

    printed: Annotated[dict[Word, float], Field(default_factory=dict)]
    """The paper's numbers by column."""

    ours: Annotated[dict[Word, Place | None], Field(default_factory=dict)]
    """Places that are not the column's; null where the column does not apply."""

    runs: str = ""
    """Folder of its runs; empty: its label."""

    without: str = ""
    """Why it has no runs here."""


class Table(Section):
    """One data set."""

    title: str
    """Of our side."""

    folder: str = ""
    """Where its runs are, under the folder of all."""

    theirs: str
    """Of the printed side."""

    note: str = ""
    """What a reader should know of it."""

    without: str = ""
    """Why none of its rows has runs here."""

    root: str = ""
    """Place that places which begin with a dot continue."""

    columns: Annotated[dict[Word, Column], Field(min_length=1)]
    rows: Annotated[dict[Word, Row], Field(min_length=1)]

    def place(self, row: str, column: str) -> str | None:
        """Where the number of a cell stands; None where the column does not apply."""
        place = self.rows[row].ours.get(column, self.columns[column].ours)
        if place is None:
            return None
        whole = self.root + place if place.startswith(".") else place
        return whole.replace("{row}", row)

    def rebuilt(self) -> list[str]:
        """Rows that have runs here."""
        return [] if self.without else [label for label, row in self.rows.items() if not row.without]

    def shown(self, label: str) -> str:
        """What readers call a row."""
        return self.rows[label].title or label


class Claim(Section):
    """A sentence, and the comparisons by which it stands."""

    id: Word
    text: str
    table: str
    every: Annotated[list[str], Field(default_factory=list)]
    """All must hold."""

    any: Annotated[list[str], Field(default_factory=list)]
    """One is enough."""


class Protocol(Section):
    """How either side measured."""

    theirs: str
    ours: str
    differs: list[str]


class Paper(Section):
    """A paper's tables and claims."""

    title: str
    citation: str
    protocol: Protocol
    tables: Annotated[dict[str, Table], Field(min_length=1)]
    claims: list[Claim]
    reasons: Annotated[dict[str, str], Field(default_factory=dict)]


@dataclass(frozen=True)
class Comparison:
    """One number against another, or against a bound: `row column sign right`."""

    row: str
    column: str
    sign: str
    right: tuple[str, str] | float

    @property
    def text(self) -> str:
        """As it is written in the file."""
        right = f"{self.right:g}" if isinstance(self.right, float) else " ".join(self.right)
        return f"{self.row} {self.column} {self.sign} {right}"


def load(path: Path) -> Paper:
    """The file at `path`, checked whole.

    Raises:
        UsageError: not such a file, or a name or a comparison in it that its own tables do not know.
    """
    paper = document(path, Paper, "a paper's tables and claims")
    for key, table in paper.tables.items():
        _check(table, f"{path}: tables.{key}")
    seen: list[str] = []
    for i, claim in enumerate(paper.claims):
        where = f"{path}: claims.{i}"
        if claim.id in seen:
            raise UsageError(f"{where}.id: expected a name of its own, found {claim.id!r} again; rename one")
        seen.append(claim.id)
        _known(claim.table, paper.tables, f"{where}.table")
        comparisons(claim, paper.tables[claim.table], where)
    for name in paper.reasons:
        _known(name, seen, f"{path}: reasons.{name}")
    return paper


def comparisons(claim: Claim, table: Table, where: str = "claim") -> list[Comparison]:
    """The comparisons of a claim, in order, `*` written out.

    Raises:
        UsageError: naming its place, after `where`.
    """
    if bool(claim.every) == bool(claim.any):
        raise UsageError(f"{where}: expected comparisons under every or under any, found both or none; keep one")
    key = "every" if claim.every else "any"
    return [
        comparison
        for i, text in enumerate(claim.every or claim.any)
        for comparison in _read(text, table, f"{where}.{key}.{i}")
    ]


def _read(text: str, table: Table, where: str) -> list[Comparison]:
    match = COMPARISON.fullmatch(text)
    if not match:
        raise UsageError(
            f"{where}: expected 'ROW COLUMN < ROW COLUMN' or 'ROW COLUMN < NUMBER', found {text!r}; mend it"
        )
    row, column, sign, others, other_column, bound = match.groups()
    _compared(row, column, table, where)
    if bound is not None:
        return [Comparison(row, column, sign, float(bound))]
    if others != "*":
        _compared(others, other_column, table, where)
        return [Comparison(row, column, sign, (others, other_column))]
    _known(other_column, table.columns, where)
    rows = [label for label in table.rebuilt() if label != row and table.place(label, other_column)]
    return [Comparison(row, column, sign, (label, other_column)) for label in rows]


def _compared(row: str, column: str, table: Table, where: str) -> None:
    """Raises UsageError unless a cell has numbers of ours."""
    _known(row, table.rows, where)
    _known(column, table.columns, where)
    if row not in table.rebuilt():
        reason = table.without or table.rows[row].without
        raise UsageError(f"{where}: expected a row that has runs, found {row} without ({reason}); compare another")
    if table.place(row, column) is None:
        raise UsageError(f"{where}: expected a column that applies, found {row} without {column}; compare another")


def _known(name: str, names: Iterable[str], where: str) -> None:
    names = list(names)
    if name not in names:
        raise UsageError(f"{where}: expected one of {', '.join(names)}, found {name!r}{near(name, names)}")


def _check(table: Table, where: str) -> None:
    """Raises UsageError where a table does not agree with itself."""
    if table.root and not re.fullmatch(ROOT, table.root):
        raise UsageError(f"{where}.root: expected FILE.json:KEY.KEY, found {table.root!r}; correct it")
    for key, column in table.columns.items():
        if "*" in column.ours.split(".") and column.better is None:
            raise UsageError(f"{where}.columns.{key}.better: expected lower or higher for *, found none; add it")
    for label, row in table.rows.items():
        for part, names in (("printed", row.printed), ("ours", row.ours)):
            for name in names:
                _known(name, table.columns, f"{where}.rows.{label}.{part}.{name}")
        for key in table.columns:
            place = table.place(label, key)
            if place and place.startswith("."):
                raise UsageError(f"{where}.root: expected the place that {place} continues, found none; add it")


def keys_of(place: str) -> list[str]:
    """The keys of a place, outermost first."""
    return place.partition(":")[2].split(".")
