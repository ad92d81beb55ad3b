"""What teaches a judge: binary cross-entropy of all attributes at once, with and without weighing equally."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fgcli.classifiers.judges import Judge
from fgcli.training.columns import Column
from fgcli.training.objective import Batch, Group, Objective, Phase, Terms

MOST = 20.0
"""Weight of a row at most: one person alone must not teach what an attribute is."""


class Judging(Objective):
    """sum_ik w_ik bce(logit_ik, a_ik) / sum_ik w_ik over the known labels a_ik of a batch.

    w_ik = n_k / (2 n_k1) with an attribute and n_k / (2 n_k0) without it (King and Zeng 2001), counted over the
    training rows: class-balanced, as in the latent transformer (Yao et al. 2021).

    Args:
        judge: what is trained.
        inputs: the column that it judges: images or codes.
        labels: the column of attributes (n, k) in {-1, 0, 1}.
        counts: (2, k) training rows without and with each attribute, none 0.
        swapped: share of the numbers of an input that are another row's: codes are many for their rows, and each alone
            would be learned by heart.
    """

    network: Judge
    sides: Tensor

    def __init__(self, judge: Judge, inputs: Column, labels: Column, counts: np.ndarray, swapped: float = 0.0) -> None:
        super().__init__(judge)
        self.inputs, self.swapped = inputs.name, swapped
        self.needs = (inputs, replace(labels, name="labels"))
        weights = np.minimum(counts.sum(0) / (2 * counts), MOST)
        self.register_buffer("sides", torch.from_numpy(weights).float())  # (2, k)
        self.groups = {"judge": Group(list(judge.parameters()))}
        self.phases = [Phase("judge", "judge", self.loss, {"bce": 1.0, "accuracy": 0.0})]

    def loss(self, batch: Batch, rng: torch.Generator) -> Terms:
        """Both terms of a batch; accuracy is that of both sides weighing equally."""
        x = batch[self.inputs]
        if self.training and self.swapped:
            other = torch.rand(x.shape, generator=rng, device=rng.device) < self.swapped
            x = torch.where(other.to(x.device), x.roll(1, 0), x)  # rows come in random order
        labels, logits = batch["labels"], self.network.logits(x).float()  # (n, k)
        weights = torch.where(labels == 1, self.sides[1], self.sides[0]) * (labels >= 0)
        total = weights.sum().clamp_min(1e-6)
        wrong = F.binary_cross_entropy_with_logits(logits, labels.clamp_min(0).float(), reduction="none")
        right = ((logits > 0) == (labels == 1)).float()
        return {"bce": (weights * wrong).sum() / total, "accuracy": ((weights * right).sum() / total).detach()}
