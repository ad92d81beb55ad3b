"""Projected gradient descent (Madry et al. 2018)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fgcli.attacks.pixels import class_loss, gradient, noise, projected, signed, unit
from fgcli.config.fields import Count, Share


class PGD:
    """x <- x + step sign(dJ/dx), put back within epsilon of the original and [0, 1], from a random start there.

    J is the encoder's cross-entropy (pixels.class_loss). Defaults are CleverHans'.

    Args:
        epsilon: largest change of any value, in [0, 1].
        step: size of one step, in [0, 1].
        steps: how many.
        random_start: whether it starts anywhere within epsilon, or at the original.
    """

    targeted, from_noise = False, False

    def __init__(self, epsilon: Share = 0.3, step: Share = 0.05, steps: Count = 10, random_start: bool = True) -> None:
        self.epsilon, self.step, self.steps, self.random_start = epsilon, step, steps, random_start

    def craft(self, defence: Any, images: Tensor, classes: Tensor, rng: torch.Generator) -> Tensor:
        """Attacked images."""
        original = x = unit(images)
        if self.random_start:
            x = projected(x + self.epsilon * (2 * noise(x, rng) - 1), original, self.epsilon)
        loss = class_loss(defence, classes)
        for _ in range(self.steps):
            x = projected(x + self.step * gradient(loss, x).sign(), original, self.epsilon)
        return signed(x)
