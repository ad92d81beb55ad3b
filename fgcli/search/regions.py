"""Where codes are sought: the box of the training codes, what a density draws, what lies near a code."""

from __future__ import annotations

import numpy as np

from fgcli.config.fields import Share
from fgcli.densities import Density
from fgcli.search import Region


class Box(Region):
    """The bounding box of the training codes, evenly (Kusner et al. 2017)."""

    def __init__(self, codes: np.ndarray) -> None:
        self.low, self.high, self.scale = codes.min(0), codes.max(0), deviations(codes)

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Codes (n, l, d)."""
        return rng.uniform(self.low, self.high, (n, *self.low.shape)).astype(np.float32)

    def holds(self, codes: np.ndarray) -> np.ndarray:
        """(n) bool."""
        return ((codes >= self.low) & (codes <= self.high)).all((1, 2))


class Drawn(Region):
    """What a density draws, as far as it is likely."""

    def __init__(self, codes: np.ndarray, law: Density, edge: float) -> None:
        self.law, self.edge, self.scale = law, edge, deviations(codes)

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Codes (n, l, d)."""
        return self.law.draw(n, rng)

    def holds(self, codes: np.ndarray) -> np.ndarray:
        """(n) bool."""
        return self.law.log_prob(codes) >= self.edge


class Near(Region):
    """What is near a code and no less likely than it is.

    A draw is m + sqrt(1 - t^2) (start - m) + t (z - m) with a draw z of the density and the mean m of the codes that
    trained: were the codes Gaussian, it would be as likely as a code (Neal 1998).

    Args:
        codes: those that trained. law: their density.
        start: (1, l, d).
        radius: largest t.
    """

    starts = True

    def __init__(self, codes: np.ndarray, law: Density, start: np.ndarray, radius: Share = 0.5) -> None:
        self.law, self.start, self.radius, self.scale = law, start, radius, deviations(codes)
        self.mean, self.edge = codes.mean(0), float(law.log_prob(start)[0])

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Codes (n, l, d)."""
        t = self.radius * np.sqrt(rng.random((n, 1, 1)))
        step = t * (self.law.draw(n, rng) - self.mean)
        return (self.mean + np.sqrt(1 - t**2) * (self.start - self.mean) + step).astype(np.float32)

    def holds(self, codes: np.ndarray) -> np.ndarray:
        """(n) bool."""
        return self.law.log_prob(codes) >= self.edge


def deviations(codes: np.ndarray) -> np.ndarray:
    """(l, d) of codes (n, l, d); 1 where they are all alike."""
    found = codes.std(0)
    return np.where(found > 0, found, 1)
