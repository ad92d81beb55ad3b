"""What teaches the classifier: cross-entropy of the classes, on pictures with a little noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F

from fgcli.classifiers.network import Classifier
from fgcli.training.columns import COLUMNS
from fgcli.training.objective import Batch, Group, Objective, Phase, Terms

NOISE = 0.1
"""Standard deviation of the noise on training pictures in [-1, 1]: generated pictures have some, too."""
WEIGHTS = {"cross_entropy": 1.0, "accuracy": 0.0}


class Classification(Objective):
    """-log softmax(logits)_label, mean over the batch, in one phase; the share of right answers is watched.

    Args:
        network: what is trained.
        classes: identities that it tells apart, ascending.
    """

    network: Classifier

    def __init__(self, network: Classifier, classes: Sequence[int]) -> None:
        super().__init__(network)
        derive = partial(numbered, classes)
        self.needs = ("images", replace(COLUMNS["identity"], name="labels", derive=derive))
        self.groups = {"classifier": Group(list(network.parameters()))}
        self.phases = [Phase("classifier", "classifier", self.loss, WEIGHTS)]

    def loss(self, batch: Batch, rng: torch.Generator) -> Terms:
        """Both terms of a batch."""
        images = batch["images"]
        if self.training:
            images = images + NOISE * torch.randn(images.shape, generator=rng, device=rng.device).to(images.device)
        labels, logits = batch["labels"], self.network(images)
        right = (logits.detach().argmax(1) == labels).float().mean()
        return {"cross_entropy": F.cross_entropy(logits, labels), "accuracy": right}


def numbered(classes: Sequence[int], identity: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """The place (n) of each identity among `classes`, which ascend; -1 where it is none of them.

    >>> numbered([2, 5], np.array([5, 2, 3, -1])).tolist()
    [1, 0, -1, -1]
    """
    places = np.searchsorted(classes, identity).clip(max=len(classes) - 1)
    return np.where(np.asarray(classes)[places] == identity, places, -1)
