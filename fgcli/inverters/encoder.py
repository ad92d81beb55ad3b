"""Inversion by the generator's own encoder: one forward pass."""

from __future__ import annotations

import torch
from torch import Tensor

from fgcli.capabilities import Encodes, Generator
from fgcli.codes import Codes, coded
from fgcli.inverters import Context, Inverter


class Encoder(Inverter):
    """The mean code that the generator's encoder gives."""

    requires = (Encodes,)

    @torch.no_grad()
    def invert(self, generator: Generator, images: Tensor, context: Context) -> Codes:
        """Codes of images (n, c, h, w) in [-1, 1]."""
        assert isinstance(generator, Encodes)
        return coded(generator, generator.encode(images), context.condition)
