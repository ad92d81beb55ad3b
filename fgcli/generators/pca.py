"""Eigenfaces (Turk and Pentland 1991): the best linear autoencoder of its code size, the honest baseline."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

MOST_ROWS = 10_000
"""Rows used at most, evenly spaced: the fit keeps them all in memory."""


class PCA(nn.Module):
    """Principal components of the training images and their mirror images, with codes of unit variance.

    Args:
        image_shape: (c, h, w).
        codes: number of components.

    Raises:
        ValueError: code size out of range.
    """

    space = "z"
    average: Tensor
    components: Tensor
    scale: Tensor

    def __init__(self, image_shape: tuple[int, int, int], codes: int = 128) -> None:
        super().__init__()
        pixels = int(np.prod(image_shape))
        if not 1 <= codes <= pixels:
            raise ValueError(f"pca expects 1 to {pixels} codes for images of {pixels} values, found {codes}")
        self.image_shape, self.code_shape = image_shape, (1, codes)
        self.register_buffer("average", torch.zeros(pixels))
        self.register_buffer("components", torch.zeros(codes, pixels))
        self.register_buffer("scale", torch.ones(codes))

    def fit(self, images: np.ndarray) -> None:
        """Solves for the components of uint8 images (n, h, w, c) and their mirror images.

        With X the centred rows, the eigenvectors of X X^T (2n x 2n) give those of the covariance.
        """
        step = -(-len(images) // MOST_ROWS)
        rows = torch.from_numpy(images[::step].astype(np.float32) / 127.5 - 1)
        x = torch.cat([rows, rows.flip(2)]).permute(0, 3, 1, 2).flatten(1)
        self.average.copy_(x.mean(0))
        x -= self.average
        values, vectors = torch.linalg.eigh((x @ x.T).double())
        k = min(self.code_shape[1], len(x) - 1)
        values, vectors = values[-k:].flip(0).clamp_min(1e-12), vectors[:, -k:].flip(1)
        self.components.zero_()[:k] = torch.nn.functional.normalize(vectors.T.float() @ x)
        self.scale.fill_(1.0)[:k] = (values / len(x)).sqrt().float()

    def encode(self, images: Tensor) -> Tensor:
        """Codes (n, 1, d), of unit variance on the training images."""
        return ((images.flatten(1) - self.average) @ self.components.T / self.scale)[:, None]

    def decode(self, codes: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images, clamped to [-1, 1]."""
        x = self.average + (codes.flatten(1) * self.scale) @ self.components
        return x.clamp(-1, 1).unflatten(1, self.image_shape)

    def prior(self, n: int, rng: torch.Generator) -> Tensor:
        """Codes from N(0, I)."""
        return torch.randn(n, *self.code_shape, generator=rng, device=rng.device).to(self.average.device)
