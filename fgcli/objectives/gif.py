"""GIF: a GAN whose generator and critic are told of a head (Ghosh's thesis, section 5.3)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from fgcli.capabilities import Styled
from fgcli.config.fields import Count, Weight
from fgcli.objectives.gan import GAN
from fgcli.training.objective import Batch


class GIFLoss(GAN):
    """The logistic loss of `gan`; every fake has the condition and the style of a photo of the batch.

    Args:
        generator: with a condition, and a style for every training row.
        batch, gamma, penalty_interval: as for `gan`; the penalty is of the images alone, not of their conditions.
    """

    network: Styled
    capabilities = (Styled,)

    def __init__(
        self,
        generator: Styled,
        batch: Count = 32,
        gamma: Weight | Literal["auto"] = "auto",
        penalty_interval: Count = 16,
    ) -> None:
        super().__init__(generator, batch, "logistic", gamma, penalty_interval)
        self.needs = ("images", generator.condition_column)

    def normal(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Styles (n, mapped_size): those of the batch's rows, if they have some."""
        return self.network.styles_of(batch["rows"]) if self.network.rows else super().normal(batch, rng)

    def made(self, codes: Tensor, batch: Batch, rng: torch.Generator) -> Tensor:
        """Images of codes, under the batch's conditions."""
        return self.network.decode(codes, batch[self.network.condition_column])

    def scores(self, images: Tensor, labels: Tensor | None, batch: Batch) -> Tensor:
        """The critic's (n), of images with the batch's conditions."""
        return self.network.critic(images, None, batch[self.network.condition_column])
