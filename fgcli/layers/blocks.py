"""Convolution blocks: those of the masked VAE (Toledo and Antonelo, section 3.1), and plain strided ones."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

START = 4
"""Side of the smallest feature map of a GAN, px."""


class ELU(nn.Module):
    """max(x, 0) + exp(min(x, 0)) - 1. On a CPU PyTorch's own calls expm1, which is not vectorised: 13 times slower."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape; the same shape."""
        return ExpELU.apply(x) if x.device.type == "cpu" and not torch.jit.is_tracing() else F.elu(x)


class ExpELU(torch.autograd.Function):
    """ELU by exp; its derivative is min(y, 0) + 1 of its value y."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """y = ELU(x)."""
        y = torch.maximum(x, x.clamp(max=0).exp_().sub_(1))  # e^x - 1 >= x, and 0 where x > 0
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """dL/dx = dL/dy (min(y, 0) + 1)."""
        (y,) = ctx.saved_tensors
        return gradients[0] * (y.clamp(max=0) + 1)


def conv_block(inputs: int, outputs: int) -> nn.Sequential:
    """3x3 convolution, batch norm, ELU: (n, inputs, h, w) -> (n, outputs, h, w)."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), ELU())


def strided_block(inputs: int, outputs: int) -> nn.Sequential:
    """3x3 convolution of stride 2, then one of stride 1, each with batch norm and ReLU: h -> ceil(h / 2)."""
    return nn.Sequential(
        *(nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()),
        *(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()),
    )


def down_block(inputs: int, outputs: int, convolutions: int) -> nn.Sequential:
    """Convolution blocks, then 2x2 max pooling: (n, inputs, h, w) -> (n, outputs, h // 2, w // 2)."""
    blocks = [conv_block(inputs if i == 0 else outputs, outputs) for i in range(convolutions)]
    return nn.Sequential(*blocks, nn.MaxPool2d(2))


def up_block(inputs: int, outputs: int, odd: bool) -> nn.Sequential:
    """3x3 transposed convolution of stride 2, then a convolution block: h -> 2 h, or 2 h + 1 if `odd`."""
    padding = 0 if odd else 1
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=padding, output_padding=padding),
        nn.BatchNorm2d(outputs),
        ELU(),
        conv_block(outputs, outputs),
    )


def doublings(image_shape: tuple[int, int, int], name: str, smallest: int, largest: int) -> list[int]:
    """Sides of the feature maps of a GAN of that name, from START to the image's.

    Raises:
        ValueError: not a square of a power of two from `smallest` to `largest`.

    >>> doublings((3, 32, 32), "stylegan2", 16, 1024)
    [4, 8, 16, 32]
    """
    _, size, across = image_shape
    if size != across or not smallest <= size <= largest or size & (size - 1):
        raise ValueError(
            f"{name} expects a square of a power of two from {smallest} to {largest} px, found {size}x{across}"
        )
    return [START << i for i in range((size // START).bit_length())]


def mapping(inputs: int, codes: int) -> nn.Sequential:
    """(n, inputs) -> codes (n, codes) of mean 0, variance 1: dense, ReLU, dense, batch norm without gain and bias."""
    hidden = 4 * codes
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, codes), nn.BatchNorm1d(codes, affine=False)
    )
