"""A small network that tells the classes of one data set apart: features to compare sets of its pictures by.

Where pictures are not natural photos, features learned on them say more than Inception's: on MNIST the papers take
a LeNet (Binkowski et al. 2018, "Demystifying MMD GANs").
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgcli import artifacts
from fgcli.layers.blocks import strided_block

SMALLEST = 16
"""Side of the smallest pictures, px."""
ROWS = 256
"""Pictures in memory at once."""


class Classifier(nn.Module):
    """Strided convolutions down to 4 px or less, a dense layer of 128 features, and one to the classes.

    Args:
        classes: how many.
        side: of the pictures, px; others are resized to it.
        width: factor on the channels, which are 32 after the first stage and 128 at most.

    Raises:
        ValueError: an argument out of range.
    """

    size = 128
    """Features of a picture."""

    def __init__(self, classes: int, side: int, width: float = 1.0) -> None:
        super().__init__()
        if classes < 2 or side < SMALLEST or width <= 0:
            raise ValueError(
                f"classifier expects classes >= 2, side >= {SMALLEST}, width > 0, found {classes}, {side}, {width}"
            )
        self.side = side
        stages: list[nn.Module] = []
        inputs, channels, left = 3, max(4, round(32 * width)), side
        most = 4 * channels
        while left > 4:
            stages += strided_block(inputs, channels)
            inputs, channels, left = channels, min(2 * channels, most), -(-left // 2)
        dense = nn.Linear(inputs * left**2, self.size, bias=False)
        self.trunk = nn.Sequential(*stages, nn.Flatten(), dense, nn.BatchNorm1d(self.size), nn.ReLU())
        self.answer = nn.Linear(self.size, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, classes) of pictures (n, 3, h, w) in [-1, 1]."""
        return self.answer(self.embed(images)).float()

    def embed(self, images: Tensor) -> Tensor:
        """Features (n, size), none below 0, of pictures (n, 3, h, w) in [-1, 1]."""
        if images.shape[2:] != (self.side, self.side):
            images = F.interpolate(images, (self.side, self.side), mode="bilinear", antialias=True)
        return self.trunk(images)

    def features(self, images: np.ndarray) -> np.ndarray:
        """Features (n, size) float32, none below 0, of uint8 pictures (n, h, w, 3); in eval mode only.

        Raises:
            ValueError: not uint8 (n, h, w, 3).
        """
        return np.concatenate(
            [np.zeros((0, self.size), np.float32), *(f.cpu().numpy() for f in self._embedded(images))]
        )

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Probability of each class, (n, classes) float32, of uint8 pictures (n, h, w, 3); in eval mode only.

        Raises:
            ValueError: not uint8 (n, h, w, 3).
        """
        with torch.no_grad():
            known = [self.answer(f).softmax(1).cpu().numpy() for f in self._embedded(images)]
        return np.concatenate([np.zeros((0, self.answer.out_features), np.float32), *known])

    @torch.no_grad()
    def _embedded(self, images: np.ndarray) -> list[Tensor]:
        """Features of ROWS pictures at a time."""
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
            raise ValueError(f"expected uint8 (n, h, w, 3), got {images.dtype} {images.shape}")
        device = self.answer.weight.device
        parts = (torch.from_numpy(images[i : i + ROWS].copy()).to(device) for i in range(0, len(images), ROWS))
        return [self.embed(part.permute(0, 3, 1, 2).float() / 127.5 - 1) for part in parts]


def load(path: Path) -> Classifier:
    """The network of classifier.h5, on the CPU, in eval mode, without gradients.

    Raises:
        FgError: not a classifier's file.
    """
    stored = artifacts.load(path, artifacts.CLASSIFIER)
    network = Classifier(**stored.meta["build"])
    state = stored.group("weights")
    with artifacts.blamed(path):
        artifacts.verify_state(state, {k: v.shape for k, v in network.state_dict().items()})
    network.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()})
    return network.eval().requires_grad_(False)
