"""The prior N(0, I): what VAE and WAE are sampled from when nothing is fitted (Ghosh's thesis, appendix A.1.2)."""

from __future__ import annotations

from typing import Self

import numpy as np

from fgcli.artifacts import verify_arrays
from fgcli.densities import Density


class Isotropic(Density):
    """N(0, I), whatever the codes: only their shape (l, d) is kept."""

    def fit(self, codes: np.ndarray, seed: int) -> Self:
        """Keeps the shape of codes (n, l, d); `seed` is not needed."""
        self.shape = codes.shape[1:]
        return self

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """n codes (n, l, d), float32."""
        return rng.standard_normal((n, *self.shape)).astype(np.float32)

    def log_prob(self, codes: np.ndarray) -> np.ndarray:
        """log p (n,) in nats: -(|z|^2 + D log 2 pi) / 2, D = l d."""
        z = codes.reshape(len(codes), -1).astype(np.float64)
        return -0.5 * (np.square(z).sum(1) + z.shape[1] * np.log(2 * np.pi))

    def arrays(self) -> dict[str, np.ndarray]:
        """What a file keeps."""
        return {"shape": np.array(self.shape)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Self:
        """The density that `arrays` gave; raises FlawError where they are none's."""
        verify_arrays(arrays, {"shape": "2"})
        density = cls()
        density.shape = tuple(arrays["shape"].astype(int).tolist())
        return density
