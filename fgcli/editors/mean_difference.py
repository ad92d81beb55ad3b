"""The step from the mean code without an attribute to the mean code with it, weighted as in matching."""

from __future__ import annotations

from typing import Self

import numpy as np

from fgcli.artifacts import verify_arrays
from fgcli.editors import Editor, verify_size
from fgcli.editors.matching import Problem


class MeanDifference(Editor):
    """z' = z + strength (mean of the target - mean of the source).

    Args:
        match: attributes whose combinations weigh equally on both sides; empty for plain means, None for those that
            the training rows suggest (see choice.matched).
    """

    def __init__(self, match: list[str] | None = None) -> None:
        self.match = match
        self.directions: dict[str, np.ndarray] = {}

    def fit(self, task: Problem, seed: int) -> dict[str, float]:
        """Learns one attribute; returns the length of the step."""
        a, b = task.weights
        direction = np.einsum("n,nld->ld", b, task.target) - np.einsum("n,nld->ld", a, task.source)
        self.directions[task.attribute] = direction.astype(np.float32)
        return {"length": float(np.linalg.norm(direction))}

    def edit(self, codes: np.ndarray, attribute: str, strength: float) -> np.ndarray:
        """Edited codes (n, l, d); raises FlawError where they are of another size."""
        verify_size(self.directions[attribute], codes)
        return codes + np.float32(strength) * self.directions[attribute]

    def arrays(self) -> dict[str, np.ndarray]:
        """What a file keeps."""
        return dict(self.directions)

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Self:
        """The editor that `arrays` gave; raises FlawError where they are none's."""
        verify_arrays(arrays, dict.fromkeys(arrays, "l d"))
        editor = cls()
        editor.directions = arrays
        return editor
