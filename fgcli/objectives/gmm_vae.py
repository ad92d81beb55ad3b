"""The GMM-VAE's loss, supervised and semi-supervised (Ghosh's thesis, Eq. 4.2 and 4.6).

Images compare in [0, 1]. The squared norm of an image is the sum over pixels of the mean over channels, so that a grey
picture weighs the same in one channel as repeated in three; that of a code is the sum over dimensions. Both are means
over the batch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fgcli.pixels import squared_error
from fgcli.training.phase import Batch, Phase, Terms


class GMMELBO(nn.Module):
    """|x - g(f(x) + eps)|^2 + alpha |f(x) - mu_y|^2, eps ~ N(0, variance I): Eq. 4.6; f(x) is free of noise there.

    A row without a label takes Eq. 4.2's -log p(z) instead, in the same unit: see `soft_minimum`. Rows have no label
    where it is not one of the generator's classes, as -1. An encoder of variable entropy adds the rest of the
    divergence: see `entropy_excess`.

    Args:
        generator: has `posterior`, `decode`, `means` and `variance`, as gmm_vae.
        labels: class (n) of every row of faces.h5; rows without any: all are unlabelled.
        split: 0 for the rows (n) that train; only they can be chosen for `labels_per_class`. Without it, all can.
        alpha: weight of the latent term, squared pixel values per squared unit of the code. The thesis gives none.
        labels_per_class: training rows of each class whose label is used, chosen by `seed`; 0 for every label.
        unlabelled_after: steps for which rows without a label are only reconstructed; not in the thesis. From a network
            that knows no class yet, Eq. 4.2 draws all of them to one mean, whichever is nearest at the start.
        seed: of the run; it chooses the labels.

    Raises:
        ValueError: a generator without classes, or alpha, labels_per_class or unlabelled_after below 0.
    """

    labels: Tensor
    taken: Tensor

    def __init__(
        self,
        generator: Any,
        labels: Tensor | None = None,
        split: Tensor | None = None,
        alpha: float = 50.0,
        labels_per_class: int = 0,
        unlabelled_after: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not hasattr(generator, "classify"):
            raise ValueError(f"gmm_vae expects a generator with classes, as gmm_vae, found {type(generator).__name__}")
        if min(alpha, labels_per_class, unlabelled_after) < 0:
            found = f"{alpha}, {labels_per_class} and {unlabelled_after}"
            raise ValueError(f"gmm_vae expects alpha, labels_per_class and unlabelled_after >= 0, found {found}")
        self.generator: Any = generator
        known = torch.full((0,), -1) if labels is None else torch.where(labels < len(generator.means), labels, -1)
        if labels_per_class:
            known = chosen_labels(known, split, labels_per_class, seed)
        self.register_buffer("labels", known, persistent=False)
        self.register_buffer("taken", torch.zeros((), dtype=torch.long))
        self.unlabelled_after = unlabelled_after
        self.weights = {"reconstruction": 1.0, "latent": alpha}
        if generator.variable_entropy:
            self.weights["entropy"] = alpha
        self.phases = [Phase("gmm_vae", list(generator.parameters()), self.loss, self.weights, after=self.count)]

    def count(self, values: dict[str, float]) -> None:
        """A step was taken."""
        self.taken += 1

    def loss(self, batch: Batch, rng: torch.Generator) -> Terms:
        """The terms of one batch, unweighted; without noise when not in training."""
        x, variance = batch["images"].float(), self.generator.variance
        mean, log_std = self.generator.posterior(batch["images"])
        z = mean
        if self.training:
            z = mean + log_std.exp() * torch.randn(mean.shape, generator=rng, device=rng.device).to(mean.device)
        y = self.generator.decode(z[:, None]).float()
        distances = (mean[:, None] - self.generator.means).square().sum(2)  # (n, classes)
        terms = {
            "reconstruction": squared_error((x + 1) / 2, (y + 1) / 2).mean(),
            "latent": self.latent(distances, batch["rows"], variance).mean(),
        }
        if "entropy" in self.weights:
            terms["entropy"] = entropy_excess(log_std, variance).mean()
        return terms

    def latent(self, distances: Tensor, rows: Tensor, variance: float) -> Tensor:
        """|f(x) - mu_y|^2 (n) where the row's label y is known, else the soft minimum over the classes."""
        free = soft_minimum(distances, variance)
        if self.training and self.taken < self.unlabelled_after:
            free = 0 * free
        if not len(self.labels):
            return free
        label = self.labels[rows.to(self.labels.device)]
        own = distances.gather(1, label.clamp_min(0)[:, None])[:, 0]
        return torch.where(label >= 0, own, free)


def soft_minimum(distances: Tensor, variance: float) -> Tensor:
    """-2 v log sum_c exp(-d_c / 2v) (n) of squared distances d (n, k).

    -log p(z) of the mixture is this over 2v, up to a constant: where one component is near, it is that one's d, as
    Eq. 4.6 has it.
    """
    return -2 * variance * torch.logsumexp(-distances / (2 * variance), 1)


def entropy_excess(log_std: Tensor, variance: float) -> Tensor:
    """sum_j s_j^2 - v - v log(s_j^2 / v), (n), of log standard deviations log s (n, d): 0 where every s_j^2 = v.

    With the latent term it makes KL(N(f, diag s^2) || N(mu_y, v I)) = (|f - mu_y|^2 + this) / 2v, so that of
    variable entropy the loss is the ELBO with alpha = w / 2v, and that of Eq. 4.6 where s^2 is v.
    """
    ratio = (2 * log_std).exp() / variance
    return variance * (ratio - 1 - ratio.log()).sum(1)


def chosen_labels(labels: Tensor, split: Tensor | None, per_class: int, seed: int) -> Tensor:
    """The labels (n) of `per_class` training rows of each class, drawn by `seed`; -1 everywhere else.

    Raises:
        ValueError: a class has fewer rows.
    """
    kept = torch.full_like(labels, -1)
    may = labels >= 0 if split is None else (labels >= 0) & (split == 0)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    for label in labels[may].unique().tolist():
        rows = order[may[order] & (labels[order] == label)]
        if len(rows) < per_class:
            raise ValueError(f"gmm_vae expects {per_class} training rows of class {label}, found {len(rows)}")
        kept[rows[:per_class]] = label
    return kept
