"""Features of the network that `fg classifier` trained on the labels of the data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from fgcli import artifacts
from fgcli.capabilities import TellsClasses
from fgcli.errors import FgError


class Classes(TellsClasses):
    """The last hidden layer of the classifier, and its classes.

    Args:
        classifier: the file that `fg classifier` wrote.
        device: where it computes.

    Raises:
        FgError: no such file, or not a classifier's.
    """

    name = "classifier"

    def __init__(self, classifier: Path | None, device: torch.device | str = "cpu") -> None:
        from fgcli.classifiers.network import load

        if classifier is None or not classifier.exists():
            found = "none was given" if classifier is None else f"found no {classifier}"
            raise FgError(f"features classifier: expected a trained classifier, {found}; run fg classifier")
        self.network = load(classifier).to(device)
        self.size = self.network.size
        self.sha256 = artifacts.sha256(classifier)

    @property
    def protocol(self) -> dict[str, Any]:
        """Protocol."""
        return {
            "features": f"last hidden layer of a small network trained on the labels of these data, {self.size}-d",
            "weights_sha256": self.sha256,
        }

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Features (n, d) of uint8 images (n, h, w, 3)."""
        return self.network.features(images)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """The probability of each class (n, k) of uint8 images (n, h, w, 3)."""
        return self.network.probabilities(images).astype(np.float64)
