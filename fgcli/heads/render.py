"""Pictures of a head: textured or clay, lit or not; its normals, silhouette and texture coordinates.

Everything is computed at the covered pixels only, packed; a whole picture is made when it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fgcli.errors import FgError
from fgcli.heads import light as lights
from fgcli.heads.camera import project
from fgcli.heads.rasteriser import Fragments, rasterise

CLAY = 0.7
"""The grey of a head without texture."""


@dataclass(frozen=True)
class Render:
    """n pictures, h = w; black, or 0, where the head is not.

    Packed, k covered pixels in all: colours, albedos, directions (3, k); coordinates (2, k), None without texture.
    """

    fragments: Fragments
    colours: Tensor
    albedos: Tensor
    directions: Tensor
    coordinates: Tensor | None

    @cached_property
    def image(self) -> Tensor:
        """Albedo times shading, (n, 3, h, w); not clamped."""
        return self.fragments.spread(self.colours)

    @cached_property
    def albedo(self) -> Tensor:
        """(n, 3, h, w)."""
        return self.fragments.spread(self.albedos)

    @cached_property
    def normals(self) -> Tensor:
        """Unit normals in head space's axes, (n, 3, h, w)."""
        return self.fragments.spread(self.directions)

    @cached_property
    def mask(self) -> Tensor:
        """1 on the head, (n, 1, h, w)."""
        return self.fragments.mask

    @cached_property
    def uv(self) -> Tensor:
        """Texture coordinates u, v in [0, 1], v up, (n, 2, h, w)."""
        if self.coordinates is None:
            raise FgError("render: expected a texture for its coordinates, found none; give one to render()")
        return self.fragments.spread(self.coordinates)


def render(
    head: Any, vertices: Tensor, camera: Tensor, size: int, texture: Tensor | None = None, light: Tensor | None = None
) -> Render:
    """The head seen by weak-perspective cameras; differentiable in everything but the outline.

    DECA shades with the interpolated normal as it is; here it has length 1 first. On the procedural head colours differ
    by 0.001 on average, by more in creases (1 % of pixels: 0.01).

    Args:
        head: a `Head`; faces, normals(), and for a texture uv and uv_faces are used.
        vertices: (n, v, 3).
        camera: (n, 3).
        size: side of the pictures, px.
        texture: (n, 3, H, W) or (3, H, W) in [0, 1]; None: grey clay.
        light: (n, 9, 3) or (9, 3), see `light`; None: unlit, the picture is the albedo.

    Raises:
        FgError: the mesh is empty or not finite, or a texture is given to a head without UV.
    """
    ndc = project(vertices, camera)
    n = len(ndc)
    fragments = rasterise(ndc, head.faces, size)
    normals = unit(fragments.gather(head.faces, head.normals(vertices).expand(n, -1, -1)))
    if texture is None:
        uv, albedo = None, torch.full_like(normals, CLAY)
    else:
        if not len(head.uv):
            raise FgError(f"head {head.name}: expected texture coordinates, found none; render it without texture")
        uv = fragments.gather(head.uv_faces, head.uv)
        albedo = sample(texture.expand(n, -1, -1, -1), uv, fragments.counts)
    colours = albedo if light is None else albedo * shading(normals, light.expand(n, -1, -1), fragments.counts)
    return Render(fragments, colours, albedo, normals, uv)


def sample(texture: Tensor, uv: Tensor, counts: list[int]) -> Tensor:
    """Colours (3, k), bilinear, of textures (n, 3, H, W) at uv (2, k), of which counts[i] belong to texture i."""
    u, v = uv
    parts = torch.stack([2 * u - 1, 1 - 2 * v], -1).split(counts)
    return torch.cat(
        [
            functional.grid_sample(one[None], at[None, None], padding_mode="border", align_corners=False)[0, :, 0]
            for one, at in zip(texture, parts, strict=True)
        ],
        1,
    )


def shading(normals: Tensor, light: Tensor, counts: list[int]) -> Tensor:
    """Shading (3, k) of unit normals (3, k), of which counts[i] are under light i of (n, 9, 3)."""
    parts = zip(normals.split(counts, 1), light, strict=True)
    return torch.cat([lights.shade(part.t()[None], one[None])[0].t() for part, one in parts], 1)


def unit(vectors: Tensor) -> Tensor:
    """Vectors (3, k) brought to length 1."""
    x, y, z = vectors  # torch's norm over a leading axis is many times slower
    return vectors * torch.rsqrt((x * x + y * y + z * z).clamp_min(1e-30))


def normal_image(render: Render) -> Tensor:
    """Normals as colours, (n + 1) / 2 in [0, 1] on the head and black outside, (n, 3, h, w)."""
    return render.fragments.spread((render.directions + 1) / 2)
