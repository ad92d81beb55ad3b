"""Distant light as nine spherical harmonics per colour.

A light (n, 9, 3) holds coefficients l_k of red, green and blue; the surface with unit normal N and albedo a looks
a * sum_k c_k Y_k(N) l_k. Order: 1, x, y, z, xy, xz, yz, x²-y², 3z²-1. The factors c_k are DECA's: the norm of the
harmonic times the cosine lobe's 2π/3 (first degree) and π/4 (second degree; Ramamoorthi and Hanrahan 2001), but 1 for
the constant. Nothing is clamped: a strong light may be negative on the far side.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import pi, sqrt

import torch
from torch import Tensor

FACTORS = (
    1 / sqrt(4 * pi),
    *[(2 * pi / 3) * sqrt(3 / (4 * pi))] * 3,
    *[(pi / 4) * 3 * sqrt(5 / (12 * pi))] * 3,
    (pi / 4) * (3 / 2) * sqrt(5 / (12 * pi)),
    (pi / 4) * (1 / 2) * sqrt(5 / (4 * pi)),
)


def basis(normals: Tensor) -> Tensor:
    """c_k Y_k (..., 9) of unit normals (..., 3)."""
    return torch.stack(_terms(normals), -1)


def shade(normals: Tensor, light: Tensor) -> Tensor:
    """The shading (n, ..., 3), red green blue, of unit normals (n, ..., 3) under light (n, 9, 3)."""
    terms = torch.stack([term.flatten(1) for term in _terms(normals)], 1)  # (n, 9, p): few rows multiply fast
    return (light.mT @ terms).unflatten(2, normals.shape[1:-1]).movedim(1, -1)


def directional(direction: Sequence[float], strength: float = 0.7, ambient: float = 0.4) -> Tensor:
    """White light (9, 3), float32: `ambient` from everywhere, `strength` from `direction` (x, y, z in head space).

    A surface that faces the direction gets about ambient + strength, one that turns its back about ambient.
    """
    towards = torch.nn.functional.normalize(torch.tensor(direction, dtype=torch.float64), dim=0)
    lobe = torch.tensor([1.0] + [2 * pi / 3] * 3 + [pi / 4] * 5, dtype=torch.float64)
    light = strength * basis(towards) / lobe  # the harmonics themselves, in that direction
    light[0] = light[0] * pi + ambient / FACTORS[0]
    return light[:, None].repeat(1, 3).float()


def _terms(normals: Tensor) -> list[Tensor]:
    x, y, z = normals.unbind(-1)
    harmonics = (torch.ones_like(x), x, y, z, x * y, x * z, y * z, x * x - y * y, 3 * z * z - 1)
    return [factor * harmonic for factor, harmonic in zip(FACTORS, harmonics, strict=True)]


WHITE = torch.zeros(9, 3)
"""Light from everywhere that leaves the albedo as it is."""
WHITE[0] = 1 / FACTORS[0]
