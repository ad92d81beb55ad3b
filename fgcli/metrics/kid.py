"""Kernel distance of the features of two sets of images (Bińkowski et al. 2018)."""

from __future__ import annotations

from typing import Any

import numpy as np

from fgcli.metrics.distribution import Distribution, Score, require

SUBSETS, SIZE, SEED = 100, 1000, 0
"""Pairs of subsets, rows of each, and the seed that draws them: the paper's protocol."""


class KID(Distribution):
    """Unbiased squared maximum mean discrepancy under a cubic kernel; of Inception's features it is KID.

    Args:
        features: the extractor, an entry of fgcli.backbones.FEATURES.
    """

    prefix, better = "kid", "lower"

    @property
    def protocol(self) -> dict[str, Any]:
        """Protocol."""
        return {
            "value": "unbiased squared MMD, kernel (x.y / d + 1)^3, mean over subsets; below 0 by chance",
            "better": self.better,
            "subsets": f"{SUBSETS} of {SIZE} rows, seed {SEED}; of all rows of the smaller set where there are fewer",
        }

    def compute(self, found: np.ndarray, reference: np.ndarray) -> Score:
        """The mean over subsets; the value of each is kept.

        Raises:
            FgError: fewer than two images in a set.
        """
        require("KID", 2, found, reference)
        size = min(SIZE, len(found), len(reference))
        count = 1 if size == len(found) == len(reference) else SUBSETS
        rng = np.random.default_rng(SEED)
        pairs = (
            [rows[rng.choice(len(rows), size, replace=False)] for rows in (found, reference)] for _ in range(count)
        )
        values = np.array([squared_mmd(a, b) for a, b in pairs])
        return Score({"": float(values.mean())}, values)


def squared_mmd(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased squared MMD of rows (n, d) and (m, d) under k(x, y) = (x.y / d + 1)^3, in float64.

    mean over i != j of k(a_i, a_j) + mean over i != j of k(b_i, b_j) - 2 mean of k(a_i, b_j)
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    aa, bb, ab = (kernel(x, y) for x, y in ((a, a), (b, b), (a, b)))
    within = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in (aa, bb)]
    return float(sum(within) - 2 * ab.mean())


def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(x.y / d + 1)^3 of rows (n, d) and (m, d): (n, m)."""
    base = a @ b.T / a.shape[1] + 1
    return base * base * base
