"""Are images as sharp as real ones (Tolstikhin et al. 2018)."""

from __future__ import annotations

from typing import Any

import numpy as np

from fgcli.errors import FgError
from fgcli.metrics.distribution import Distribution, Score


class Sharpness(Distribution):
    """Mean sharpness of a set over that of the reference: below 1 it is blurred, above 1 it has noise."""

    prefix, better, jackknifed = "sharpness", "one", True

    def __init__(self) -> None:
        super().__init__("laplacian")
        self.name = "sharpness"

    @property
    def protocol(self) -> dict[str, Any]:
        """Protocol."""
        return {"value": "mean sharpness of the set over that of the reference", "better": self.better}

    def compute(self, found: np.ndarray, reference: np.ndarray) -> Score:
        """The ratio of the means.

        Raises:
            FgError: the reference has one colour everywhere.
        """
        scale = np.mean(reference, dtype=np.float64)
        if scale == 0:
            raise FgError("sharpness: expected reference images with more than one colour, found none; check the faces")
        return Score({"": float(np.mean(found, dtype=np.float64) / scale)})
