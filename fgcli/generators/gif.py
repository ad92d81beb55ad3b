"""GIF: a StyleGAN2 that is told by pictures of a head what to show (Ghosh et al. 2020; Ghosh's thesis, section 5.3)."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgcli.capabilities import Styled
from fgcli.config.fields import Count, CountOrNone, Width
from fgcli.generators.stylegan2 import RATE, StyleGAN2, StyleGAN2Critic, fast
from fgcli.heads.parameters import SIZES
from fgcli.layers.blocks import START
from fgcli.layers.style import GAIN, Conv, Dense

CHANNELS = {"both": slice(0, 6), "texture": slice(0, 3), "normals": slice(3, 6)}
"""Of a condition's picture, by what the networks are shown."""
NUMBERS = sum(SIZES.values())
"""Of a head, where the condition is no picture."""
HIDDEN = (12, 24)
"""Channels between a condition and a layer: the release's, of layers wider than these."""
CONSTANT = 1e-6
"""Deviation below which a number never varies, and says nothing."""

Shown = Literal["both", "normals", "texture", "vector"]
Injection = Literal["net", "conv", "scale", "released"]


class GIF(Styled, StyleGAN2):
    """StyleGAN2 whose layers get, in place of noise, what a small network makes of the condition at their side.

    The critic sees image and condition as one picture. Styles z ~ N(0, I) say what a head's render does not: hair,
    background, details. In training each picture has one of its own.

    With "vector", the baseline of appendix B, the condition is the 236 numbers of the head, standardised and put beside
    the style before the mapping; the critic subtracts what a dense layer makes of them from its last features. Codes
    are then styles z, as w would know the head.

    Args:
        image_shape, codes, width, widest, mapping_layers, critic_width: as for `stylegan2`.
        rows: of faces.h5, each of which has a style; `fg train` gives it. 0: styles are drawn anew each time.
        trainable: whether these styles learn, too; in the release they do not.
        condition: what both networks are shown of the head: "both", "normals", "texture", or "vector".
        injection: what each layer has for it: "net", three 3 x 3 convolutions; "conv", one; "scale", a
            number for each pair of channels, the thesis' per-channel scaling; "released", three plain ones with ReLU,
            of pictures sampled at each side, not averaged, whose normals are clamped at 0: what GIF's released weights
            know.
    """

    styles: Tensor

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        rows: CountOrNone = 0,
        trainable: bool = False,
        condition: Shown = "both",
        injection: Injection = "net",
        codes: Count = 512,
        width: Width = 1.0,
        widest: Count = 512,
        mapping_layers: Count = 8,
        critic_width: Width = 1.0,
    ) -> None:
        super().__init__(image_shape, codes, width, widest, mapping_layers, False, critic_width)
        self.rows, self.pictured, self.injections = rows, condition != "vector", nn.ModuleList()
        self.sampled = injection == "released"
        styles = torch.randn(rows, codes)
        if trainable:
            self.styles = nn.Parameter(styles)
        else:
            self.register_buffer("styles", styles)
        if self.pictured:
            self.condition_shape, seen = (6, *image_shape[1:]), CHANNELS[condition].stop - CHANNELS[condition].start
            outputs = [len(layer.get_parameter("bias")) for layer in self.layers]
            of_sides = [outputs[:1], *map(list, zip(outputs[1::2], outputs[2::2], strict=True))]
            self.injections.extend(Injector(seen, own, injection) for own in of_sides)
        else:
            self.space, self.code_shape = "z", (1, codes)
            self.condition_column, self.condition_shape, seen = "parameters", (NUMBERS,), 0
            self.mapping[0] = Dense(codes + NUMBERS, codes, active=True, rate=RATE)
        self.look = Channels(CHANNELS[condition], self.sampled) if self.pictured else Standardised()
        self.oppose(GIFCritic(image_shape, self.critic_widths, self.critic_group, seen, self.look))

    def styles_of(self, rows: Tensor) -> Tensor:
        """z (n, d) of rows (n)."""
        return self.styles[rows.to(self.styles.device)]

    def meet(self, conditions: Tensor) -> None:
        """Takes on how numbers (n, 236) vary; of pictures nothing."""
        if isinstance(self.look, Standardised):
            self.look.fit(conditions)

    def map(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Codes (n, 1, d) of styles z (n, d): w; z itself where the numbers of a head are mapped with it."""
        return super().map(z) if self.pictured else z[:, None]

    def entrance(self) -> list[Tensor]:
        """As for `stylegan2`; where codes are styles, the mapping's first layer."""
        return super().entrance() if self.pictured else [self.mapping[0].get_parameter("weight")[:, : self.mapped_size]]

    def decode(self, codes: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images (n, c, size, size), in [-1, 1] in eval mode, of codes (n, l, d) or (n, 1, d) and conditions."""
        told = self.look(condition)
        if self.pictured:
            images = self.synthesis(codes, self.injected(told))
        else:
            images = self.synthesis(super().map(torch.cat([codes[:, 0], told], 1)), [None] * len(self.layers))
        return images if self.training else images.clamp(-1, 1)

    def injected(self, told: Tensor) -> list[Tensor | None]:
        """What each layer is given (n, outputs, side, side), of pictures (n, k, size, size)."""
        planes = [fast(told)]
        while planes[0].shape[2] > START:
            side = planes[0].shape[2] // 2
            planes.insert(0, F.interpolate(told, side, mode="bilinear") if self.sampled else F.avg_pool2d(planes[0], 2))
        pairs = zip(self.injections, planes, strict=True)
        return [given for inject, plane in pairs for given in inject(plane)]


class GIFCritic(StyleGAN2Critic):
    """StyleGAN2's, of image and condition as one picture, or with the numbers of a head at its end.

    Args:
        image_shape, widths, group: as there.
        seen: channels of the condition; 0: it is numbers.
        look: what is made of conditions first.
    """

    def __init__(
        self, image_shape: tuple[int, int, int], widths: list[int], group: int, seen: int, look: nn.Module
    ) -> None:
        super().__init__((image_shape[0] + seen, *image_shape[1:]), widths, group)
        self.look, self.numbers = look, None if seen else Dense(NUMBERS, self.size)

    def features(self, images: Tensor, condition: Tensor | None = None) -> list[Tensor]:
        """As there, of images and their conditions."""
        told = self.look(condition)
        if self.numbers is None:
            return super().features(torch.cat([images, told], 1))
        *blocks, last = super().features(images)
        return [*blocks, last - self.numbers(told)]


class Channels(nn.Module):
    """Some channels of pictures (n, 6, h, w).

    Args:
        chosen: which.
        clamped: whether normals are clamped at 0 first, so that what looks away in an axis is as if it did not.
    """

    def __init__(self, chosen: slice, clamped: bool) -> None:
        super().__init__()
        self.chosen, self.clamped = chosen, clamped

    def forward(self, condition: Tensor) -> Tensor:
        """(n, k, h, w)."""
        if self.clamped:
            condition = torch.cat([condition[:, :3], 2 * condition[:, 3:].relu() - 1], 1)
        return condition[:, self.chosen]


class Standardised(nn.Module):
    """Numbers (n, 236) of a head, of mean 0 and deviation 1 over training rows; 0 what never varies there."""

    mean: Tensor
    factor: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(NUMBERS))
        self.register_buffer("factor", torch.ones(NUMBERS))

    def fit(self, numbers: Tensor) -> None:
        """Takes on mean and deviation of rows (n, 236)."""
        deviation = numbers.std(0)
        self.mean.copy_(numbers.mean(0))
        self.factor.copy_(torch.where(deviation > CONSTANT, 1 / deviation, 0.0))

    def forward(self, condition: Tensor) -> Tensor:
        """(n, 236)."""
        return (condition - self.mean) * self.factor


class Injector(nn.Module):
    """From a picture (n, inputs, h, w) to what each layer of its side is given, (n, outputs, h, w).

    Layers have networks of their own. Where these are one convolution each, they are one operation; longer ones are not
    joined, as parts of feature maps would have to be copied.

    Args:
        inputs: channels. outputs: of each layer.
        kind: see `GIF`.
    """

    def __init__(self, inputs: int, outputs: list[int], kind: Injection) -> None:
        super().__init__()
        self.widths, self.nets = outputs, nn.ModuleList()
        if kind == "net":
            self.nets.extend(network(inputs, n) for n in outputs)
        elif kind == "released":
            self.nets.extend(released(inputs, n) for n in outputs)
        else:
            self.first = Conv(inputs, sum(outputs), 3 if kind == "conv" else 1, active=False, gain=GAIN)

    def forward(self, x: Tensor) -> list[Tensor]:
        """As above."""
        return [net(x) for net in self.nets] if self.nets else list(self.first(x).split(self.widths, 1))


def network(inputs: int, outputs: int) -> nn.Sequential:
    """That of a layer: no wider than the layer itself, beside which it would cost more than all else."""
    first, second = min(HIDDEN[0], outputs // 2), min(HIDDEN[1], outputs)
    last = Conv(second, outputs, 3, active=False, gain=GAIN)
    return nn.Sequential(Conv(inputs, first, 3), Conv(first, second, 3), last)


def released(inputs: int, outputs: int) -> nn.Sequential:
    """The network of a layer whose weights the release has."""
    widths = (inputs, 2 * inputs, 4 * inputs, outputs)
    first, second, last = (nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last)
