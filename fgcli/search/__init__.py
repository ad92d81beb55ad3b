"""Search over codes for what scores best (Bayesian optimisation, as in Kusner et al. 2017).

A score has `(items, start) -> Scored`. A region has `draw(n, rng) -> codes (n, l, d)` and `holds(codes) -> (n,)`; it is
built with those it names of `codes`, which trained (n, l, d), `law`, a density of them, `edge`, the log-density of its
least likely code, and `start` (1, l, d).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class Scored:
    """What a score says of n items.

    Attributes:
        values: (n) float64, NaN where an item has none. valid: (n) bool, whether it may be the answer.
        measures: (n) float64 each, by name: what the values are made of.
    """

    values: np.ndarray
    valid: np.ndarray
    measures: Mapping[str, np.ndarray] = field(default_factory=dict)


class Score(ABC):
    """Says how good items are.

    Attributes:
        at_once: items that it is given at a time. starts: whether it compares them with a start.
    """

    at_once: ClassVar[int] = 64
    starts: bool = False

    @abstractmethod
    def __call__(self, items: Sequence[Item], start: Item) -> Scored:
        """Of items, and of the one that the search starts from, if it starts from one.

        Raises:
            FlawError: no number for one; see `function`.
        """


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
