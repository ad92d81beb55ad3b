"""GMM-VAE: an autoencoder with one Gaussian per class as prior: its encoder classifies (Ghosh's thesis, chapter 4).

The thesis gives the kinds of layers (section 4.8.1), not their sizes: filters and dense width here are our choice.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from fgcli.capabilities import Classifies
from fgcli.config.fields import Count, Positive, Width

FILTERS, MOST_FILTERS, DENSE = 32, 128, 256
"""Filters of the encoder's first stage and of its widest, and size of the dense layers, at width 1."""
START = 4
"""Side of the feature maps between convolutions and dense layers, px."""


class GMMVAE(Classifies):
    """Encoder f and decoder g with a mixture prior: p(z) = 1/k sum_c N(z; mu_c, variance I), k classes.

    mu_c is the one-hot code of class c, padded with zeros. q(z | x) = N(f(x), variance I), so its entropy is constant;
    with `variable_entropy` the encoder also gives the logarithm of its standard deviations (section 4.8.7).

    Args:
        image_shape: (c, size, size); size is a power of two from 16.
        classes: number of classes k; `identity` of faces.h5 names them 0 to k - 1.
        codes: code size d, at least `classes`; in the thesis 10 for MNIST, 32 for SVHN, 100 for COIL-100.
        width: factor on the numbers of filters and on the dense layers.
        variance: of the encoder's noise and of each component; 1/3000 in the thesis for MNIST.
        variable_entropy: whether the encoder's noise depends on the image.

    Raises:
        ValueError: images of another size, or more classes than codes.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        classes: Annotated[int, Field(ge=2)] = 10,
        codes: Count = 10,
        width: Width = 1.0,
        variance: Positive = 1 / 3000,
        variable_entropy: bool = False,
    ) -> None:
        super().__init__()
        channels, size, across = image_shape
        if size != across or size < 16 or size & (size - 1):
            raise ValueError(f"gmm_vae expects a square of a power of two from 16 px, found {size}x{across}")
        if classes > codes:
            raise ValueError(f"gmm_vae expects classes <= codes, found {classes} classes and {codes} codes")
        self.image_shape, self.code_shape = image_shape, (1, codes)
        self.variance, self.variable_entropy = variance, variable_entropy
        stages = int(math.log2(size // START))
        filters = [max(4, round(width * min(FILTERS * 2**i, MOST_FILTERS))) for i in range(stages)]
        dense, flat = max(8, round(DENSE * width)), filters[-1] * START**2
        self.encoder = nn.Sequential(
            *(_down(a, b) for a, b in zip([channels, *filters], filters, strict=False)),
            nn.Flatten(),
            nn.Linear(flat, dense),
            nn.ReLU(),
        )
        self.mean = nn.Linear(dense, codes)
        self.log_std = nn.Linear(dense, codes) if variable_entropy else None
        if self.log_std:
            nn.init.zeros_(self.log_std.weight)
            nn.init.constant_(self.log_std.bias, 0.5 * math.log(variance))
        back = filters[::-1]
        self.decoder = nn.Sequential(
            nn.Linear(codes, dense),
            nn.ReLU(),
            nn.Linear(dense, flat),
            nn.ReLU(),
            nn.Unflatten(1, (back[0], START, START)),
            *(_up(a, b) for a, b in zip(back, [*back[1:], back[-1]], strict=True)),
            nn.Conv2d(back[-1], channels, 3, padding=1),
        )
        self.register_buffer("means", torch.eye(classes, codes))

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation (n, d) of q(z | x), in float32 whatever the autocast: a component is narrow.

        Of constant entropy, the second is the same number everywhere.
        """
        hidden = self.encoder(images)
        with torch.autocast(images.device.type, enabled=False):
            mean = self.mean(hidden.float())
            log_std = self.log_std(hidden.float()) if self.log_std else None
        return mean, torch.full_like(mean, 0.5 * math.log(self.variance)) if log_std is None else log_std

    def decode(self, codes: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images g(z) in [-1, 1]: 2 sigmoid(logits) - 1."""
        return torch.tanh(self.decoder(codes.flatten(1)) / 2)

    def prior(self, n: int, rng: torch.Generator, truncation: float = 1.0) -> Tensor:
        """Codes from the mixture, drawn to the components' means by `truncation` < 1."""
        chosen = torch.randint(len(self.means), (n,), generator=rng, device=rng.device).to(self.means.device)
        noise = self.normal(n, self.code_shape[1:], rng)
        return (self.means[chosen] + truncation * math.sqrt(self.variance) * noise)[:, None]


def _down(inputs: int, outputs: int) -> nn.Sequential:
    """3x3 convolution, ReLU, 2x2 max pooling: (n, inputs, h, w) -> (n, outputs, h / 2, w / 2)."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))


def _up(inputs: int, outputs: int) -> nn.Sequential:
    """2x up-sampling, 3x3 convolution, ReLU: (n, inputs, h, w) -> (n, outputs, 2 h, 2 w)."""
    return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU())
