"""Edits that are a step along one direction, the same from every code."""

from __future__ import annotations

from typing import Self

import numpy as np

from fgcli.artifacts import verify_arrays
from fgcli.editors import Editor, verify_size


class Directions(Editor):
    """z' = z + strength v.

    Attributes:
        directions: v (l, d) of each attribute.
    """

    def __init__(self) -> None:
        self.directions: dict[str, np.ndarray] = {}

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
