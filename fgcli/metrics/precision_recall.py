"""Precision and recall by nearest neighbours (Kynkäänniemi et al. 2019)."""

from __future__ import annotations

from typing import Any

import numpy as np

from fgcli.config.fields import Count
from fgcli.metrics.distribution import Distribution, Score, require
from fgcli.metrics.neighbours import BLOCK, radii, squared_distances


class PrecisionRecall(Distribution):
    """Which share of images lies among the real ones, and which share of the real ones among them.

    Args:
        features: the extractor, an entry of fgcli.backbones.FEATURES.
        k: neighbours that a ball around an image reaches to (paper: 3).
    """

    prefix, better = "precision_recall", "higher"

    def __init__(self, features: str, k: Count = 3) -> None:
        super().__init__(features)
        self.k = k

    @property
    def protocol(self) -> dict[str, Any]:
        """Protocol."""
        return {
            "value": "share of images within reach of a reference image (precision), and the other way round (recall)",
            "better": self.better,
            "reach": f"distance to the image's {self.k}. nearest neighbour in its own set",
        }

    def compute(self, found: np.ndarray, reference: np.ndarray) -> Score:
        """`precision` and `recall`.

        Raises:
            FgError: an image has fewer than k others in its set.
        """
        require("precision and recall", self.k + 1, found, reference)
        middle = reference.mean(0, dtype=np.float64)  # distances of rows far from 0 lose digits
        found, reference = found - middle, reference - middle
        return Score({"precision": covered(found, reference, self.k), "recall": covered(reference, found, self.k)})


def covered(points: np.ndarray, centres: np.ndarray, k: int) -> float:
    """Share of float64 rows (n, d) that lie in a ball around one of (m, d), which reaches to its k-th neighbour."""
    reach = radii(centres, k)
    parts = [points[i : i + BLOCK] for i in range(0, len(points), BLOCK)]
    inside = [(squared_distances(part, centres) <= reach).any(1) for part in parts]
    return float(np.concatenate(inside).mean())
