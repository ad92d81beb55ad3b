"""GIF: a GAN whose generator and critic are told of a head (Ghosh's thesis, section 5.3)."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from fgcli.capabilities import Styled
from fgcli.config.fields import Count, Share, Weight
from fgcli.errors import UsageError
from fgcli.heads.consistency import agreement, face_texels, views
from fgcli.heads.head import Head
from fgcli.heads.parameters import Parameters
from fgcli.objectives.gan import GAN
from fgcli.training.columns import COLUMNS
from fgcli.training.objective import Batch, Terms

GEOMETRY = replace(COLUMNS["parameters"], name="geometry", untrue=frozenset())
"""Heads of the batch to make new ones of: it does not matter how the photos beside them are changed."""


class GIFLoss(GAN):
    """The logistic loss of `gan`, where every fake has condition and style of a photo of the batch; and one skin.

    For texture consistency heads between neighbours of the batch, all with the texture, the light and the style of its
    first row, are drawn and generated, and the skin that each picture shows is compared with that of the next.

    Args:
        generator: with a condition, and a style for every training row.
        batch, gamma, penalty_interval: as for `gan`; the penalty is of the images alone, not of their conditions.
        augment, strength, ada_target, ada_images: as for `gan`; of colours and holes, as conditions say what is where.
        consistency: weight of texture consistency; 0 leaves it out.
        form: "l2", the mean squared difference (thesis), or "sigmoid" of it (release, with weight 16).
        views: heads that are compared, at most one less than the batch; 15 in the release.
        texels: side of the textures; 256 in the release.
        reference: as the release does, texels count as seen wherever they face the camera, without a test of depth, and
            are compared as they are lit.
        head: whose parameters the conditions show.

    Raises:
        UsageError: texture consistency without a head, or with more views than neighbours.
    """

    network: Styled
    capabilities = (Styled,)
    moves = False

    def __init__(
        self,
        generator: Styled,
        batch: Count = 32,
        gamma: Weight | Literal["auto"] = "auto",
        penalty_interval: Count = 16,
        consistency: Weight = 4.0,
        form: Literal["l2", "sigmoid"] = "l2",
        views: Count = 4,
        texels: Count = 48,
        reference: bool = False,
        augment: Literal["none", "fixed", "ada"] = "none",
        strength: Share = 0.0,
        ada_target: Share = 0.6,
        ada_images: Count = 500_000,
        head: Head | None = None,
    ) -> None:
        watched = augment, strength, ada_target, ada_images
        super().__init__(generator, batch, "logistic", gamma, penalty_interval, 0.0, 0.0, *watched)
        self.needs, self.consistency = ("images", generator.condition_column), consistency
        self.form, self.views, self.texels, self.reference, self.shown = form, views, texels, reference, (head,)
        if not consistency:
            return
        if head is None:
            raise UsageError(
                "train.objective.consistency: expected 0 where no head is known, found more; give conditions.h5"
            )
        if not 2 <= views < batch:
            raise UsageError(
                f"train.objective.views: expected from 2 to {batch - 1}, one less than train.batch, found {views}; "
                "correct it"
            )
        self.needs = (*self.needs, GEOMETRY)
        last = self.phases[-1]
        self.phases[-1] = replace(last, weights=last.weights | {"texture": consistency})

    def normal(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Styles (n, mapped_size): those of the batch's rows, if they have some."""
        return self.network.styles_of(batch["rows"]) if self.network.rows else super().normal(batch, rng)

    def made(self, codes: Tensor, batch: Batch, rng: torch.Generator) -> Tensor:
        """Images of codes, under the batch's conditions."""
        return self.network.decode(codes, batch[self.network.condition_column])

    def scores(self, images: Tensor, labels: Tensor | None, batch: Batch) -> Tensor:
        """The critic's (n), of images with the batch's conditions."""
        return self.network.critic(images, None, batch[self.network.condition_column])

    def generator_loss(self, batch: Batch, rng: torch.Generator) -> Terms:
        """As for `gan`, and texture consistency."""
        terms = super().generator_loss(batch, rng)
        return terms | ({"texture": self.one_skin(batch, rng)} if self.consistency else {})

    def one_skin(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """How much the skin differs in pictures of one person in several poses, see `agreement`."""
        network, p = self.network, Parameters.from_vector(batch["geometry"].float(), "gif")
        (head,) = self.shown
        assert head is not None
        head, several = head.to(batch["images"].device), between(p, min(self.views, len(p) - 1), rng)
        table = face_texels(head, self.texels)
        seen = views(head, table, several, network.image_shape[1], self.reference)
        numbers = several.replace(texture=several.texture.expand(len(several), -1)).to_vector("gif")
        told = seen.condition if network.condition_column == "condition" else numbers
        style = network.map(self.normal(batch, rng)[:1]).expand(len(several), -1, -1)
        return agreement(seen, network.decode(style, told), self.form, self.reference)


def between(p: Parameters, n: int, rng: torch.Generator) -> Parameters:
    """n heads, each between two neighbours among rows of p, all as far between them; texture and light of the first.

    The texture has one row.
    """
    share = torch.rand((), generator=rng, device=rng.device).to(p.pose)
    moved = {
        name: getattr(p, name)[:n].lerp(getattr(p, name)[1 : n + 1], share)
        for name in ("shape", "expression", "pose", "camera")
    }
    return p.replace(**moved, texture=p.texture[:1], light=p.light[:1].expand(n, -1, -1))
