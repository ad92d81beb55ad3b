"""Network outputs as uint8 pictures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from fgcli.pixels import u8

PART = 64
"""Codes decoded at a time."""


def pictures(images: Tensor) -> list[np.ndarray]:
    """(n, 3 or 1, h, w) in [-1, 1] to a list of (h, w, 3) uint8."""
    return list(u8(images.detach()).expand(-1, -1, -1, 3).cpu().numpy())


def mask_pictures(masks: Tensor) -> list[np.ndarray]:
    """(n, 1, h, w) in [0, 1] to grey pictures (h, w, 3)."""
    return pictures(2 * masks - 1)


@torch.no_grad()
def decoded(
    decode: Callable[[Tensor], Tensor],
    codes: np.ndarray,
    draw: Callable[[Tensor], list[np.ndarray]] = pictures,
) -> list[np.ndarray]:
    """Pictures (h, w, 3) of codes (n, l, d): `decode` of a generator, then `draw`, part by part."""
    parts = torch.from_numpy(np.ascontiguousarray(codes, np.float32)).split(PART)
    return [picture for part in parts for picture in draw(decode(part))]
