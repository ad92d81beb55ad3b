"""Moves a mask's edge to where the colours change: a minimum cut in a band around it.

Rother, Kolmogorov, Blake, GrabCut, SIGGRAPH 2004: E = sum_p -log P(colour_p | side) + sum_pq gamma exp(-beta |d|^2).
"""

from __future__ import annotations

import warnings

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

GAMMA = 30.0
"""Weight of an edge between equal colours, against log likelihoods."""
HOLD = 2.0
"""Surprise, at the band's edges, of finding the mask's edge there: colours that tell nothing leave it where it is."""
COLOURS = 4
"""Gaussians per side."""
ROUNDS = 2
"""Cuts, each with the colours of the last one's sides."""
PER_UNIT = 100
"""The maximum flow counts in whole numbers: hundredths."""


def refine(image: np.ndarray, mask: np.ndarray, band: float) -> np.ndarray:
    """The mask bool (h, w) of an image uint8 (h, w, 3), moved by at most `band` px.

    What lies deeper inside or further outside keeps its side; a mask with no inside or no outside is returned as it is.
    """
    inner = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1] > band
    outer = ndimage.distance_transform_edt(~mask) > band
    if inner.sum() < 20 or outer.sum() < 20:
        return mask
    near = ndimage.distance_transform_edt(~mask) < 4 * band  # the far background says nothing about the edge
    colours = image.astype(np.float64)
    depth = ndimage.distance_transform_edt(~mask) - ndimage.distance_transform_edt(mask)
    held = HOLD * depth / band
    for _ in range(ROUNDS):
        cost = [_surprise(colours, side) for side in (mask, ~mask & near)]
        mask = _cut(colours, cost[0] - cost[1] + held, inner, outer)
        if mask.all():
            break
    return ndimage.binary_fill_holes(_largest(mask))


def _surprise(colours: np.ndarray, side: np.ndarray) -> np.ndarray:
    """-log P (h, w) of each colour under the mixture of the colours of one side."""
    rng = np.random.default_rng(0)
    found = colours[side]
    found = found[rng.permutation(len(found))[:4000]] + rng.normal(0, 1.0, (min(len(found), 4000), 3))
    mixture = GaussianMixture(min(COLOURS, len(found) // 10 or 1), reg_covar=9.0, max_iter=30, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # thirty rounds are near enough
        mixture.fit(found)
    return -mixture.score_samples(colours.reshape(-1, 3)).reshape(side.shape)


def _cut(colours: np.ndarray, preference: np.ndarray, inner: np.ndarray, outer: np.ndarray) -> np.ndarray:
    """The cheapest mask; preference (h, w) > 0 where outside is likelier."""
    h, w = inner.shape
    numbers = np.arange(h * w).reshape(h, w)
    pairs = [(numbers[:, :-1], numbers[:, 1:]), (numbers[:-1], numbers[1:])]
    one = np.concatenate([a.ravel() for a, _ in pairs])
    two = np.concatenate([b.ravel() for _, b in pairs])
    flat = colours.reshape(-1, 3)
    squared = ((flat[one] - flat[two]) ** 2).sum(1)
    links = GAMMA * np.exp(-squared / max(2 * squared.mean(), 1e-9))
    fixed = 1e6 / PER_UNIT
    value = np.where(inner, -fixed, np.where(outer, fixed, preference)).ravel()
    source, sink = h * w, h * w + 1
    start = np.concatenate([one, two, np.full(h * w, source), numbers.ravel()])
    end = np.concatenate([two, one, numbers.ravel(), np.full(h * w, sink)])
    capacity = np.concatenate([links, links, np.maximum(-value, 0), np.maximum(value, 0)])
    whole = np.rint(capacity * PER_UNIT).astype(np.int32)
    graph = csr_array(coo_array((whole, (start, end)), (sink + 1, sink + 1)))
    graph.indices, graph.indptr = graph.indices.astype(np.int32), graph.indptr.astype(np.int32)
    left = graph - maximum_flow(graph, source, sink).flow
    left.data = (left.data > 0).astype(np.int8)
    left.eliminate_zeros()
    reached = np.zeros(sink + 1, bool)
    reached[breadth_first_order(left, source, return_predecessors=False)] = True
    return reached[: h * w].reshape(h, w)


def _largest(mask: np.ndarray) -> np.ndarray:
    """The largest connected part."""
    parts, count = ndimage.label(mask)
    if count < 2:
        return mask
    return parts == 1 + np.argmax(ndimage.sum_labels(mask, parts, np.arange(1, count + 1)))
