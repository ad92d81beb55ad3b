"""Exponential moving average of weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class EMA:
    """Follows a module's floating-point state; the rest is copied.

    Args:
        half_life: steps after which an old value has half its weight; 0 follows at once.
    """

    def __init__(self, module: nn.Module, half_life: float) -> None:
        self.half_life = half_life
        self.state = {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """theta_ema <- theta + beta (theta_ema - theta), beta = 2^(-1/h); h is at most a tenth of the steps so far."""
        half_life = min(self.half_life, step / 10)
        beta = 0.5 ** (1 / half_life) if half_life > 0 else 0.0
        live = module.state_dict()
        names = [k for k, v in live.items() if v.is_floating_point()]
        torch._foreach_lerp_([self.state[k] for k in names], [live[k] for k in names], 1 - beta)
        for name in live.keys() - set(names):
            self.state[name].copy_(live[name])

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """Inside the block the module has the averaged state."""
        live = {k: v.detach().clone() for k, v in module.state_dict().items()}
        module.load_state_dict(self.state)
        try:
            yield
        finally:
            module.load_state_dict(live)
