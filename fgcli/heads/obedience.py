"""How far pictures obey the heads that they were made from: parameters inferred of them, against those that were told.

Errors are root mean squared distances of the face's vertices, in millimetres, where one factor alone differs: two heads
with the inferred and the told shape, say, without expression, and upright (Ghosh's thesis, Figure 5.9b).
"""

from __future__ import annotations

import torch
from torch import Tensor

from fgcli.heads.head import Head
from fgcli.heads.parameters import Parameters

FACTORS = {
    "shape": ("shape", slice(None)),
    "expression": ("expression", slice(None)),
    "pose": ("pose", slice(0, 3)),
    "jaw": ("pose", slice(3, 6)),
}
"""What is told: a field of the parameters, and its numbers."""


def only(p: Parameters, factor: str) -> Parameters:
    """Heads (n) with one factor of `p`, else neutral: no shape, expression or pose; texture, light and camera stay."""
    field, numbers = FACTORS[factor]
    kept = p.replace(**{name: torch.zeros_like(getattr(p, name)) for name in ("shape", "expression", "pose")})
    getattr(kept, field)[:, numbers] = getattr(p, field)[:, numbers]
    return kept


def apart(head: Head, told: Parameters, inferred: Parameters) -> Tensor:
    """Root mean squared distance (n) of the face's vertices of two times n heads, mm."""
    face = torch.from_numpy(head.regions["face"])
    a, b = (head.vertices(p.shape, p.expression, p.pose)[:, face] for p in (told, inferred))
    return 1000 * (a - b).square().sum(2).mean(1).sqrt()


def factor_error(head: Head, factor: str, told: Parameters, inferred: Parameters) -> Tensor:
    """`apart` by one factor alone, (n) mm."""
    return apart(head, only(told, factor), only(inferred, factor))


def share_between(values: Tensor) -> float:
    """Share of the variance of values (s, p) that lies between the means of their s rows.

    Of values that know nothing of their row it is (s - 1) / (s p - 1) on average.

    >>> share_between(torch.tensor([[1.0, 1.0], [3.0, 3.0]]))
    1.0
    """
    return float(values.mean(1).var(correction=0) / values.var(correction=0))
