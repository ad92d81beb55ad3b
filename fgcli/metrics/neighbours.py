"""Neighbours in a space of features: distances, and the training faces most like what was drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fgcli.metrics.sets import Material, batches, decoded, draws, shown

BLOCK = 1000
"""Rows whose distances are held at a time."""
DRAWN, NEAREST = 10, 3
"""Draws from each density on a page, and training faces under each."""


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances (n, m) of float64 rows (n, d) and (m, d): |x|^2 + |y|^2 - 2 x.y."""
    squares = (a * a).sum(1)[:, None] + (b * b).sum(1)
    return np.maximum(squares - 2 * a @ b.T, 0)


def radii(rows: np.ndarray, k: int) -> np.ndarray:
    """Squared distance (n,) of each of float64 rows (n, d) to its k-th nearest other one."""
    found = np.empty(len(rows))
    for start in range(0, len(rows), BLOCK):
        part = slice(start, start + BLOCK)
        found[part] = np.partition(squared_distances(rows[part], rows), k, axis=1)[:, k]  # the nearest is itself
    return found


def nearest(rows: np.ndarray, among: np.ndarray, k: int) -> np.ndarray:
    """The k nearest of `among` (m, d) to each of `rows` (n, d), the nearest first: places (n, min(k, m)).

    >>> nearest(np.array([[0.0]]), np.array([[5.0], [1.0], [-2.0]]), 2).tolist()
    [[1, 2]]
    """
    middle = among.mean(0, dtype=np.float64)
    blocks = (among[i : i + BLOCK] - middle for i in range(0, len(among), BLOCK))  # float64, as many as memory likes
    distances = np.concatenate([squared_distances(rows - middle, block) for block in blocks], 1)
    return np.argsort(distances, axis=1, kind="stable")[:, :k]


def page(
    data: Material,
    extractor: Any,
    region: np.ndarray,
    batch: int,
    seed: int,
    advance: Callable[[int], object],
) -> dict[str, list[np.ndarray]]:
    """Rows of pictures by name: draws from the prior and from each density, and under each what is most like it.

    Compared with all training faces in the space of `extractor`, inside the region (h, w).
    """
    known = []
    for rows in batches(data.train, batch):
        known.append(extractor(shown(data.images[rows], region)))
        advance(len(rows))
    among = np.concatenate(known)
    del known  # not twice in memory
    found: dict[str, list[np.ndarray]] = {}
    for name, codes in draws(data.models[0], DRAWN, seed):
        made = shown(np.concatenate(list(decoded(data, data.models[0], codes, batch, seed))), region)
        places = data.train[nearest(extractor(made), among, NEAREST)]
        found[name] = list(made)
        found |= {f"{name}: {i + 1}. nearest": list(data.images[own]) for i, own in enumerate(places.T)}
    return found
