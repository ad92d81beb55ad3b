"""The masked VAE's loss (Toledo and Antonelo, section 3; weights from the authors' release).

All image terms compare in [0, 1], on the composite of prediction and input: outside the face the prediction is
replaced by the input, so that only the face teaches.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from fgcli.capabilities import Masks, Posterior
from fgcli.config.fields import Weight
from fgcli.objectives.vae import kl_divergence
from fgcli.pixels.ssim import ssim
from fgcli.training.objective import Batch, Group, Objective, Phase, Terms


class MaskedELBO(Objective):
    """Reconstruction by SSIM, l1, l2; mask by cross-entropy and Dice; KL to N(0, I). A weight of 0 drops its term.

    A generator with a mask decoder is taught on the composite with the given masks, and its mask decoder with it; one
    without is taught on all pixels. With that, the ten hypotheses of the paper's Table 1 are ssim, l1 and l2 alone.

    Args:
        generator: has a posterior, and may predict masks.
        ssim: weight of 1 - SSIM (window 9, sigma 1.5).
        l1: weight of the mean absolute error; 4 in the release.
        l2: weight of the mean squared error; 100 in the release.
        bce: weight of the mask's cross-entropy.
        dice: weight of the mask's Dice loss.
        kl: weight of the KL divergence, mean over batch and dimensions.
        legacy_sampling: z = mu + eps s with the raw head s, as the release samples; else eps exp(s), which is
            what its KL assumes.

    Raises:
        ValueError: no reconstruction term, no posterior, or a mask decoder that would not learn.
    """

    network: Posterior

    def __init__(
        self,
        generator: Posterior,
        ssim: Weight = 1.0,
        l1: Weight = 0.0,
        l2: Weight = 100.0,
        bce: Weight = 1.0,
        dice: Weight = 1.0,
        kl: Weight = 1e-3,
        legacy_sampling: bool = False,
    ) -> None:
        super().__init__(generator, (Posterior,))
        self.mask = isinstance(generator, Masks)
        self.needs = ("images", "masks") if self.mask else ("images",)
        weights = {"ssim": ssim, "l1": l1, "l2": l2, "kl": kl} | ({"bce": bce, "dice": dice} if self.mask else {})
        if not (ssim or l1 or l2):
            raise ValueError("masked_elbo expects at least one of ssim, l1, l2 above 0")
        self.legacy_sampling = legacy_sampling
        self.weights = {name: weight for name, weight in weights.items() if weight}
        if self.mask and not (bce or dice):
            raise ValueError("masked_elbo expects bce or dice above 0, or a generator without a mask decoder")
        self.groups = {"vae": Group(list(generator.parameters()))}
        self.phases = [Phase("vae", "vae", self.loss, self.weights)]

    def loss(self, batch: Batch, rng: torch.Generator) -> Terms:
        """The terms of one batch, unweighted."""
        x = batch["images"]
        mu, log_std = self.network.posterior(x)
        mu, log_std = mu.float(), log_std.float()
        z = self.sample(mu, log_std, rng) if self.training else mu
        y = self.network.decode(z[:, None])
        if self.mask:
            m = batch["masks"]
            y = y * m + x * (1 - m)
        terms = self.image_terms((x.float() + 1) / 2, (y.float() + 1) / 2)
        if isinstance(self.network, Masks):
            terms |= self.mask_terms(self.network.mask_logits(z[:, None]).float(), batch["masks"])
        terms["kl"] = kl_divergence(mu, log_std).mean()
        return {name: value for name, value in terms.items() if name in self.weights}

    def sample(self, mu: Tensor, log_std: Tensor, rng: torch.Generator) -> Tensor:
        """z ~ q(z | x), (n, d)."""
        noise = torch.randn(mu.shape, generator=rng, device=rng.device).to(mu.device)
        return mu + noise * (log_std if self.legacy_sampling else log_std.exp())

    def image_terms(self, x: Tensor, y: Tensor) -> Terms:
        """Terms between images in [0, 1]."""
        formulas: dict[str, Callable[[], Tensor]] = {
            "l1": lambda: (x - y).abs().mean(),
            "l2": lambda: (x - y).square().mean(),
            "ssim": lambda: 1 - ssim(x, y, data_range=1.0, window=9).mean(),
        }
        return {name: formula() for name, formula in formulas.items() if name in self.weights}

    def mask_terms(self, logits: Tensor, m: Tensor) -> Terms:
        """Terms between predicted and given masks."""
        return {"bce": F.binary_cross_entropy_with_logits(logits, m), "dice": dice_loss(torch.sigmoid(logits), m)}


def dice_loss(p: Tensor, m: Tensor) -> Tensor:
    """1 - (2 sum(p m) + 1) / (sum(p^2) + sum(m^2) + 1), sums over the whole batch.

    >>> float(dice_loss(torch.ones(2, 2), torch.ones(2, 2)))
    0.0
    """
    return 1 - (2 * (p * m).sum() + 1) / (p.square().sum() + m.square().sum() + 1)
