"""Layers whose weights are held at spectral norm 1 (Miyato et al. 2018)."""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

ITERATIONS = 8
Layer = TypeVar("Layer", bound=nn.Module)


class UnitNorm(nn.Module):
    """W / sigma(W), sigma the largest singular value of the weights as a matrix (outputs, all else).

    By power iteration from a vector that stays as it was drawn, so that sigma depends on the weights alone: it is the
    same in both modes, and right for averaged weights, for which a vector that follows training is stale. It falls
    short of the largest by a few percent.
    """

    start: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("start", torch.randn(weight[0].numel()))

    def forward(self, weight: Tensor) -> Tensor:
        """Any shape; the same shape."""
        matrix = weight.flatten(1)
        with torch.no_grad():
            v = self.start
            for _ in range(ITERATIONS):
                u = F.normalize(matrix @ v, dim=0)
                v = F.normalize(matrix.T @ u, dim=0)
        return weight / (u @ matrix @ v)


def held(layer: Layer) -> Layer:
    """The layer with orthogonal weights at first, and at spectral norm 1 whatever it learns."""
    weight: Tensor = layer.weight  # type: ignore[assignment]
    nn.init.orthogonal_(weight)
    parametrize.register_parametrization(layer, "weight", UnitNorm(weight))
    return layer


def conv(inputs: int, outputs: int, size: int, bias: bool = True) -> nn.Conv2d:
    """A convolution that keeps the side."""
    return held(nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=bias))


class Attention(nn.Module):
    """Each place looks at all others (Zhang et al. 2019, SAGAN): x + gate O softmax(Q K^T) V, K and V at half the side.

    The gate starts above the paper's 0, with which its weights would not learn at the first step.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        few, half = max(1, channels // 8), max(1, channels // 2)
        self.queries, self.keys = conv(channels, few, 1, bias=False), conv(channels, few, 1, bias=False)
        self.values, self.out = conv(channels, half, 1, bias=False), conv(half, channels, 1, bias=False)
        self.gate = nn.Parameter(torch.tensor(0.1))

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w); the same shape."""
        q = self.queries(x).flatten(2).transpose(1, 2)  # (n, h w, few)
        k, v = (F.max_pool2d(layer(x), 2).flatten(2) for layer in (self.keys, self.values))  # (n, few or half, h w / 4)
        looked = (v @ torch.softmax(q @ k, 2).transpose(1, 2)).unflatten(2, x.shape[2:])  # (n, half, h, w)
        return x + self.gate * self.out(looked)
