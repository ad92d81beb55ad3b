"""The loop: it steps every phase that is due, watches for trouble, and tells what happened; it writes nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from fgcli.errors import FgError, FlawError, UsageError
from fgcli.training.batches import Batches, step_rng
from fgcli.training.devices import Compute
from fgcli.training.ema import EMA
from fgcli.training.objective import Batch, Objective, Phase, correction
from fgcli.training.settings import Settings

MOMENTS = {"step", "exp_avg", "exp_avg_sq"}
"""What Adam keeps of a parameter."""


@dataclass(frozen=True)
class Tick:
    """One step that was taken: how many are done, and the value of each term of the phases that ran."""

    step: int
    terms: dict[str, float]


class NonFinite(FgError):
    """A term was not a finite number; the weights are those before that phase's update."""


@dataclass
class Plateau:
    """What the step size is multiplied by, halved after `patience` validations in a row without a new lowest loss."""

    factor: float = 1.0
    lowest: float = math.inf
    waited: int = 0

    def see(self, loss: float, patience: int) -> None:
        """Takes note of one validation."""
        self.lowest, self.waited = (loss, 0) if loss < self.lowest else (self.lowest, self.waited + 1)
        if self.waited >= patience:
            self.factor, self.waited = self.factor / 2, 0


@dataclass
class Loop:
    """Training state and its steps.

    Attributes:
        objective: placed by `compute` already; the moving average is that of its network.
        settings: see there.
        section: of params, which messages name.

    Raises:
        UsageError: the settings want a score, and the objective has none; or a phase has no weight but 0.
    """

    objective: Objective
    compute: Compute
    settings: Settings
    section: str = "train"
    step: int = 0
    plateau: Plateau = field(default_factory=Plateau)

    def __post_init__(self) -> None:
        score = self.objective.score()
        self.score_name = score.name if score else ""
        for key, value, instead in (("keep", "best", "last"), ("schedule", "plateau", "constant")):
            if not score and getattr(self.settings, key) == value:
                raise UsageError(
                    f"{self.section}.{key}: expected {instead}, found {value}, which wants a score, and the objective "
                    f"{type(self.objective).__name__} has none; set {self.section}.{key}={instead}"
                )
        groups, phases = self.objective.groups, self.objective.phases
        for phase in phases:
            if not any(phase.weights.values()):
                raise UsageError(
                    f"{self.section}.objective: expected a weight other than 0 in phase {phase.name}, found none; "
                    "give it one or leave the phase out"
                )
        self.corrections = {name: correction(phases, name) for name in groups}
        self.optimizers = {name: self._adam(name) for name in groups}
        left_out = [p for group in groups.values() if not group.averaged for p in group.parameters]
        self.ema = EMA(self.objective.network, self.settings.ema_half_life, left_out)

    def _adam(self, name: str) -> torch.optim.Optimizer:
        group = self.objective.groups[name]
        first, second = group.betas or self.settings.betas
        betas = (first ** self.corrections[name], second ** self.corrections[name])
        fused = self.compute.device.type != "mps"
        return torch.optim.Adam(group.parameters, self.settings.learning_rate, betas, fused=fused)

    @property
    def steps(self) -> int:
        """Of the whole run."""
        return self.settings.steps

    @property
    def _cure(self) -> str:
        rate, precision = (f"{self.section}.{key}" for key in ("learning_rate", "precision"))
        return f"lower {rate} (now {self.settings.learning_rate:g}) or set {precision}=float32"

    def rate(self, step: int, group: str = "") -> float:
        """The run's step size at a step (from 0), or a group's: linear warm-up, then the schedule."""
        s = self.settings
        rise = min(1.0, (step + 1) / s.warmup) if s.warmup else 1.0
        fall = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / s.steps)) if s.schedule == "cosine" else 1.0
        rate = s.learning_rate * rise * fall * self.plateau.factor
        return rate * self.objective.groups[group].rate * self.corrections[group] if group else rate

    def run(self, batches: Batches) -> Iterator[Tick]:
        """Takes the remaining steps, one per iteration.

        Raises:
            NonFinite: naming the step, the phase and the term.
        """
        self.objective.train()
        while self.step < self.steps:
            batch = batches.at(self.step, self.compute)
            terms: dict[str, float] = {}
            for phase in self.objective.phases:
                if self.step % phase.interval == 0:
                    terms |= self._update(phase, batch)
            self.step += 1
            self.ema.update(self.step)
            yield Tick(self.step, terms)

    def _update(self, phase: Phase, batch: Batch) -> dict[str, float]:
        parameters = self.objective.moved(phase)
        stream = [other.draws or other.name for other in self.objective.phases].index(phase.draws or phase.name)
        rank = 0 if self.objective.alike else self.compute.rank
        rng = step_rng(self.settings.seed + 1, self.step, rank, self.compute.device, stream)
        with self.compute.autocast():
            terms = phase.loss(batch, rng)
        gradients = gradients_of(phase, phase.total(terms), parameters)
        self.compute.average(list(gradients))
        named = self._values(phase, terms, gradients)
        if phase.interval > 1:
            gradients = torch._foreach_mul(list(gradients), phase.interval)
        if self.settings.clip:
            gradients = clip_each(gradients, self.settings.clip)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        for name in phase.groups:
            optimizer = self.optimizers[name]
            for group in optimizer.param_groups:
                group["lr"] = self.rate(self.step, name)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if phase.after:
            phase.after(named)
        return {f"{phase.name}/{term}": value for term, value in named.items()}

    def _values(self, phase: Phase, terms: dict[str, Tensor], gradients: Sequence[Tensor]) -> dict[str, float]:
        """The terms, and the norm of the whole gradient, over all ranks.

        Raises:
            NonFinite: naming the step, the phase and the term.
        """
        norm = torch.stack(torch._foreach_norm(list(gradients))).norm()
        values = torch.stack([*(t.detach().float() for t in terms.values()), norm.float()])
        self.compute.average([values])
        named = dict(zip([*terms, "gradient"], values.tolist(), strict=True))
        for term, value in named.items():
            if not math.isfinite(value):
                found = f"{phase.name}/{term} = {value}"
                raise NonFinite(f"training step {self.step + 1}: expected finite losses, found {found}; {self._cure}")
        return named

    @torch.no_grad()
    def validate(self, batches: Iterable[Batch]) -> float | None:
        """The objective's score over whole batches, by the moving average, in eval mode; on every rank.

        None where the objective has none.

        Raises:
            NonFinite: it is not a finite number.
        """
        score = self.objective.score()
        if score is None:
            return None
        with self.ema.applied(self.objective.network), self.compute.autocast():
            self.objective.eval()
            for i, batch in enumerate(batches):
                score.update(batch, step_rng(self.settings.seed + 2, i, 0, self.compute.device))
            found = score.compute()
        self.objective.train()
        loss = self.compute.mean(found)  # batch norm's statistics may differ among ranks; step sizes may not
        if not math.isfinite(loss):
            raise NonFinite(f"validation after step {self.step}: expected a finite loss, found {loss}; {self._cure}")
        if self.settings.schedule == "plateau":
            self.plateau.see(loss, self.settings.patience)
        return loss

    @torch.no_grad()
    def sheet(self, batch: Batch) -> dict[str, Tensor]:
        """What the objective shows of a batch, by the moving average, in eval mode."""
        with self.ema.applied(self.objective.network):
            self.objective.eval()
            shown = self.objective.sheet(batch, step_rng(self.settings.seed, 0, 0, self.compute.device))
        self.objective.train()
        return shown

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs."""
        return {
            "objective": self.objective.state_dict(),
            "ema": self.ema.state,
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "plateau": vars(self.plateau),
            "step": self.step,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from a saved state; raises FlawError where its moments are not those of the parameters."""
        self.objective.load_state_dict(state["objective"])
        self.ema.restore(state["ema"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
            for parameter, moments in optimizer.state.items():
                sizes = {tuple(value.shape) for value in moments.values() if value.numel() != 1}
                if set(moments) != MOMENTS or sizes - {tuple(parameter.shape)}:
                    raise FlawError(f"expected the moments of every parameter of {name}, found others")
                for key, value in moments.items():
                    if value.shape == parameter.shape:  # a fused step pairs them by their place in memory
                        moments[key] = torch.empty_like(parameter).copy_(value)
        self.plateau = Plateau(**state["plateau"])
        self.step = state["step"]


def gradients_of(phase: Phase, total: Tensor, parameters: list[nn.Parameter]) -> Sequence[Tensor]:
    """Of a phase's loss; zero where a parameter is not used, as a bias under a gradient penalty.

    Raises:
        ValueError: none is used: the loss teaches nothing.
    """
    found = torch.autograd.grad(total, parameters, allow_unused=True) if total.requires_grad else ()
    if all(gradient is None for gradient in found):
        groups = " or ".join(phase.groups)
        raise ValueError(f"phase {phase.name}: expected a loss that depends on group {groups}, found none that does")
    return [torch.zeros_like(p) if g is None else own(g) for p, g in zip(parameters, found, strict=True)]


def own(gradient: Tensor) -> Tensor:
    """The same with memory for each value, so that it can be averaged in place: that of a sum has one for all."""
    return gradient.clone() if 0 in gradient.stride() else gradient


def clip_each(gradients: Sequence[Tensor], norm: float) -> Sequence[Tensor]:
    """Each tensor scaled to a norm of at most `norm`: g min(1, norm / |g|)."""
    scales = [(norm / n.clamp_min(1e-30)).clamp(max=1.0) for n in torch._foreach_norm(list(gradients))]
    return torch._foreach_mul(list(gradients), scales)
