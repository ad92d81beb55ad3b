"""Inversion by the generator's encoder, then gradient descent: quick to start, near in the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from fgcli.capabilities import Encodes, Generator
from fgcli.codes import Codes
from fgcli.config.fields import Count, Positive, Weight
from fgcli.inverters import Context
from fgcli.inverters.encoder import Encoder
from fgcli.inverters.optimize import Optimize


class Hybrid(Optimize):
    """As `optimize`, from the encoder's code: never further from the image than that (Guan et al. 2020).

    Args:
        image_shape, learning_rate, distance, space, noise, seconds: as for `optimize`.
        steps: of Adam.
    """

    requires = (Encodes,)

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        steps: Count = 100,
        learning_rate: Positive = 0.02,
        distance: Literal["auto", "lpips", "pixels", "critic"] = "auto",
        space: Literal["auto", "w", "w+"] = "auto",
        noise: Weight = 0.0,
        seconds: Weight = 0.0,
    ) -> None:
        super().__init__(image_shape, steps, learning_rate, 64, distance, space, noise, seconds)

    @torch.no_grad()
    def start(
        self, generator: Generator, images: Tensor, context: Context, away: Callable[[Tensor], Tensor], end: float
    ) -> Codes:
        """The encoder's codes."""
        return Encoder().invert(generator, images, context)
