"""Whether pictures of one head in several poses show one skin: what GIF's texture consistency compares.

A texel is read from each picture that shows it, and two readings are compared after each is shaded by the other's
light: for one albedo a under shadings s and t, (a s) t = (a t) s. Nothing is divided by a dark shading, and a head that
turns under its light does not count as another skin. The release compares colours as they are lit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fgcli.heads import light as lights
from fgcli.heads.camera import project
from fgcli.heads.face_mask import face_field
from fgcli.heads.head import Head
from fgcli.heads.parameters import Parameters
from fgcli.heads.rasteriser import Fragments
from fgcli.heads.render import normal_image, render, unit
from fgcli.heads.texture import LEAST_FACING, at_texels, read, sight, texels


@dataclass(frozen=True)
class Views:
    """Heads (n) as a generator is told of them, and where k texels of the face lie in pictures of them.

    condition: (n, 6, h, w) in [-1, 1], as training batches have it.
    at: (n, 1, k, 2) NDC. seen: (n, k) bool. shading: (n, 3, k).
    """

    condition: Tensor
    at: Tensor
    seen: Tensor
    shading: Tensor

    def colours(self, images: Tensor) -> Tensor:
        """Texels (n, 3, k) in [0, 1] read from images (n, 3, h, w) in [-1, 1]; differentiable in the images."""
        return (read(images.float(), self.at) + 1) / 2


def face_texels(head: Head, size: int) -> Fragments:
    """The texels of a `size` x `size` texture that lie on the face: hair may change with the pose, skin may not."""
    table = texels(head, size)
    on = (table.gather(head.faces, face_field(head)[:, None])[0] > 0).nonzero()[:, 0]
    return Fragments(1, size, table.pixel[on], table.face_ids[on], table.weights[:, on], table.depths[on])


@torch.no_grad()
def views(head: Head, table: Fragments, p: Parameters, size: int, by_normal: bool = False) -> Views:
    """What is needed of heads to compare pictures of them; each head is rasterised once.

    Args:
        head: with a texture.
        table: from `face_texels`.
        p: n heads; where all have one texture, one row of it will do.
        size: side of the pictures, px.
        by_normal: whether a texel counts as seen wherever it faces the camera, as in GIF's release, even behind the
            nose; else only where nothing is nearer.
    """
    vertices = head.vertices(p.shape, p.expression, p.pose)
    drawn = render(head, vertices, p.camera, size, head.albedo(p.texture), p.light)
    condition = torch.cat([drawn.image.clamp(0, 1), normal_image(drawn)], 1) * 2 - 1
    normals, ndc = head.normals(vertices), project(vertices, p.camera)
    at, seen = sight(table, head, ndc, normals[..., 2:], drawn.fragments)
    turned = at_texels(table, head, normals)
    if by_normal:
        seen = turned[:, 2] > LEAST_FACING
    turned = unit(turned.movedim(1, 0).flatten(1)).unflatten(1, (len(vertices), -1)).movedim(0, -1)
    return Views(condition, at, seen, lights.shade(turned, p.light.expand(len(vertices), -1, -1)).mT)


def differences(shown: Views, images: Tensor, as_lit: bool = False) -> tuple[Tensor, Tensor]:
    """Squared differences (n, k), mean over colours, of each picture's texels to the next one's; where both see (n, k).

    The last picture is compared with the first.

    Args:
        shown: of the heads. images: (n, 3, h, w) in [-1, 1].
        as_lit: whether colours are compared as they are lit.
    """
    colours = shown.colours(images)
    other, seen = colours.roll(-1, 0), shown.seen & shown.seen.roll(-1, 0)
    if not as_lit:
        colours, other = colours * shown.shading.roll(-1, 0), other * shown.shading
    return (colours - other).square().mean(1), seen


def agreement(shown: Views, images: Tensor, form: str, as_lit: bool) -> Tensor:
    """The texture consistency loss: the mean over texels that both see, of squared differences.

    Args:
        shown, images, as_lit: as for `differences`.
        form: "l2", or "sigmoid", of the squared differences, as in GIF's release: equal textures have 0.5 then.
    """
    squares, seen = differences(shown, images, as_lit)
    values = torch.sigmoid(squares) if form == "sigmoid" else squares
    return (values * seen).sum() / seen.sum().clamp_min(1)
