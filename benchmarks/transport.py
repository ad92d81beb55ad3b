"""Memory and time of Latent Wasserstein on codes of StyleGAN2: python benchmarks/transport.py [CODES] [STEPS].

30,000 codes of 18 x 512, half with the attribute, batches of 512 a side, blur 0.05 of the typical distance, geomloss's
scaling of 0.5. Prints the peak of memory before and after, seconds a step, and what the costs of all pairs at once
would take.
"""

from __future__ import annotations

import os
import resource
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "2")

import numpy as np

from fgcli.editors.latent_wasserstein import LatentWasserstein
from fgcli.editors.matching import Problem


def peak() -> float:
    """Of this process so far, GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    """Prints what it takes."""
    n, steps = (int(given) for given in [*sys.argv[1:], *("30000", "5")[len(sys.argv) - 1 :]])
    z = np.random.default_rng(0).standard_normal((n, 18, 512), dtype=np.float32)
    half, none = n // 2, np.zeros((n // 2, 0), np.int8)
    z[half:] += np.float32(0.3)
    task = Problem("drawn", z[:half], z[half:], none, none)
    print(f"{n} codes: {z.nbytes / 1e9:.1f} GB, peak so far {peak():.1f} GB")
    start, cpu = time.perf_counter(), time.process_time()
    LatentWasserstein(steps=steps, patience=steps).fit(task, 0)
    each = (time.perf_counter() - start) / steps, (time.process_time() - cpu) / steps
    print(f"{steps} steps: {each[0]:.2f} s, {each[1]:.2f} CPU s a step; peak {peak():.1f} GB")
    print(f"costs of all pairs at once: {3 * half**2 * 4 / 1e9:.1f} GB")


if __name__ == "__main__":
    main()
