"""One Gaussian of full covariance: the simplest ex-post density."""

from __future__ import annotations

from typing import Self

import numpy as np

from fgcli.config.fields import Weight
from fgcli.densities import Density
from fgcli.densities.mixture import Mixture, standardize
from fgcli.errors import FgError

RAISE = "raise regularize of this density"


class Gaussian(Density):
    """N(mean, covariance) of the codes.

    Args:
        regularize: added to the variances of the standardised codes.
    """

    def __init__(self, regularize: Weight = 1e-6) -> None:
        self.regularize = regularize

    def fit(self, codes: np.ndarray, seed: int) -> Self:
        """Maximum likelihood, regularised; `seed` is not needed."""
        x, center, scale = standardize(codes)
        covariance = x.T @ x / len(x) + self.regularize * np.eye(x.shape[1])
        try:
            factor = np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError as error:
            raise FgError(f"gaussian: expected codes that vary in every direction, found {error}; {RAISE}") from error
        self.mixture = Mixture(np.ones(1), np.zeros((1, x.shape[1])), factor[None], center, scale)
        return self

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """n codes (n, l, d), float32."""
        return self.mixture.draw(n, rng)

    def log_prob(self, codes: np.ndarray) -> np.ndarray:
        """log p (n,) in nats."""
        return self.mixture.log_prob(codes)

    def arrays(self) -> dict[str, np.ndarray]:
        """What a file keeps."""
        return self.mixture.arrays()

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Self:
        """The density that `arrays` gave; raises FlawError where they are none's."""
        density = cls()
        density.mixture = Mixture.from_arrays(arrays)
        return density
