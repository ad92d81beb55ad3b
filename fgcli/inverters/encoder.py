"""Inversion by the generator's own encoder: one forward pass."""

from __future__ import annotations

import torch
from torch import Tensor

from fgcli.capabilities import Encodes, Generator
from fgcli.codes import Codes, coded, decode
from fgcli.inverters import Context, Inverter

ROUNDS = 6
"""Encodings more where pixels are not known; on the demo's validation faces the holes get no better from there on."""


class Encoder(Inverter):
    """The mean code that the generator's encoder gives.

    Pixels that are not known are first as they come; then, ROUNDS times, those that the code so far gives.
    """

    requires = (Encodes,)

    @torch.no_grad()
    def invert(self, generator: Generator, images: Tensor, context: Context) -> Codes:
        """Codes of images (n, c, h, w) in [-1, 1]."""
        assert isinstance(generator, Encodes)
        codes = coded(generator, generator.encode(images), context.condition)
        if context.known is None:
            return codes
        for _ in range(ROUNDS):
            filled = torch.where(context.known, images, decode(generator, codes))
            codes = coded(generator, generator.encode(filled), context.condition)
        return codes
