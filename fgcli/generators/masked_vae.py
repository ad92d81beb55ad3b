"""Masked VAE: one code, an image decoder and a mask decoder (Toledo and Antonelo, "Face Reconstruction with
Variational Autoencoder and Face Masks", section 3.1; widths and code size from the authors' release)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from fgcli.capabilities import Masks, Posterior, Started
from fgcli.config.fields import Count, Width
from fgcli.layers.blocks import ELU, down_block, up_block
from fgcli.layers.linear import LinearPath

MASK_WIDTH = 32
START_LOG_STD = -3.0


class UnmaskedVAE(Posterior, Started):
    """Encoder to a Gaussian over codes, and image decoder: the paper's network without its mask branch.

    Args:
        image_shape: (3, size, size); size is a power of two from 16, or 144 as in the paper.
        codes: code size d; 512 in the paper.
        width: factor on every number of filters; 1 in the paper.
        linear: not in the paper: adds a linear path to encoder and image decoder that starts as eigenfaces, so that
            the convolutions only learn what is not linear; it wants `start(images)` before training.

    Raises:
        ValueError: images of another size.
    """

    def __init__(
        self, image_shape: tuple[int, int, int], codes: Count = 512, width: Width = 1.0, linear: bool = False
    ) -> None:
        super().__init__()
        channels, size, across = image_shape
        if size != across or not (size == 144 or (size >= 16 and size & (size - 1) == 0)):
            raise ValueError(f"masked_vae expects a square of 144 or a power of two from 16 px, found {size}x{across}")
        self.image_shape, self.code_shape = image_shape, (1, codes)
        sizes = halvings(size)  # 144 -> 144, 72, 36, 18, 9, 4, 2, 1
        widths = [scaled(w, width) for w in filters(len(sizes) - 1)]
        ins = [channels, *widths[:-1]]
        depths = [2 if i < min(4, len(widths) - 1) else 1 for i in range(len(widths))]
        blocks = [down_block(a, b, n) for a, b, n in zip(ins, widths, depths, strict=True)]
        self.encoder = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(widths[-1], widths[-1]), ELU())
        self.mean = nn.Linear(widths[-1], codes)
        self.log_std = nn.Linear(widths[-1], codes)
        self.image_decoder = decoder(codes, [*widths[-2::-1], widths[0]], sizes, channels)
        self.linear = LinearPath(image_shape, codes) if linear else None

    def start(self, images: np.ndarray) -> None:
        """Solves the linear path, if there is one, for uint8 images (n, h, w, c); the convolutions then add nothing."""
        if self.linear is None:
            return
        self.linear.start(images)
        for layer in (self.mean, self.log_std, self.image_decoder[-1]):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)
        nn.init.constant_(self.log_std.bias, START_LOG_STD)

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation (n, d) of q(z | x)."""
        hidden = self.encoder(images)
        mean = self.mean(hidden)
        return mean if self.linear is None else mean + self.linear.encode(images), self.log_std(hidden)

    def decode(self, codes: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images in [-1, 1]."""
        codes = codes.flatten(1)
        logits = self.image_decoder(codes[:, :, None, None])
        if self.linear is None:
            return torch.tanh(logits / 2)  # 2 sigmoid(logits) - 1
        return (self.linear.decode(codes) + logits).clamp(-1, 1)


class MaskedVAE(UnmaskedVAE, Masks):
    """The paper's network: a second decoder makes the face mask from the same code.

    Arguments as for UnmaskedVAE; 144 px and width 1 give the paper's 9.3 million parameters (9,328,228).
    """

    def __init__(
        self, image_shape: tuple[int, int, int], codes: Count = 512, width: Width = 1.0, linear: bool = False
    ) -> None:
        super().__init__(image_shape, codes, width, linear)
        sizes = halvings(image_shape[1])
        self.mask_decoder = decoder(codes, [scaled(MASK_WIDTH, width)] * (len(sizes) - 1), sizes, 1)

    def mask_logits(self, codes: Tensor) -> Tensor:
        """Logits (n, 1, h, w) of the face mask."""
        return self.mask_decoder(codes.flatten(1)[:, :, None, None])


def scaled(filters: int, width: float) -> int:
    """A number of filters times the width factor, 4 at least."""
    return max(4, round(filters * width))


def halvings(size: int) -> list[int]:
    """The sizes from `size` down to 1, halving and rounding down."""
    sizes = [size]
    while sizes[-1] > 1:
        sizes.append(sizes[-1] // 2)
    return sizes


def filters(stages: int) -> list[int]:
    """Filters per stage: 32, 64, 128, 256, then 256s, then 512; seven stages give the paper's network."""
    doubled = [32, 64, 128, 256][: min(4, stages - 1)]
    return [*doubled, *[256] * (stages - 1 - len(doubled)), 512]


def decoder(codes: int, widths: list[int], sizes: list[int], outputs: int) -> nn.Sequential:
    """From (n, codes, 1, 1) to (n, outputs, size, size) logits; `sizes` runs from the image's down to 1."""
    ups = [
        up_block(a, b, odd=bool(target % 2))
        for a, b, target in zip([codes, *widths[:-1]], widths, sizes[-2::-1], strict=True)
    ]
    return nn.Sequential(*ups, nn.Conv2d(widths[-1], outputs, 3, padding=1))
