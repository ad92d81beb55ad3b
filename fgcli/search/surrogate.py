"""What a search believes of scores that it has not asked for: Gaussian processes, and what to ask next.

Expected improvement: E max(f - best, 0) = (m - best) F(u) + s f(u) with u = (m - best) / s, F and f of N(0, 1), of a
belief of mean m and deviation s (Jones et al. 1998); times the probability that the other measures lie between their
limits (Gardner et al. 2014). For several at once the Kriging believer (Ginsbourger et al. 2010) takes the mean of each
chosen one for its score: means stay, and the covariance K loses K_i K_i^T / (K_ii + noise).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular
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


@dataclass(frozen=True)
class Aim:
    """What is sought of m measures: the first to be above `best`, all between `low` and `high` (m)."""

    best: float
    low: np.ndarray
    high: np.ndarray

    def within(self, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
        """(n) the probability that all lie between their limits, of beliefs (n, m)."""
        spread = np.maximum(deviation, 1e-12)
        return (ndtr((self.high - mean) / spread) - ndtr((self.low - mean) / spread)).prod(1)

    def promise(self, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
        """(n) the improvement that is expected of beliefs (n, m)."""
        return expected_improvement(mean[:, 0], deviation[:, 0], self.best) * self.within(mean, deviation)


class Surrogate:
    """Gaussian processes of m measures over rows (n, d) of scaled codes, all alike but for their units.

    The kernel is a bump of one length scale, a plane, which leads beyond what is known, where a bump returns to the
    mean, and noise. All are learned without a tenth of the rows, by which they are judged; then all rows are data.

    Args:
        theta: logarithms of the kernel's numbers to learn from, those of a round before; None: our own.

    Attributes:
        held_out: `error`, root mean squared, and `correlation` (0 where there is none) of the first on that tenth.
        theta: logarithms of the kernel's numbers.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, rng: np.random.Generator, theta: np.ndarray | None = None) -> None:
        self.centre, self.mean, spread = x.mean(0), y.mean(0), y.std(0)
        self.deviation = np.where(spread > 0, spread, 1.0)
        x, scaled = x - self.centre, (y - self.mean) / self.deviation
        out, rest = np.split(rng.permutation(len(x)), [-(-len(x) // TENTH)])
        bump = ConstantKernel(1.0, (1e-3, 1e3)) * RBF(float(np.sqrt(x.shape[1])), (0.1, 1e4))
        plane = ConstantKernel(1e-2, (1e-8, 1e2)) * DotProduct(1.0, (1e-3, 1e3))
        kernel = bump + plane + WhiteKernel(1e-2, (1e-6, 1))
        if theta is not None:
            kernel = kernel.clone_with_theta(theta)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a length or a noise at its bound is no fault
            learned = GaussianProcessRegressor(kernel, random_state=0).fit(x[rest], scaled[rest])
        said, true = learned.predict(x[out]).reshape(len(out), -1)[:, 0], scaled[out, 0]
        error = float(np.sqrt(np.mean((said - true) ** 2)) * self.deviation[0])
        alike = np.ptp(said) > 0 and np.ptp(true) > 0
        self.held_out = {"error": error, "correlation": float(np.corrcoef(said, true)[0, 1]) if alike else 0.0}
        self.noise, self.theta = float(learned.kernel_.k2.noise_level), learned.kernel_.theta
        self.process = GaussianProcessRegressor(learned.kernel_, optimizer=None).fit(x, scaled)

    def belief(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation (n, m), the noise of an answer not counted."""
        mean, explained = self._known(x)
        variance = self.process.kernel_.diag(x - self.centre) - self.noise - (explained**2).sum(0)
        return mean, np.sqrt(np.maximum(variance, 0))[:, None] * self.deviation

    def batch(self, x: np.ndarray, aim: Aim, size: int) -> list[int]:
        """The places of the `size` rows that promise most, each believing that those before came true."""
        mean, explained = self._known(x)
        covariance = self.process.kernel_(x - self.centre) - explained.T @ explained
        covariance[np.diag_indices(len(x))] -= self.noise
        chosen: list[int] = []
        for _ in range(size):
            deviation = np.sqrt(np.maximum(np.diag(covariance), 0))[:, None] * self.deviation
            promise = aim.promise(mean, deviation)
            promise[chosen] = -np.inf
            i = int(np.argmax(promise))
            chosen.append(i)
            covariance = believed(covariance, i, self.noise)
            if aim.within(mean[i : i + 1], deviation[i : i + 1])[0] > 0.5:
                aim = Aim(max(aim.best, float(mean[i, 0])), aim.low, aim.high)
        return chosen

    def _known(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The mean (n, m), and what the data (N) explain (N, n), whose squares the variances lose."""
        process = self.process
        across = process.kernel_(x - self.centre, process.X_train_)
        mean = (across @ process.alpha_).reshape(len(x), -1) * self.deviation + self.mean
        return mean, solve_triangular(process.L_, across.T, lower=True)


def believed(covariance: np.ndarray, i: int, noise: float) -> np.ndarray:
    """The covariance (n, n) once row i has been seen: K - K_i K_i^T / (K_ii + noise)."""
    row = covariance[i]
    return covariance - np.outer(row, row) / max(row[i] + noise, 1e-12)
