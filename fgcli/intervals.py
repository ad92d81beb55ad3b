"""How far a number can be trusted: what it would have been of other people.

Photos of one person are alike, so that people, not photos, are drawn anew or left out. A number's *replicates* are its
values in such trials; the same trials for every model, so that the difference of two models' replicates is that of
their difference.
"""

from __future__ import annotations

import numpy as np
import scipy.stats

LEVEL = 0.95
SEED = 0
"""Of all trials, whatever the seed of a run: so that runs can be held against each other, and averaged."""
RESAMPLES, CHUNK = 2000, 64
"""Draws of people, and how many are held at a time."""
BLOCKS = 20
"""People are left out in so many blocks at most."""
PROTOCOL = {
    "level": LEVEL,
    "means over images": f"percentiles of {RESAMPLES} draws of as many people, with replacement (bootstrap)",
    "distances of sets": f"Student's t of the jackknife that leaves one of at most {BLOCKS} blocks of people out of "
    "each set (of draws by place): a bootstrap puts images into a set twice, which biases a distance",
    "people": "photos of one person, or that look like one's, as faces.h5 groups them; rows where no person is known",
    "differences": "of the same trials for both models",
}


def bootstrap(values: np.ndarray, people: np.ndarray) -> np.ndarray:
    """Replicates (RESAMPLES,) of the mean of values (n,), NaN left out; people (n,) are drawn with replacement."""
    _, of = np.unique(people, return_inverse=True)
    count = int(of.max()) + 1
    known = ~np.isnan(values)
    totals = np.stack([np.bincount(of[known], w, count) for w in (values[known], np.ones(known.sum()))], 1)
    rng, means = np.random.default_rng(SEED), []
    for start in range(0, RESAMPLES, CHUNK):
        drawn = rng.integers(count, size=(min(CHUNK, RESAMPLES - start), count))
        total, n = totals[drawn].sum(1).T
        means.append(np.divide(total, n, out=np.full(len(n), np.nan), where=n > 0))
    return np.concatenate(means)


def blocks(people: np.ndarray) -> np.ndarray:
    """(n,) block of each row, its people (n,) dealt in random order to BLOCKS blocks, or one each if they are fewer."""
    _, of = np.unique(people, return_inverse=True)
    return np.random.default_rng(SEED).permutation(int(of.max()) + 1)[of] % BLOCKS


def interval(value: float, replicates: np.ndarray, jackknifed: bool) -> tuple[float, float]:
    """The interval of LEVEL around a value.

    Of a bootstrap: percentiles. Of a jackknife of g blocks: value ± t sqrt((g - 1) / g sum (r - mean r)^2), with
    Student's t of g - 1 degrees of freedom.
    """
    tail = (1 - LEVEL) / 2
    if not jackknifed:
        low, high = np.quantile(replicates, [tail, 1 - tail])
        return float(low), float(high)
    g = len(replicates)
    error = np.sqrt((g - 1) / g * ((replicates - replicates.mean()) ** 2).sum())
    reach = float(scipy.stats.t.ppf(1 - tail, g - 1) * error)
    return value - reach, value + reach
