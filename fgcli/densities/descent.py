"""Fitting a small network to codes by gradient: Adam, a tenth of the codes held out, the rate halved on plateaus."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from fgcli.densities.gaussian import RAISE
from fgcli.errors import FgError

HELD_OUT = 0.1
"""Share of the codes that the weights never learn from: they choose the epoch that is kept."""
PATIENCE, HALVINGS = 3, 5
"""Epochs without a better held-out loss before the rate is halved; the fit ends when it was halved so often."""


def descend(
    module: nn.Module,
    loss: Callable[[Tensor, torch.Generator], Tensor],
    x: np.ndarray,
    *,
    rate: float,
    batch: int,
    epochs: int,
    seed: int,
    name: str,
) -> None:
    """Minimises `loss` over the module's parameters and leaves those of the best held-out epoch, the start included.

    Args:
        module: what is fitted.
        loss: (rows (m, D), rng) -> scalar, the mean over the rows.
        x: (n, D) standardised codes; `loss` gets rows of their dtype.
        rate: Adam's step size. batch: rows per step. epochs: over the rows, at most.
        seed: of the rows that are held out, of their order and of the loss's draws.
        name: the density's, for messages.

    Raises:
        FgError: fewer than 2 codes, or a loss that is not finite.
    """
    if len(x) < 2:
        raise FgError(f"{name}: expected at least 2 codes, found {len(x)}; preprocess more")
    rng, order = torch.Generator().manual_seed(seed), np.random.default_rng(seed).permutation(len(x))
    rows = torch.from_numpy(x[order])
    kept = max(1, round(HELD_OUT * len(x)))
    held_out, rows = rows[:kept], rows[kept:]
    optimizer = torch.optim.Adam(module.parameters(), rate)
    bearable = PATIENCE - 1  # torch halves after the epochs that it bears, at the next
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=bearable, threshold=0.0)
    best, state = math.inf, {k: v.clone() for k, v in module.state_dict().items()}
    for epoch in range(epochs + 1):
        if epoch:
            for part in torch.randperm(len(rows), generator=rng).split(batch):
                optimizer.zero_grad(set_to_none=True)
                loss(rows[part], rng).backward()
                optimizer.step()
        with torch.no_grad():
            value = float(loss(held_out, torch.Generator().manual_seed(seed)))
        if not math.isfinite(value):
            raise FgError(f"{name}: expected finite losses, found {value} in epoch {epoch}; {RAISE}")
        if value < best:
            best, state = value, {k: v.clone() for k, v in module.state_dict().items()}
        plateau.step(value)
        if optimizer.param_groups[0]["lr"] <= rate * 0.5**HALVINGS:
            break
    module.load_state_dict(state)
