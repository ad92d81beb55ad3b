"""A fitted head seen from other sides, with the skin that the photo shows."""

from __future__ import annotations

import torch
from torch import Tensor

from fgcli.fitting.appearance import is_grey
from fgcli.heads.centring import centred
from fgcli.heads.face_mask import face_field
from fgcli.heads.head import Head, axis_angle, rotation_matrices
from fgcli.heads.light import directional
from fgcli.heads.parameters import Parameters
from fgcli.heads.render import Render, render
from fgcli.heads.texture import Stolen, at_texels, complete, delight, steal, texel_shading, texels

TEXTURE_PX = 256
STUDIO = directional((0.2, 0.4, 1.0), 0.5, 0.7)
FRAMING = 1.05
"""Side of the frame of views against FFHQ's: the whole head is in it."""


def photo_texture(head: Head, images: Tensor, masks: Tensor, p: Parameters, size: int = TEXTURE_PX) -> Tensor:
    """The albedo (n, 3, size, size) that photos (n, 3, h, w) in [0, 1] show on masks (n, 1, h, w), without their light.

    Only the face is taken from the photo, since the head has other hair and ears; what the photo hides is the face's
    other side, and the fitted albedo beyond that. A grey photo gives a grey head.
    """
    vertices = head.vertices(p.shape, p.expression, p.pose)
    stolen, table = steal(head, images, vertices, p.camera, size, mask=masks), texels(head, size)
    inside = at_texels(table, head, face_field(head)[None, :, None])[0] > 0
    visible = stolen.visible * table.spread(inside.to(images))
    stolen = Stolen(stolen.texture * visible, visible, stolen.chart)
    albedo = torch.nn.functional.interpolate(head.albedo(p.texture), (size, size), mode="bilinear")
    whole = complete(delight(stolen, texel_shading(head, vertices, p.light, size)), albedo)
    return torch.where(is_grey(images, masks)[:, None, None, None], whole.mean(1, keepdim=True), whole)


def turned(
    head: Head, p: Parameters, yaws: Tensor, texture: Tensor | None, size: int, framing: float = FRAMING
) -> Render:
    """One head (a single row) at angles `yaws` (m,) about its vertical axis, from where it looks, in STUDIO light.

    texture: (1, 3, h, w); None: clay. A light that was fitted to one side of a head is not known on the others.
    """
    m = len(yaws)
    rows = p.rows([0] * m)
    spin = torch.zeros(m, 3)
    spin[:, 1] = yaws
    pose = torch.cat([axis_angle(rotation_matrices(spin) @ rotation_matrices(rows.pose[:, :3])), rows.pose[:, 3:]], 1)
    camera = centred(head, rows.shape, rows.expression, pose, framing)
    vertices = head.vertices(rows.shape, rows.expression, pose)
    return render(head, vertices, camera, size, texture, STUDIO)


def between(one: Parameters, two: Parameters, shares: Tensor) -> Parameters:
    """Parameters on the straight line from one row (share 0) to another (share 1): (m,) shares, m rows."""
    t = shares.reshape(-1, 1)
    names = vars(one)
    mixed = {k: (1 - t) * getattr(one, k).flatten(1) + t * getattr(two, k).flatten(1) for k in names}
    return Parameters(**mixed | {"light": mixed["light"].unflatten(1, (9, 3))})
