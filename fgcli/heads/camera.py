"""The weak-perspective camera: from head space to the square picture, and back.

A camera (n, 3) is s, tx, ty. NDC runs from -1 to 1 between the outer edges of the picture, x to the right and y DOWN;
depth is in the same unit and LARGER IS NEARER (DECA's renderer has the opposite sign). Pixels count from the centre of
the top left one, (0, 0).
"""

from __future__ import annotations

import torch
from torch import Tensor


def project(points: Tensor, camera: Tensor) -> Tensor:
    """NDC x, y and depth (n, p, 3) of points in head space (n, p, 3): s (x + tx), -s (y + ty), s z."""
    s, tx, ty = camera[:, None].unbind(-1)
    x, y, z = points.unbind(-1)
    return _stack(s * (x + tx), -s * (y + ty), s * z)


def to_pixels(ndc: Tensor, size: int) -> Tensor:
    """Pixel x, y (..., 2) of NDC (..., 2 or more) in a picture of `size` x `size`."""
    return (ndc[..., :2] + 1) * (size / 2) - 0.5


def to_ndc(pixels: Tensor, size: int) -> Tensor:
    """The inverse of `to_pixels`, (..., 2)."""
    return (pixels[..., :2] + 0.5) * (2 / size) - 1


def _stack(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """(n, p, 3) that lies in memory as three planes (n, p): the rasteriser reads it so."""
    return torch.stack([x, y, z]).permute(1, 2, 0)
