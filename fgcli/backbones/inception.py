"""Inception-v3 of 2015 as FID uses it: torch-fidelity's network, its weights an asset."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch

from fgcli import assets
from fgcli.capabilities import TellsClasses

LAYERS = ["2048", "logits_unbiased"]
"""Of torch-fidelity: pool3, and the classes' scores without their bias, as the Inception score's authors take them."""


@functools.cache
def load() -> Any:
    """The network, frozen.

    Raises:
        FgError: its weights are not imported or damaged.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    # torch-fidelity reads the file itself, pickles and all: `need` has just verified its sha256.
    path = assets.need("inception", "features inception")
    return FeatureExtractorInceptionV3("inception-v3-compat", LAYERS, feature_extractor_weights_path=str(path))


class Inception(TellsClasses):
    """pool3 features and the 1008 classes of Inception-v3; images are resized to 299 px as TensorFlow 1 did.

    Args:
        device: where it computes.

    Raises:
        FgError: its weights are not imported or damaged.
    """

    name, size = "inception", 2048

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.network, self.device = load().to(device), device
        self._last: tuple[np.ndarray, Any] | None = None

    @property
    def protocol(self) -> dict[str, Any]:
        """Protocol."""
        return {
            "features": "Inception-v3 of 2015, pool3, 2048-d, by torch-fidelity; resized to 299 px as TensorFlow 1 did",
            "weights_sha256": assets.ASSETS["inception"].sha256,
        }

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """pool3 features (n, 2048) float32 of uint8 images (n, h, w, 3)."""
        return self._layers(images)[0].numpy()

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """The probability of each class (n, 1008) of uint8 images (n, h, w, 3)."""
        return self._layers(images)[1].double().softmax(1).numpy()

    def _layers(self, images: np.ndarray) -> Any:
        """LAYERS of images; those of the last images are kept, since features and probabilities come from one pass."""
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
            raise ValueError(f"expected uint8 (n, h, w, 3), got {images.dtype} {images.shape}")
        if self._last is None or self._last[0] is not images:
            with torch.no_grad():
                layers = self.network(torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2))
            self._last = images, [layer.cpu() for layer in layers]
        return self._last[1]
