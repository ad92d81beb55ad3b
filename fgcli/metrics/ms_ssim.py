"""MS-SSIM over the composite."""

from __future__ import annotations

from typing import Any

import numpy as np
import piq
import torch

from fgcli.errors import FgError
from fgcli.metrics.paired import COMPOSITE, WHOLE_IMAGE, Paired, unit

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of the five scales, Wang, Simoncelli and Bovik 2003."""
WINDOW = 11


def scales(size: int) -> int:
    """How many of the five scales an image of `size` px has: the last must hold the window; 0 when none does."""
    return sum((WINDOW - 1) * 2**i + 1 <= size for i in range(len(WEIGHTS)))


class MSSSIM(Paired):
    """Multi-scale structural similarity; fewer than five scales are told by the name.

    Args:
        image_shape: (c, h, w).

    Raises:
        FgError: an image smaller than the window.
    """

    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        count = scales(min(image_shape[1:]))
        if count == 0:
            raise FgError(f"ms_ssim: expected images of at least {WINDOW} px, found {image_shape[1:]}; use larger ones")
        self.name = "ms_ssim" if count == len(WEIGHTS) else f"ms_ssim_{count}"
        self.weights = torch.tensor(WEIGHTS[:count], dtype=torch.float32) / sum(WEIGHTS[:count])

    @property
    def protocol(self) -> dict[str, Any]:
        """Protocol."""
        return {
            "value": f"MS-SSIM of {len(self.weights)} scales, window {WINDOW} px, sigma 1.5",
            "better": "higher",
            "weights": [round(w, 6) for w in self.weights.tolist()],
            "images": COMPOSITE,
            "average": WHOLE_IMAGE,
            "library": f"piq {piq.__version__}",
        }

    def score(self, reference: np.ndarray, composite: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """MS-SSIM of each image."""
        x, y = unit(composite), unit(reference)
        return (
            piq.multi_scale_ssim(x, y, WINDOW, data_range=1.0, reduction="none", scale_weights=self.weights)
            .double()
            .numpy()
        )
