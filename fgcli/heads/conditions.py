"""What a conditional generator sees of a head: its lit texture and its normals, as one picture of six channels."""

from __future__ import annotations

import torch
from torch import Tensor

from fgcli.heads.head import Head
from fgcli.heads.parameters import Parameters
from fgcli.heads.render import normal_image, render


def condition_images(head: Head, p: Parameters, size: int) -> Tensor:
    """uint8 (n, size, size, 6): texture under its light, then normals, (n + 1) / 2, as in GIF; black outside."""
    drawn = render(head, head.vertices(p.shape, p.expression, p.pose), p.camera, size, head.albedo(p.texture), p.light)
    planes = torch.cat([drawn.image.clamp(0, 1), normal_image(drawn)], 1)
    return (planes * 255).round().byte().movedim(1, 3)
