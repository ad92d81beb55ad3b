"""Visual information fidelity over the composite."""

from __future__ import annotations

from typing import Any

import numpy as np
import piq

from fgcli.errors import FgError
from fgcli.metrics.paired import COMPOSITE, WHOLE_IMAGE, Paired, unit

SMALLEST = 41


class VIF(Paired):
    """Pixel-domain VIF (Sheikh and Bovik 2006) of luminance; above 1 where contrast was added.

    Args:
        image_shape: (c, h, w).

    Raises:
        FgError: an image smaller than its coarsest scale needs.
    """

    name = "vif"

    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        if min(image_shape[1:]) < SMALLEST:
            raise FgError(f"vif: expected images of at least {SMALLEST} px, found {image_shape[1:]}; use larger crops")

    @property
    def protocol(self) -> dict[str, Any]:
        """Protocol."""
        return {
            "value": "pixel-domain VIF of luminance, (distorted, reference), four scales, noise variance 2",
            "better": "higher",
            "images": COMPOSITE,
            "average": WHOLE_IMAGE,
            "library": f"piq {piq.__version__}",
        }

    def score(self, reference: np.ndarray, composite: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """VIF of each image: it is not symmetric, the distorted image comes first."""
        return piq.vif_p(unit(composite), unit(reference), data_range=1.0, reduction="none").double().numpy()
