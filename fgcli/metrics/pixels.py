"""l1 and l2 of pixel values."""

from __future__ import annotations

from typing import Any

import numpy as np

from fgcli.metrics.paired import COMPARED_PIXELS, COMPOSITE, Paired, face_mean


class L1(Paired):
    """Mean absolute error on face pixels, values in [0, 1]."""

    name = "l1"

    @property
    def protocol(self) -> dict[str, Any]:
        """Protocol."""
        return {
            "value": "mean absolute error, [0, 1] scale",
            "better": "lower",
            "images": COMPOSITE,
            "average": COMPARED_PIXELS,
        }

    def score(self, reference: np.ndarray, composite: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Mean |error| of each image."""
        error = composite.astype(np.float64) / 255 - reference.astype(np.float64) / 255
        return face_mean(np.abs(error).mean(3), mask)


class L2(Paired):
    """Root mean squared error on face pixels, values in [0, 1] (the paper's "l2" is RMSE)."""

    name = "l2"

    @property
    def protocol(self) -> dict[str, Any]:
        """Protocol."""
        average = "root of the mean over the pixels compared and channels, then mean over images"
        return {
            "value": "root mean squared error, [0, 1] scale",
            "better": "lower",
            "images": COMPOSITE,
            "average": average,
        }

    def score(self, reference: np.ndarray, composite: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Root mean squared error of each image."""
        error = composite.astype(np.float64) / 255 - reference.astype(np.float64) / 255
        return np.sqrt(face_mean((error**2).mean(3), mask))
