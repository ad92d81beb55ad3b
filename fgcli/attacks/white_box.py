"""An attack that knows encoder, decoder and both thresholds (Ghosh's thesis, Eq. 4.9)."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from fgcli.attacks.pixels import descend, signed, threshold_loss, unit
from fgcli.config.fields import Count, Positive
from fgcli.pixels import squared_error

Exponent = Annotated[float, Field(gt=1)]


class WhiteBox:
    """argmin over eta of Eq. 4.10's loss at x + eta, towards a class, plus |eta|^2; Adam from eta = 0, within [0, 1].

    The thesis gives neither exponents nor steps: all defaults are ours.

    Args:
        a: exponent of the reconstruction's part, above 1.
        b: exponent of the code's part, above 1.
        steps: of Adam.
        learning_rate: of Adam, in [0, 1] pixel values.
    """

    name = "white_box"
    targeted, from_noise = True, False

    def __init__(
        self, a: Exponent = 2.0, b: Exponent = 2.0, steps: Count = 200, learning_rate: Positive = 0.01
    ) -> None:
        self.a, self.b, self.steps, self.learning_rate = a, b, steps, learning_rate

    def craft(self, defence: Any, images: Tensor, classes: Tensor, rng: torch.Generator) -> Tensor:
        """Attacked images."""
        original = unit(images)
        near = threshold_loss(defence, classes, self.a, self.b)
        found = descend(lambda x: near(x) + squared_error(x, original), original, self.steps, self.learning_rate)
        return signed(found)
