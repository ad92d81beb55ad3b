"""How sharp an image is, one number."""

from __future__ import annotations

from typing import Any

import numpy as np

from fgcli.errors import FgError

GREY = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601)."""


class Laplacian:
    """Variance of the grey image's Laplacian (Tolstikhin et al. 2018, section 4), values in [0, 1].

    The stencil is [[0, 1, 0], [1, -4, 1], [0, 1, 0]], at places where all of it lies in the region.

    Args:
        region: (h, w) bool, where images are compared.

    Raises:
        FgError: the stencil has no place in the region.
    """

    name, size = "laplacian", 1

    def __init__(self, region: np.ndarray) -> None:
        inner = region[1:-1, 1:-1]
        around = region[:-2, 1:-1] & region[2:, 1:-1] & region[1:-1, :-2] & region[1:-1, 2:]
        self.places = inner & around
        if not self.places.any():
            raise FgError("sharpness: expected a region of 3 x 3 px at least, found a smaller one; use larger masks")

    @property
    def protocol(self) -> dict[str, Any]:
        """Protocol."""
        return {"features": "variance of the Laplacian (4 neighbours) of the grey image, [0, 1] scale, in the region"}

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """The variance (n, 1) float32 of uint8 images (n, h, w, 3)."""
        grey = (images / np.float32(255)) @ np.array(GREY, np.float32)
        middle = grey[:, 1:-1, 1:-1]
        edges = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:] - 4 * middle
        return edges[:, self.places].var(1, dtype=np.float64, keepdims=True).astype(np.float32)
