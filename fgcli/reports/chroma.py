"""How colourful pictures are: a grey one whose edit has colour shows that the edit moves more than its attribute."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

GREY_BELOW = 2.0
"""A face whose own chroma is below this is grey, in 0..255."""


def chroma(images: Sequence[np.ndarray] | np.ndarray, masks: np.ndarray) -> np.ndarray:
    """(n,) mean of max(R, G, B) - min(R, G, B) on the face, 0..255; 0 where a mask is empty.

    Args:
        images: uint8 (n, h, w, 3). masks: (n, h, w), above 127 on the face.
    """
    rgb = np.asarray(images)
    spread = rgb.max(-1).astype(np.float64) - rgb.min(-1)
    face = masks > 127
    return (spread * face).sum((1, 2)) / np.maximum(face.sum((1, 2)), 1)
