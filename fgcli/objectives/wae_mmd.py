"""Wasserstein autoencoder (Tolstikhin et al. 2018) as *Reining in the Deep Generative Models* compares with it: a
deterministic autoencoder whose codes are drawn to N(0, I) by the maximum mean discrepancy."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from fgcli.capabilities import Encodes, Mapped, Posterior, Wraps
from fgcli.config.fields import Positive, Weight
from fgcli.training.objective import Batch, Group, Objective, Phase, Terms

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class WAEMMD(Objective):
    """Squared error and MMD of the codes to draws of N(0, I). Images compare in [0, 1].

    Args:
        generator: deterministic: an encoder without a posterior.
        mmd: weight of the discrepancy.
        reconstruction: weight of the squared error; 0.05 in the released code for CelebA, where it is a sum.
        reduction: the squared error is a "mean" over pixels and channels or their "sum"; then a mean over the batch.
        noise: standard deviation of noise on the input, clipped at as much; 0.01 for CelebA.

    Raises:
        ValueError: a generator that is not deterministic.
    """

    network: Encodes

    def __init__(
        self,
        generator: Encodes,
        mmd: Positive = 0.03,
        reconstruction: Positive = 1.0,
        reduction: Literal["mean", "sum"] = "mean",
        noise: Weight = 0.0,
    ) -> None:
        super().__init__(generator, (Encodes,), (Posterior, Mapped, Wraps))
        self.mean, self.noise = reduction == "mean", noise
        weights = {"reconstruction": reconstruction, "mmd": mmd}
        self.groups = {"wae": Group(list(generator.parameters()))}
        self.phases = [Phase("wae", "wae", self.loss, weights)]

    def loss(self, batch: Batch, rng: torch.Generator) -> Terms:
        """The terms of one batch, unweighted; noise on the input only while training."""
        x = batch["images"]
        seen = x + 2 * self.spoil(x, rng) if self.noise and self.training else x
        z = self.network.encode(seen).float()
        squares = ((x.float() - self.network.decode(z).float()) / 2).square()
        goal = torch.randn(z.shape, generator=rng, device=rng.device).to(z)
        return {
            "reconstruction": squares.mean() if self.mean else squares.sum((1, 2, 3)).mean(),
            "mmd": mmd_imq(z.flatten(1), goal.flatten(1)),
        }

    def spoil(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """Clipped noise of the shape of x, in units of [0, 1] images."""
        noise = torch.randn(x.shape, generator=rng, device=rng.device).to(x)
        return (self.noise * noise).clamp(-self.noise, self.noise)


def mmd_imq(z: Tensor, p: Tensor) -> Tensor:
    """MMD^2 of codes z and draws p, (n, d) each, by the inverse multiquadratic kernel C / (C + |a - b|^2).

    Summed over C = 2 d s, s in SCALES. Pairs within a set without the diagonal, which makes them unbiased:
    sum_{i != j} (k(z_i, z_j) + k(p_i, p_j)) / (n (n - 1)) - 2 sum_ij k(z_i, p_j) / n^2. One row alone has no such pair.
    """
    n, d = z.shape
    total = z.new_zeros(())
    off = 1 - torch.eye(n, device=z.device, dtype=z.dtype)
    squares = [squared_distances(a, b) for a, b in ((z, z), (p, p), (z, p))]
    for scale in SCALES:
        c = 2 * d * scale
        zz, pp, zp = (c / (c + s) for s in squares)
        total = total + ((zz + pp) * off).sum() / (n * max(n - 1, 1)) - 2 * zp.mean()
    return total


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """|a_i - b_j|^2, (n, m), at least 0."""
    return (a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T).clamp_min(0)
