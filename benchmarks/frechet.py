"""The Fréchet distance of fg against scipy's matrix square root and torch-fidelity: python benchmarks/frechet.py

The same float32 features in, one number out: means, covariances and the trace of the root all count. "sqrtm" is what
pytorch-fid does: numpy's covariances, then scipy.linalg.sqrtm of their product. torch-fidelity takes the eigenvalues of
the product, which is not symmetric; its own two functions run. All are in float64. With as many rows as features or
fewer the covariances are singular: the relative errors are against the singular values in float64.
Every repeat runs all in turn; medians are shown. Needs: pip install torch-fidelity
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import scipy.linalg
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from fgcli.metrics.frechet import frechet


def features(rows: int, size: int, seed: int) -> np.ndarray:
    """Rows (n, d) float32 that depend on each other and are not below 0, as after a network's last ReLU."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(0).normal(size=(size, size)) / np.sqrt(size)
    return np.maximum(rng.normal(0.1 * seed, 1, (rows, size)) @ mixing + 0.3, 0).astype(np.float32)


def by_sqrtm(a: np.ndarray, b: np.ndarray) -> float:
    """As pytorch-fid."""
    sa, sb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    gap = a.mean(0, dtype=np.float64) - b.mean(0, dtype=np.float64)
    return float(gap @ gap + np.trace(sa) + np.trace(sb) - 2 * np.trace(scipy.linalg.sqrtm(sa @ sb)).real)


def by_torch_fidelity(a: np.ndarray, b: np.ndarray) -> float:
    """As torch-fidelity."""
    statistics_of = [fid_features_to_statistics(torch.from_numpy(rows)) for rows in (a, b)]
    return float(fid_statistics_to_metric(*statistics_of, False)["frechet_inception_distance"])


WAYS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "fg": frechet,
    "sqrtm": by_sqrtm,
    "torch-fidelity": by_torch_fidelity,
}


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
        seconds: dict[str, list[float]] = {name: [] for name in WAYS}
        errors: dict[str, float] = {}
        for _ in range(arguments.repeats):
            for name, way in WAYS.items():
                start = time.perf_counter()
                value = way(a, b)
                seconds[name].append(time.perf_counter() - start)
                errors[name] = abs(value / exact - 1)
        medians = {name: statistics.median(found) for name, found in seconds.items()}
        print(f"{rows} rows of {arguments.size} features, distance {exact:.7f}, {torch.get_num_threads()} threads")
        for name, median in medians.items():
            ratio = f"{median / medians['fg']:6.1f} x"
            print(f"  {name:15} {median:8.3f} s {ratio}  relative error {errors[name]:.0e}")


if __name__ == "__main__":
    main()
