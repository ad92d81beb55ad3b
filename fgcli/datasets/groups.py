"""Which photos show one person, or nearly one picture: a split must not part them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fgcli.datasets.united import Table

SAME = 0.5
"""Groups of faces are one person's if dlib's embeddings are nearer than this: root mean squared, over all pairs.

Of the demo's 50 people each is within 0.45 of itself; 0.43 to 0.51 tell three synthetic people that look like one,
all other pairs of people are 0.56 apart or more.
"""
NEAR = 2.0
"""Photos are nearly equal if their thumbnails differ by less, root mean squared, of 255."""
SIDE = 16
"""Of thumbnails, px."""
TOLD = 5
"""Pairs of nearly equal photos that are named."""
ROWS, COLUMNS = 512, 2048
"""Rows that are compared with others at a time, and with how many: memory is flat however many there are."""


@dataclass(frozen=True)
class Groups:
    """Two ways to part n photos, both (n,) int: a photo's group, called after the first photo in it.

    near: photos that are nearly equal. people: photos of one person, known or told by the faces; nearly equal ones
        among them.
    """

    near: np.ndarray
    people: np.ndarray


def group(identity: np.ndarray, rows: np.ndarray, thumbnails: np.ndarray, embeddings: np.ndarray) -> Groups:
    """The groups of n photos.

    Args:
        identity: (n,) person of each photo, -1 unknown.
        rows: (m,) those that gave a face.
        thumbnails: (m, t) uint8 of these, see `thumbnail`.
        embeddings: (m, 128) dlib's, of these; (m, 0): people are not told by their faces.
    """
    n = len(identity)
    left, right, _ = _near_pairs(thumbnails, NEAR * SIDE)
    near = _components(n, rows[left], rows[right])
    known = np.flatnonzero(identity >= 0)
    _, first, of = np.unique(identity[known], return_index=True, return_inverse=True)
    people = _components(n, np.concatenate([rows[left], known]), np.concatenate([rows[right], known[first[of]]]))
    if embeddings.shape[1]:
        people = people.copy()
        people[rows] = rows[_joined(people[rows], embeddings)]
        people = _components(n, np.arange(n), people)  # photos of a known person that gave no face follow the others
    return Groups(near, people)


def thumbnail(images: np.ndarray) -> np.ndarray:
    """Crops uint8 (m, h, w, 3) -> uint8 (m, SIDE²), grey."""
    box = Image.Resampling.BOX
    small = [np.asarray(Image.fromarray(image).convert("L").resize((SIDE, SIDE), box)).ravel() for image in images]
    return np.array(small, np.uint8).reshape(-1, SIDE * SIDE)


def _components(n: int, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(n,) first member of the group of each of n things, of which the pairs `left`, `right` are joined."""
    graph = coo_array((np.ones(len(left), np.int8), (left, right)), shape=(n, n))
    _, label = connected_components(graph, directed=False)
    return np.unique(label, return_index=True)[1][label]


def _near_pairs(vectors: np.ndarray, limit: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs i < j of vectors (m, d), maybe mapped, that are nearer than `limit`, and their squared distances.

    No two are nearer than their projections on a line are: sorted along the diagonal, each meets only those within the
    limit there. Of thumbnails, whose brightness differs, that is a few per cent.
    """
    along = vectors.sum(1, dtype=np.float64) / np.sqrt(max(1, vectors.shape[1]))
    order = np.argsort(along, kind="stable")
    along = along[order]

    def block(part: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x = vectors[order[part]].astype(np.float32)
        return x, -(x * x).sum(1, keepdims=True) / 2, np.ones((len(x), 1), np.float32)

    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))]
    for first in range(0, len(vectors), ROWS):
        part = slice(first, first + ROWS)
        rows = np.hstack(block(part))
        end = int(np.searchsorted(along, along[part][-1] + 1.001 * limit))  # with room for rounding
        for start in range(first, end, COLUMNS):
            x, minus, ones = block(slice(start, min(start + COLUMNS, end)))
            product = rows @ np.hstack([x, ones, minus]).T  # x.y - |x|^2 / 2 - |y|^2 / 2 = -|x - y|^2 / 2
            i, j = np.nonzero(product > -(limit**2) / 2)
            i, j = i[i + first < j + start], j[i + first < j + start]
            found.append((i + first, j + start, -2 * product[i, j]))
    one, other, distances = (np.concatenate(column) for column in zip(*found, strict=True))
    left, right = np.minimum(order[one], order[other]), np.maximum(order[one], order[other])
    by_place = np.lexsort([right, left])
    return left[by_place], right[by_place], distances[by_place]


def _joined(groups: np.ndarray, embeddings: np.ndarray) -> np.ndarray:
    """(m,) first row of the group of each of m rows, after groups (m,) whose faces are alike have been joined.

    Nearest faces first. Of two groups with sums s, t of a and b embeddings, and sums p, q of their squared norms, the
    mean squared distance is p / a + q / b - 2 s·t / (a b). One face alike joins no two groups that are not alike as
    wholes, so that look-alikes do not make a chain of everybody.
    """
    _, of = np.unique(groups, return_inverse=True)
    count = np.bincount(of).astype(np.float64)
    square = np.bincount(of, np.einsum("ij,ij->i", embeddings, embeddings, dtype=np.float64))
    left, right, distance = _near_pairs(embeddings, SAME)
    total = _sums(embeddings, of, np.concatenate([left, right]))
    parent = np.arange(len(count))
    order = np.argsort(distance, kind="stable")
    for a, b in zip(of[left[order]], of[right[order]], strict=True):
        a, b = _root(parent, a), _root(parent, b)
        if a == b:
            continue
        apart = square[a] / count[a] + square[b] / count[b] - 2 * total[a] @ total[b] / (count[a] * count[b])
        if apart < SAME**2:
            parent[b] = a
            count[a], square[a], total[a] = count[a] + count[b], square[a] + square[b], total[a] + total[b]
    roots = np.array([_root(parent, g) for g in range(len(parent))])[of]
    _, first, of = np.unique(roots, return_index=True, return_inverse=True)
    return first[of]


def _sums(embeddings: np.ndarray, of: np.ndarray, near: np.ndarray) -> dict[int, np.ndarray]:
    """The sum of embeddings (m, d) of each group that has one of the rows `near`; `of` (m,) are the groups."""
    wanted = np.flatnonzero(np.isin(of, of[near]))
    wanted = wanted[np.argsort(of[wanted], kind="stable")]
    groups, first = np.unique(of[wanted], return_index=True)
    members = np.split(wanted, first[1:])
    return {int(group): embeddings[own].sum(0, dtype=np.float64) for group, own in zip(groups, members, strict=False)}


def _root(parent: np.ndarray, i: int) -> int:
    while parent[i] != i:
        parent[i] = i = parent[parent[i]]
    return i


def sentences(table: Table, groups: Groups, rows: np.ndarray, split: np.ndarray) -> list[str]:
    """What a person should know of the groups of n photos, of which `rows` (m,) gave a face, split (n,)."""
    people, near, of = groups.people[rows], groups.near[rows], table.identity[rows]
    known: dict[int, dict[str, None]] = {}
    for leader, person in zip(people[of >= 0].tolist(), of[of >= 0].tolist(), strict=True):
        known.setdefault(leader, {})[table.identity_names[person]] = None
    lines = [
        f"{', '.join(names[:-1])} and {names[-1]} are split as one person, as their faces are alike"
        for names in map(list, known.values())
        if len(names) > 1
    ]
    alike = int(((of < 0) & (people != rows) & (near == rows)).sum())
    if alike:
        lines.append(f"{alike} photos of unknown people are split with others, as their faces are alike")
    equal = [f"{table.sources[i]} and {table.sources[j]}" for i, j in zip(rows, near, strict=True) if i != j]
    if equal:
        more = f"; and {len(equal) - TOLD} more pairs" if len(equal) > TOLD else ""
        lines.append(f"nearly equal photos stay together: {'; '.join(equal[:TOLD])}{more}")
    leaders, _ = np.unique(np.stack([people, split[rows]]), axis=1)
    parted = int((np.unique(leaders, return_counts=True)[1] > 1).sum())
    if parted:
        lines.append(f"{parted} people or nearly equal photos are in several splits, as their data sets have it")
    return lines
