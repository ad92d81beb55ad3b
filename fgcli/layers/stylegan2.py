"""Layers of StyleGAN2 (Karras et al. 2020): equalised learning rates, FIR filters, modulated convolutions.

The same numbers as the published networks', by less work: activations are scaled and not a kernel for every image, and
filters that keep every second pixel compute only those.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FIR = (1.0, 3.0, 3.0, 1.0)
"""The low-pass filter, along each axis, up to its sum."""
EPSILON = 1e-8


def leaky(x: Tensor) -> Tensor:
    """sqrt(2) leaky_relu(x, 0.2): keeps the variance."""
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


class Dense(nn.Module):
    """x W^T g / sqrt(inputs) + b g with W ~ N(0, 1) / g: the step size is that of unit weights, times g.

    Args:
        inputs, outputs: sizes.
        bias: where it starts.
        rate: g, the factor on the step size.
    """

    def __init__(self, inputs: int, outputs: int, bias: float = 0.0, rate: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias))
        self.scale, self.rate = rate / math.sqrt(inputs), rate

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs) -> (n, outputs)."""
        return F.linear(x, self.weight * self.scale, self.bias * self.rate)


class Conv(nn.Module):
    """Convolution of W / sqrt(inputs side^2), W ~ N(0, 1); with `down` filtered and halved.

    Args:
        inputs, outputs: channels.
        side: of the kernel.
        bias: whether there is one.
        down: whether the picture is halved.
    """

    def __init__(self, inputs: int, outputs: int, side: int, bias: bool = True, down: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, side, side))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.scale, self.down = 1 / math.sqrt(inputs * side**2), down

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) -> (n, outputs, h, w), or half of h and w."""
        weight = self.weight * self.scale
        if not self.down:
            return F.conv2d(x, weight, self.bias, padding=weight.shape[2] // 2)
        if weight.shape[2] == 1:  # of the filtered pixels a 1 x 1 kernel needs only every second
            return F.conv2d(filtered(x, padding=1, stride=2), weight, self.bias)
        return F.conv2d(filtered(x, padding=2), weight, self.bias, stride=2)


class Modulated(nn.Module):
    """3 x 3 convolution whose kernel each image's style scales (section 2.2, Eqs. 1 and 3), then bias and leaky ReLU.

    W'_oik = s_i W_oik, W''_oik = W'_oik / sqrt(sum_ik W'^2_oik + e)

    is d_o conv(s_i x_i, W) with d = 1 / sqrt(s^2 (sum_k W^2)^T + e): no kernel per image.

    Args:
        inputs, outputs: channels.
        codes: size of w.
        up: whether the picture is doubled and filtered.
        noise: side of the noise map; 0 for none.
    """

    def __init__(self, inputs: int, outputs: int, codes: int, up: bool = False, noise: int = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.style = Dense(codes, inputs, bias=1.0)
        self.scale, self.up = 1 / math.sqrt(inputs * 9), up
        self.strength = nn.Parameter(torch.zeros(())) if noise else None
        self.register_buffer("noise", torch.randn(noise, noise) if noise else None)

    def forward(self, x: Tensor, w: Tensor, rng: torch.Generator | None) -> Tensor:
        """(n, inputs, h, w) and codes (n, d) -> (n, outputs, h, w), doubled with `up`; noise is fresh from a `rng`."""
        s, weight = self.style(w), self.weight * self.scale
        d = (s.square() @ weight.square().sum((2, 3)).T + EPSILON).rsqrt()
        x = x * s[:, :, None, None].to(x.dtype)
        if self.up:
            x = filtered(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), padding=1, gain=4)
        else:
            x = F.conv2d(x, weight, padding=1)
        x = x * d[:, :, None, None].to(x.dtype)
        if self.strength is not None:
            x = x + self.strength * self.grain(x, rng)
        return leaky(x + self.bias[:, None, None])

    def grain(self, x: Tensor, rng: torch.Generator | None) -> Tensor:
        """Noise (n or 1, 1, h, w): the fixed map, or fresh."""
        if rng is None:
            assert isinstance(self.noise, Tensor)
            return self.noise
        shape = (len(x), 1, *x.shape[2:])
        return torch.randn(shape, generator=rng, device=rng.device).to(x.device)


class ToColour(nn.Module):
    """1 x 1 convolution to colours whose kernel each image's style scales, without demodulation; a bias.

    Args:
        inputs: channels. outputs: colours. codes: size of w.
    """

    def __init__(self, inputs: int, outputs: int, codes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.style = Dense(codes, inputs, bias=1.0)
        self.scale = 1 / math.sqrt(inputs)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(n, inputs, h, w) and codes (n, d) -> (n, outputs, h, w)."""
        kernels = self.weight * self.scale * self.style(w)[:, None]  # (n, outputs, inputs): small, so per image
        return torch.bmm(kernels.to(x.dtype), x.flatten(2)).unflatten(2, x.shape[2:]) + self.bias[:, None, None]


def filtered(x: Tensor, padding: int, stride: int = 1, gain: float = 1.0) -> Tensor:
    """The 4 x 4 FIR over zero-padded x (n, c, h, w); of `stride` 2 only every second pixel is computed."""
    taps = x.new_tensor(FIR)
    kernel = torch.outer(taps, taps) * (gain / taps.sum() ** 2)
    return F.conv2d(x, kernel.expand(x.shape[1], 1, 4, 4), stride=stride, padding=padding, groups=x.shape[1])


def doubled(x: Tensor) -> Tensor:
    """Zeros between the pixels, then the FIR with gain 4, without a product with a zero.

    Along each axis y_2i = (x_{i-1} + 3 x_i) / 4 and y_{2i+1} = (3 x_i + x_{i+1}) / 4, with zeros beyond the border.

    >>> doubled(torch.ones(1, 1, 1, 2))[0, 0, 0].tolist()
    [0.5625, 0.75, 0.75, 0.5625]
    """
    for axis, pad in ((2, (0, 0, 1, 1)), (3, (1, 1))):
        wide, n = F.pad(x, pad), x.shape[axis]
        before, after = wide.narrow(axis, 0, n), wide.narrow(axis, 2, n)
        x = torch.stack([3 * x + before, 3 * x + after], axis + 1).flatten(axis, axis + 1) / 4
    return x


def deviation(x: Tensor, group: int) -> Tensor:
    """One more channel: the standard deviation over groups of images, mean over all entries (Karras et al. 2018).

    Args:
        x: (n, c, h, w); image i is grouped with those n / group further on.
        group: images a group; n is a multiple of it.
    """
    n, _, h, w = x.shape
    exact = x.to(torch.promote_types(x.dtype, torch.float32))
    spread = exact.unflatten(0, (group, -1)).var(0, correction=0).add(EPSILON).sqrt().mean((1, 2, 3))  # (n / group)
    return torch.cat([x, spread.repeat(group)[:, None, None, None].expand(n, 1, h, w).to(x.dtype)], 1)
