"""Layers of StyleGAN2 (Karras et al. 2020): equalised learning rate, modulated convolutions, low-pass filters.

Weights are kept at variance 1 and scaled by 1 / sqrt(inputs) in use, so that one step size fits all layers. Active
layers end in sqrt(2) max(x, x / 5); the factor goes into weights and biases beforehand, which is the same and saves a
pass over the activations. All are plain operations: R1 and the path length differentiate them twice.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GAIN = 2**0.5
"""Of active layers."""
EPSILON = 1e-8


def leaky(x: Tensor) -> Tensor:
    """max(x, x / 5), in the place of x: what made it does not need it any more, and new memory costs more than this."""
    return F.leaky_relu(x, 0.2, inplace=True)


class Dense(nn.Module):
    """(n, inputs) -> (n, outputs).

    Args:
        inputs, outputs: sizes.
        active: whether sqrt(2) max(x, x / 5) follows.
        rate: factor on the step size of the weights.
        start: value of the biases at first.
    """

    def __init__(self, inputs: int, outputs: int, active: bool = False, rate: float = 1.0, start: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), start))
        self.active, self.gain = active, rate * (GAIN if active else 1.0)

    def forward(self, x: Tensor) -> Tensor:
        """As above."""
        y = F.linear(x, self.weight * (self.gain / self.weight.shape[1] ** 0.5), self.bias * self.gain)
        return leaky(y) if self.active else y


class Conv(nn.Module):
    """(n, inputs, h, w) -> (n, outputs, h, w), or half of h and w.

    Args:
        inputs, outputs: channels.
        size: side of the kernel, 1 or 3.
        active: whether it has biases, and sqrt(2) max(x, x / 5) follows.
        halved: whether a low-pass filter and stride 2 halve the side.
        gain: factor on all that comes out.
    """

    def __init__(
        self, inputs: int, outputs: int, size: int, *, active: bool = True, halved: bool = False, gain: float = 1.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.bias = nn.Parameter(torch.zeros(outputs)) if active else None
        self.halved, self.gain = halved, gain * (GAIN if active else 1.0)

    def forward(self, x: Tensor) -> Tensor:
        """As above."""
        size = self.weight.shape[2]
        weight = self.weight * (self.gain / self.weight[0].numel() ** 0.5)
        bias = None if self.bias is None else self.bias * self.gain
        if self.halved and size == 1:
            y = F.conv2d(low_pass(x, stride=2), weight, bias)
        elif self.halved:
            y = F.conv2d(low_pass(x, padding=2), weight, bias, stride=2)
        else:
            y = F.conv2d(x, weight, bias, padding=size // 2)
        return y if bias is None else leaky(y)


class StyledConv(nn.Module):
    """3 x 3 convolution whose inputs the code scales and whose outputs are brought back to variance 1.

    y_o = d_o sum_i w_oi * (s_i x_i), s = A(code), d_o = 1 / sqrt(sum_i s_i^2 sum_taps w_oi^2 + epsilon) (Eq. 1, 3):
    scales of activations and one product of matrices, no weights of each sample. Then noise or what else is put in its
    place, biases, and sqrt(2) max(y, y / 5).

    Args:
        inputs, outputs: channels.
        codes: size of the code.
        doubled: whether the side doubles: zeros between pixels, then a low-pass filter.
        side: of the outputs, for noise; 0: none.
    """

    noise: Tensor

    def __init__(self, inputs: int, outputs: int, codes: int, doubled: bool, side: int = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scales = Dense(codes, inputs, start=1.0)
        self.doubled, self.side = doubled, side
        if side:
            self.strength = nn.Parameter(torch.zeros(()))
            self.register_buffer("noise", torch.randn(side, side))

    def forward(self, x: Tensor, code: Tensor, noise: Tensor | None = None) -> Tensor:
        """(n, inputs, h, w) and codes (n, codes) -> (n, outputs, h, w) or twice that.

        Args:
            x: as above.
            code: as above.
            noise: (n, 1, h, w) in place of the layer's own; (n, 1 or outputs, h, w), added as it is, where it has none.
        """
        s = self.scales(code)
        d = (s.square() @ self.weight.square().sum((2, 3)).T + EPSILON).rsqrt()  # (n, outputs)
        y = x * s[:, :, None, None]
        if self.doubled:
            y = low_pass(F.conv_transpose2d(y, self.weight.transpose(0, 1), stride=2), padding=1)
            d = 4 * d  # three of four pixels were zeros
        else:
            y = F.conv2d(y, self.weight, padding=1)
        shift, scale = self.bias[:, None, None] * GAIN, (d * GAIN)[:, :, None, None]
        if noise is not None and not self.side:
            return leaky(torch.addcmul(noise, y, scale).add_(shift))
        if self.side:
            shift = shift + (self.noise if noise is None else noise) * (self.strength * GAIN)
        return leaky(torch.addcmul(shift, y, scale))


class StyledColours(nn.Module):
    """1 x 1 convolution to colours whose inputs the code scales: one product of matrices for each sample."""

    def __init__(self, inputs: int, outputs: int, codes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs, 1))
        self.scales = Dense(codes, inputs, start=1.0)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """(n, inputs, h, w) and codes (n, codes) -> (n, outputs, h, w)."""
        weights = self.scales(code)[:, None] * (self.weight / self.weight.shape[1] ** 0.5)  # (n, outputs, inputs)
        return torch.baddbmm(self.bias, weights, x.flatten(2)).unflatten(2, x.shape[2:])


def low_pass(x: Tensor, padding: int = 1, stride: int = 1) -> Tensor:
    """Filters each channel of (n, c, h, w) by [1, 3, 3, 1] / 8 along both axes; outside are zeros."""
    taps = x.new_tensor([1.0, 3.0, 3.0, 1.0]) / 8
    channels = int(x.shape[1])  # a plain number for those who trace this
    kernel = torch.outer(taps, taps).expand(channels, 1, 4, 4)
    return F.conv2d(x, kernel, stride=stride, padding=padding, groups=channels)


def doubled(x: Tensor) -> Tensor:
    """(n, c, h, w) -> (n, c, 2 h, 2 w): zeros between pixels, then the filter.

    Along an axis places 2 i are (x_{i-1} + 3 x_i) / 4 and 2 i + 1 are (3 x_i + x_{i+1}) / 4: no zero is multiplied.
    """
    c = int(x.shape[1])
    taps = x.new_tensor([[1.0, 3.0, 0.0], [0.0, 3.0, 1.0]]) / 4
    kernels = torch.einsum("ai,bj->abij", taps, taps).reshape(4, 1, 3, 3).repeat(c, 1, 1, 1)
    return F.pixel_shuffle(F.conv2d(x, kernels, padding=1, groups=c), 2)


def deviation(x: Tensor, group: int) -> Tensor:
    """How much images differ, (n, 1, h, w): standard deviation over the images of a group, mean over all the rest.

    Group k of (n, c, h, w) has the images k, k + n / group, k + 2 n / group, ...
    """
    apart = x.reshape(group, -1, *x.shape[1:])
    spread = (apart.var(0, correction=0) + EPSILON).sqrt().mean((1, 2, 3))  # (n / group)
    return spread.repeat(group)[:, None, None, None].expand(-1, 1, *x.shape[2:])
