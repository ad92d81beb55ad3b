"""The images themselves, reduced: features that need no network."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

SIDE = 8
"""Pixels along a side at most. More would be more numbers than a few hundred images can have a covariance of."""


class Pixels:
    """Red, green and blue of the image reduced to at most 8 x 8 px by the mean of what each pixel covers, in [0, 1].

    Args:
        image_shape: (c, h, w).
    """

    name = "pixels"

    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        self.side = (min(SIDE, image_shape[1]), min(SIDE, image_shape[2]))
        self.size = 3 * self.side[0] * self.side[1]

    @property
    def protocol(self) -> dict[str, Any]:
        """Protocol."""
        return {"features": f"pixels in [0, 1], reduced by area to {self.side[0]} x {self.side[1]} px, {self.size}-d"}

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Features (n, d) float32 of uint8 images (n, h, w, 3)."""
        values = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        return torch.nn.functional.interpolate(values, self.side, mode="area").flatten(1).numpy()
