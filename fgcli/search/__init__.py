"""Search over codes for what scores best (Bayesian optimisation, as in Kusner et al. 2017).

A score has `names` of what it measures of an item, the value that is sought first, `measure(items, start) -> (n, m)`,
and `limits(start) -> (low, high)`, between which all must lie. A region has `draw(n, rng) -> codes (n, l, d)` and
`holds(codes) -> (n,)`; it is built with those it names of `codes`, which trained (n, l, d), `law`, a density of them,
`edge`, the log-density of the least likely codes of faces, and `start` (1, l, d).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

SCORES = {
    "attribute": "fgcli.search.attribute:Attribute",
    "identity": "fgcli.search.attribute:Identity",
    "function": "fgcli.search.function:Function",
}

REGIONS = {
    "box": "fgcli.search.regions:Box",
    "density": "fgcli.search.regions:Drawn",
    "near": "fgcli.search.regions:Near",
}

Item = np.ndarray | str | None
"""What a code is decoded to: a picture uint8 (h, w, 3) or a sentence; None where there is none."""


class Score(ABC):
    """Says how good items are, and which may be the answer.

    Attributes:
        names: of the m numbers that it measures of an item, the value that is sought first.
        at_once: items that it is given at a time. starts: whether it compares them with a start.
    """

    names: Sequence[str]
    at_once: ClassVar[int] = 64
    starts: bool = False

    @abstractmethod
    def measure(self, items: Sequence[Item], start: Item) -> np.ndarray:
        """(n, m) float64 of items, given the one that the search starts from if it does; NaN where there is no value.

        Raises:
            FlawError: no number for one; see `function`.
        """

    def limits(self, start: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """(m) between which measures of a valid item lie, given the start's (m): here anywhere."""
        ends = np.full(len(self.names), np.inf)
        return -ends, ends


class Region(ABC):
    """Where codes are sought.

    Attributes:
        scale: (l, d) the deviations of codes.
        starts: whether it lies around a code.
    """

    starts: ClassVar[bool] = False
    scale: np.ndarray

    @abstractmethod
    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """n codes (n, l, d) float32, most of them in it."""

    @abstractmethod
    def holds(self, codes: np.ndarray) -> np.ndarray:
        """(n) bool: which codes lie in it."""
