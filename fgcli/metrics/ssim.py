"""SSIM on face pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from fgcli.errors import FgError
from fgcli.metrics.paired import COMPARED_PIXELS, COMPOSITE, Paired, face_mean, unit
from fgcli.pixels.ssim import ssim_map

WINDOW, SIGMA = 11, 1.5


class SSIM(Paired):
    """Structural similarity (Wang et al. 2004), its map averaged over the face pixels.

    Args:
        image_shape: (c, h, w).

    Raises:
        FgError: an image smaller than the window.
    """

    name = "ssim"

    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        if min(image_shape[1:]) < WINDOW:
            raise FgError(f"ssim: expected images of at least {WINDOW} px, found {image_shape[1:]}; use larger crops")

    @property
    def protocol(self) -> dict[str, Any]:
        """Protocol."""
        return {
            "value": f"Gaussian window {WINDOW} px, sigma {SIGMA}, K 0.01 and 0.03, population variances, per channel",
            "better": "higher",
            "images": COMPOSITE,
            "average": f"{COMPARED_PIXELS}; only places where the whole window fits in the image",
        }

    def score(self, reference: np.ndarray, composite: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Mean of the map on the mask; a mask within half a window of the border alone has no place."""
        values = ssim_map(unit(reference), unit(composite), 1.0, WINDOW, SIGMA).mean(1).double().numpy()
        edge = WINDOW // 2
        inner = mask[:, edge : mask.shape[1] - edge, edge : mask.shape[2] - edge]
        return np.where(inner.any((1, 2)), face_mean(values, inner), np.nan)
