"""Source and target codes of an edit, weighted so that only the attribute tells them apart (Doubinsky et al., 3.2).

With A a combination of the matched attributes and n_s^A, n_t^A its codes on either side, a source code weighs
n_t^A / (n_t n_s^A). The printed 1 / (n_t^A n_s^A) neither sums to 1 nor gives the target's share of A.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from fgcli.classifiers.judges import LatentJudge
from fgcli.errors import FgError


@dataclass(frozen=True)
class Witness:
    """A judge of codes, and what it is to see of an edit of one attribute.

    Attributes:
        judge: of k attributes.
        place: of the edited one.
        kept: 1 - gamma (k), gamma the absolute correlation of each attribute with it; 0 for itself.
        spread: (k) standard deviations of the judge's logits over training codes: judges are as sure as they like.
    """

    judge: LatentJudge
    place: int
    kept: Tensor
    spread: Tensor

    @classmethod
    def of(
        cls, judge: LatentJudge, names: Sequence[str], attribute: str, labels: np.ndarray, spread: Tensor
    ) -> Witness:
        """By the labels (n, k) in {-1, 0, 1} of training rows; of two attributes those known in both count."""
        place = names.index(attribute)
        own, correlation = labels[:, place], np.ones(len(names))
        for k in range(len(names)):
            known = (own >= 0) & (labels[:, k] >= 0)
            pair = own[known], labels[known, k]
            if k != place:
                vary = min(np.ptp(side) if len(side) else 0 for side in pair) > 0
                correlation[k] = abs(np.corrcoef(*pair)[0, 1]) if vary else 0.0
        return cls(judge, place, torch.from_numpy(1 - correlation).float(), spread)

    def features(self, codes: Tensor) -> Tensor:
        """sqrt(1 - gamma) times the judge's logits (n, k) of codes (n, l, d), over their spread."""
        return self.kept.sqrt() / self.spread * self.judge(codes)


@dataclass(frozen=True)
class Problem:
    """Codes without an attribute and with it, and what they are matched on.

    Attributes:
        attribute: its name.
        source: (n_s, l, d) codes without it. source_groups: (n_s, m), their matched attributes.
        target: (n_t, l, d) codes with it. target_groups: (n_t, m).
        witness: sees what an edit does; none where no editor asked for one.
        layers: those of the codes that the edit may move; all if none is named.
    """

    attribute: str
    source: np.ndarray
    target: np.ndarray
    source_groups: np.ndarray
    target_groups: np.ndarray
    witness: Witness | None = None
    layers: tuple[int, ...] | None = None

    @property
    def witnessed(self) -> Witness:
        """The witness; whoever asks has declared that it is `judged`."""
        assert self.witness is not None
        return self.witness

    @cached_property
    def weights(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights (n_s), (n_t), of sum 1 each; all 0 when the sides share no combination."""
        return weights(self.source_groups, self.target_groups)

    def part(self, source: np.ndarray, target: np.ndarray) -> Problem:
        """Some rows of each side; their weights are counted anew."""
        groups = {"source_groups": self.source_groups[source], "target_groups": self.target_groups[target]}
        return replace(self, source=self.source[source], target=self.target[target], **groups)

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
