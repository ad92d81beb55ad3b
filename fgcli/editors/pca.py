"""GANSpace: the principal components of the codes, which nobody has named.

Härkönen, Hertzmann, Lehtinen and Paris, "GANSpace: Discovering Interpretable GAN Controls", NeurIPS 2020.
"""

from __future__ import annotations

import numpy as np

from fgcli.capabilities import Generator
from fgcli.config.fields import Count
from fgcli.editors import Discovers
from fgcli.editors.directions import Directions


class PCA(Directions, Discovers):
    """z' = z + strength v, v a principal component of the training codes, one standard deviation long.

    Args:
        components: how many, those of the greatest variance.
    """

    def __init__(self, components: Count = 8) -> None:
        super().__init__()
        self.components = components

    def discover(self, codes: np.ndarray, generator: Generator | None, seed: int) -> dict[str, dict[str, float]]:
        """Finds `component_1` and so on in codes (n, l, d); of each the share of the variance that it explains."""
        from sklearn.decomposition import PCA as Decomposition

        flat = codes.reshape(len(codes), -1)
        found = Decomposition(min(self.components, *flat.shape), random_state=seed % 2**32).fit(flat)
        lengths = np.sqrt(found.explained_variance_)
        steps = (found.components_ * lengths[:, None]).reshape(-1, *codes.shape[1:]).astype(np.float32)
        names = [f"component_{i}" for i in range(1, len(steps) + 1)]
        self.directions = dict(zip(names, steps, strict=True))
        shares = zip(names, found.explained_variance_ratio_, strict=True)
        return {name: {"variance": float(share)} for name, share in shares}
