"""Network outputs as uint8 pictures."""

from __future__ import annotations

import numpy as np
from torch import Tensor


def pictures(images: Tensor) -> list[np.ndarray]:
    """(n, 3 or 1, h, w) in [-1, 1] to a list of (h, w, 3) uint8."""
    u8 = images.detach().float().mul(127.5).add(128).clamp(0, 255).byte()
    return list(u8.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).cpu().numpy())


def mask_pictures(masks: Tensor) -> list[np.ndarray]:
    """(n, 1, h, w) in [0, 1] to grey pictures (h, w, 3)."""
    return pictures(2 * masks - 1)
