"""Momentum iterative method (Dong et al. 2018)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fgcli.attacks.pixels import class_loss, gradient, projected, signed, unit
from fgcli.config.fields import Count, Share, Weight

TINY = 1e-12


class MIM:
    """m <- decay m + dJ/dx / mean|dJ/dx|, x <- x + step sign(m), within epsilon of the original and [0, 1].

    J is the encoder's cross-entropy (pixels.class_loss). Defaults are CleverHans'.

    Args:
        epsilon: largest change of any value, in [0, 1].
        step: size of one step, in [0, 1].
        steps: how many.
        decay: of the momentum; 0 for none.
    """

    targeted, from_noise = False, False

    def __init__(self, epsilon: Share = 0.3, step: Share = 0.06, steps: Count = 10, decay: Weight = 1.0) -> None:
        self.epsilon, self.step, self.steps, self.decay = epsilon, step, steps, decay

    def craft(self, defence: Any, images: Tensor, classes: Tensor, rng: torch.Generator) -> Tensor:
        """Attacked images."""
        original = x = unit(images)
        loss, momentum = class_loss(defence, classes), torch.zeros_like(images)
        for _ in range(self.steps):
            found = gradient(loss, x)
            momentum = self.decay * momentum + found / found.abs().mean((1, 2, 3), keepdim=True).clamp_min(TINY)
            x = projected(x + self.step * momentum.sign(), original, self.epsilon)
        return signed(x)
