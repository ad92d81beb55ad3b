"""Momentum iterative method (Dong et al. 2018)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fgcli.attacks.pixels import class_loss, gradient, projected, signed, unit

TINY = 1e-12


class MIM:
    """m <- decay m + dJ/dx / mean|dJ/dx|, x <- x + step sign(m), within epsilon of the original and [0, 1].

    J is the encoder's cross-entropy (pixels.class_loss). Defaults are CleverHans'.

    Args:
        epsilon: largest change of any value, in [0, 1].
        step: size of one step, in [0, 1].
        steps: how many.
        decay: of the momentum; 0 for none.

    Raises:
        ValueError: a negative argument, or no steps.
    """

    targeted, from_noise = False, False

    def __init__(self, epsilon: float = 0.3, step: float = 0.06, steps: int = 10, decay: float = 1.0) -> None:
        if min(epsilon, step, decay) < 0 or steps < 1:
            raise ValueError(
                f"mim expects epsilon, step, decay >= 0 and steps >= 1, found {epsilon, step, decay, steps}"
            )
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
