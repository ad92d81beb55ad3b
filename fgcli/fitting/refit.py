"""A witness of pictures that has seen no label: parameters of the head are inferred, and attributes read off them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fgcli import artifacts
from fgcli.config.fields import Positive
from fgcli.fitting.extract import Regress, same_head
from fgcli.fitting.regressor import surface_metric
from fgcli.heads.parameters import SIZES, Parameters
from fgcli.procedural.attributes import RULES, degrees


class Refit:
    """Parameters of pictures by the network of regressor.h5, and what they tell.

    Args:
        regressor: regressor.h5.
        framing: of the pictures, against FFHQ's.

    Attributes:
        names: of the attributes that parameters of this head tell.

    Raises:
        FgError: not such a file, or the head that it is of cannot be built here.
    """

    def __init__(self, regressor: Path, framing: Positive) -> None:
        self.head = same_head(artifacts.load(regressor, artifacts.REGRESSOR, ()).meta["head"], regressor)
        self.network = Regress(self.head, regressor, framing)
        known = np.isfinite(degrees(self.head, Parameters.zeros(1)))[0]
        self.places = np.flatnonzero(known)
        self.names = [list(RULES)[i] for i in self.places]
        self.metric = surface_metric(self.head, self.head.shape_basis.shape[2], 0)

    def parameters(self, batches: Iterable[np.ndarray]) -> Parameters:
        """Of uint8 pictures (n, h, w, 3), some at a time."""
        images = (torch.from_numpy(np.array(x)).movedim(3, 1).float() / 255 for x in batches)
        parts = [vars(self.network.guess(x, x.new_zeros(len(x), 68, 2))) for x in images]
        return Parameters(**{name: torch.cat([part[name] for part in parts]) for name in SIZES})

    def degrees(self, p: Parameters) -> np.ndarray:
        """(n, k) of `names`: 0 clearly without the attribute, 1 clearly with it; the middle decides."""
        return degrees(self.head, p)[:, self.places]

    def apart(self, p: Parameters, q: Parameters) -> np.ndarray:
        """Root mean squared distance (n,) of the faces' vertices, % of the head's height, by shape alone."""
        off: Tensor = (p.shape - q.shape)[:, : len(self.metric)]
        found: np.ndarray = torch.einsum("ni,ij,nj->n", off, self.metric, off).clamp_min(0).sqrt().double().numpy()
        return found
