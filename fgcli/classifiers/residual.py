"""A small residual network as a judge of pictures (He et al. 2016), down to 4 px or less."""

from __future__ import annotations

from torch import Tensor, nn

from fgcli.classifiers.judges import ImageJudge
from fgcli.config.fields import Count, Width

CHANNELS = 32
"""After the first stage, at width 1; four times as many at most."""


class Residual(ImageJudge):
    """Blocks of two 3 x 3 convolutions that halve the side, then one dense layer.

    Args:
        attributes: k.
        side: of its pictures, px.
        width: factor on the channels.
    """

    def __init__(self, attributes: Count, side: Count, width: Width = 1.0) -> None:
        super().__init__(attributes, side)
        channels = max(4, round(CHANNELS * width))
        most, left = 4 * channels, side
        stages: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1, bias=False)]
        while left > 4:
            wider = min(2 * channels, most)
            stages.append(Block(channels, wider))
            channels, left = wider, -(-left // 2)
        self.trunk = nn.Sequential(*stages, nn.BatchNorm2d(channels), nn.ReLU())
        self.last = nn.Linear(channels * left**2, attributes)

    def answer(self, x: Tensor) -> Tensor:
        """(n, k) of pictures (n, 3, side, side)."""
        return self.last(self.trunk(x).flatten(1))


class Block(nn.Module):
    """x -> W x + f(x), norms and ReLU before convolutions: (n, inputs, h, w) -> (n, outputs, ceil(h / 2), ...)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU())
        self.skip = nn.Conv2d(inputs, outputs, 1, 2, bias=False)
        self.change = nn.Sequential(
            *(nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """As above."""
        x = self.first(x)
        return self.skip(x) + self.change(x)
