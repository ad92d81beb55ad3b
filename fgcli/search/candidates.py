"""Candidates for the next questions: draws of the region, and what the surrogate makes of them."""

from __future__ import annotations

import numpy as np

from fgcli.errors import FgError
from fgcli.search import Region
from fgcli.search.surrogate import Aim, Surrogate

PARENTS = 5
"""One of so many candidates has children."""
ATTEMPTS = 20
"""Times that as many codes as are wanted are drawn, before a region counts as empty."""


def inside(region: Region, n: int, rng: np.random.Generator) -> np.ndarray:
    """n draws (n, l, d) that the region holds.

    Raises:
        FgError: it holds too few of what it draws.
    """
    found: list[np.ndarray] = []
    for _ in range(ATTEMPTS):
        drawn = region.draw(n, rng)
        found.append(drawn[region.holds(drawn)])
        if sum(map(len, found)) >= n:
            return np.concatenate(found)[:n]
    total = sum(map(len, found))
    raise FgError(
        f"optimize.region: expected {n} codes of {ATTEMPTS * n} draws in it, found {total}; lower its radius or name "
        "another region"
    )


def pool(
    region: Region,
    surrogate: Surrogate,
    elite: np.ndarray,
    aim: Aim,
    size: int,
    generations: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Codes (m, l, d), about `size` of them, to choose from.

    Draws of the region; with `generations` those that promise most have children, each a parent and a share
    of the difference of two others (differential evolution, Storn and Price 1997), and of all these again: a draw in
    many dimensions goes a little way in all of them, a sum of differences can go far in the one that matters. The
    `elite`, the best codes so far (k, l, d), are parents too, but what was asked once is not asked again.
    """
    codes = inside(region, size, rng)
    for generation in range(generations):
        promise = aim.promise(*surrogate.belief(scaled(codes, region)))
        parents = codes[np.argsort(-promise, kind="stable")[: size // PARENTS]]
        if generation == 0:
            parents = np.concatenate([parents, elite])
        one, other, third = rng.integers(len(parents), size=(3, size - size // PARENTS))
        share = rng.random((len(one), 1, 1))
        children = (parents[one] + share * (parents[other] - parents[third])).astype(np.float32)
        codes = np.concatenate([parents, children[region.holds(children)]])
    known = {code.tobytes() for code in elite}
    return codes[[code.tobytes() not in known for code in codes]]


def scaled(codes: np.ndarray, region: Region) -> np.ndarray:
    """Rows (n, l d) of codes in units of the region's deviations."""
    return (codes / region.scale).reshape(len(codes), -1).astype(np.float64)
