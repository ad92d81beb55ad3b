"""Fréchet distance of the features of two sets of images."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg

from fgcli.metrics.distribution import Distribution, Score, require

CHUNK = 512
"""Rows that are centred at a time: 8 MB of 2048 features, which stay in the cache until they are multiplied."""


class Frechet(Distribution):
    """Fréchet distance of the Gaussians fitted to the features of two sets; of Inception's features it is FID.

    Args:
        features: the extractor, an entry of fgcli.backbones.FEATURES.
    """

    prefix, better = "frechet", "lower"

    @property
    def protocol(self) -> dict[str, Any]:
        """Protocol."""
        fid = "this is FID" if self.features == "inception" else "not comparable with FID"
        return {
            "value": f"Fréchet distance of Gaussians, float64, unbiased covariances; {fid}",
            "better": self.better,
        }

    def compute(self, found: np.ndarray, reference: np.ndarray) -> Score:
        """The distance of the set from the reference.

        Raises:
            FgError: fewer than two images in a set.
        """
        return Score({"": frechet(reference, found)})

    def caveat(self, rows: int, size: int) -> str:
        """With fewer images than features the distance is biased upwards more than it says."""
        return f"biased: n = {rows} < {size} features" if rows < size else f"n = {rows}"


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance of the Gaussians fitted to rows (n, d) and (m, d), in float64.

    |ma - mb|^2 + tr(Sa) + tr(Sb) - 2 tr((Sa Sb)^(1/2)), with unbiased covariances.

    With more rows than features the covariances are positive definite and the eigenvalues of their product are the
    quickest; else the singular values of the product of the centred rows (of triangular factors where those are
    smaller) are, and they are exact where a covariance is singular: the root of a zero eigenvalue's rounding error is
    not small.

    Raises:
        FgError: fewer than two rows in a set.
    """
    require("Fréchet distance", 2, a, b)
    means = [x.mean(0, dtype=np.float64) for x in (a, b)]
    gap = means[0] - means[1]
    if min(len(a), len(b)) > a.shape[1]:
        covariances = [covariance(x, mean) for x, mean in zip((a, b), means, strict=True)]
        try:
            root = _by_eigenvalues(*covariances)
            return float(gap @ gap + sum(np.trace(s) for s in covariances) - 2 * root)
        except scipy.linalg.LinAlgError:  # features that depend on each other
            pass
    a, b = ((x - mean) / np.sqrt(len(x) - 1) for x, mean in zip((a, b), means, strict=True))
    return float(gap @ gap + (a * a).sum() + (b * b).sum() - 2 * _by_singular_values(a, b))


def covariance(rows: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Unbiased covariance (d, d) of rows (n, d) with this mean, float64: half the products of a plain A^T A.

    sum over x of (x - mean) (x - mean)^T / (n - 1)
    """
    total = np.zeros((len(mean), len(mean)), order="F")
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK] - mean
        total = scipy.linalg.blas.dsyrk(1 / (len(rows) - 1), part.T, beta=1.0, c=total, overwrite_c=True)
    return np.triu(total, 1).T + total  # dsyrk writes the upper triangle only


def _by_eigenvalues(a: np.ndarray, b: np.ndarray) -> float:
    """tr((Sa Sb)^(1/2)) of two covariances: with Sa = U^T U, Sa Sb has the eigenvalues of U Sb U^T, which is symmetric.

    Raises:
        LinAlgError: Sa is singular.
    """
    upper = scipy.linalg.cholesky(a, check_finite=False)
    half = scipy.linalg.blas.dtrmm(1.0, upper, b)
    values = scipy.linalg.eigvalsh(
        scipy.linalg.blas.dtrmm(1.0, upper, half, side=1, trans_a=1, overwrite_b=1), overwrite_a=True
    )
    return float(np.sqrt(np.maximum(values, 0)).sum())


def _by_singular_values(a: np.ndarray, b: np.ndarray) -> float:
    """The same of centred rows (n, d) and (m, d), with Sa = a^T a and Sb = b^T b."""
    a, b = (scipy.linalg.qr(x, mode="r")[0][: x.shape[1]] if len(x) > x.shape[1] else x for x in (a, b))
    return float(scipy.linalg.svdvals(a @ b.T).sum())
