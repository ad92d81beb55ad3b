"""SeFa: the directions that change most what the generator's first affine maps make of a code.

Shen and Zhou, "Closed-Form Factorization of Latent Semantics in GANs", CVPR 2021.
"""

from __future__ import annotations

import numpy as np
import torch

from fgcli.capabilities import Entered, Generator
from fgcli.config.fields import Count
from fgcli.editors import Discovers
from fgcli.editors.directions import Directions


class ClosedForm(Directions, Discovers):
    """z' = z + strength v on every code layer, v an eigenvector of A' A, as long as codes deviate along it.

    Args:
        components: how many, those of the greatest eigenvalue.
    """

    requires = (Entered,)

    def __init__(self, components: Count = 8) -> None:
        super().__init__()
        self.components = components

    def discover(self, codes: np.ndarray, generator: Generator | None, seed: int) -> dict[str, dict[str, float]]:
        """Finds `direction_1` and so on; of each the share of |A|^2 that it has. Codes (n, l, d) only scale them."""
        assert isinstance(generator, Entered)
        with torch.no_grad():
            a = torch.cat([weight.flatten(1) for weight in generator.entrance()]).double()  # (o, d)
        values, vectors = torch.linalg.eigh(a.mT @ a)  # ascending
        self.directions, found = {}, {}
        for i in range(1, min(self.components, len(values)) + 1):
            v = vectors[:, -i].numpy()
            v = v * np.sign(v[np.abs(v).argmax()])  # an eigenvector has no sign of its own
            spread = float((codes @ v.astype(np.float32)).std(0).mean())
            step = np.broadcast_to(np.float32(spread) * v.astype(np.float32), codes.shape[1:])
            self.directions[f"direction_{i}"] = np.ascontiguousarray(step)
            found[f"direction_{i}"] = {"share": float(values[-i] / values.sum())}
        return found
