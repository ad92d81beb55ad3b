"""Textures taken from pictures: which texel is seen where, its colour, and what to put where nothing is seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fgcli.errors import FgError
from fgcli.heads import light as lights
from fgcli.heads.camera import project
from fgcli.heads.rasteriser import Fragments, rasterise
from fgcli.heads.render import unit

LEAST_FACING = 0.15
"""A texel is seen if its normal's z is above this: at grazing angles a pixel covers many texels."""
DEPTH_SLACK = 0.02
"""How far behind the z-buffer a seen texel may lie, NDC."""
FLOOR, MOST_GAIN, MOST_HUE = 0.15, 1.8, 1.4
"""Division by shading: its least value; the most that a texel is brightened or darkened against the others; the most
that a channel is against the others."""
FADE = 0.8
"""What remains of a difference between textures each time the distance from where it was seen doubles."""


@dataclass(frozen=True)
class Stolen:
    """Textures of n pictures.

    texture: (n, 3, H, W), the picture's colours where seen and one texel around; 0 elsewhere.
    visible: (n, 1, H, W), 1 where seen.
    chart: (1, 1, H, W), 1 on the texels that the mesh uses.
    """

    texture: Tensor
    visible: Tensor
    chart: Tensor


def texels(head: Any, size: int) -> Fragments:
    """Face and weights of every texel of a `size` x `size` texture that the mesh uses; kept with the head."""
    if not len(head.uv):
        raise FgError(f"head {head.name}: expected texture coordinates, found none; use a head with a texture")
    if size < 2:
        raise FgError(f"texture: expected a size of at least 2, found {size}")
    tables = head.__dict__.setdefault("_texels", {})
    key = (size, head.uv.device, head.uv.dtype, head.uv._version)
    if key not in tables:
        with torch.inference_mode(False), torch.no_grad():  # kept longer than the caller's mode lasts
            u, v = head.uv.unbind(-1)
            flat = torch.stack([2 * u - 1, 1 - 2 * v, torch.zeros_like(u)], -1)[None]
            tables[key] = rasterise(flat, head.uv_faces, size, cull=False)
    return tables[key]


def steal(
    head: Any,
    image: Tensor,
    vertices: Tensor,
    camera: Tensor,
    size: int,
    corrections: int = 2,
    mask: Tensor | None = None,
) -> Stolen:
    """The texture that pictures show of a head; differentiable in the pictures.

    A texel is seen if it faces the camera, nothing is nearer, and the 3 x 3 pixels around it are all on the head
    (otherwise the background would bleed into the outline). It reads the picture where it is seen. Where texels are
    larger than pixels (eyes, lips) that alone would not give the picture back, hence the corrections.

    Args:
        head: a `Head` with UV.
        image: (n, 3, h, w), h = w.
        vertices: (n, v, 3).
        camera: (n, 3).
        size: H = W of the texture.
        corrections: how often the error of the picture drawn anew goes back into the texture.
        mask: (n, 1, h, w), 1 where the picture shows the head; None: wherever the mesh is, which is right for renders
            but takes in background where the mesh is wider than the person.
    """
    table, n = texels(head, size), len(image)
    with torch.no_grad():
        ndc = project(vertices, camera).expand(n, -1, -1)
        facing = head.normals(vertices).expand(n, -1, -1)[..., 2:]
        view = rasterise(ndc, head.faces, image.shape[-1])
        rim = outline(view, mask)
        at, seen = sight(table, head, ndc, facing, view, rim)
        visible = table.spread(seen.to(image)).movedim(1, 0)
    texture = table.spread(read(image, at.to(image)).flatten(0, 1)).view(n, 3, size, size) * visible
    around = functional.avg_pool2d(texture, 3, 1, 1) / functional.avg_pool2d(visible, 3, 1, 1).clamp_min(1e-6)
    texture = torch.where(visible > 0, texture, around)
    if corrections:
        texture = _corrected(texture, visible, image, view, view.gather(head.uv_faces, head.uv), 1 - rim, corrections)
    return Stolen(texture, visible, table.mask.to(image))


def outline(view: Fragments, mask: Tensor | None = None) -> Tensor:
    """1 where one of the 3 x 3 pixels around is not on the head (n, 1, h, w), or not in `mask` (n, 1, h, w)."""
    return functional.max_pool2d(1 - (view.mask if mask is None else view.mask * mask), 3, 1, 1)


def sight(
    table: Fragments, head: Any, ndc: Tensor, facing: Tensor, view: Fragments, rim: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Where the texels lie in pictures, NDC (n, 1, k, 2), and which (n, k) are seen; see `steal`.

    Args:
        table: the texels. head: whose.
        ndc: (n, v, 3) projected vertices. facing: (n, v, 1), their normals' z.
        view: the rasterised pictures. rim: their `outline`.
    """
    x, y, depth, facing = at_texels(table, head, torch.cat([ndc, facing], -1)).unbind(1)
    front = [view.depth[:, None].nan_to_num(neginf=0.0), outline(view) if rim is None else rim]
    at = torch.stack([x, y], -1)[:, None]
    nearest, edge = read(torch.cat(front, 1), at).unbind(1)  # next to no rim, all depths exist
    seen = (facing > LEAST_FACING) & (depth > nearest - DEPTH_SLACK) & (edge < 0.5) & (at.abs().amax(-1)[:, 0] <= 1)
    return at, seen


def _corrected(
    texture: Tensor, visible: Tensor, image: Tensor, view: Fragments, uv: Tensor, trust: Tensor, times: int
) -> Tensor:
    """The texture after `times` back-projections: each texel takes on the mean error of the pixels that read it.

    uv: (2, k) at the covered pixels of `view`. trust: (n, 1, h, w), 1 where a pixel's error counts.
    """
    n, _, size, _ = texture.shape
    at, weight = _corners(uv, view.picture, size)
    weight = weight * trust.flatten().index_select(0, view.pixel)
    goal = image.movedim(1, 0).flatten(1).index_select(1, view.pixel)[:, None]
    reads = weight.new_zeros(n * size**2).index_add(0, at, weight.flatten())
    share = functional.max_pool2d(visible, 3, 1, 1).flatten() / (reads + 0.25)  # what hardly any pixel reads stays
    texels = texture.movedim(1, 0).flatten(1)
    for _ in range(times):
        drawn = texels.index_select(1, at).view(3, 4, -1) * weight
        error = (weight * (goal - drawn.sum(1, keepdim=True) / weight.sum(0).clamp_min(1e-6))).flatten(1)
        texels = texels + share * torch.zeros_like(texels).index_add(1, at, error)
    return texels.view(3, n, size, size).movedim(0, 1)


def _corners(uv: Tensor, picture: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The four texels that a bilinear sample at uv (2, k) reads: places in n flat textures (4 k,), weights (4, k)."""
    x = (uv[0] * size - 0.5).clamp(0, size - 1)
    y = ((1 - uv[1]) * size - 0.5).clamp(0, size - 1)
    left, top = x.floor().clamp(0, max(0, size - 2)), y.floor().clamp(0, max(0, size - 2))
    x, y = x - left, y - top
    first = picture * size**2 + (top * size + left).long()
    at = torch.cat([first, first + 1, first + size, first + size + 1])
    return at, torch.stack([(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y])


def read(pictures: Tensor, at: Tensor) -> Tensor:
    """Bilinear samples (n, c, k) of pictures (n, c, h, w) at NDC (n, 1, k, 2)."""
    return functional.grid_sample(pictures, at, padding_mode="border", align_corners=False)[:, :, 0]


def at_texels(table: Fragments, head: Any, values: Tensor) -> Tensor:
    """Values at the vertices (n, v, c), interpolated at the texels that the mesh uses: (n, c, k)."""
    n, v, c = values.shape
    return table.gather(head.faces, values.transpose(0, 1).reshape(v, n * c)).view(n, c, -1)


def texel_shading(head: Any, vertices: Tensor, light: Tensor, size: int) -> Tensor:
    """The shading (n, 3, H, W) of every texel under light (n, 9, 3); 1 where the mesh uses none."""
    table, n = texels(head, size), len(vertices)
    normals = at_texels(table, head, head.normals(vertices))
    normals = unit(normals.movedim(1, 0).flatten(1)).unflatten(1, (n, -1)).movedim(0, -1)
    shading = lights.shade(normals, light).mT
    return table.spread(shading.flatten(0, 1), 1.0).view(n, 3, size, size)


def delight(stolen: Stolen, shading: Tensor) -> Stolen:
    """The texture without its shading (n, 3, H, W), by a division that is bounded where the light was wrong."""
    gain = 1 / shading.clamp_min(FLOOR)
    mean = gain.mean(1, keepdim=True)
    gain = _within(gain, mean, MOST_HUE)
    usual = (mean * stolen.visible).sum((1, 2, 3), keepdim=True) / stolen.visible.sum(
        (1, 2, 3), keepdim=True
    ).clamp_min(1)
    gain = _within(gain, usual, MOST_GAIN)
    return replace(stolen, texture=(stolen.texture * gain).clamp(0, 1))


def _within(values: Tensor, centre: Tensor, factor: float) -> Tensor:
    return torch.minimum(torch.maximum(values, centre / factor), centre * factor)


def complete(stolen: Stolen, albedo: Tensor, mirror: bool = True) -> Tensor:
    """A whole texture (n, 3, H, W): what was seen, else its mirror image, else `albedo`, each fitted to the other.

    Args:
        stolen: from `steal`, or `delight`.
        albedo: (n, 3, H, W) or (3, H, W), for what neither side shows.
        mirror: the head's UV is symmetric, u to 1 - u.
    """
    whole = albedo.expand_as(stolen.texture)
    if mirror:
        flipped = Stolen(stolen.texture.flip(-1), stolen.visible.flip(-1), stolen.chart.flip(-1))
        whole = _paste(whole, flipped)
    return _paste(whole, stolen).clamp(0, 1)


def _paste(whole: Tensor, stolen: Stolen) -> Tensor:
    """`whole` with the seen texels over it; their difference is smoothed at the rim and fades out beyond it."""
    radius = max(1, whole.shape[-1] // 64)
    seen, chart = (_blurred(mask, radius) for mask in (stolen.visible, stolen.chart))
    trust = stolen.visible * (2 * seen / chart.clamp_min(1e-6) - 1).clamp(0, 1)  # 0 at the rim, 1 inside
    difference = stolen.texture - whole
    smooth = _filled(difference, trust)
    return whole + smooth + trust * (difference - smooth)


def _blurred(mask: Tensor, radius: int) -> Tensor:
    return functional.avg_pool2d(mask, 2 * radius + 1, 1, radius, count_include_pad=False)


def _filled(values: Tensor, weight: Tensor) -> Tensor:
    """Values (n, c, H, W) where `weight` (n, 1, H, W) is 1, and their smooth continuation, to 0, where it is 0.

    Pull and push (Gortler et al. 1996): weighted means on ever coarser grids, each filling the gaps of the finer one.
    """
    if min(weight.shape[2:]) == 1:
        return values * (weight > 0)
    sums = functional.avg_pool2d(values * weight, 2, ceil_mode=True)
    weights = functional.avg_pool2d(weight, 2, ceil_mode=True)
    coarse = _filled(sums / weights.clamp_min(1e-6), (4 * weights).clamp_max(1))
    beyond = FADE * functional.interpolate(coarse, values.shape[2:], mode="bilinear", align_corners=False)
    return weight * values + (1 - weight) * beyond
