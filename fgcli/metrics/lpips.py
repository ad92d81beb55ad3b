"""LPIPS over the composite."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch

from fgcli import assets
from fgcli.backbones import lpips_network
from fgcli.errors import FgError
from fgcli.metrics.paired import COMPOSITE, WHOLE_IMAGE, Paired, unit

SMALLEST = {"alex": 31, "vgg": 16}
"""Image sizes (px) below which the trunk has nothing left to pool."""


class LPIPS(Paired):
    """Learned perceptual distance (Zhang et al. 2018), version 0.1.

    Args:
        image_shape: (c, h, w).
        net: trunk, "alex" or "vgg".
        device: where it computes.

    Raises:
        FgError: the trunk's weights are not imported, or the images are too small.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        net: Literal["alex", "vgg"] = "alex",
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        self.name, self.net, self.device = f"lpips_{net}", net, device
        if min(image_shape[1:]) < SMALLEST[net]:
            raise FgError(f"{self.name}: expected images of at least {SMALLEST[net]} px, found {image_shape[1:]}")
        self.network = lpips_network.load(net).to(device)

    @property
    def protocol(self) -> dict[str, Any]:
        """Protocol."""
        asset = assets.ASSETS[lpips_network.TRUNKS[self.net]]
        return {
            "value": f"LPIPS 0.1, trunk {asset.name}, images in [-1, 1] at their own size",
            "better": "lower",
            "weights_sha256": asset.sha256,
            "images": COMPOSITE,
            "average": WHOLE_IMAGE,
        }

    def score(self, reference: np.ndarray, composite: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """LPIPS of each image."""
        x, y = ((2 * unit(images) - 1).to(self.device) for images in (composite, reference))
        return lpips_network.distance(self.network, x, y).double().cpu().numpy()
