"""Which rows each step sees, and how they become tensors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from fgcli.training.augment import Augment
from fgcli.training.columns import Table
from fgcli.training.devices import Compute


def step_rng(
    seed: int, step: int, rank: int = 0, device: torch.device | str = "cpu", stream: int = 0
) -> torch.Generator:
    """The generator of all randomness of the phases of one stream in one step: a resumed run needs no other state."""
    mixed = np.random.SeedSequence([seed, step, rank, stream]).generate_state(2, np.uint32)
    return torch.Generator(device).manual_seed(int(mixed[0]) << 31 | int(mixed[1]) >> 1)


class Batches:
    """Shuffled batches of memory-mapped columns; row i of the endless stream belongs to epoch i // n.

    Args:
        tables: the columns that a batch has, by name.
        rows: the rows to draw from, a split's.
        batch: total batch size; each rank takes its share.
        seed: of the order and of the augmentation.
        augment: how far pictures stray.
    """

    def __init__(
        self, tables: Mapping[str, Table], rows: np.ndarray, batch: int, seed: int, augment: Augment | None = None
    ) -> None:
        self.tables, self.rows, self.batch, self.seed = tables, rows, batch, seed
        self.augment = augment or Augment()
        self.columns = {name: table.column for name, table in tables.items()}
        self._epoch, self._order = -1, rows

    def at(self, step: int, compute: Compute) -> dict[str, Tensor]:
        """The batch of one step (from 0) for this rank."""
        n = len(self.rows)
        places = np.arange(step * self.batch, (step + 1) * self.batch)[compute.rank :: compute.ranks]
        batch = self.of(np.array([self.order(p // n)[p % n] for p in places]), compute)
        batch["places"] = torch.from_numpy(places - step * self.batch)
        self.augment(batch, self.columns, step_rng(self.seed, step, compute.rank))
        for name, column in self.columns.items():
            if column.plane and not column.binary:
                batch[name] = batch[name].contiguous(memory_format=compute.memory_format)
        return batch

    def of(self, rows: np.ndarray, compute: Compute) -> dict[str, Tensor]:
        """Rows as they are stored, as tensors on the device."""
        batch = {
            name: table.column.convert(to_device(table.values[rows], compute), compute.memory_format)
            for name, table in self.tables.items()
        }
        return batch | {"rows": torch.from_numpy(rows), "places": torch.arange(len(rows))}

    def order(self, epoch: int) -> np.ndarray:
        """The rows in the order of one epoch."""
        if epoch != self._epoch:
            shuffle = np.random.default_rng([self.seed, epoch]).permutation(len(self.rows))
            self._epoch, self._order = epoch, self.rows[shuffle]
        return self._order


def to_device(array: np.ndarray, compute: Compute) -> Tensor:
    """A copy on the device; from pinned memory where that lets the transfer overlap."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(compute.device, non_blocking=True) if compute.device.type == "cuda" else tensor
