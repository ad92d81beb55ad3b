"""Eigenfaces (Turk and Pentland 1991): the best linear autoencoder of its code size, the honest baseline."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from fgcli.capabilities import Encodes, Generator, Solved
from fgcli.config.fields import Count
from fgcli.layers.linear import principal_components

FIT_BYTES, FIT_COPIES = 2_000_000_000, 4
"""Memory for a fit beside a generator, and how many float32 copies of a training image it holds."""


class PCA(Encodes, Solved):
    """Principal components of the training images and their mirror images, with codes of unit variance.

    Args:
        image_shape: (c, h, w).
        codes: number of components.

    Raises:
        ValueError: more codes than values.
    """

    average: Tensor
    components: Tensor
    scale: Tensor

    def __init__(self, image_shape: tuple[int, int, int], codes: Count = 128) -> None:
        super().__init__()
        pixels = int(np.prod(image_shape))
        if codes > pixels:
            raise ValueError(f"pca expects at most {pixels} codes for images of {pixels} values, found {codes}")
        self.image_shape, self.code_shape = image_shape, (1, codes)
        self.register_buffer("average", torch.zeros(pixels))
        self.register_buffer("components", torch.zeros(codes, pixels))
        self.register_buffer("scale", torch.ones(codes))

    def fit(self, images: np.ndarray, rows: np.ndarray | None = None) -> None:
        """Solves for the components of uint8 images (n, h, w, c), or of some rows, and their mirror images."""
        average, components, scale = principal_components(images, self.code_shape[1], rows)
        self.average.copy_(average)
        self.components.copy_(components)
        self.scale.copy_(scale)

    def encode(self, images: Tensor) -> Tensor:
        """Codes (n, 1, d), of unit variance on the training images."""
        return ((images.flatten(1) - self.average) @ self.components.T / self.scale)[:, None]

    def decode(self, codes: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images, clamped to [-1, 1]."""
        x = self.average + (codes.flatten(1) * self.scale) @ self.components
        return x.clamp(-1, 1).unflatten(1, self.image_shape)


def baseline(images: np.ndarray, train: np.ndarray, generator: Generator) -> tuple[PCA, np.ndarray]:
    """Eigenfaces with as many codes as a generator, and the rows they were fitted to: all of `train` that memory holds.

    Args:
        images: uint8 (n, h, w, c).
        train: rows of the training split; where they are too many, every second, third, ... one is taken.
        generator: of these images.
    """
    size = math.prod(generator.image_shape)
    rows = train[:: -(-len(train) // max(2, FIT_BYTES // (4 * FIT_COPIES * size)))]
    pca = PCA(generator.image_shape, min(math.prod(generator.code_shape), size))
    pca.fit(images, rows)
    return pca.eval(), rows
