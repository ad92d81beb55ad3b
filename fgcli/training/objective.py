"""What an objective tells the loop: what is updated when and by which terms, what validation measures and shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from fgcli.capabilities import Conditional, Encodes, Generator, Kinds, Masks, Writes, require
from fgcli.codes import Codes, decode, decode_mask
from fgcli.training.columns import Column, sentences

Batch = dict[str, Tensor]
"""The columns that the objective needs, by name; `rows` (n): their places in faces.h5; `places` (n): those in the batch
of all processes."""

Terms = dict[str, Tensor]


@dataclass(frozen=True)
class Group:
    """What one Adam moves.

    Attributes:
        parameters: its tensors.
        rate: factor on the run's step size.
        betas: decay rates; the run's by default.
        averaged: whether the moving average follows these parameters or is a copy of them.
    """

    parameters: list[nn.Parameter]
    rate: float = 1.0
    betas: tuple[float, float] | None = None
    averaged: bool = True


@dataclass(frozen=True)
class Phase:
    """One kind of update: the weighted sum of `loss` is minimised over a group.

    Attributes:
        name: names the phase in logs.
        group: name of the group that moves, or names of several; phases of one group share its Adam.
        loss: (batch, rng) -> {term: scalar}, unweighted.
        weights: a weight for each term; a term of weight 0 is only watched.
        interval: the phase runs at steps divisible by it. A lazy one, above 1, has its gradient scaled by as much, and
            its group's Adam is slowed (see `correction`), so that laziness changes the cost and not the course.
        draws: phases that name the same one get equal rngs in a step, and so draw equal codes; by default each has its
            own.
        after: called with the terms' values once the step is taken: where a controller acts.
    """

    name: str
    group: str | tuple[str, ...]
    loss: Callable[[Batch, torch.Generator], Terms]
    weights: dict[str, float]
    interval: int = 1
    draws: str = ""
    after: Callable[[dict[str, float]], None] | None = None

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of all groups that move."""
        return (self.group,) if isinstance(self.group, str) else self.group

    def total(self, terms: Terms) -> Tensor:
        """The weighted sum that is minimised."""
        return torch.stack([self.weights[name] * value for name, value in terms.items() if self.weights[name]]).sum()


def correction(phases: list[Phase], group: str) -> float:
    """c, a factor on a group's step size and the power of its betas (Karras et al. 2020, appendix B).

    A group that steps s = sum_i 1 / interval_i times a step, m of its phases at every one, has c = m / s: for one phase
    and a penalty every k steps k / (k + 1), so that k steps move and forget as much as k steps without the penalty.

    >>> loss = lambda batch, rng: {}
    >>> correction([Phase("d", "d", loss, {}), Phase("r1", "d", loss, {}, interval=16)], "d") * 17
    16.0
    """
    intervals = [phase.interval for phase in phases if group in phase.groups]
    always = intervals.count(1)
    return always / sum(1 / k for k in intervals) if always else 1.0


class Score(Protocol):
    """What validation measures, lower being better: it sees all validation batches, then tells one number.

    Attributes:
        name: what readers call it.
    """

    name: str

    def update(self, batch: Batch, rng: torch.Generator) -> None:
        """Sees one batch; networks are averages and in eval mode."""

    def compute(self) -> float:
        """The number."""


class WeightedLoss:
    """A phase's weighted loss, mean over the rows that were seen."""

    name = "the weighted sum of its terms"

    def __init__(self, phase: Phase) -> None:
        self.phase, self.total, self.count = phase, 0.0, 0

    def update(self, batch: Batch, rng: torch.Generator) -> None:
        """Sees one batch."""
        self.total += float(self.phase.total(self.phase.loss(batch, rng))) * len(batch["rows"])
        self.count += len(batch["rows"])

    def compute(self) -> float:
        """The mean."""
        return self.total / self.count


class Objective(nn.Module):
    """Holds the network that is trained, and whatever else is trained or kept with it: critics, controllers.

    Its state dict is all that a checkpoint needs beside the optimisers; the moving average of `network` is the result.

    Attributes:
        needs: columns of a batch: names in COLUMNS, or columns of its own; of a generator that writes, `images` are
            planes of sentences.
        takes: what else than pictures it can learn from: Writes, or nothing.
        alike: whether all processes of a run get the same rng: for an objective that draws for the whole batch and
            takes what belongs to its `places`, so that several processes train as one.
        groups: what is updated, by name. phases: when and by what, in order.

    Args:
        network: what is trained: a generator, or a network of another kind.
        wanted: capabilities that the generator must have.
        refused: those that it must not have; one that wants a condition is refused unless Conditional is wanted, and
            one that writes unless the objective takes it.

    Raises:
        UsageError: another generator.
    """

    needs: tuple[str | Column, ...] = ("images",)
    takes: ClassVar[Kinds] = ()
    alike: bool = False
    groups: dict[str, Group]
    phases: list[Phase]

    def __init__(self, network: nn.Module, wanted: Kinds = (), refused: Kinds = ()) -> None:
        super().__init__()
        if wanted or isinstance(network, Generator):
            alone = () if any(issubclass(kind, Conditional) for kind in wanted) else (Conditional,)
            silent = () if Writes in self.takes else (Writes,)
            require(network, wanted, (*refused, *alone, *silent), by=f"objective {type(self).__name__}")
        if isinstance(network, Writes):
            self.needs = tuple(sentences(network.image_shape[0]) if need == "images" else need for need in self.needs)
        self.network = network

    def moved(self, phase: Phase) -> list[nn.Parameter]:
        """The parameters that a phase moves."""
        return [p for name in phase.groups for p in self.groups[name].parameters]

    def trouble(self) -> str:
        """What is wrong with the run, if it is seen, and what to do; it is told at validations."""
        return ""

    def score(self) -> Score | None:
        """A fresh measure for one validation: the first phase's loss; None where no number tells better from worse."""
        return WeightedLoss(self.phases[0])

    def sheet(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Rows of the sample sheet by label: pictures (n, 3 or 1, h, w) in [-1, 1] of a validation batch.

        By default what the generator can: faces, if the batch has some, their reconstructions and masks, and draws from
        the prior.
        """
        generator = self.network
        if not isinstance(generator, Generator):
            return {}
        condition = batch.get(generator.condition_column) if isinstance(generator, Conditional) else None
        shown = {"face": batch["images"]} if "images" in batch else {}
        if shown and isinstance(generator, Encodes):
            codes = Codes(generator.encode(batch["images"]), generator.space, condition)
            shown["code"] = decode(generator, codes)
            if isinstance(generator, Masks):
                shown["mask"] = 2 * decode_mask(generator, codes) - 1
        drawn = Codes(generator.prior(len(batch["rows"]), rng), generator.space, condition)
        return shown | {"prior": decode(generator, drawn)}
