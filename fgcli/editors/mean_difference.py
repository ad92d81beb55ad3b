"""The step from the mean code without an attribute to the mean code with it, weighted as in matching."""

from __future__ import annotations

import numpy as np

from fgcli.editors import Learns
from fgcli.editors.directions import Directions
from fgcli.editors.matching import Problem


class MeanDifference(Directions, Learns):
    """z' = z + strength (mean of the target - mean of the source).

    Args:
        match: attributes whose combinations weigh equally on both sides; empty for plain means, None for those that
            the training rows suggest (see choice.matched).
    """

    def __init__(self, match: list[str] | None = None) -> None:
        super().__init__()
        self.match = match

    def fit(self, task: Problem, seed: int) -> dict[str, float]:
        """Learns one attribute; returns the length of the step."""
        a, b = task.weights
        direction = np.einsum("n,nld->ld", b, task.target) - np.einsum("n,nld->ld", a, task.source)
        self.directions[task.attribute] = direction.astype(np.float32)
        return {"length": float(np.linalg.norm(direction))}
