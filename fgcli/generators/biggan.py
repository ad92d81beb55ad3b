"""BigGAN (Brock et al. 2019), with a mapping before it whose codes steer all its norms."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgcli.capabilities import Contested, Critic, Entered, Invertible
from fgcli.config.fields import Count, CountOrNone, Width
from fgcli.layers.blocks import START, doublings, mapping
from fgcli.layers.spectral import Attention, conv, held

SMALLEST, LARGEST = 16, 512
"""Sides of images, px."""
WIDEST = 1536
"""Channels at the most, at width 1."""
ATTENTION = 64
"""Side of the feature map that is looked at as a whole, px; half of the image's if that is smaller."""


class BigGAN(Contested, Entered):
    """Residual blocks, batch norm that the code steers, attention, spectral norm in generator and critic.

    The mapping is dense, ReLU, dense, then batch norm without gain and bias, as DCGAN's; it is told the class, so that
    w alone says all about an image. In the paper there is no mapping, and each block gets the class and a part of z.

    Args:
        image_shape: (c, size, size); size is a power of two from 16 to 512.
        codes: size of z and w.
        width: factor on the channels, 12,288 over the side and at most 1,536: those of the paper at 128 px.
        classes: how many the generator and the critic are told; 0: none.
        critic_width: the critic's, as a factor on the generator's.

    Raises:
        ValueError: images of another size.
    """

    space = "w"

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        codes: Count = 128,
        width: Width = 1.0,
        classes: CountOrNone = 0,
        critic_width: Width = 1.0,
    ) -> None:
        super().__init__()
        sides = doublings(image_shape, "biggan", SMALLEST, LARGEST)
        self.image_shape, self.code_shape, self.mapped_size = image_shape, (1, codes), codes
        self.classes = classes
        self.embedding = nn.Embedding(classes, codes) if classes else None
        self.mapping = mapping(codes * (1 + bool(classes)), codes)
        widths = [channels(side, width) for side in sides]
        self.first = held(nn.Linear(codes, widths[0] * START**2))
        self.blocks = nn.ModuleList(UpBlock(a, b, codes) for a, b in pairwise(widths))
        self.looked = sides.index(min(ATTENTION, sides[-2]))  # blocks before the attention
        self.attention = Attention(widths[self.looked])
        self.norm = nn.BatchNorm2d(widths[-1])
        self.colours = conv(widths[-1], image_shape[0], 3)
        self.oppose(BigGANCritic(image_shape, width * critic_width, classes))

    def entrance(self) -> list[Tensor]:
        """Those of the dense layer and of all gains and biases of batch norms (channels, d)."""
        norms = [norm for norm in self.blocks.modules() if isinstance(norm, SteeredNorm)]
        return [self.first.weight, *(layer.weight for norm in norms for layer in (norm.gains, norm.biases))]

    def map(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Codes w (n, 1, d) of z (n, d) and, if it knows classes, labels (n)."""
        if self.embedding is not None and labels is not None:
            z = torch.cat([z, self.embedding(labels)], 1)
        return self.mapping(z)[:, None]

    def decode(self, codes: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images (n, c, size, size) in [-1, 1]."""
        w = codes.flatten(1)
        x = self.first(w).unflatten(1, (-1, START, START))
        for i, block in enumerate(self.blocks, 1):
            x = block(x, w)
            x = self.attention(x) if i == self.looked else x
        return torch.tanh(self.colours(F.relu(self.norm(x))))


class InvertibleBigGAN(Invertible, BigGAN):
    """The same with codes told by the critic, for InvGAN. Arguments as above."""


class BigGANCritic(Critic):
    """Residual blocks down to 4 px, attention, spectral norm; a linear score plus the projection on the class.

    Args:
        image_shape: (c, size, size).
        width: factor on the channels.
        classes: how many it is told; 0: none.
    """

    smooth = True

    def __init__(self, image_shape: tuple[int, int, int], width: float, classes: int) -> None:
        super().__init__()
        sides = doublings(image_shape, "biggan", SMALLEST, LARGEST)[::-1]
        widths = [image_shape[0], *(channels(side, width) for side in sides)]
        self.size = widths[-1]
        shapes = list(pairwise(widths))
        self.blocks = nn.ModuleList(DownBlock(a, b, i == 0, i < len(shapes) - 1) for i, (a, b) in enumerate(shapes))
        self.looked = sides.index(min(ATTENTION, sides[1]))  # blocks before the attention
        self.attention = Attention(widths[self.looked])
        self.head = held(nn.Linear(self.size, 1))
        self.embedding = held(nn.Embedding(classes, self.size)) if classes else None

    def features(self, images: Tensor, condition: Tensor | None = None) -> list[Tensor]:
        """Of each block (n, channels, h, w); last, summed over places, (n, size)."""
        found = [images]
        for i, block in enumerate(self.blocks, 1):
            x = block(found[-1])
            found.append(self.attention(x) if i == self.looked else x)
        return [*found[1:], F.relu(found[-1]).sum((2, 3))]

    def score(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits (n) = V f + E_y f (Miyato and Koyama 2018); a row without a class, -1, has the first term alone."""
        logits = self.head(features)[:, 0]
        if self.embedding is None or labels is None:
            return logits
        projected = (self.embedding(labels.clamp_min(0)) * features).sum(1)
        return logits + projected * (labels >= 0)


class SteeredNorm(nn.Module):
    """Batch norm whose gains, 1 + A w, and biases, B w, are of the code w (n, codes)."""

    def __init__(self, width: int, codes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(width, affine=False)
        self.gains, self.biases = (held(nn.Linear(codes, width, bias=False)) for _ in range(2))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(n, width, h, w); the same shape."""
        return torch.addcmul(self.biases(w)[:, :, None, None], self.norm(x), 1 + self.gains(w)[:, :, None, None])


class UpBlock(nn.Module):
    """Twice norm, ReLU and 3 x 3 convolution, the side doubled before the first, beside a 1 x 1 convolution."""

    def __init__(self, inputs: int, outputs: int, codes: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([SteeredNorm(inputs, codes), SteeredNorm(outputs, codes)])
        self.first, self.second = conv(inputs, outputs, 3, bias=False), conv(outputs, outputs, 3, bias=False)
        self.skip = conv(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(n, inputs, h, w) and codes (n, codes) -> (n, outputs, 2 h, 2 w)."""
        y = self.first(twice(F.relu(self.norms[0](x, w))))
        return self.second(F.relu(self.norms[1](y, w))) + twice(self.skip(x))


class DownBlock(nn.Module):
    """Twice ReLU and 3 x 3 convolution, then means of 2 x 2 if `halved`, beside a 1 x 1 convolution.

    The first block of all takes images, without a ReLU before them.
    """

    def __init__(self, inputs: int, outputs: int, first: bool, halved: bool) -> None:
        super().__init__()
        self.leading, self.halved = first, halved
        self.first, self.second = conv(inputs, outputs, 3), conv(outputs, outputs, 3)
        self.skip = conv(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) -> (n, outputs, h, w) or half of that."""
        y = self.second(F.relu(self.first(x if self.leading else F.relu(x))))
        if self.halved:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        return y + self.skip(x)


def twice(x: Tensor) -> Tensor:
    """Each pixel as 2 x 2."""
    return F.interpolate(x, scale_factor=2)


def channels(side: int, width: float) -> int:
    """Of a feature map.

    >>> [channels(side, 1.0) for side in (4, 8, 16, 32, 64, 128)]
    [1536, 1536, 768, 384, 192, 96]
    """
    return max(8, round(min(WIDEST, 12288 / side) * width))
