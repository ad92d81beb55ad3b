"""Fréchet distance of the features of two sets of images."""

from __future__ import annotations

from typing import Any

import numpy as np

from fgcli.frechet import Gaussian, frechet
from fgcli.metrics.distribution import Distribution, Score


class Frechet(Distribution):
    """Fréchet distance of the Gaussians fitted to the features of two sets; of Inception's features it is FID.

    Args:
        features: the extractor, an entry of fgcli.backbones.FEATURES.
    """

    prefix, better, jackknifed = "frechet", "lower", True

    @property
    def protocol(self) -> dict[str, Any]:
        """Protocol."""
        fid = "this is FID" if self.features == "inception" else "not comparable with FID"
        return {
            "value": f"Fréchet distance of Gaussians, float64, unbiased covariances; {fid}",
            "better": self.better,
        }

    def prepare(self, reference: np.ndarray) -> Gaussian:
        """The reference's Gaussian; its covariance and triangular factor are computed once for all sets."""
        return Gaussian(reference)

    def compute(self, found: np.ndarray, reference: Gaussian) -> Score:
        """The distance of the set from the reference.

        Raises:
            FgError: fewer than two images in a set.
        """
        return Score({"": frechet(reference, Gaussian(found))})

    def caveat(self, rows: int, size: int) -> str:
        """With fewer images than features the distance is biased upwards more than it says."""
        return f"biased: n = {rows} < {size} features" if rows < size else f"n = {rows}"
