"""A mixture of full Gaussians in standardised coordinates; one component is a Gaussian."""

from __future__ import annotations

from typing import Self

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import logsumexp

from fgcli.artifacts import verify_arrays
from fgcli.errors import FlawError

AXES = {"weights": "k", "means": "k x", "factors": "k x x", "center": "l d", "scale": "l d"}
"""Of the arrays of a file; x = l d."""


class Mixture:
    """Weights (k), means (k, D) and Cholesky factors (k, D, D) of (x - center) / scale, for codes of D = l d values."""

    def __init__(
        self,
        weights: np.ndarray,
        means: np.ndarray,
        factors: np.ndarray,
        center: np.ndarray,
        scale: np.ndarray,
    ) -> None:
        self.weights, self.means, self.factors = weights, means, factors
        self.center, self.scale = center, scale  # (l, d) each

    def arrays(self) -> dict[str, np.ndarray]:
        """What a file keeps."""
        return dict(vars(self))

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Self:
        """The mixture that `arrays` gave; raises FlawError where they are none's."""
        verify_arrays(arrays, AXES)
        weights, size = arrays["weights"], arrays["center"].size
        if arrays["means"].shape[1] != size:
            raise FlawError(f"expected means of {size} values, as center has, found {arrays['means'].shape[1]}")
        if (weights < 0).any() or abs(weights.sum() - 1) > 1e-6 or (arrays["scale"] <= 0).any():
            raise FlawError("expected weights that add up to 1 and a scale above 0, found others")
        return cls(**{name: arrays[name] for name in AXES})

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """n codes (n, l, d), float32."""
        which = rng.choice(len(self.weights), n, p=self.weights)
        noise = rng.standard_normal((n, self.means.shape[1]))
        x = np.empty_like(noise)
        for k, (mean, factor) in enumerate(zip(self.means, self.factors, strict=True)):
            x[which == k] = mean + noise[which == k] @ factor.T
        return (x.reshape(n, *self.center.shape) * self.scale + self.center).astype(np.float32)

    def log_prob(self, codes: np.ndarray) -> np.ndarray:
        """log p (n,) in nats: log sum_k w_k N(x; mu_k, L_k L_k^T), less the log of the scale."""
        x = ((codes - self.center) / self.scale).reshape(len(codes), -1)
        terms = [
            np.log(w) - 0.5 * np.square(solve_triangular(factor, (x - mean).T, lower=True)).sum(0)
            - np.log(np.diag(factor)).sum()
            for w, mean, factor in zip(self.weights, self.means, self.factors, strict=True)
        ]  # fmt: skip
        return logsumexp(terms, axis=0) - 0.5 * x.shape[1] * np.log(2 * np.pi) - np.log(self.scale).sum()


CONSTANT = 1e-8
"""Standard deviation up to which a dimension of codes is constant."""


def standardize(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flat standardised codes (n, D) in float64, their center and scale (l, d); constant dimensions keep scale 1."""
    codes = codes.astype(np.float64)
    center, scale = codes.mean(0), codes.std(0)
    scale = np.where(scale > CONSTANT, scale, 1.0)
    return ((codes - center) / scale).reshape(len(codes), -1), center, scale
