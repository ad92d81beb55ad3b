"""Inception-v3 of 2015 as FID uses it: torch-fidelity's network, its weights an asset."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch

from fgcli import assets

FEATURES = 2048


@functools.cache
def load() -> Any:
    """The feature extractor, frozen.

    Raises:
        FgError: its weights are not imported or damaged.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    # torch-fidelity reads the file itself, pickles and all: `need` has just verified its sha256.
    path = assets.need("inception", "fid_inception")
    return FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(path))


def features(network: Any, images: np.ndarray) -> np.ndarray:
    """pool3 features (n, 2048) float32 of uint8 images (n, h, w, 3); resized to 299 px as TensorFlow 1 did.

    Raises:
        ValueError: not uint8 (n, h, w, 3).
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(f"expected uint8 (n, h, w, 3), got {images.dtype} {images.shape}")
    with torch.no_grad():
        return network(torch.from_numpy(images).permute(0, 3, 1, 2))[0].numpy()
