"""BigGAN (Brock et al. 2019) with a mapping before it, as Ghosh's thesis uses it (section 6.3.1)."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from fgcli.capabilities import Contested, Critic, Invertible
from fgcli.config.fields import Count, CountOrNone, Width
from fgcli.layers.sides import START, sides

CHANNELS = 64
"""Unit of the channels, at width 1; the paper's is 96."""


class BigGAN(Contested):
    """Residual blocks whose batch norm w governs, attention at half the side, spectral norm everywhere.

    The mapping is dense, ReLU, dense, then batch norm without gain and bias, as `dcgan`'s. With classes it takes the
    class's embedding beside z, so that a code alone decodes: densities and editors see one kind of code. The paper has
    no mapping and gives each block its own part of z.

    Args:
        image_shape: (c, size, size); size is a power of two from 8.
        codes: size of z and w.
        width: factor on the channels: 64 times 128 over the side, at most 16 times.
        critic_width: the critic's, as a factor on the generator's.
        classes: how many the generator is told, numbered from 0; 0: none.

    Raises:
        ValueError: images of another size.
    """

    space = "w"

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        codes: Count = 64,
        width: Width = 0.125,
        critic_width: Width = 1.0,
        classes: CountOrNone = 0,
    ) -> None:
        super().__init__()
        steps = sides(image_shape, "biggan")
        self.image_shape, self.code_shape, self.mapped_size = image_shape, (1, codes), codes
        self.classes = classes
        self.embedding = nn.Embedding(classes, codes) if classes else None
        told = 2 * codes if classes else codes
        self.mapping = nn.Sequential(
            nn.Linear(told, 4 * codes), nn.ReLU(), nn.Linear(4 * codes, codes), nn.BatchNorm1d(codes, affine=False)
        )
        wide = [channels(side, width) for side in steps]
        self.first = spectral_norm(nn.Linear(codes, wide[0] * START**2))
        self.blocks = nn.ModuleList(Up(a, b, codes) for a, b in pairwise(wide))
        self.attention = Attention(wide[-2])
        self.norm = nn.BatchNorm2d(wide[-1])
        self.last = spectral_norm(nn.Conv2d(wide[-1], image_shape[0], 3, padding=1))
        self.oppose(BigGANCritic(image_shape, width * critic_width, classes))

    def map(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Codes w (n, 1, d) of z (n, d) and labels (n), if it knows classes."""
        if self.embedding is not None:
            assert labels is not None
            z = torch.cat([z, self.embedding(labels)], 1)
        return self.mapping(z)[:, None]

    def decode(self, codes: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images (n, c, size, size) in [-1, 1]."""
        w = codes.flatten(1)
        x = self.first(w).unflatten(1, (-1, START, START))
        for i, block in enumerate(self.blocks):
            x = block(self.attention(x) if i == len(self.blocks) - 1 else x, w)
        return torch.tanh(self.last(F.relu(self.norm(x))))


class InvertibleBigGAN(Invertible, BigGAN):
    """The same with codes told by the critic, for InvGAN. Arguments as above."""


class BigGANCritic(Critic):
    """Residual blocks that halve the picture, attention at half the side, a sum over places; spectral norm everywhere.

    With classes <embedding of the class, features> is added to the score (Miyato and Koyama 2018).
    """

    smooth = True

    def __init__(self, image_shape: tuple[int, int, int], width: float, classes: int) -> None:
        super().__init__()
        wide = [channels(side, width) for side in sides(image_shape, "biggan")[::-1]]
        self.size = wide[-1]
        self.enter = spectral_norm(nn.Conv2d(image_shape[0], wide[0], 3, padding=1))
        self.blocks = nn.ModuleList(Down(a, b) for a, b in pairwise(wide))
        self.attention = Attention(wide[1])
        self.head = spectral_norm(nn.Linear(wide[-1], 1))
        self.embedding = spectral_norm(nn.Embedding(classes, wide[-1])) if classes else None

    def features(self, images: Tensor) -> list[Tensor]:
        """Of the first convolution and of each block (n, channels, h, w); their sum over places (n, size)."""
        found = [self.enter(images)]
        for i, block in enumerate(self.blocks):
            x = block(found[-1])
            found.append(x if i else self.attention(x))
        return [*found, F.relu(found[-1]).sum((2, 3))]

    def score(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits (n); of images without a class, -1, the unconditional part."""
        logits = self.head(features)[:, 0]
        if self.embedding is None or labels is None:
            return logits
        own = (self.embedding(labels.clamp_min(0)) * features).sum(1)
        return logits + torch.where(labels >= 0, own, torch.zeros_like(own))


class Governed(nn.Module):
    """Batch norm whose gain and bias are affine in w."""

    def __init__(self, width: int, codes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(width, affine=False)
        self.gain, self.bias = (spectral_norm(nn.Linear(codes, width)) for _ in range(2))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(n, width, h, w) and codes (n, d)."""
        return self.norm(x) * (1 + self.gain(w))[:, :, None, None] + self.bias(w)[:, :, None, None]


class Up(nn.Module):
    """norm, ReLU, doubled, 3 x 3, norm, ReLU, 3 x 3, beside a doubled 1 x 1."""

    def __init__(self, inputs: int, outputs: int, codes: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([Governed(inputs, codes), Governed(outputs, codes)])
        self.first = spectral_norm(nn.Conv2d(inputs, outputs, 3, padding=1))
        self.second = spectral_norm(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip = spectral_norm(nn.Conv2d(inputs, outputs, 1))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(n, inputs, h, w) and codes (n, d) -> (n, outputs, 2 h, 2 w)."""
        y = self.first(F.interpolate(F.relu(self.norms[0](x, w)), scale_factor=2))
        y = self.second(F.relu(self.norms[1](y, w)))
        return y + F.interpolate(self.skip(x), scale_factor=2)


class Down(nn.Module):
    """ReLU, 3 x 3, ReLU, 3 x 3, halved, beside a halved 1 x 1."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = spectral_norm(nn.Conv2d(inputs, outputs, 3, padding=1))
        self.second = spectral_norm(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip = spectral_norm(nn.Conv2d(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) -> (n, outputs, h / 2, w / 2)."""
        y = F.avg_pool2d(self.second(F.relu(self.first(F.relu(x)))), 2)
        return y + F.avg_pool2d(self.skip(x), 2)


class Attention(nn.Module):
    """x + gain * what each place asks of all others, pooled 2 x 2 (Zhang et al. 2019); gain starts at 0."""

    def __init__(self, width: int) -> None:
        super().__init__()
        few, half = max(1, width // 8), max(1, width // 2)
        self.asks, self.answers = (spectral_norm(nn.Conv2d(width, few, 1, bias=False)) for _ in range(2))
        self.says = spectral_norm(nn.Conv2d(width, half, 1, bias=False))
        self.out = spectral_norm(nn.Conv2d(half, width, 1, bias=False))
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """(n, width, h, w), h and w even."""
        asked = self.asks(x).flatten(2)  # (n, few, h w)
        answer, said = (F.max_pool2d(part(x), 2).flatten(2) for part in (self.answers, self.says))  # (n, ., h w / 4)
        weights = torch.softmax(asked.transpose(1, 2) @ answer, 2)  # (n, h w, h w / 4)
        return x + self.gain * self.out((said @ weights.transpose(1, 2)).unflatten(2, x.shape[2:]))


def channels(side: int, width: float) -> int:
    """Of a feature map.

    >>> [channels(side, 1.0) for side in (4, 8, 16, 32, 256)]
    [1024, 1024, 512, 256, 64]
    """
    return max(4, round(CHANNELS * min(16, max(1, 128 / side)) * width))
