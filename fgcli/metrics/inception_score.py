"""Inception score: are the classes of images certain, and are they all there (Salimans et al. 2016)."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import scipy.special

from fgcli.backbones import FEATURES
from fgcli.capabilities import TellsClasses
from fgcli.config import lookup
from fgcli.config.fields import Count
from fgcli.metrics.distribution import Distribution, Score, require

SEED = 0


class InceptionScore(Distribution):
    """exp of the mean divergence of an image's classes from those of all images; 1 at the least.

    Args:
        features: an extractor that knows classes, an entry of fgcli.backbones.FEATURES.
        splits: parts of the set whose scores are averaged (published: 10 of 50,000 images).

    Raises:
        ValueError: features without classes.
    """

    prefix, better, alone, classes = "inception_score", "higher", True, True

    def __init__(self, features: str, splits: Count = 10) -> None:
        extractor = lookup(FEATURES, features, "features")
        if not (isinstance(extractor, type) and issubclass(extractor, TellsClasses)):
            raise ValueError(f"inception_score expects features that know classes, found {features!r}")
        super().__init__(features)
        self.splits = splits

    @property
    def protocol(self) -> dict[str, Any]:
        """Protocol."""
        whose = "" if self.features == "inception" else f"; of {self.features}'s classes: not the published score"
        return {
            "value": f"exp of the mean over images of KL(p(y|x) || p(y)), mean over splits{whose}",
            "better": self.better,
            "splits": f"{self.splits}, of rows in random order, seed {SEED}",
        }

    def compute(self, found: np.ndarray, reference: np.ndarray) -> Score:
        """The mean over splits of the score of probabilities (n, k); the score of each split is kept.

        Raises:
            FgError: fewer images than splits.
        """
        require("Inception score", self.splits, found)
        values = inception_score(np.random.default_rng(SEED).permutation(found), self.splits)
        return Score({"": float(values.mean())}, values)


def inception_score(probabilities: np.ndarray, splits: int) -> np.ndarray:
    """exp(mean over x of KL(p(y|x) || p(y))) of each of `splits` parts of rows (n, k) that sum to 1: (splits,)."""
    edges = np.arange(splits + 1) * len(probabilities) // splits
    parts = [probabilities[a:b] for a, b in itertools.pairwise(edges)]
    return np.array([np.exp(scipy.special.rel_entr(p, p.mean(0)).sum(1).mean()) for p in parts])
