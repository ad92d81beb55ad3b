"""Images of nothing that are taken for a class (Ghosh's thesis, Eq. 4.10)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fgcli.attacks.pixels import descend, noise, signed, threshold_loss, unit
from fgcli.attacks.white_box import WhiteBox


class Fooling(WhiteBox):
    """argmin over x of Eq. 4.10's loss (pixels.threshold_loss) towards a class; Adam from uniform noise, within [0, 1].

    There is no original to stay near. Arguments as for WhiteBox.
    """

    name = "fooling"
    targeted, from_noise = True, True

    def craft(self, defence: Any, images: Tensor, classes: Tensor, rng: torch.Generator) -> Tensor:
        """Fooling images; of `images` only the shape counts, and whether they are grey."""
        loss = threshold_loss(defence, classes, self.a, self.b)
        return signed(descend(loss, noise(unit(images), rng), self.steps, self.learning_rate))
