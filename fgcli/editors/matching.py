"""Source and target codes of an edit, weighted so that only the attribute tells them apart (Doubinsky et al., 3.2).

With A a combination of the matched attributes and n_s^A, n_t^A its codes on either side, a source code weighs
n_t^A / (n_t n_s^A). The printed 1 / (n_t^A n_s^A) neither sums to 1 nor gives the target's share of A.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fgcli.errors import FgError


@dataclass(frozen=True)
class Problem:
    """Codes without an attribute and with it, and what they are matched on.

    Attributes:
        attribute: its name.
        source: (n_s, l, d) codes without it. source_groups: (n_s, m), their matched attributes.
        target: (n_t, l, d) codes with it. target_groups: (n_t, m).
    """

    attribute: str
    source: np.ndarray
    target: np.ndarray
    source_groups: np.ndarray
    target_groups: np.ndarray

    @cached_property
    def weights(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights (n_s), (n_t), of sum 1 each; all 0 when the sides share no combination."""
        return weights(self.source_groups, self.target_groups)

    def part(self, source: np.ndarray, target: np.ndarray) -> Problem:
        """Some rows of each side; their weights are counted anew."""
        groups = self.source_groups[source], self.target_groups[target]
        return Problem(self.attribute, self.source[source], self.target[target], *groups)

    def split(self, share: float, seed: int | list[int]) -> tuple[Problem, Problem]:
        """Random parts of 1 - share and of `share`, of each side."""
        rng = np.random.default_rng(seed)
        s, t = rng.permutation(len(self.source)), rng.permutation(len(self.target))
        i, j = round(len(s) * (1 - share)), round(len(t) * (1 - share))
        return self.part(s[:i], t[:j]), self.part(s[i:], t[j:])


def problem(
    codes: np.ndarray, attributes: np.ndarray, names: list[str], attribute: str, match: tuple[str, ...]
) -> Problem:
    """The codes of one attribute, matched on the attributes `match`; unknown counts as a value of its own.

    Args:
        codes: (n, l, d). attributes: (n, k) in {-1, 0, 1}. names: of the k attributes.

    Raises:
        FgError: no combination that has codes on both sides.
    """
    labels = attributes[:, names.index(attribute)]
    others = attributes[:, [names.index(m) for m in match if m != attribute]]
    s, t = labels == 0, labels == 1
    task = Problem(attribute, codes[s], codes[t], others[s], others[t])
    if not task.weights[0].any():
        on = f" in any combination of {', '.join(match)}" if match else ""
        raise FgError(
            f"attribute {attribute}: expected training faces with and without it, found {t.sum()} and {s.sum()}, "
            f"none on both sides{on}; match fewer attributes or add photos"
        )
    return task


def weights(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights (n_s), (n_t) of rows of matched attributes (n_s, m), (n_t, m): equal shares of each combination.

    Combinations that only one side has weigh nothing; both sides are zero when they share none.

    >>> weights(np.array([[0], [0], [1]]), np.array([[0], [1], [1]]))[0].round(3).tolist()
    [0.167, 0.167, 0.667]
    """
    both = np.concatenate([source, target])
    _, which = np.unique(both, axis=0, return_inverse=True) if both.shape[1] else (None, np.zeros(len(both), int))
    s, t = which.reshape(-1)[: len(source)], which.reshape(-1)[len(source) :]
    size = which.max(initial=0) + 1
    n_s, n_t = np.bincount(s, minlength=size), np.bincount(t, minlength=size)
    shared = (n_s > 0) & (n_t > 0)
    a, b = np.where(shared, n_t / np.maximum(n_s, 1), 0)[s], shared[t].astype(float)
    total = b.sum()
    return (a / total, b / total) if total else (a, b)
