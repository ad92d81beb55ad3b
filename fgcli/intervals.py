"""How far a number can be trusted: what it would have been of other people.

Photos of one person are alike, so that people, not photos, are drawn anew or left out. A number's *replicates* are its
values in such trials; the same trials for every model, so that the difference of two models' replicates is that of
their difference.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.stats

LEVEL = 0.95
SEED = 0
"""Of all trials, whatever the seed of a run: so that runs can be held against each other, and averaged."""
RESAMPLES, CHUNK, HELD = 2000, 64, 1 << 20
"""Draws of as many people; how many draws, and people of them, are held at a time at most."""
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
    totals, numbers = (np.bincount(of[known], w, count) for w in (values[known], np.ones(known.sum())))
    means = []
    for drawn in draws(count):
        total, n = totals[drawn].sum(1), numbers[drawn].sum(1)
        means.append(np.divide(total, n, out=np.full(len(n), np.nan), where=n > 0))
    return np.concatenate(means)


def stated(values: np.ndarray, people: np.ndarray) -> dict[str, float]:
    """The mean of values (n), and its interval over people (n); of one person there is none."""
    value = float(values.mean())
    if len(set(people.tolist())) < 2:
        return {"value": value}
    low, high = interval(value, bootstrap(values, people), jackknifed=False)
    return {"value": value, "low": low, "high": high}


def draws(count: int) -> Iterator[np.ndarray]:
    """The people (r, count) of all trials, so many of `count`."""
    rng, most = np.random.default_rng(SEED), max(1, min(CHUNK, HELD // count))
    for start in range(0, RESAMPLES, most):
        yield rng.integers(count, size=(min(most, RESAMPLES - start), count))


def average_precision(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sum over the rows with label 1, best first, of the precision down to them, over their number: (r,).

    Args:
        scores: (n), high for what is taken for 1. Equal ones are one step.
        labels: (n) in {0, 1}.
        weights: (r, n) how often each row counts, in r trials; NaN comes of those without a row of label 1.
    """
    order = np.argsort(-scores, kind="stable")
    steps = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)  # last place of each score
    every = weights[:, order].cumsum(1)[:, steps]
    ones = (weights[:, order] * labels[order]).cumsum(1)[:, steps]
    gained = np.diff(ones, axis=1, prepend=0)
    precision = np.divide(ones, every, out=np.zeros(ones.shape), where=every > 0)
    total = ones[:, -1]
    return np.divide((gained * precision).sum(1), total, out=np.full(len(total), np.nan), where=total > 0)


def precision_interval(scores: np.ndarray, labels: np.ndarray, people: np.ndarray) -> tuple[float, float, float]:
    """Average precision, and its interval over people (n,); NaN where no trial has a row of label 1."""
    _, of = np.unique(people, return_inverse=True)
    count, trials = int(of.max()) + 1, []
    for drawn in draws(count):
        times = np.stack([np.bincount(row, minlength=count) for row in drawn])  # (r, people)
        trials.append(average_precision(scores, labels, times[:, of].astype(np.float64)))
    made = np.concatenate(trials)
    value = float(average_precision(scores, labels, np.ones((1, len(scores))))[0])
    return value, *interval(value, made[~np.isnan(made)], jackknifed=False)


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
