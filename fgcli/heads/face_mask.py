"""Which part of the head is the face: from the hairline to the chin, without ears and neck."""

from __future__ import annotations

import torch
from torch import Tensor

from fgcli.heads.head import Head
from fgcli.heads.rasteriser import interpolate
from fgcli.heads.render import Render

HAIRLINE = 1.85
"""Height of the hairline over the eyes in lengths from the eyes to the base of the nose."""
TEMPLES = 0.9
"""How far the hairline falls towards the temples, in the same unit, at the width of the cheekbones."""
WIDTH = 0.86
"""Half width of the face against that at the jaw's first points, where the ears begin."""


def face_field(head: Head) -> Tensor:
    """A smooth value (v,) that is positive on the face's vertices and 0 on its edge, m; from the template alone."""
    marks = head.landmarks(head.template[None])[0]
    x, y, z = head.template.unbind(1)
    unit, half = marks[36:48, 1].mean() - marks[33, 1], (marks[16, 0] - marks[0, 0]) / 2
    hair = marks[36:48, 1].mean() + HAIRLINE * unit - TEMPLES * unit * (x.abs() / (0.8 * half)) ** 3
    jaw = _line(x.abs(), (marks[8:17] + marks[:9].flip(0) * marks.new_tensor([-1.0, 1.0, 1.0])) / 2)
    ears = z - (marks[0, 2] + marks[16, 2]) / 2 + 0.3 * half
    field = torch.stack([hair - y, WIDTH * half - x.abs(), y - jaw, ears]).amin(0)
    for region in ("left_ear", "right_ear", "neck"):
        if region in head.regions:
            field[torch.from_numpy(head.regions[region])] = -half / 10
    return field


def _line(x: Tensor, points: Tensor) -> Tensor:
    """The polyline's y over x, through points (m, 2 or more) of rising x; level beyond its ends."""
    knots, heights = points[:, 0].contiguous(), points[:, 1]
    right = torch.searchsorted(knots, x.contiguous()).clamp(1, len(knots) - 1)
    share = ((x - knots[right - 1]) / (knots[right] - knots[right - 1])).clamp(0, 1)
    return heights[right - 1].lerp(heights[right], share)


def face_mask(head: Head, drawn: Render) -> Tensor:
    """1 on the face (n, 1, h, w) of rendered heads, hidden parts excluded."""
    field = interpolate(drawn.fragments, head.faces, face_field(head)[:, None])
    return ((field > 0) & (drawn.fragments.face >= 0)[..., None]).movedim(3, 1).to(field.dtype)
