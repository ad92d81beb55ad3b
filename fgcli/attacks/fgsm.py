"""Fast gradient sign method (Goodfellow et al. 2015)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fgcli.attacks.pixels import class_loss, gradient, projected, signed, unit
from fgcli.config.fields import Share


class FGSM:
    """x + epsilon sign(dJ/dx), J the encoder's cross-entropy (pixels.class_loss), within [0, 1].

    Args:
        epsilon: size of the change of every value, in [0, 1]; 0.3 in CleverHans.
    """

    targeted, from_noise = False, False

    def __init__(self, epsilon: Share = 0.3) -> None:
        self.epsilon = epsilon

    def craft(self, defence: Any, images: Tensor, classes: Tensor, rng: torch.Generator) -> Tensor:
        """Attacked images."""
        x = unit(images)
        step = self.epsilon * gradient(class_loss(defence, classes), x).sign()
        return signed(projected(x + step, x, self.epsilon))
