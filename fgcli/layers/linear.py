"""A linear autoencoder that starts at its known optimum."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


class LinearPath(nn.Module):
    """z = (x - average) E^T and y = average + z D, both trained, from the principal components on.

    The optimum of a linear VAE is probabilistic PCA (Lucas et al. 2019, "Don't Blame the ELBO!"): what is linear need
    not be learned. Rows of E and D are kept as unit-size parameters times a fixed gain, so that one step size of Adam
    fits them all.

    Args:
        image_shape: (c, h, w).
        codes: code size d.
    """

    average: Tensor
    gains: Tensor

    def __init__(self, image_shape: tuple[int, int, int], codes: int) -> None:
        super().__init__()
        pixels = int(np.prod(image_shape))
        self.image_shape = image_shape
        self.analysis = nn.Parameter(torch.zeros(codes, pixels))
        self.synthesis = nn.Parameter(torch.zeros(codes, pixels))
        self.register_buffer("average", torch.zeros(pixels))
        self.register_buffer("gains", torch.ones(2, codes, 1))

    @torch.no_grad()
    def start(self, average: Tensor, components: Tensor, scale: Tensor) -> None:
        """Takes over principal components (d, p) and standard deviations (d) of codes; codes get unit variance."""
        unit = components.shape[1] ** 0.5
        self.average.copy_(average)
        self.analysis.copy_(components * unit)
        self.synthesis.copy_(components * unit)
        self.gains.copy_(torch.stack([1 / scale, scale])[..., None] / unit)

    def encode(self, images: Tensor) -> Tensor:
        """Codes (n, d) of images (n, c, h, w); float32, whatever the autocast."""
        with torch.autocast(images.device.type, enabled=False):
            return (images.float().flatten(1) - self.average) @ (self.analysis * self.gains[0]).T

    def decode(self, codes: Tensor) -> Tensor:
        """Images of codes (n, d); float32, not clamped."""
        with torch.autocast(codes.device.type, enabled=False):
            flat = self.average + codes.float() @ (self.synthesis * self.gains[1])
        return flat.unflatten(1, self.image_shape)
