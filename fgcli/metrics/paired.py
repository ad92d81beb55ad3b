"""What paired metrics share: the protocol of Toledo and Antonelo, "only the face pixels were regarded"."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch

COMPOSITE = "8-bit prediction, replaced by the reference outside the pixels compared"
COMPARED_PIXELS = "mean over the pixels compared and channels, then over images"
WHOLE_IMAGE = "over the whole composite, then mean over images"


class Paired(ABC):
    """Composites, keeps the number of each image, and averages them; a subclass scores a batch.

    An image whose mask is empty has nothing to compare: its value is NaN and is left out of the mean.
    """

    kind: ClassVar[str] = "paired"
    name: str

    def __init__(self) -> None:
        self._values: list[np.ndarray] = []

    @property
    @abstractmethod
    def protocol(self) -> dict[str, Any]:
        """What travels with the number."""

    @abstractmethod
    def score(self, reference: np.ndarray, composite: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """The value of each image (n,): uint8 (n, h, w, 3), the same composited, boolean masks (n, h, w)."""

    def update(self, reference: np.ndarray, prediction: np.ndarray, mask: np.ndarray) -> None:
        """Adds a batch of uint8 images (n, h, w, 3) with boolean face masks (n, h, w).

        Raises:
            ValueError: another type or shape.
        """
        shapes = reference.shape == prediction.shape and mask.shape == reference.shape[:3]
        if not shapes or reference.dtype != np.uint8 or prediction.dtype != np.uint8 or mask.dtype != bool:
            raise ValueError(f"{self.name}: expected uint8 images (n, h, w, 3) and boolean masks (n, h, w) of one size")
        values = self.score(reference, np.where(mask[..., None], prediction, reference), mask)
        self._values.append(np.where(mask.any((1, 2)), values, np.nan))

    @property
    def values(self) -> np.ndarray:
        """One number per image (n,) float64."""
        return np.concatenate(self._values) if self._values else np.zeros(0)

    def compute(self) -> float:
        """The mean over images; NaN when none has a face pixel."""
        values = self.values[~np.isnan(self.values)]
        return float(values.mean()) if len(values) else float("nan")


def unit(images: np.ndarray) -> torch.Tensor:
    """uint8 (n, h, w, c) as float32 (n, c, h, w) in [0, 1]; convolutions in float64 are tens of times slower."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().float() / 255


def face_mean(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean of (n, h, w) over the True places of (n, h, w): (n,); 0 where there is none."""
    return (values * mask).sum((1, 2)) / np.maximum(mask.sum((1, 2)), 1)
