"""What a search believes of scores that it has not asked for: a Gaussian process, and what to ask next.

Expected improvement: E max(f - best, 0) = (m - best) F(u) + s f(u) with u = (m - best) / s, F and f of N(0, 1), of a
belief of mean m and deviation s (Jones et al. 1998). For several at once the Kriging believer (Ginsbourger et al. 2010)
takes the mean of each chosen one for its score: means stay, and the covariance K loses K_i K_i^T / (K_ii + noise).
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy.special import ndtr
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel

TENTH = 10
"""One of so many rows is held out, to say how well the others predict it."""


def expected_improvement(mean: np.ndarray, deviation: np.ndarray, best: float) -> np.ndarray:
    """(n) of beliefs (n) of what is to be large.

    >>> expected_improvement(np.array([0.0, 2.0]), np.array([1.0, 0.0]), 0.0).round(4).tolist()
    [0.3989, 2.0]
    """
    gain = mean - best
    u = gain / np.maximum(deviation, 1e-12)
    return gain * ndtr(u) + deviation * np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)


class Surrogate:
    """A Gaussian process over rows (n, d) of scaled codes: a bump of one length scale, a plane, and noise.

    The plane leads beyond what is known, where a bump returns to the mean. All three are learned without a tenth of the
    rows, by which the process is judged; then all rows are its data.

    Attributes:
        held_out: `error`, root mean squared, and `correlation` (0 where there is none) on that tenth.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> None:
        self.centre = x.mean(0)
        x = x - self.centre
        self.mean, self.deviation = float(y.mean()), float(y.std()) or 1.0
        scaled = (y - self.mean) / self.deviation
        order = rng.permutation(len(x))
        out, rest = order[: -(-len(x) // TENTH)], order[-(-len(x) // TENTH) :]
        bump = ConstantKernel(1.0, (1e-3, 1e3)) * RBF(float(np.sqrt(x.shape[1])), (0.1, 1e4))
        plane = ConstantKernel(1e-2, (1e-8, 1e2)) * DotProduct(1.0, (1e-3, 1e3))
        kernel = bump + plane + WhiteKernel(1e-2, (1e-6, 1))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a length or a noise at its bound is no fault
            learned = GaussianProcessRegressor(kernel, random_state=0).fit(x[rest], scaled[rest])
        said = learned.predict(x[out])
        error = float(np.sqrt(np.mean((said - scaled[out]) ** 2)) * self.deviation)
        alike = np.ptp(said) > 0 and np.ptp(scaled[out]) > 0
        self.held_out = {
            "error": error,
            "correlation": float(np.corrcoef(said, scaled[out])[0, 1]) if alike else 0.0,
        }
        self.noise = float(learned.kernel_.k2.noise_level)
        self.process: Any = GaussianProcessRegressor(learned.kernel_, optimizer=None).fit(x, scaled)

    def belief(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation (n), the noise of an answer not counted."""
        mean, deviation = self.process.predict(x - self.centre, return_std=True)
        alone = np.sqrt(np.maximum(deviation**2 - self.noise, 0))
        return mean * self.deviation + self.mean, alone * self.deviation

    def batch(self, x: np.ndarray, best: float, size: int) -> list[int]:
        """The places of the `size` rows that promise most over `best`, each believing that those before came true."""
        mean, covariance = self.process.predict(x - self.centre, return_cov=True)
        covariance[np.diag_indices(len(x))] -= self.noise
        best = (best - self.mean) / self.deviation
        chosen: list[int] = []
        for _ in range(size):
            spread = np.sqrt(np.maximum(np.diag(covariance), 0))
            promise = expected_improvement(mean, spread, best)
            promise[chosen] = -np.inf
            i = int(np.argmax(promise))
            chosen.append(i)
            covariance = believed(covariance, i, self.noise)
            best = max(best, float(mean[i]))
        return chosen


def believed(covariance: np.ndarray, i: int, noise: float) -> np.ndarray:
    """The covariance (n, n) once row i has been seen: K - K_i K_i^T / (K_ii + noise)."""
    row = covariance[i]
    return covariance - np.outer(row, row) / max(row[i] + noise, 1e-12)
