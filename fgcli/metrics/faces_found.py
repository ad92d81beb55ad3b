"""In how many images a detector finds a face."""

from __future__ import annotations

from typing import Any

import numpy as np

from fgcli.metrics.distribution import Distribution, Score


class FacesFound(Distribution):
    """Share of a set's images in which the detector finds a face; that of real images stands beside it."""

    prefix, better, alone, jackknifed = "faces_found", "higher", True, True

    def __init__(self) -> None:
        super().__init__("face_detector")
        self.name = "faces_found"

    @property
    def protocol(self) -> dict[str, Any]:
        """Protocol."""
        return {"value": "share of images with a face; the mean face is taken for one, too", "better": self.better}

    def compute(self, found: np.ndarray, reference: Any) -> Score:
        """The share."""
        return Score({"": float(np.mean(found, dtype=np.float64))})
