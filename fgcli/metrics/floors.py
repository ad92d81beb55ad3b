"""What reconstructions must beat to say anything: training pictures put in the place of pictures, without a model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from fgcli.metrics.neighbours import nearest
from fgcli.metrics.sets import batches

FLOORS = {
    "nearest": "no model: the training picture most like each, by squared error on its mask, is put in its place",
    "look_alike": "no model: the training face whose dlib embedding is nearest to that of each is put in its place",
}
FLOOR_PX, FLOOR_ROWS = 32, 10_000
"""The nearest training picture is searched for at this side, px, among so many at most, evenly spaced."""
EMBEDDED_ROWS = 2000
"""Training faces that are embedded, to find look-alikes, at most, evenly spaced."""

Floor = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Pictures for pictures uint8 (n, h, w, c) with masks bool (n, h, w)."""


class NearestTraining:
    """The floor: instead of a reconstruction the training picture most like the picture, where its mask is."""

    def __init__(self, images: np.ndarray, train: np.ndarray) -> None:
        self.images = images
        self.rows = train[:: -(-len(train) // FLOOR_ROWS)]
        self.small = np.concatenate([_reduced(images[rows]) for rows in batches(self.rows, 256)])

    def __call__(self, reference: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Training pictures for pictures uint8 (n, h, w, c) with masks bool (n, h, w).

        The least sum over pixels of w (x - t)^2, without w x^2, which is the same for all: w t^2 - 2 w x t.
        """
        x = _reduced(reference)
        w = _reduced(np.broadcast_to(np.where(mask[..., None], 255, 0), reference.shape).astype(np.uint8))
        distance = w @ (self.small * self.small).T - 2 * (w * x) @ self.small.T
        chosen = self.rows[distance.argmin(1)]
        return np.stack([self.images[row] for row in chosen])


class LookAlike:
    """The floor of metrics of identity: the training face whose embedding is nearest to the face's own."""

    def __init__(self, images: np.ndarray, train: np.ndarray, embed: Callable[[np.ndarray], np.ndarray]) -> None:
        self.images, self.embed = images, embed
        self.rows = train[:: -(-len(train) // EMBEDDED_ROWS)]
        self.known = np.concatenate([embed(images[rows]) for rows in batches(self.rows, 256)])

    def __call__(self, reference: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Training faces for faces uint8 (n, h, w, c)."""
        chosen = self.rows[nearest(self.embed(reference), [self.known], 1)[:, 0]]
        return np.stack([self.images[row] for row in chosen])


def _reduced(images: np.ndarray) -> np.ndarray:
    """Pictures uint8 (n, h, w, c) of FLOOR_PX at most, in [0, 1]: (n, pixels) float32."""
    planes = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255
    side = min(FLOOR_PX, *planes.shape[2:])
    return torch.nn.functional.adaptive_avg_pool2d(planes, side).flatten(1).numpy()
