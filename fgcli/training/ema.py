"""Exponential moving average of weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class EMA:
    """Follows a module's floating-point state; the rest is copied, and so are the singular vectors of spectral norms.

    An average of singular vectors is shorter than 1, which would make the singular value too small.

    Args:
        half_life: steps after which an old value has half its weight; 0: the weights themselves, no average.
    """

    def __init__(self, module: nn.Module, half_life: float) -> None:
        self.half_life = half_life
        live = {k: v.detach() for k, v in module.state_dict().items()}  # the tensors themselves: they stay
        self.state = {k: v.clone() for k, v in live.items()} if half_life else live
        floats = [k for k, v in live.items() if v.is_floating_point() and not k.endswith(("._u", "._v"))]
        self._averaged = [self.state[k] for k in floats], [live[k] for k in floats]
        self._copied = [(self.state[k], live[k]) for k in live.keys() - set(floats)]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """theta_ema <- theta + beta (theta_ema - theta), beta = 2^(-1/h); h is at most a tenth of the steps so far."""
        if not self.half_life:
            return
        beta = 0.5 ** (1 / min(self.half_life, step / 10))
        torch._foreach_lerp_(*self._averaged, 1 - beta)
        for mine, theirs in self._copied:
            mine.copy_(theirs)

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        """Takes over a saved state."""
        for name, value in state.items():
            self.state[name].copy_(value)

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """Inside the block the module has the averaged state."""
        live = {k: v.detach().clone() for k, v in module.state_dict().items()}
        module.load_state_dict(self.state)
        try:
            yield
        finally:
            module.load_state_dict(live)
