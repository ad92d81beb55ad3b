"""What an analyser's landmarks mean: how far from a head's own they lie, on average and around that.

    found = true + B(t) + e,   B(t) = B_0 + B_1 t + B_2 t^2,   e ~ N(0, C)

with t the turn of the head. An analyser errs by pieces of the face, not landmark by landmark: a whole jaw slides, both
eyes sink. C knows which. It is measured on renders, and B with it: photos, which analysers were trained on, are another
matter for C. Expecting all of it there leaves brows and jaws of the fitted heads beside those of the photos.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LandmarkErrors:
    """Errors in the face's own frame: in outer eye distances, along the line between the outer eyes and down.

    Attributes:
        bias: (3, 68, 2): B_0, B_1 and B_2.
        covariance: (136, 136): C, of x and y of landmark 0, of landmark 1, ...
    """

    bias: Tensor
    covariance: Tensor

    @classmethod
    def none(cls) -> LandmarkErrors:
        """Of exact landmarks."""
        return cls(torch.zeros(3, 68, 2, dtype=torch.float64), torch.zeros(136, 136, dtype=torch.float64))

    @classmethod
    def of(cls, found: Tensor, true: Tensor) -> LandmarkErrors:
        """From landmarks found (n, 68, 2) on pictures whose true ones are known, n > 3: least squares."""
        powers, off = _powers(found), ((found - true) @ torch.linalg.inv(_axes(found)).mT).flatten(1)
        bias = torch.linalg.lstsq(powers, off).solution
        rest = off - powers @ bias
        return cls(bias.unflatten(1, (68, 2)), rest.mT @ rest / (len(found) - len(bias)))

    def scaled(self, share: float) -> LandmarkErrors:
        """With a share of the covariance."""
        return LandmarkErrors(self.bias, share * self.covariance)

    def corrected(self, marks: Tensor) -> Tensor:
        """Landmarks found (n, 68, 2), less the bias."""
        off = torch.einsum("nk,kij->nij", _powers(marks), self.bias.to(marks))
        return marks - off @ _axes(marks).mT

    def around(self, marks: Tensor) -> Tensor:
        """Covariance (n, 136, 136) of the errors of landmarks found (n, 68, 2), in their units and axes."""
        axes, own = _axes(marks), self.covariance.to(marks).unflatten(1, (68, 2)).unflatten(0, (68, 2))
        return torch.einsum("nab,ibjd,ncd->niajc", axes, own, axes).flatten(3, 4).flatten(1, 2)


def _axes(marks: Tensor) -> Tensor:
    """(n, 2, 2): in its columns the way from the right outer eye to the left, and the same length down."""
    across = marks[:, 45] - marks[:, 36]
    return torch.stack([across, torch.stack([-across[:, 1], across[:, 0]], 1)], 2)


def _powers(marks: Tensor) -> Tensor:
    """1, t, t^2 (n, 3) of the turn t: 0 frontal, towards 1 or -1 as the nose's bridge nears the face's outline."""
    one, two = ((marks[:, i] - marks[:, 27]).norm(dim=1) for i in (0, 16))
    turn = (one - two) / (one + two).clamp_min(1e-9)
    return torch.stack([torch.ones_like(turn), turn, turn**2], 1)
