"""An encoder for a generator that stays as it is (after pSp; Richardson et al. 2021, and in-domain inversion)."""

from __future__ import annotations

import torch
from torch import Tensor

from fgcli.capabilities import Conditional, Contested, Encodes, Wraps
from fgcli.codes import coded, decode
from fgcli.config.fields import Weight
from fgcli.training.objective import Batch, Group, Objective, Phase, Terms


class Inversion(Objective):
    """Squared error of G(E(x)), what the generator's critic sees of it, and codes of draws told again.

        pixels |G(E(x)) - x|^2 + critic sum_b |f_b(G(E(x))) - f_b(x)|_1 + drawn |E(G(w)) - w|^2 + codes |E(x) - mean|^2

    all means over entries, codes in deviations of the prior's. Where the generator is steered, every picture, and what
    is drawn for it, has the photo's condition.

    Args:
        generator: one that wraps another and encodes.
        pixels, critic, drawn, codes: weights; `critic` only of a generator that has one.
    """

    def __init__(
        self,
        generator: Wraps,
        pixels: Weight = 1.0,
        critic: Weight = 1.0,
        drawn: Weight = 0.5,
        codes: Weight = 0.005,
    ) -> None:
        if isinstance(generator, Conditional):
            super().__init__(generator, (Wraps, Encodes, Conditional))
            self.needs = ("images", generator.condition_column)
        else:
            super().__init__(generator, (Wraps, Encodes))
        weights = {"pixels": pixels, "drawn": drawn, "codes": codes}
        if isinstance(generator.inner, Contested) and critic:
            weights["critic"] = critic
        taught = [p for p in generator.parameters() if p.requires_grad]
        self.groups = {"encoder": Group(taught)}
        self.phases = [Phase("encoder", "encoder", self.loss, weights)]

    def loss(self, batch: Batch, rng: torch.Generator) -> Terms:
        """The terms of one batch, unweighted."""
        x, network = batch["images"], self.network
        assert isinstance(network, Wraps)
        assert isinstance(network, Encodes)
        condition = batch[network.condition_column] if isinstance(network, Conditional) else None
        w = network.encode(x)
        y = decode(network, coded(network, w, condition))
        with torch.no_grad():
            true = network.prior(len(x), rng)
            drawn = decode(network, coded(network, true, condition))
        terms = {
            "pixels": (y.float() - x).square().mean(),
            "drawn": self.off(network.encode(drawn), true),
            "codes": self.off(w, true.mean((0, 1))),
        }
        if isinstance(network.inner, Contested) and "critic" in self.phases[0].weights:
            with torch.no_grad():
                goal = network.inner.critic.seen(x, condition)
            made = network.inner.critic.seen(y, condition)
            terms["critic"] = torch.stack([(a - b).abs().mean() for a, b in zip(made, goal, strict=True)]).sum()
        return terms

    def off(self, codes: Tensor, true: Tensor) -> Tensor:
        """Mean squared distance in deviations of the prior's codes."""
        spread = getattr(self.network, "spread", codes.new_ones(()))
        return ((codes - true) / spread).square().mean()
