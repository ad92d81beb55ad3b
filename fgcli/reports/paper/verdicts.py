"""Whether a paper's claims hold for our numbers: each comparison for the mean over the seeds, and seed by seed."""

from __future__ import annotations

import operator
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fgcli.intervals import interval
from fgcli.reports.paper.layout import Claim, Comparison, Table, comparisons
from fgcli.reports.paper.runs import Cell, spread

SIGNS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
HOLDS, UNCLEAR, FAILS, MIXED, UNMEASURED = "holds", "not clearly", "does not hold", "mixed", "not measured"


@dataclass(frozen=True)
class Outcome:
    """One comparison on our runs, over the seeds that both sides have.

    Attributes:
        comparison: what is compared. key: at which key of a `*` place; empty without one.
        left, right: means over the seeds. differences: left - right by seed. held: seeds in which it holds.
        interval: around the mean difference, over people; None where the runs keep no trials.
        holds: whether it holds for the means; None where a side has no number. gap: then why.
    """

    comparison: Comparison
    key: str = ""
    left: float = 0.0
    right: float = 0.0
    differences: dict[int, float] = field(default_factory=dict)
    interval: tuple[float, float] | None = None
    held: int = 0
    holds: bool | None = None
    gap: str = ""

    @property
    def text(self) -> str:
        """The comparison, and where."""
        return self.comparison.text + (f" at {self.key}" if self.key else "")

    @property
    def mean(self) -> float:
        """Mean difference."""
        return statistics.fmean(self.differences.values())

    @property
    def spread(self) -> float | None:
        """Standard deviation of the differences (n - 1)."""
        return spread(list(self.differences.values()))

    @property
    def clear(self) -> bool:
        """Whether the interval, where there is one, leaves out 0."""
        return self.interval is None or self.interval[0] > 0 or self.interval[1] < 0

    @property
    def margins(self) -> dict[int, float]:
        """By how much it holds in each seed, % of the right side, below 0 where it does not; none if that is 0."""
        if not self.right:
            return {}
        sign = -1 if self.comparison.sign.startswith("<") else 1
        return {seed: sign * 100 * d / abs(self.right) for seed, d in self.differences.items()}


@dataclass(frozen=True)
class Printed:
    """A comparison on the paper's own table."""

    comparison: Comparison
    left: float
    right: float
    holds: bool


@dataclass(frozen=True)
class Judged:
    """A claim with its verdict."""

    claim: Claim
    outcomes: list[Outcome]
    printed: list[Printed]
    verdict: str

    @property
    def score(self) -> tuple[int, int]:
        """How many comparisons hold, of how many."""
        return sum(o.holds is True for o in self.outcomes), len(self.outcomes)

    @property
    def clearly(self) -> int | None:
        """How many hold with an interval that leaves out 0; None where there are no intervals."""
        if all(o.interval is None for o in self.outcomes):
            return None
        return sum(o.holds is True and o.clear for o in self.outcomes)


def judge(claim: Claim, table: Table, cells: Mapping[str, Mapping[str, Cell]]) -> Judged:
    """A claim on the cells of its table."""
    compared = comparisons(claim, table)
    outcomes = [outcome for c in compared for outcome in _outcomes(c, cells)]
    held = [(o.holds, o.clear) for o in outcomes]
    return Judged(claim, outcomes, _printed(compared, table), verdict(held, bool(claim.any)))


def verdict(outcomes: Sequence[tuple[bool | None, bool]], one_is_enough: bool) -> str:
    """A word for which comparisons hold (True, False, or None where a number is missing), and whether clearly.

    >>> verdict([(True, True), (True, False)], one_is_enough=False)
    'not clearly'
    """
    holds = [held for held, _ in outcomes]
    if one_is_enough and True in holds:
        return HOLDS if (True, True) in outcomes else UNCLEAR
    if None in holds and (one_is_enough or False not in holds):
        return UNMEASURED
    if False not in holds:
        return HOLDS if all(clear for _, clear in outcomes) else UNCLEAR
    return MIXED if True in holds else FAILS


def _outcomes(comparison: Comparison, cells: Mapping[str, Mapping[str, Cell]]) -> list[Outcome]:
    """One for the cell, or one for each key of a `*` place."""
    left = cells[comparison.row][comparison.column]
    right = comparison.right if isinstance(comparison.right, float) else cells[comparison.right[0]][comparison.right[1]]
    if left.gap or (isinstance(right, Cell) and right.gap):
        return [Outcome(comparison, gap=left.gap or (right.gap if isinstance(right, Cell) else ""))]
    if isinstance(right, float):
        return [_outcome(comparison, key, seeds, right) for key, seeds in (left.keys or {"": left.seeds}).items()]
    found = [
        _outcome(comparison, key, left.keys.get(key, left.seeds), right.keys.get(key, right.seeds))
        for key in left.keys or right.keys or [""]
    ]
    return [replace(o, interval=_interval(o, left, right)) for o in found]


def _interval(outcome: Outcome, left: Cell, right: Cell) -> tuple[float, float] | None:
    """Around the mean difference: the seeds' trials are of the same people, so that they are averaged."""
    seeds = sorted(outcome.differences.keys() & left.replicates.keys() & right.replicates.keys())
    if outcome.key or not seeds or len(seeds) < len(outcome.differences):
        return None
    trials = np.mean([left.replicates[s] - right.replicates[s] for s in seeds], axis=0)
    if not np.isfinite(trials).all():
        return None
    return interval(outcome.mean, trials, left.jackknifed)


def _outcome(
    comparison: Comparison, key: str, left: Mapping[int, float], right: Mapping[int, float] | float
) -> Outcome:
    against = dict.fromkeys(left, right) if isinstance(right, float) else right
    seeds = sorted(left.keys() & against.keys())
    if not seeds:
        return Outcome(comparison, key, gap="the two sides have no seed in common")
    holds = SIGNS[comparison.sign]
    mean, other = (statistics.fmean(side[s] for s in seeds) for side in (left, against))
    return Outcome(
        comparison,
        key,
        mean,
        other,
        differences={s: left[s] - against[s] for s in seeds},
        held=sum(holds(left[s], against[s]) for s in seeds),
        holds=holds(mean, other),
    )


def _printed(compared: Sequence[Comparison], table: Table) -> list[Printed]:
    """The comparisons of which the paper prints both sides."""
    found = []
    for c in compared:
        left = table.rows[c.row].printed.get(c.column)
        right = c.right if isinstance(c.right, float) else table.rows[c.right[0]].printed.get(c.right[1])
        if left is not None and right is not None:
            found.append(Printed(c, left, right, SIGNS[c.sign](left, right)))
    return found
