"""The GMM-VAE's loss, supervised and semi-supervised (Ghosh's thesis, Eq. 4.2 and 4.6).

Images compare in [0, 1]. The squared norm of an image is the sum over pixels of the mean over channels, so that a grey
picture weighs the same in one channel as repeated in three; that of a code is the sum over dimensions. Both are means
over the batch.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from fgcli.capabilities import Classifies
from fgcli.config.fields import CountOrNone, Seed, Weight
from fgcli.errors import UsageError
from fgcli.pixels import squared_error
from fgcli.training.columns import COLUMNS, Column
from fgcli.training.objective import Batch, Group, Objective, Phase, Terms


class GMMELBO(Objective):
    """|x - g(f(x) + eps)|^2 + alpha |f(x) - mu_y|^2, eps ~ N(0, variance I): Eq. 4.6; f(x) is free of noise there.

    A row without a label takes Eq. 4.2's -log p(z) instead, in the same unit: see `soft_minimum`. Rows have no label
    where it is not one of the generator's classes, as -1. An encoder of variable entropy adds the rest of the
    divergence: see `entropy_excess`.

    Args:
        generator: classifies, as gmm_vae.
        alpha: weight of the latent term, squared pixel values per squared unit of the code. The thesis gives none.
        labels_per_class: training rows of each class whose label is used, chosen by `seed`; 0 for every label.
        unlabelled_after: steps for which rows without a label are only reconstructed; not in the thesis. From a network
            that knows no class yet, Eq. 4.2 draws all of them to one mean, whichever is nearest at the start.
        seed: of the run; it chooses the labels.
    """

    network: Classifies
    taken: Tensor

    def __init__(
        self,
        generator: Classifies,
        alpha: Weight = 50.0,
        labels_per_class: CountOrNone = 0,
        unlabelled_after: CountOrNone = 0,
        seed: Seed = 0,
    ) -> None:
        super().__init__(generator, (Classifies,))
        self.needs = ("images", labels_column(len(generator.means), labels_per_class, seed))
        self.register_buffer("taken", torch.zeros((), dtype=torch.long))
        self.unlabelled_after = unlabelled_after
        self.weights = {"reconstruction": 1.0, "latent": alpha}
        if generator.variable_entropy:
            self.weights["entropy"] = alpha
        self.groups = {"gmm_vae": Group(list(generator.parameters()))}
        self.phases = [Phase("gmm_vae", "gmm_vae", self.loss, self.weights, after=self.count)]

    def count(self, values: dict[str, float]) -> None:
        """A step was taken."""
        self.taken += 1

    def loss(self, batch: Batch, rng: torch.Generator) -> Terms:
        """The terms of one batch, unweighted; without noise when not in training."""
        x, variance = batch["images"].float(), self.network.variance
        mean, log_std = self.network.posterior(batch["images"])
        z = mean
        if self.training:
            z = mean + log_std.exp() * torch.randn(mean.shape, generator=rng, device=rng.device).to(mean.device)
        y = self.network.decode(z[:, None]).float()
        distances = (mean[:, None] - self.network.means).square().sum(2)  # (n, classes)
        terms = {
            "reconstruction": squared_error((x + 1) / 2, (y + 1) / 2).mean(),
            "latent": self.latent(distances, batch["labels"], variance).mean(),
        }
        if "entropy" in self.weights:
            terms["entropy"] = entropy_excess(log_std, variance).mean()
        return terms

    def latent(self, distances: Tensor, labels: Tensor, variance: float) -> Tensor:
        """|f(x) - mu_y|^2 (n) where the row's label y is known, else the soft minimum over the classes."""
        free = soft_minimum(distances, variance)
        if self.training and self.taken < self.unlabelled_after:
            free = 0 * free
        own = distances.gather(1, labels.clamp_min(0)[:, None])[:, 0]
        return torch.where(labels >= 0, own, free)


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


def labels_column(classes: int, per_class: int, seed: int) -> Column:
    """The batch's column `labels` (n): what `chosen_labels` gives."""
    derive = partial(chosen_labels, classes=classes, per_class=per_class, seed=seed)
    return replace(COLUMNS["identity"], name="labels", derive=derive)


def chosen_labels(identity: np.ndarray, rows: np.ndarray, classes: int, per_class: int, seed: int) -> np.ndarray:
    """The labels (n) that teach: all that are classes of the generator, or a few of the training rows; -1 elsewhere.

    Args:
        identity: (n) of every row of faces.h5.
        rows: those that train; only they are chosen from.
        classes: of the generator, numbered from 0.
        per_class: rows of each class, drawn by `seed`; 0 for all, also of rows that do not train.
        seed: of the draw.

    Raises:
        UsageError: a class has fewer rows.
    """
    labels = np.where(identity < classes, identity, -1)
    if not per_class:
        return labels
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed)).numpy()
    order, kept = order[np.isin(order, rows)], np.full_like(labels, -1)
    for label in np.unique(labels[rows][labels[rows] >= 0]):
        own = order[labels[order] == label]
        if len(own) < per_class:
            raise UsageError(
                f"train.objective.labels_per_class: expected {per_class} training rows of class {label}, found "
                f"{len(own)}; ask for fewer"
            )
        kept[own[:per_class]] = label
    return kept
