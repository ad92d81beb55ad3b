"""The Fréchet distance of fg against scipy's matrix square root and torch-fidelity: python benchmarks/frechet.py

The same float32 features in, one number out, in float64, in two steps: the statistics of each set (mean, covariance),
and the distance of two statistics. "sqrtm" is what pytorch-fid does: numpy's covariances, then scipy.linalg.sqrtm of
their product. torch-fidelity takes the eigenvalues of the product, which is not symmetric; its own two functions run.
Shown are the whole, the whole where the statistics of the reference are known (every set but the first), and the second
step alone. With as many rows as features or fewer the covariances are singular: the relative errors are against the
singular values in float64. Every repeat runs all in turn; medians are shown. Needs: pip install torch-fidelity
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from fgcli.frechet import Gaussian, frechet


def features(rows: int, size: int, seed: int) -> np.ndarray:
    """Rows (n, d) float32 that depend on each other and are not below 0, as after a network's last ReLU."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(0).normal(size=(size, size)) / np.sqrt(size)
    return np.maximum(rng.normal(0.1 * seed, 1, (rows, size)) @ mixing + 0.3, 0).astype(np.float32)


def fg_statistics(rows: np.ndarray) -> Gaussian:
    """Of fg: a covariance where there are rows enough, else the centred rows."""
    found = Gaussian(rows)
    _ = found.covariance if found.full else found.factor
    return found


def sqrtm_statistics(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As pytorch-fid."""
    return rows.mean(0, dtype=np.float64), np.cov(rows, rowvar=False)


def sqrtm_distance(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> float:
    """As pytorch-fid."""
    (ma, sa), (mb, sb) = a, b
    root = scipy.linalg.sqrtm(sa @ sb).real
    return float((ma - mb) @ (ma - mb) + np.trace(sa) + np.trace(sb) - 2 * np.trace(root))


def fidelity_statistics(rows: np.ndarray) -> Any:
    """As torch-fidelity."""
    return fid_features_to_statistics(torch.from_numpy(rows))


def fidelity_distance(a: Any, b: Any) -> float:
    """As torch-fidelity."""
    return float(fid_statistics_to_metric(a, b, False)["frechet_inception_distance"])


WAYS: dict[str, tuple[Callable[[np.ndarray], Any], Callable[[Any, Any], float]]] = {
    "fg": (fg_statistics, frechet),
    "sqrtm": (sqrtm_statistics, sqrtm_distance),
    "torch-fidelity": (fidelity_statistics, fidelity_distance),
}
"""Statistics of a set, and the distance of two."""


def timed(step: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """Seconds, and what came out."""
    start = time.perf_counter()
    found = step(*arguments)
    return time.perf_counter() - start, found


def by_singular_values(a: np.ndarray, b: np.ndarray) -> float:
    """The value that errors are measured against: slow, and exact where a covariance is singular too."""
    gap = a.mean(0, dtype=np.float64) - b.mean(0, dtype=np.float64)
    a, b = ((x - x.mean(0, dtype=np.float64)) / np.sqrt(len(x) - 1) for x in (a, b))
    root = scipy.linalg.svdvals(a @ b.T if len(a) <= a.shape[1] else np.linalg.qr(a)[1] @ np.linalg.qr(b)[1].T)
    return float(gap @ gap + (a * a).sum() + (b * b).sum() - 2 * root.sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    for rows in arguments.rows:
        a, b = (features(rows, arguments.size, seed) for seed in (1, 2))
        exact = by_singular_values(a, b)
        seconds: dict[str, list[tuple[float, ...]]] = {name: [] for name in WAYS}
        errors: dict[str, float] = {}
        for _ in range(arguments.repeats):
            for name, (statistics_of, distance) in WAYS.items():
                (first, sa), (second, sb) = (timed(statistics_of, x) for x in (a, b))
                last, value = timed(distance, sa, sb)
                seconds[name].append((first + second + last, second + last, last))
                errors[name] = abs(value / exact - 1)
        print(f"{rows} rows of {arguments.size} features, distance {exact:.7f}, {torch.get_num_threads()} threads")
        print(f"  {'':15}{'whole':>19}{'reference known':>19}{'of statistics':>19}  relative error")
        medians = {name: [statistics.median(t) for t in zip(*found, strict=True)] for name, found in seconds.items()}
        for name, times in medians.items():
            columns = (f"{t:9.3f} s{t / own:6.1f} x" for t, own in zip(times, medians["fg"], strict=True))
            print(f"  {name:15}{''.join(columns)}  {errors[name]:.0e}")


if __name__ == "__main__":
    main()
