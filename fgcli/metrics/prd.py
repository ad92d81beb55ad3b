"""Precision and recall of distributions: curves by clustering (Sajjadi et al. 2018)."""

from __future__ import annotations

from typing import Any

import numpy as np

from fgcli.metrics.distribution import Distribution, Score, require

CLUSTERS, ANGLES, RUNS, SEED = 20, 1001, 10, 0
"""The paper's: clusters of the union, points of the curve, clusterings averaged."""
EDGE = 1e-10
"""Radians by which the first and the last angle keep from 0 and pi/2, where the slope has no value."""


class PRD(Distribution):
    """F8, which weighs recall, and F1/8, which weighs precision, of the curve that trades one for the other.

    Args:
        features: the extractor, an entry of fgcli.backbones.FEATURES.
    """

    prefix, better = "prd", "higher"

    @property
    def protocol(self) -> dict[str, Any]:
        """Protocol."""
        return {
            "value": "highest F8 (recall) and F1/8 (precision) of the PRD curve, in [0, 1]",
            "better": self.better,
            "curve": f"{CLUSTERS} clusters by mini-batch k-means of both sets together, {ANGLES} angles, mean of "
            f"{RUNS} clusterings, seed {SEED}; of the larger set as many rows as the smaller has, drawn each time",
        }

    def compute(self, found: np.ndarray, reference: np.ndarray) -> Score:
        """`f8` and `f1_8`; the curve (2, angles) is kept: precision, then recall.

        Raises:
            FgError: fewer images in both sets together than clusters.
        """
        require("PRD", CLUSTERS // 2, found, reference)
        rng = np.random.default_rng(SEED)
        curves = [prd_curve(*histograms(found, reference, rng)) for _ in range(RUNS)]
        precision, recall = np.mean(curves, axis=0)
        numbers = {"f8": f_beta(precision, recall, 8.0), "f1_8": f_beta(precision, recall, 1 / 8)}
        return Score(numbers, np.stack([precision, recall]))


def histograms(found: np.ndarray, reference: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Shares of each set in the clusters of both together: two of (CLUSTERS,), each of sum 1."""
    from sklearn.cluster import MiniBatchKMeans

    size = min(len(found), len(reference))
    both = np.concatenate([rows[rng.choice(len(rows), size, replace=False)] for rows in (found, reference)])
    clustering = MiniBatchKMeans(CLUSTERS, n_init=10, random_state=int(rng.integers(2**31)))
    labels = clustering.fit(both).labels_
    counts = [np.bincount(part, minlength=CLUSTERS) / size for part in (labels[:size], labels[size:])]
    return counts[0], counts[1]


def prd_curve(found: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall (ANGLES,) of histograms Q (k,) against P (k,), in [0, 1].

    precision(s) = sum of min(s P, Q), recall(s) = precision(s) / s, at slopes s = tan(angle)
    """
    slopes = np.tan(np.linspace(EDGE, np.pi / 2 - EDGE, ANGLES))
    precision = np.minimum(slopes[:, None] * reference, found).sum(1)
    return precision.clip(0, 1), (precision / slopes).clip(0, 1)


def f_beta(precision: np.ndarray, recall: np.ndarray, beta: float) -> float:
    """The highest (1 + b^2) precision recall / (b^2 precision + recall) of a curve; 0 where both are."""
    below = beta**2 * precision + recall
    above = (1 + beta**2) * precision * recall
    return float(np.divide(above, below, out=np.zeros_like(above), where=below > 0).max())
