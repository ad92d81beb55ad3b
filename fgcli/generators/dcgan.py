"""DCGAN (Radford et al. 2016) with a mapping before it, as Ghosh's thesis uses it (section 6.3.1)."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgcli.capabilities import Contested, Critic, Entered, Invertible
from fgcli.config.fields import Count, Width
from fgcli.layers.blocks import START, doublings, mapping

SMALLEST, LARGEST = 8, 1024
"""Sides of images, px."""
WIDEST = 1024
"""Channels there, at width 1."""
HIDDEN = 256
"""Units of the critic's dense layer."""


class DCGAN(Contested, Entered):
    """Dense layer to 4 px, transposed 4 x 4 convolutions with batch norm, a last 3 x 3 convolution, tanh.

    The mapping is dense, ReLU, dense, then batch norm without gain and bias: so its codes w have mean 0 and variance 1,
    which the thesis does not ask for. Its hidden units are four times the codes; 512 in the thesis.

    Args:
        image_shape: (c, size, size); size is a power of two from 8.
        codes: size of z and w.
        width: factor on the channels, 4,096 over the side and at most 1,024.
        critic_width: the critic's, as a factor on the generator's.

    Raises:
        ValueError: images of another size.
    """

    space = "w"

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        codes: Count = 64,
        width: Width = 0.25,
        critic_width: Width = 1.0,
    ) -> None:
        super().__init__()
        sides = doublings(image_shape, "dcgan", SMALLEST, LARGEST)
        self.image_shape, self.code_shape, self.mapped_size = image_shape, (1, codes), codes
        self.mapping = mapping(codes, codes)
        widths = [channels(side, width) for side in sides]
        blocks: list[nn.Module] = [nn.Linear(codes, widths[0] * START**2), nn.Unflatten(1, (widths[0], START, START))]
        for a, b in pairwise(widths):
            blocks += [nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
        self.synthesis = nn.Sequential(*blocks, nn.Conv2d(widths[-1], image_shape[0], 3, padding=1))
        self.oppose(DCGANCritic(image_shape, width * critic_width))

    def entrance(self) -> list[Tensor]:
        """That of the dense layer (channels 4 4, d)."""
        return [self.synthesis.get_parameter("0.weight")]

    def map(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Codes w (n, 1, d) of z (n, d)."""
        return self.mapping(z)[:, None]

    def decode(self, codes: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images (n, c, size, size) in [-1, 1]."""
        return torch.tanh(self.synthesis(codes.flatten(1)))


class InvertibleDCGAN(Invertible, DCGAN):
    """The same with codes told by the critic, for InvGAN. Arguments as above."""


class DCGANCritic(Critic):
    """3 x 3 convolution, 4 x 4 ones of stride 2 down to 4 px, a dense layer; leaky ReLU, no norm, which R1 forbids.

    Twice the generator's channels at each side, no more than it has at 4 px.
    """

    size = HIDDEN

    def __init__(self, image_shape: tuple[int, int, int], width: float) -> None:
        super().__init__()
        sides = doublings(image_shape, "dcgan", SMALLEST, LARGEST)[::-1]
        widths = [min(2 * channels(side, width), channels(START, width)) for side in sides]
        first = nn.Conv2d(image_shape[0], widths[0], 3, padding=1)
        downs = [nn.Conv2d(a, b, 4, 2, 1) for a, b in pairwise(widths)]
        self.blocks = nn.ModuleList([first, *downs])
        self.dense = nn.Linear(widths[-1] * START**2, HIDDEN)
        self.head = nn.Linear(HIDDEN, 1)

    def features(self, images: Tensor, condition: Tensor | None = None) -> list[Tensor]:
        """Of each convolution (n, channels, h, w), and of the dense layer (n, size)."""
        found = [images]
        for block in self.blocks:
            found.append(F.leaky_relu(block(found[-1]), 0.2))
        return [*found[1:], F.leaky_relu(self.dense(found[-1].flatten(1)), 0.2)]

    def score(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits (n)."""
        return self.head(features)[:, 0]


def channels(side: int, width: float) -> int:
    """Of a feature map.

    >>> channels(4, 1.0), channels(32, 1.0), channels(16, 1 / 32)
    (1024, 128, 8)
    """
    return max(4, round(min(WIDEST, 4096 / side) * width))
