"""The loop: it steps every phase that is due, watches for trouble, and tells what happened; it writes nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from fgcli.errors import FgError
from fgcli.training.batches import Batches, step_rng
from fgcli.training.devices import Compute
from fgcli.training.ema import EMA
from fgcli.training.phase import Batch, Phase


@dataclass(frozen=True)
class Tick:
    """One step that was taken: how many are done, and each term's value."""

    step: int
    terms: dict[str, float]


class NonFinite(FgError):
    """A term was not a finite number; the weights are those before the step."""


@dataclass
class Plateau:
    """What the step size is multiplied by, halved after `patience` validations in a row without a new lowest loss."""

    factor: float = 1.0
    lowest: float = math.inf
    waited: int = 0

    def see(self, loss: float, patience: int) -> None:
        """Takes note of one validation."""
        self.lowest, self.waited = (loss, 0) if loss < self.lowest else (self.lowest, self.waited + 1)
        if self.waited > patience:
            self.factor, self.waited = self.factor / 2, 0


@dataclass
class Loop:
    """Training state and its steps.

    Attributes:
        objective: an Objective (see phase.py) that holds the generator; placed by `compute` already.
        generator: the part of it whose moving average is kept.
        steps: total steps, for the schedule.
        learning_rate: Adam's step size at its highest.
        betas: Adam's.
        warmup: steps of linear rise.
        schedule: "constant", "cosine" down to a hundredth, or "plateau": halved when validation stops to improve.
        patience: validations without a better loss before it is halved.
        clip: norm to which each tensor's gradient is clipped (per tensor, not over all); 0 for none.
        ema_half_life: steps.
        seed: of all randomness; step t draws from (seed, t) alone.
        section: of params, which messages name.
    """

    objective: nn.Module
    generator: nn.Module
    compute: Compute
    steps: int
    learning_rate: float
    betas: tuple[float, float]
    warmup: int
    schedule: str
    clip: float
    ema_half_life: float
    seed: int
    patience: int = 5
    section: str = "train"
    step: int = 0
    plateau: Plateau = field(default_factory=lambda: Plateau())
    optimizers: list[torch.optim.Optimizer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.optimizers = [
            torch.optim.Adam(p.parameters, self.learning_rate, self.betas, fused=self.compute.device.type != "mps")
            for p in self.phases
        ]
        self.ema = EMA(self.generator, self.ema_half_life)

    @property
    def phases(self) -> list[Phase]:
        """The objective's phases, in order."""
        return self.objective.phases  # type: ignore[return-value]

    @property
    def _cure(self) -> str:
        rate, precision = (f"{self.section}.{key}" for key in ("learning_rate", "precision"))
        return f"lower {rate} (now {self.learning_rate:g}) or set {precision}=float32"

    def rate(self, step: int) -> float:
        """Learning rate at a step (from 0): linear warm-up, then the schedule."""
        rise = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        fall = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / self.steps)) if self.schedule == "cosine" else 1.0
        return self.learning_rate * rise * fall * self.plateau.factor

    def run(self, batches: Batches) -> Iterator[Tick]:
        """Takes the remaining steps, one per iteration.

        Raises:
            NonFinite: naming the step, the phase and the term.
        """
        self.objective.train()
        while self.step < self.steps:
            batch = batches.at(self.step, self.compute)
            terms: dict[str, float] = {}
            for phase, optimizer in zip(self.phases, self.optimizers, strict=True):
                if self.step % phase.interval == 0:
                    terms |= self._update(phase, optimizer, batch)
            self.step += 1
            self.ema.update(self.step)
            yield Tick(self.step, terms)

    def _update(self, phase: Phase, optimizer: torch.optim.Optimizer, batch: Batch) -> dict[str, float]:
        rng = step_rng(self.seed + 1, self.step, self.compute.rank, self.compute.device)
        with self.compute.autocast():
            terms = phase.loss(batch, rng)
        gradients = torch.autograd.grad(phase.total(terms), phase.parameters)
        self.compute.average(list(gradients))
        norm = torch.stack(torch._foreach_norm(list(gradients))).norm()
        values = torch.stack([*(t.detach().float() for t in terms.values()), norm.float()])
        self.compute.average([values])
        named = dict(zip([*terms, "gradient"], values.tolist(), strict=True))
        for term, value in named.items():
            if not math.isfinite(value):
                found = f"{phase.name}/{term} = {value}"
                raise NonFinite(f"training step {self.step + 1}: expected finite losses, found {found}; {self._cure}")
        if self.clip:
            clip_each(gradients, self.clip)
        for parameter, gradient in zip(phase.parameters, gradients, strict=True):
            parameter.grad = gradient
        for group in optimizer.param_groups:
            group["lr"] = self.rate(self.step)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if phase.after:
            phase.after(named)
        return {f"{phase.name}/{term}": value for term, value in named.items()}

    @torch.no_grad()
    def validate(self, batches: Iterable[Batch]) -> float:
        """The first phase's weighted loss over whole batches, by the moving average, in eval mode; on every rank.

        Raises:
            NonFinite: it is not a finite number.
        """
        phase, total, count = self.phases[0], 0.0, 0
        with self.ema.applied(self.generator), self.compute.autocast():
            self.objective.eval()
            for i, batch in enumerate(batches):
                rng = step_rng(self.seed + 2, i, 0, self.compute.device)
                total += float(phase.total(phase.loss(batch, rng))) * len(batch["images"])
                count += len(batch["images"])
        self.objective.train()
        loss = self.compute.mean(total / count)  # batch norm's statistics may differ among ranks; step sizes may not
        if not math.isfinite(loss):
            raise NonFinite(f"validation after step {self.step}: expected a finite loss, found {loss}; {self._cure}")
        if self.schedule == "plateau":
            self.plateau.see(loss, self.patience)
        return loss

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs."""
        return {
            "objective": self.objective.state_dict(),
            "ema": self.ema.state,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "plateau": vars(self.plateau),
            "step": self.step,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from a saved state."""
        self.objective.load_state_dict(state["objective"])
        self.ema.restore(state["ema"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
            for parameter, moments in optimizer.state.items():
                for name, value in moments.items():
                    if value.shape == parameter.shape:  # a fused step pairs them by their place in memory
                        moments[name] = torch.empty_like(parameter).copy_(value)
        self.plateau = Plateau(**state["plateau"])
        self.step = state["step"]


def clip_each(gradients: tuple[Tensor, ...], norm: float) -> None:
    """Scales each tensor to a norm of at most `norm`: g <- g min(1, norm / |g|)."""
    norms = torch._foreach_norm(list(gradients))
    scales = [(norm / n.clamp_min(1e-30)).clamp(max=1.0) for n in norms]
    torch._foreach_mul_(list(gradients), scales)
