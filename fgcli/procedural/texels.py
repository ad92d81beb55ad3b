"""What each texel of the texture shows: its part, its place on the neutral head, its place on the skin's surface."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from fgcli.procedural.mesh import Mesh


@dataclass(frozen=True)
class Texels:
    """One entry per texel, (n,) or (n, 3), row 0 at v = 1; texels outside the layout repeat the nearest inside.

    Attributes:
        position: cm. part: as in `mesh`. angle, level: of the skin. uv: (n, 2). size: the texture is (size, size).
    """

    position: np.ndarray
    part: np.ndarray
    angle: np.ndarray
    level: np.ndarray
    uv: np.ndarray
    size: int


def texels(mesh: Mesh, size: int) -> Texels:
    """The texture's contents at size x size."""
    coordinates = np.concatenate([mesh.uv, mesh.uv_more])
    corners = np.where(mesh.uv_faces < 0, len(mesh.uv) - 1 - mesh.uv_faces, mesh.uv_faces)
    pixels = np.stack([coordinates[:, 0] * size - 0.5, (1 - coordinates[:, 1]) * size - 0.5], 1)
    face, weights = _covering(pixels[corners], size)
    rows, columns = ndimage.distance_transform_edt(face < 0, return_distances=False, return_indices=True)
    face, weights = face[rows, columns].ravel(), weights[rows, columns].reshape(-1, 3)
    ids = mesh.faces[face]
    angles = mesh.angle[ids]
    angles = np.where((angles < -179.9) & (angles.max(1, keepdims=True) > 90), 180.0, angles)  # across the seam
    mixed = [(weights * values).sum(1) for values in (*mesh.position[ids].transpose(2, 0, 1), angles, mesh.level[ids])]
    uv = (weights[:, :, None] * coordinates[corners[face]]).sum(1)
    return Texels(np.stack(mixed[:3], 1), mesh.part[ids].max(1), mixed[3], mixed[4], uv, size)


def _covering(triangles: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The triangle (size, size), -1 where none, and barycentric weights (size, size, 3) at every texel's centre."""
    low = np.clip(np.ceil(triangles.min(1)), 0, size).astype(int)
    high = np.clip(np.floor(triangles.max(1)), -1, size - 1).astype(int)
    extent = np.maximum(high - low + 1, 0)
    count = extent.prod(1)
    owner = np.repeat(np.arange(len(triangles)), count)
    step = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    point = low[owner] + np.stack([step % extent[owner, 0], step // extent[owner, 0]], 1)
    a, b, c = triangles[owner].transpose(1, 0, 2)
    weights = np.stack([_cross(b - point, c - point), _cross(c - point, a - point), _cross(a - point, b - point)], 1)
    area = weights.sum(1)
    inside = (abs(area) > 1e-9) & (weights * np.sign(area)[:, None] >= -1e-9).all(1)
    face, share = np.full((size, size), -1), np.zeros((size, size, 3))
    x, y = point[inside].T
    face[y, x], share[y, x] = owner[inside], (weights / np.where(area == 0, 1, area)[:, None])[inside]
    return face, share


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
