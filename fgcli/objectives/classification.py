"""What teaches the classifier: cross-entropy of the classes, on pictures with a little noise."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgcli.classifiers.network import Classifier
from fgcli.training.phase import Batch, Phase, Terms

NOISE = 0.1
"""Standard deviation of the noise on training pictures in [-1, 1]: generated pictures have some, too."""
WEIGHTS = {"cross_entropy": 1.0, "accuracy": 0.0}


class Classification(nn.Module):
    """-log softmax(logits)_label, mean over the batch, in one phase; the share of right answers is watched.

    Args:
        network: what is trained.
        labels: class of every row of faces.h5, from 0.
    """

    def __init__(self, network: Classifier, labels: Tensor) -> None:
        super().__init__()
        self.network, self.labels = network, labels
        self.phases = [Phase("classifier", list(network.parameters()), self.loss, WEIGHTS)]

    def loss(self, batch: Batch, rng: torch.Generator) -> Terms:
        """Both terms of a batch."""
        images = batch["images"]
        if self.training:
            images = images + NOISE * torch.randn(images.shape, generator=rng, device=rng.device).to(images.device)
        labels = self.labels[batch["rows"]].to(images.device)
        logits = self.network(images)
        right = (logits.detach().argmax(1) == labels).float().mean()
        return {"cross_entropy": F.cross_entropy(logits, labels), "accuracy": right}
