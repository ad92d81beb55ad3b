"""Inversion by the generator's own encoder: one forward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fgcli.errors import FgError


class Encoder:
    """The mean code that the generator's encoder gives."""

    @torch.no_grad()
    def invert(self, generator: Any, images: Tensor) -> Tensor:
        """Codes (n, l, d) of images (n, c, h, w) in [-1, 1].

        Raises:
            FgError: the generator has no encoder.
        """
        if not hasattr(generator, "encode"):
            raise FgError(f"{type(generator).__name__}: expected a generator with an encoder; choose another inverter")
        return generator.encode(images)
