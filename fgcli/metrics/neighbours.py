"""Neighbours in a space of features: distances, and the training faces most like what was drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
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


def nearest(rows: np.ndarray, parts: Iterable[np.ndarray], k: int) -> np.ndarray:
    """The k nearest to each of `rows` (n, d) of what comes in parts (m, d), the nearest first: places (n, k) or fewer.

    >>> nearest(np.array([[0.0]]), [np.array([[5.0], [1.0]]), np.array([[-2.0]])], 2).tolist()
    [[1, 2]]
    """
    middle = rows.mean(0, dtype=np.float64)  # far from it, squares would lose digits
    rows, first = rows - middle, 0
    places, distances = np.zeros((len(rows), 0), np.int64), np.zeros((len(rows), 0))
    for part in parts:
        own = np.broadcast_to(np.arange(first, first + len(part)), (len(rows), len(part)))
        places = np.concatenate([places, own], 1)
        distances = np.concatenate([distances, squared_distances(rows, part - middle)], 1)
        best = np.argsort(distances, axis=1, kind="stable")[:, :k]
        places, distances = np.take_along_axis(places, best, 1), np.take_along_axis(distances, best, 1)
        first += len(part)
    return places


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
    made = {
        name: shown(np.concatenate(list(decoded(data, data.models[0], codes, batch, seed))), region)
        for name, codes in draws(data.models[0], DRAWN, seed)
    }

    def known() -> Iterator[np.ndarray]:
        for rows in batches(data.train, batch):
            yield extractor(shown(data.images[rows], region))
            advance(len(rows))

    places = nearest(np.concatenate([extractor(images) for images in made.values()]), known(), NEAREST)
    found: dict[str, list[np.ndarray]] = {}
    for (name, images), own in zip(made.items(), np.split(data.train[places], len(made)), strict=True):
        found[name] = list(images)
        found |= {f"{name}: {i + 1}. nearest": list(data.images[rows]) for i, rows in enumerate(own.T)}
    return found
