"""The few functions of one number that the head is drawn with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.interpolate import PchipInterpolator


def smoothstep(x: np.ndarray, low: float | np.ndarray, high: float | np.ndarray) -> np.ndarray:
    """0 at `low`, 1 at `high` (which may be the smaller of the two), a smooth S between."""
    s = np.clip((x - low) / (high - low), 0.0, 1.0)
    return s * s * (3 - 2 * s)


def bell(x: np.ndarray, y: np.ndarray, spot: tuple[float, ...], power: float = 2.0) -> np.ndarray:
    """exp(-½ |·|^power) of x and y about `spot` = (x, y, width, height): 1 there, .6 one width away."""
    centre_x, centre_y, width, height = spot
    squared = ((x - centre_x) / width) ** 2 + ((y - centre_y) / height) ** 2
    return np.exp(-0.5 * squared ** (power / 2))


def curve(knots: Sequence[tuple[float, float]]) -> Callable[[np.ndarray], np.ndarray]:
    """A smooth curve through (x, y) knots, without overshoot; constant beyond its ends."""
    xs, ys = np.array(knots, np.float64).T
    inner = PchipInterpolator(xs, ys)
    return lambda x: inner(np.clip(x, xs[0], xs[-1]))


def soft_maximum(one: np.ndarray, two: np.ndarray, width: float) -> np.ndarray:
    """The larger of the two, rounded where they are within `width` of each other."""
    return width * np.logaddexp(one / width, two / width)
