"""Fréchet distance of Gaussians, exact and quick."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import scipy.linalg

from fgcli.artifacts.mapped import Chosen
from fgcli.errors import FgError

CHUNK = 2048
"""Rows that are centred at a time: 32 MB of 2048 features, so that many rows need little memory."""


class Gaussian:
    """The Gaussian fitted to rows (n, d), in float64; each of its parts is computed when it is first asked for."""

    def __init__(self, rows: np.ndarray | Chosen) -> None:
        self.rows = rows
        total = sum((part.sum(0, dtype=np.float64) for part in self.parts()), np.zeros(rows.shape[1]))
        self.mean = total / max(1, len(rows))
        self.full = len(rows) > rows.shape[1]
        """Whether there are rows enough for a covariance that is positive definite."""

    def parts(self) -> Iterator[np.ndarray]:
        """The rows, CHUNK at a time."""
        return (self.rows[start : start + CHUNK] for start in range(0, len(self.rows), CHUNK))

    @cached_property
    def covariance(self) -> np.ndarray:
        """Upper triangle (d, d) of the unbiased covariance: half the products of a plain A^T A.

        sum over x of (x - mean) (x - mean)^T / (n - 1)
        """
        total = np.zeros((len(self.mean), len(self.mean)), order="F")
        for part in self.parts():
            centred = (part - self.mean).T
            total = scipy.linalg.blas.dsyrk(1 / (len(self.rows) - 1), centred, beta=1.0, c=total, overwrite_c=True)
        return total

    @cached_property
    def cholesky(self) -> np.ndarray:
        """Upper U (d, d) with U^T U = covariance.

        Raises:
            LinAlgError: the covariance is singular.
        """
        return scipy.linalg.cholesky(self.covariance, check_finite=False)

    @cached_property
    def factor(self) -> np.ndarray:
        """A (k, d) with A^T A = covariance: the centred rows, or their triangular factor where that is smaller.

        [R; X] = Q R' gives R'^T R' = R^T R + X^T X, so the factor of all rows is made part by part.
        """
        scale = np.sqrt(len(self.rows) - 1)
        if not self.full:
            return (self.rows[:] - self.mean) / scale
        found = np.zeros((0, len(self.mean)))
        for part in self.parts():
            both = np.concatenate([found, (part - self.mean) / scale])
            found = scipy.linalg.qr(both, mode="r", overwrite_a=True, check_finite=False)[0][: len(self.mean)]
        return found


def frechet(a: Gaussian, b: Gaussian) -> float:
    """Fréchet distance of two Gaussians, in float64; what is slow about `a` is kept for the next call.

    |ma - mb|^2 + tr(Sa) + tr(Sb) - 2 tr((Sa Sb)^(1/2))

    With more rows than features the covariances are positive definite and the eigenvalues of their product are the
    quickest; else the singular values of the product of their factors are, and they are exact where a covariance is
    singular: the root of a zero eigenvalue's rounding error is not small.

    Raises:
        FgError: one was fitted to fewer than two rows.
    """
    if min(len(a.rows), len(b.rows)) < 2:
        found = f"{len(a.rows)} and {len(b.rows)}"
        raise FgError(f"Fréchet distance: expected at least 2 images in each set, found {found}; measure more")
    gap = a.mean - b.mean
    if a.full and b.full:
        try:
            root = _by_eigenvalues(a, b)
            return float(gap @ gap + sum(np.trace(g.covariance) for g in (a, b)) - 2 * root)
        except scipy.linalg.LinAlgError:  # features that depend on each other
            pass
    return float(gap @ gap + sum((g.factor**2).sum() for g in (a, b)) - 2 * _by_singular_values(a, b))


def _by_eigenvalues(a: Gaussian, b: Gaussian) -> float:
    """tr((Sa Sb)^(1/2)): with Sa = U^T U, Sa Sb has the eigenvalues of U Sb U^T, which is symmetric.

    Raises:
        LinAlgError: Sa is singular.
    """
    product, _ = scipy.linalg.lapack.dsygst(b.covariance, a.cholesky, itype=2)
    values = scipy.linalg.eigvalsh(product, lower=False, overwrite_a=True, check_finite=False)
    return float(np.sqrt(np.maximum(values, 0)).sum())


def _by_singular_values(a: Gaussian, b: Gaussian) -> float:
    """The same: with Sa = A^T A and Sb = B^T B, the singular values of A B^T."""
    return float(scipy.linalg.svdvals(a.factor @ b.factor.T).sum())
