"""What an objective tells the loop: who is updated when, by which terms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

Batch = dict[str, Tensor]
"""images (n, c, h, w) in [-1, 1]; masks (n, 1, h, w) in {0, 1}; rows (n): their places in faces.h5."""

Terms = dict[str, Tensor]


@dataclass(frozen=True)
class Phase:
    """One kind of update: the weighted sum of `loss` is minimised over `parameters`.

    Attributes:
        name: names the phase in logs.
        parameters: the only tensors that the phase's optimiser moves.
        loss: (batch, rng) -> {term: scalar}, unweighted.
        weights: a weight for each term; a term of weight 0 is only watched.
        interval: the phase runs at steps divisible by it.
        after: called with the terms' values once the step is taken: where a controller acts.
    """

    name: str
    parameters: list[nn.Parameter]
    loss: Callable[[Batch, torch.Generator], Terms]
    weights: dict[str, float]
    interval: int = 1
    after: Callable[[dict[str, float]], None] | None = None

    def total(self, terms: Terms) -> Tensor:
        """The weighted sum that is minimised."""
        return torch.stack([self.weights[name] * value for name, value in terms.items() if self.weights[name]]).sum()


class Objective(Protocol):
    """An `nn.Module` that holds the generator and whatever else is trained or kept with it.

    Its state dict is all that a checkpoint needs beside the optimisers.
    """

    phases: list[Phase]
