"""Which rows each step sees, and how they become tensors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fgcli.pixels import pixels
from fgcli.training.augment import Augment
from fgcli.training.devices import Compute
from fgcli.training.phase import Batch


def step_rng(seed: int, step: int, rank: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
    """The generator of all randomness of one step: a resumed run needs no other state."""
    mixed = np.random.SeedSequence([seed, step, rank]).generate_state(2, np.uint32)
    return torch.Generator(device).manual_seed(int(mixed[0]) << 31 | int(mixed[1]) >> 1)


class Batches:
    """Shuffled batches of memory-mapped faces; row i of the endless stream belongs to epoch i // n.

    Args:
        images: (N, h, w, c) uint8. masks: (N, h, w) uint8, 255 on the face.
        rows: the rows to draw from, a split's.
        batch: total batch size; each rank takes its share.
    """

    def __init__(
        self, images: np.ndarray, masks: np.ndarray, rows: np.ndarray, batch: int, seed: int, augment: Augment
    ) -> None:
        self.images, self.masks, self.rows, self.batch, self.seed, self.augment = (
            images,
            masks,
            rows,
            batch,
            seed,
            augment,
        )
        self._epoch, self._order = -1, rows

    def at(self, step: int, compute: Compute) -> Batch:
        """The batch of one step (from 0) for this rank."""
        n = len(self.rows)
        places = np.arange(step * self.batch, (step + 1) * self.batch)[compute.rank :: compute.ranks]
        rows = np.array([self.order(p // n)[p % n] for p in places])
        batch = tensors(self.images, self.masks, rows, compute)
        rng = step_rng(self.seed, step, compute.rank)
        batch["images"], batch["masks"] = self.augment(batch["images"], batch["masks"], rng)
        batch["images"] = batch["images"].contiguous(memory_format=compute.memory_format)
        return batch

    def order(self, epoch: int) -> np.ndarray:
        """The rows in the order of one epoch."""
        if epoch != self._epoch:
            shuffle = np.random.default_rng([self.seed, epoch]).permutation(len(self.rows))
            self._epoch, self._order = epoch, self.rows[shuffle]
        return self._order


def tensors(images: np.ndarray, masks: np.ndarray, rows: np.ndarray, compute: Compute) -> Batch:
    """Rows as a batch on the device: images in [-1, 1], masks in {0, 1}."""
    return {
        "images": pixels(to_device(images[rows], compute), compute.memory_format),
        "masks": (to_device(masks[rows], compute)[:, None] >> 7).float(),
        "rows": torch.from_numpy(rows),
    }


def to_device(array: np.ndarray, compute: Compute) -> Tensor:
    """A copy on the device; from pinned memory where that lets the transfer overlap."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(compute.device, non_blocking=True) if compute.device.type == "cuda" else tensor
