"""Variational autoencoders of *Reining in the Deep Generative Models* (Ghosh, sections 3.2 and 3.4): the VAE with k
Monte-Carlo samples, and the constant-variance VAE, whose posterior has the same width for every image."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fgcli.capabilities import Encodes, Mapped, Masks, Posterior, Wraps, Writes
from fgcli.config.fields import Count, Positive, Weight
from fgcli.objectives.reconstruction import errors, outputs
from fgcli.training.objective import Batch, Group, Objective, Phase, Terms


class VAE(Objective):
    """Squared error in expectation over q(z | x) = N(mu, sigma^2), and KL(q || N(0, I)) (Eq. 3.5 to 3.10).

    Images compare in [0, 1]. As in the released code the error is summed over pixels and averaged over channels, the
    KL divergence summed over the code's dimensions, with all its constants. Of sentences the error is the
    cross-entropy, summed over steps.

    Args:
        generator: has a posterior for the VAE; for the CV-VAE a deterministic autoencoder. Neither predicts masks.
        kl: weight of the KL divergence.
        samples: k, draws of the posterior per image whose errors are averaged.
        std: 0 for the VAE; else sigma of the constant-variance VAE, 0.7 in the released code.
        noise: factor on sigma where draws are made, not in the KL divergence: 0.01 in the released GrammarVAE.

    Raises:
        ValueError: a generator without what it needs.
    """

    network: Encodes
    takes = (Writes,)

    def __init__(
        self, generator: Encodes, kl: Weight = 0.024, samples: Count = 1, std: Weight = 0.0, noise: Positive = 1.0
    ) -> None:
        super().__init__(
            generator, *(((Encodes,), (Posterior, Masks, Mapped, Wraps)) if std else ((Posterior,), (Masks,)))
        )
        self.samples, self.std, self.noise = samples, std, noise
        self.groups = {"vae": Group(list(generator.parameters()))}
        self.phases = [Phase("vae", "vae", self.loss, {"reconstruction": 1.0, "kl": kl})]

    def loss(self, batch: Batch, rng: torch.Generator) -> Terms:
        """The terms of one batch, unweighted; in eval mode at the posterior's mean."""
        x = batch["images"]
        mu, log_std = self.posterior(x)
        if self.training:
            x, z = x.repeat(self.samples, 1, 1, 1), self.draws(mu, log_std, rng)
        else:
            z = mu
        x = (x.float() + 1) / 2
        found = errors(self.network, x, outputs(self.network, z[:, None], x))
        return {
            "reconstruction": found.mean(1).sum((1, 2)).mean(),
            "kl": kl_divergence(mu, log_std).sum(1).mean(),
        }

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation (n, d)."""
        if isinstance(self.network, Posterior):
            mu, log_std = self.network.posterior(x)
            return mu.float(), log_std.float()
        mu = self.network.encode(x)[:, 0].float()
        return mu, torch.full_like(mu, math.log(self.std))

    def draws(self, mu: Tensor, log_std: Tensor, rng: torch.Generator) -> Tensor:
        """z = mu + sigma eps, (k n, d): all rows once, then again."""
        noise = torch.randn(self.samples, *mu.shape, generator=rng, device=rng.device).to(mu)
        return (mu + self.noise * log_std.exp() * noise).flatten(0, 1)


def kl_divergence(mu: Tensor, log_std: Tensor) -> Tensor:
    """KL(N(mu, sigma^2) || N(0, 1)) = (mu^2 + sigma^2 - 1) / 2 - log sigma of each code and dimension, (n, d).

    >>> kl_divergence(torch.tensor([[0.0, 2.0]]), torch.zeros(1, 2)).tolist()
    [[0.0, 2.0]]
    """
    return 0.5 * (mu.square() + (2 * log_std).exp() - 1) - log_std
