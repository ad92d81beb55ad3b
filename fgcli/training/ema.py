"""Exponential moving average of weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class EMA:
    """Follows a module's parameters; buffers, such as a batch norm's statistics, are copied.

    Args:
        module: whose state is followed.
        half_life: steps after which an old value has half its weight; 0: the weights themselves, no average.
        left_out: parameters that are copied, too.
    """

    def __init__(self, module: nn.Module, half_life: float, left_out: Iterable[Tensor] = ()) -> None:
        self.half_life = half_life
        live = module.state_dict(keep_vars=True)  # the tensors themselves: they stay
        tensors = {name: value.detach() for name, value in live.items()}
        self.state = {name: value.clone() for name, value in tensors.items()} if half_life else tensors
        apart = {id(value) for value in left_out}
        averaged = [k for k, v in live.items() if isinstance(v, nn.Parameter) and id(v) not in apart]
        self._averaged = [self.state[k] for k in averaged], [tensors[k] for k in averaged]
        self._copied = [(self.state[k], tensors[k]) for k in live.keys() - set(averaged)]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """theta_ema <- theta + beta (theta_ema - theta), beta = 2^(-1/h); h is at most a tenth of the steps so far."""
        if not self.half_life:
            return
        beta = 0.5 ** (1 / min(self.half_life, step / 10))
        if self._averaged[0]:
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
