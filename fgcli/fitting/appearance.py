"""Light and albedo from a photo when the geometry is known: a small least squares problem per face.

The picture is (A + sum_k t_k B_k) * sum_j c_j Y_j(n) l_j: linear in the light l while t is held, and in t while l is.
Gauss-Newton moves both at once: they share the tone of the skin, which only the priors divide among them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fgcli.heads.head import Head
from fgcli.heads.light import basis, directional
from fgcli.heads.parameters import SIZES, Parameters
from fgcli.heads.render import Render

NOISE = 0.08
"""Expected error of a pixel that the model explains, [0, 1]."""
LIGHT, LIGHT_SPREAD = directional((0.0, 0.3, 1.0), 0.4, 0.65), (0.6, *[0.2] * 3, *[0.15] * 5)
"""The light expected, and the standard deviations of its coefficients: lower frequencies vary more."""
SAMPLES = 400
"""How many independent pixels a face is worth: neighbours err together."""
GREY = 4 / 255
"""A photo whose channels differ less than this on the face is grey."""


def solve(
    head: Head, images: Tensor, drawn: Render, face: Tensor, parameters: Parameters, steps: int = 4
) -> Parameters:
    """Parameters with texture and light as the photos show them; the geometry stays.

    Args:
        head: with a texture.
        images: (n, 3, h, w) in [0, 1].
        drawn: the head's render at the photos' size, for its normals and texture coordinates.
        face: (n, 1, h, w), 1 where the pixels are to be explained.
        parameters: n rows, of which the geometry is taken.
        steps: of Gauss-Newton.

    A grey photo says nothing about hues: its modes of hue stay at 0, and its light is the same in every channel.
    """
    k, n = min(len(head.albedo_basis), SIZES["texture"]), len(images)
    grey = is_grey(images, face)
    mean, modes = _surface(head, drawn, k)
    mean, modes, colours = (
        torch.where(per_row(grey, x), x.mean(-2, keepdim=True), x) for x in (mean, modes, images.flatten(2))
    )
    modes = modes * torch.where(grey[:, None], ~hues(head)[:k], True)[:, :, None, None]
    harmonics = basis(drawn.normals.movedim(1, -1)).flatten(1, 2).mT  # (n, 9, p)
    weight = face.flatten(1)
    weight = weight * (SAMPLES / weight.sum(1, keepdim=True).clamp_min(1)) / NOISE**2
    expected = LIGHT.to(images).T.expand(n, -1, -1)  # (n, 3, 9)
    texture, light = images.new_zeros(n, k), expected
    for _ in range(steps):
        albedo, shading = mean + torch.einsum("nk,nkcp->ncp", texture, modes), light @ harmonics
        rest = colours - albedo * shading
        trusted = weight / (1 + rest.square().mean(1) / (2 * NOISE) ** 2)  # hair, glasses, shadows are not explained
        pull = torch.cat([-texture, (expected - light).flatten(1)], 1)
        change = _step(modes * shading[:, None], albedo[:, :, None] * harmonics[:, None], rest, trusted, pull)
        texture, light = texture + change[:, :k], light + change[:, k:].unflatten(1, (3, 9))
    return parameters.replace(texture=F.pad(texture, (0, SIZES["texture"] - k)), light=light.mT.contiguous())


def _step(of_texture: Tensor, of_light: Tensor, rest: Tensor, weight: Tensor, pull: Tensor) -> Tensor:
    """The step (n, k + 27) that explains `rest` (n, 3, p) best.

    of_texture (n, k, 3, p), of_light (n, 3, 9, p): the picture's derivatives; a channel's light moves that channel.
    weight: (n, p). pull: (n, k + 27), from where the coefficients are to where the priors have them.
    """
    k, spread = of_texture.shape[1], rest.new_tensor(LIGHT_SPREAD).repeat(3)
    prior = torch.cat([rest.new_ones(k), 1 / spread**2])
    weighted = of_texture * weight[:, None, None]
    left = torch.diag_embed(prior.expand(len(rest), -1)).contiguous()
    left[:, :k, :k] += weighted.flatten(2) @ of_texture.flatten(2).mT
    right = [(weighted.flatten(2) @ rest.flatten(1)[..., None])[..., 0]]
    for c in range(3):
        own, lit = slice(k + 9 * c, k + 9 * c + 9), of_light[:, c]
        both = weighted[:, :, c] @ lit.mT
        left[:, :k, own] += both
        left[:, own, :k] += both.mT
        left[:, own, own] += (lit * weight[:, None]) @ lit.mT
        right.append((lit @ (weight * rest[:, c])[..., None])[..., 0])
    return torch.linalg.solve(left, torch.cat(right, 1) + prior * pull)


def is_grey(images: Tensor, face: Tensor) -> Tensor:
    """Whether each photo (n, 3, h, w) has no colour on its face (n, 1, h, w)."""
    spread = (images.amax(1) - images.amin(1)) * face[:, 0]
    return spread.sum((1, 2)) < GREY * face.sum((1, 2, 3)).clamp_min(1)


def hues(head: Head) -> Tensor:
    """Which modes of the albedo (k,) change hue more than brightness."""
    brightness = head.albedo_basis.mean(1, keepdim=True)
    return (head.albedo_basis - brightness).square().sum((1, 2, 3)) > 3 * brightness.square().sum((1, 2, 3))


def _surface(head: Head, drawn: Render, k: int) -> tuple[Tensor, Tensor]:
    """Mean albedo (n, 3, p) and its modes (n, k, 3, p) at every pixel."""
    planes = torch.cat([head.albedo_mean[None], head.albedo_basis[:k]]).flatten(0, 1)
    uv = drawn.uv.movedim(1, 3)
    grid = uv * uv.new_tensor([2.0, -2.0]) + uv.new_tensor([-1.0, 1.0])
    n = len(grid)
    seen = F.grid_sample(planes[None].expand(n, -1, -1, -1), grid, padding_mode="border", align_corners=False)
    seen = seen.flatten(2).unflatten(1, (k + 1, 3))
    return seen[:, 0], seen[:, 1:]


def per_row(flags: Tensor, values: Tensor) -> Tensor:
    """Flags (n,), shaped to choose whole rows of values (n, ...)."""
    return flags.reshape(-1, *[1] * (values.dim() - 1))
