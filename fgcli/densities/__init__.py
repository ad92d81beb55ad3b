"""Ex-post densities over codes (Ghosh's thesis, 3.4): fitted after training, they make any autoencoder a sampler.

A density has `fit(codes (n, l, d), seed)`, `draw(n, rng) -> codes`, from which comes `sample(n, seed)`,
`log_prob(codes) -> (n,)` in nats, `arrays()` and `from_arrays(arrays)`. Fits are in float64 on standardised codes:
deterministic codes have near-singular covariances.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch

from fgcli import artifacts, config
from fgcli.capabilities import Space
from fgcli.codes import BLOCK, Codes, numbered

DENSITIES = {
    "gaussian": "fgcli.densities.gaussian:Gaussian",
    "gmm": "fgcli.densities.gmm:GMM",
    "bayesian_gmm": "fgcli.densities.bayesian_gmm:BayesianGMM",
    "isotropic": "fgcli.densities.isotropic:Isotropic",
    "two_stage_vae": "fgcli.densities.two_stage_vae:TwoStageVAE",
    "flow": "fgcli.densities.flow:Flow",
}


class Density(ABC):
    """A distribution of codes (n, l, d).

    Attributes:
        score: what the mean of `log_prob` is called, which may be no more than a bound of the likelihood.
    """

    score: ClassVar[str] = "log_likelihood"

    @abstractmethod
    def fit(self, codes: np.ndarray, seed: int) -> Self:
        """Fits to codes; returns itself."""

    @abstractmethod
    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """n new codes, float32."""

    def sample(self, n: int, seed: int) -> np.ndarray:
        """n new codes, float32: code i depends on seed + i alone, see `numbered`."""
        return numbered(n, seed, lambda k: torch.from_numpy(self.draw(BLOCK, np.random.default_rng(k)))).numpy()

    @abstractmethod
    def log_prob(self, codes: np.ndarray) -> np.ndarray:
        """Log-density (n,) of codes, nats, or what it is at least."""

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """What a file keeps."""

    @classmethod
    @abstractmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Self:
        """The density that `arrays` gave; raises FlawError where they are none's."""


@dataclass(frozen=True)
class Densities:
    """The fitted densities of one file, and the space of their codes."""

    methods: Mapping[str, Density]
    space: Space

    def sample(self, label: str, n: int, seed: int) -> Codes:
        """The n new codes of a density from `seed` on."""
        return Codes(torch.from_numpy(self.methods[label].sample(n, seed)), self.space)


def load(path: Path) -> Densities:
    """The fitted densities of density.h5, by their labels in params.

    Raises:
        FgError: not a density file.
    """
    stored = artifacts.load(path, artifacts.DENSITY)
    methods = {}
    for name, about in stored.meta["methods"].items():
        kind = config.lookup(DENSITIES, about["build"]["name"], str(path))
        with artifacts.blamed(path):
            methods[name] = kind.from_arrays(stored.group(f"methods/{name}"))
    return Densities(methods, stored.meta["space"])
