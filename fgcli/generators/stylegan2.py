"""StyleGAN2 (Karras et al. 2020, configuration F): skip generator and residual critic."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from fgcli.capabilities import Contested, Critic, Invertible
from fgcli.config.fields import Count, Width
from fgcli.layers.sides import START, sides
from fgcli.layers.stylegan2 import EPSILON, Conv, Dense, Modulated, ToColour, deviation, doubled, leaky

GROUP = 4
"""Images whose deviation the critic sees."""
MAPPING_RATE = 0.01
"""Factor on the step size of the mapping."""


class StyleGAN2(Contested):
    """A mapping, then modulated convolutions from a learned constant; each side adds its colours to those below.

    Codes are one w (n, 1, d) for all layers, or one for each (n, l, d): l = 2 log2(side) - 2.

    Args:
        image_shape: (c, size, size); size is a power of two from 8.
        codes: size of z and w; 512 in print.
        width: factor on the channels, 32,768 over the side; 1 in print, 0.5 for the configuration of 256 px.
        widest: the most channels; 512 in print.
        critic_width: the critic's channels, as a factor on the generator's, `widest` included.
        mapping_layers: 8 in print.
        noise: add noise to every layer, fixed in decoding, fresh in training. At 32 px it shows as stipple.

    Raises:
        ValueError: images of another size.
    """

    space = "w+"

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        codes: Count = 64,
        width: Width = 0.125,
        widest: Count = 128,
        critic_width: Width = 1.0,
        mapping_layers: Count = 2,
        noise: bool = False,
    ) -> None:
        super().__init__()
        steps = sides(image_shape, "stylegan2")
        self.image_shape, self.code_shape, self.mapped_size = image_shape, (2 * len(steps), codes), codes
        self.mapping = nn.ModuleList(Dense(codes, codes, rate=MAPPING_RATE) for _ in range(mapping_layers))
        wide = [channels(side, width, widest) for side in steps]
        self.constant = nn.Parameter(torch.randn(wide[0], START, START))
        self.convolutions, self.colours = nn.ModuleList(), nn.ModuleList()
        for i, side in enumerate(steps):
            grain = side if noise else 0
            if i:
                self.convolutions.append(Modulated(wide[i - 1], wide[i], codes, up=True, noise=grain))
            self.convolutions.append(Modulated(wide[i], wide[i], codes, noise=grain))
            self.colours.append(ToColour(wide[i], image_shape[0], codes))
        group = 1 if isinstance(self, Invertible) else GROUP
        self.oppose(StyleGAN2Critic(image_shape, width * critic_width, round(widest * critic_width), group))

    def map(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Codes w (n, 1, d) of z (n, d), which is brought to length sqrt(d) first."""
        x = z * (z.square().mean(1, keepdim=True) + EPSILON).rsqrt()
        for layer in self.mapping:
            x = leaky(layer(x))
        return x[:, None]

    def decode(self, codes: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images (n, c, size, size), cut to [-1, 1]: the network's own may leave it."""
        return self.synthesise(codes, None).clamp(-1, 1)

    def draft(self, codes: Tensor, rng: torch.Generator) -> Tensor:
        """As `decode`, with fresh noise and not cut, so that every pixel teaches."""
        return self.synthesise(codes, rng)

    def synthesise(self, codes: Tensor, rng: torch.Generator | None) -> Tensor:
        """Images of codes (n, 1 or l, d); the convolution after a ToColour shares that layer's w with it."""
        w = codes.expand(-1, self.code_shape[0], -1).unbind(1)
        convolutions = iter(self.convolutions)
        x = self.constant.expand(len(codes), -1, -1, -1)
        x = next(convolutions)(x, w[0], rng)
        images = self.colours[0](x, w[1])
        for i, colour in enumerate(self.colours[1:], 1):
            for layer in (2 * i - 1, 2 * i):
                x = next(convolutions)(x, w[layer], rng)
            images = doubled(images) + colour(x, w[2 * i + 1])
        return images


class InvertibleStyleGAN2(Invertible, StyleGAN2):
    """The same with codes told by the critic, for InvGAN: one w for all layers. Arguments as above.

    This critic does not compare images with each other: a code must not depend on what is encoded beside it.
    """


class StyleGAN2Critic(Critic):
    """Residual blocks that halve the picture, the deviation of groups of images, two dense layers.

    Args:
        image_shape, width, widest: as for the generator.
        group: images whose deviation it sees; 1: it does not look.
    """

    def __init__(self, image_shape: tuple[int, int, int], width: float, widest: int, group: int) -> None:
        super().__init__()
        self.group = group
        wide = [channels(side, width, widest) for side in sides(image_shape, "stylegan2")[::-1]]
        self.size = wide[-1]
        self.enter = Conv(image_shape[0], wide[0], 1)
        self.blocks = nn.ModuleList(Residual(a, b) for a, b in pairwise(wide))
        self.last = Conv(wide[-1] + (group > 1), wide[-1], 3)
        self.dense = Dense(wide[-1] * START**2, wide[-1])
        self.head = Dense(wide[-1], 1)

    def features(self, images: Tensor) -> list[Tensor]:
        """Of the first convolution and of each block (n, channels, h, w); of the dense layer (n, size)."""
        found = [leaky(self.enter(images))]
        for block in self.blocks:
            found.append(block(found[-1]))
        x = found[-1]
        if self.group > 1:
            x = deviation(x, self.group if len(x) % self.group == 0 else 1)  # outside of training any number may come
        return [*found, leaky(self.dense(leaky(self.last(x)).flatten(1)))]

    def score(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits (n)."""
        return self.head(features)[:, 0]


class Residual(nn.Module):
    """Two 3 x 3 convolutions of which the second halves, beside a 1 x 1 one that does; their sum over sqrt(2)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first, self.second = Conv(inputs, inputs, 3), Conv(inputs, outputs, 3, down=True)
        self.skip = Conv(inputs, outputs, 1, bias=False, down=True)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) -> (n, outputs, h / 2, w / 2)."""
        return (leaky(self.second(leaky(self.first(x)))) + self.skip(x)) / math.sqrt(2)


def channels(side: int, width: float, widest: int) -> int:
    """Of a feature map.

    >>> [channels(side, 1 / 64, 64) for side in (4, 8, 16, 32)]
    [64, 64, 32, 16]
    """
    return max(4, min(widest, round(32768 / side * width)))
