"""How a run goes: what `fg train`, `fg classifier` and `fg regressor` share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self


@dataclass(frozen=True)
class Settings:
    """Of one run; each is a param of `fg train`, and other stages leave some at these defaults.

    Attributes:
        steps: total steps.
        batch: rows a step, over all devices.
        learning_rate: Adam's step size at its highest.
        seed: of all randomness; step t draws from (seed, t) alone.
        validate_steps: steps between validations, lines of stats and sample sheets.
        checkpoint_seconds: between checkpoints. checkpoint_steps: the same in steps.
        betas: Adam's decay rates.
        warmup: steps of linear rise.
        schedule: "constant", "cosine" down to a hundredth, or "plateau": halved when validation stops to improve.
        patience: validations without a better score before it is halved.
        clip: norm to which each tensor's gradient is clipped (per tensor, not over all); 0 for none.
        ema_half_life: of the moving average, steps; 0 for none.
        keep: "best" or "last": which moving average is the result.
        tensorboard: also write events.
    """

    steps: int
    batch: int
    learning_rate: float
    seed: int
    validate_steps: int
    checkpoint_seconds: float
    checkpoint_steps: int = 10**9
    betas: tuple[float, float] = (0.9, 0.999)
    warmup: int = 0
    schedule: str = "constant"
    patience: int = 5
    clip: float = 0.0
    ema_half_life: float = 0.0
    keep: str = "last"
    tensorboard: bool = False

    @classmethod
    def of(cls, params: Mapping[str, Any], **fixed: Any) -> Self:
        """Those that a stage's params have, and those that the stage fixes."""
        return cls(**{f.name: params[f.name] for f in fields(cls) if f.name in params}, **fixed)
