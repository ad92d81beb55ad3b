"""The autoencoder of *Reining in the Deep Generative Models* (Ghosh, Table A.1), after Tolstikhin et al. 2018: one
network for the whole family, so that only objectives differ. Details that the table leaves open are the released
code's: no batch norm after the decoder's dense layer, log sigma = 5 tanh, sigmoid output."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from fgcli.capabilities import Halves, Posterior
from fgcli.config.fields import Count, Width

WIDTHS = (128, 256, 512, 1024)
START = 8
"""Side of the picture from which the decoder starts, px."""
LOG_STD = 5.0
"""Largest |log sigma|."""


class ConvAutoencoder(Halves):
    """Deterministic encoder and decoder (M = 1 in Table A.1): AE, RAE, WAE, and the CV-VAE, whose noise is constant.

    Args:
        image_shape: (3, size, size); size is a power of two from 16.
        codes: code size d; 16, 128 and 64 in the thesis for MNIST, CIFAR-10 and CelebA.
        width: factor on every number of filters; 1 in the thesis.
        kernel: side of the filters; 4 in the thesis, 5 for CelebA.
        spectral: which weights are divided by their largest singular value, one power iteration a step (Miyato et
            al. 2018): "none", "decoder" as the thesis says, or "both" as its released code does.

    Raises:
        ValueError: images of another size.
    """

    heads = 1

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        codes: Count = 64,
        width: Width = 1.0,
        kernel: Literal[4, 5] = 4,
        spectral: Literal["none", "decoder", "both"] = "none",
    ) -> None:
        super().__init__()
        channels, size, across = image_shape
        if size != across or size < 16 or size & (size - 1):
            raise ValueError(f"conv_autoencoder expects a square of a power of two from 16 px, found {size}x{across}")
        self.image_shape, self.code_shape = image_shape, (1, codes)
        widths = [max(4, round(w * width)) for w in WIDTHS]
        self.encoder = encoder(channels, widths, size // 2 ** len(widths), codes * self.heads, kernel)
        self.decoder = decoder(channels, widths, size, codes, kernel)
        if spectral == "both":
            normalise(self.encoder)
        if spectral != "none":
            normalise(self.decoder)

    def encode(self, images: Tensor) -> Tensor:
        """Codes (n, 1, d)."""
        return self.encoder(images)[:, None]

    def decode(self, codes: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images in [-1, 1]: 2 sigmoid(logits) - 1."""
        size = self.image_shape[1]
        return torch.tanh(self.decoder(codes.flatten(1))[..., :size, :size] / 2)


class ConvVAE(Posterior, ConvAutoencoder):
    """The same with two heads (M = 2): mean and log standard deviation, for the VAE. Arguments as above."""

    heads = 2

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation (n, d) of q(z | x)."""
        mean, raw = self.encoder(images).chunk(2, 1)
        return mean, LOG_STD * torch.tanh(raw)


def encoder(channels: int, widths: list[int], side: int, outputs: int, kernel: int) -> nn.Sequential:
    """(n, channels, 16 side, 16 side) -> (n, outputs): four convolutions of stride 2, then a dense layer."""
    blocks: list[nn.Module] = []
    for a, b in zip([channels, *widths[:-1]], widths, strict=True):
        convolution = nn.Conv2d(a, b, kernel, stride=2, padding=(kernel - 1) // 2, bias=False)
        blocks += [convolution, nn.BatchNorm2d(b), nn.ReLU()]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(widths[-1] * side * side, outputs))


def decoder(channels: int, widths: list[int], size: int, codes: int, kernel: int) -> nn.Sequential:
    """(n, codes) -> logits (n, channels, size, size), one row and column more where the kernel is even.

    A dense layer to 8 x 8, transposed convolutions of stride 2 (512, 256, ... filters), a last one of stride 1.
    """
    doublings = (size // START).bit_length() - 1
    outs = [widths[max(-2 - i, -len(widths))] for i in range(doublings)]
    padding = (kernel - 1) // 2
    blocks: list[nn.Module] = [nn.Linear(codes, widths[-1] * START**2), nn.Unflatten(1, (widths[-1], START, START))]
    for a, b in zip([widths[-1], *outs[:-1]], outs, strict=True):
        up = nn.ConvTranspose2d(a, b, kernel, 2, padding, output_padding=kernel % 2, bias=False)
        blocks += [up, nn.BatchNorm2d(b), nn.ReLU()]
    return nn.Sequential(*blocks, nn.ConvTranspose2d(outs[-1], channels, kernel, padding=padding))


def normalise(network: nn.Module) -> None:
    """Spectral normalisation of all its convolutions and dense layers; batch norm stays."""
    for module in list(network.modules()):
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            spectral_norm(module)
