"""StyleGAN2 (Karras et al. 2020): a mapping, layers that each take a code, and a residual critic."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from fgcli.capabilities import Contested, Critic, Entered, Invertible, Space
from fgcli.config.fields import Count, Width
from fgcli.layers.blocks import START, doublings
from fgcli.layers.style import GAIN, Conv, Dense, StyledColours, StyledConv, deviation, doubled

SMALLEST, LARGEST = 16, 1024
"""Sides of images, px."""
RATE = 0.01
"""Factor on the step size of the mapping."""
GROUP = 4
"""Images that the critic compares."""


class StyleGAN2(Contested, Entered):
    """Skip generator and residual critic, configurations E and F of the paper's Table 1.

    Images are not bounded while it trains, as in the paper; `decode` of a network in eval mode clamps them to [-1, 1],
    which is what one sees. There its noise is that of the file; `draft` draws it anew.

    Args:
        image_shape: (c, size, size); size is a power of two from 16 to 1,024.
        codes: size of z and w; 512 in the paper.
        width: factor on the channels of a side, 32,768 over the side; 0.5 is configuration E, 1 is F.
        widest: channels at the most.
        mapping_layers: dense layers between z and w.
        noise: whether layers have noise inputs. At 32 px and below they hurt.
        critic_width: the critic's, as a factor on the generator's.

    Raises:
        ValueError: images of another size.
    """

    space: Space = "w+"
    critic_group = GROUP
    average: Tensor

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        codes: Count = 512,
        width: Width = 1.0,
        widest: Count = 512,
        mapping_layers: Count = 8,
        noise: bool = False,
        critic_width: Width = 1.0,
    ) -> None:
        super().__init__()
        sides = doublings(image_shape, "stylegan2", SMALLEST, LARGEST)
        self.image_shape, self.code_shape, self.mapped_size = image_shape, (2 * len(sides), codes), codes
        self.mapping = nn.Sequential(*(Dense(codes, codes, active=True, rate=RATE) for _ in range(mapping_layers)))
        self.register_buffer("average", torch.zeros(codes))
        widths = [channels(side, width, widest) for side in sides]
        self.constant = nn.Parameter(torch.randn(widths[0], START, START))
        shapes = [(widths[0], widths[0], False, START)]
        for side, (a, b) in zip(sides[1:], pairwise(widths), strict=True):
            shapes += [(a, b, True, side), (b, b, False, side)]
        self.noisy = [noise * side for *_, side in shapes]  # sides of noise, 0 where there is none
        layers = [StyledConv(a, b, codes, up, side) for (a, b, up, _), side in zip(shapes, self.noisy, strict=True)]
        self.layers = nn.ModuleList(layers)
        self.colours = nn.ModuleList(StyledColours(c, image_shape[0], codes) for c in widths)
        self.critic_widths = [max(1, round(critic_width * c)) for c in widths[::-1]]
        self.oppose(StyleGAN2Critic(image_shape, self.critic_widths, self.critic_group))

    def entrance(self) -> list[Tensor]:
        """Those of the layers' scales (inputs, d); colours apart."""
        return [layer.get_parameter("scales.weight") for layer in self.layers]

    def map(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Codes w (n, 1, d) of z (n, d), of which only the direction counts: one row for all layers.

        In float32 whatever the autocast, as in the published code.
        """
        if self.training:
            self.average.zero_()  # a mean that came with the weights is not that of others
        with torch.autocast(z.device.type, enabled=False):
            return self.mapping(z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt())[:, None]

    def mean_code(self) -> Tensor:
        """(1, d): the mean that came with imported weights, else that of draws."""
        return self.average[None] if self.average.any() else super().mean_code()

    def decode(self, codes: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images (n, c, size, size), in [-1, 1] in eval mode, of codes (n, l, d) or (n, 1, d)."""
        images = self.synthesis(codes, [None] * len(self.layers))
        return images if self.training else images.clamp(-1, 1)

    def draft(self, codes: Tensor, rng: torch.Generator) -> Tensor:
        """Images, not bounded, with noise from `rng`."""
        return self.synthesis(codes, [self.normal(len(codes), (1, s, s), rng) if s else None for s in self.noisy])

    def synthesis(self, codes: Tensor, noise: list[Tensor | None]) -> Tensor:
        """Images, not bounded; `noise` of each layer (n, 1, h, w), None for the one that it keeps.

        Two layers and one for colours share a side; that of colours takes the code of the next side's first layer.
        """
        w = codes.expand(-1, len(self.layers) + 1, -1).unbind(1)
        x = self.layers[0](fast(self.constant.expand(codes.shape[0], -1, -1, -1)), w[0], noise[0])
        images = self.colours[0](x, w[1])
        for i, colours in enumerate(self.colours[1:], 1):
            for k in (2 * i - 1, 2 * i):
                x = self.layers[k](x, w[k], noise[k])
            images = doubled(images) + colours(x, w[2 * i + 1])
        return images


class InvertibleStyleGAN2(Invertible, StyleGAN2):
    """The same with codes told by the critic, for InvGAN: one code for all layers.

    Its critic does not compare images, or the code of an image would depend on its neighbours. Arguments as above.
    """

    critic_group = 1


class StyleGAN2Critic(Critic):
    """Residual blocks down to 4 px, how much images of a group differ as one more channel, two dense layers.

    Args:
        image_shape: (c, size, size).
        widths: channels from the image's side to 4 px.
        group: images that it compares; 1: none.
    """

    def __init__(self, image_shape: tuple[int, int, int], widths: list[int], group: int) -> None:
        super().__init__()
        self.size, self.group = widths[-1], group
        self.colours = Conv(image_shape[0], widths[0], 1)
        self.blocks = nn.ModuleList(Residual(a, b) for a, b in pairwise(widths))
        self.last = Conv(self.size + (group > 1), self.size, 3)
        self.dense = Dense(self.size * START**2, self.size, active=True)
        self.head = Dense(self.size, 1)

    def features(self, images: Tensor, condition: Tensor | None = None) -> list[Tensor]:
        """Of each block (n, channels, h, w), and of the first dense layer (n, size).

        Fewer images than a group are one; more are a multiple of it.
        """
        found = [self.colours(fast(images))]
        for block in self.blocks:
            found.append(block(found[-1]))
        x = found[-1]
        if self.group > 1:
            x = torch.cat([x, deviation(x, min(self.group, len(x)))], 1)
        return [*found[1:], self.dense(self.last(x).flatten(1))]

    def score(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits (n)."""
        return self.head(features)[:, 0]


class Residual(nn.Module):
    """(f(x) + W x) / sqrt(2), f two 3 x 3 convolutions: (n, inputs, h, w) -> (n, outputs, h / 2, w / 2)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = Conv(inputs, inputs, 3)
        self.second = Conv(inputs, outputs, 3, halved=True, gain=1 / GAIN)
        self.skip = Conv(inputs, outputs, 1, active=False, halved=True, gain=1 / GAIN)

    def forward(self, x: Tensor) -> Tensor:
        """As above."""
        return self.second(self.first(x)) + self.skip(x)


def fast(x: Tensor) -> Tensor:
    """(n, c, h, w) with channels last in memory, as all that is made of it then is: 8 to 18 % less time on a CPU."""
    return x.contiguous(memory_format=torch.channels_last)


def channels(side: int, width: float, widest: int) -> int:
    """Of a feature map.

    >>> [channels(side, 1 / 64, 64) for side in (4, 8, 16, 32)], channels(1024, 1.0, 512)
    ([64, 64, 32, 16], 32)
    """
    return max(1, min(int(32768 * width / side), widest))
