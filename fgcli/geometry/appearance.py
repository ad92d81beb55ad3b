"""Light and albedo from a photo when the geometry is known: two linear problems, solved in turn.

The picture is (A + sum_k t_k B_k) * sum_j c_j Y_j(n) l_j: linear in the light l while t is held, and in t while l is.
Both are ridge regressions: t has the prior N(0, 1), l is drawn to the light that leaves colours as they are.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fgcli.geometry.head import Head
from fgcli.geometry.light import WHITE, basis
from fgcli.geometry.parameters import SIZES, Parameters
from fgcli.geometry.render import Render

NOISE = 0.08
"""Expected error of a pixel that the model explains, [0, 1]."""
LIGHT_SPREAD = (1.5, *[0.4] * 3, *[0.15] * 5)
"""Standard deviations of the coefficients of light: lower frequencies vary more."""
SAMPLES = 400
"""How many independent pixels a face is worth: neighbours err together."""
GREY = 4 / 255
"""A photo whose channels differ less than this on the face is grey."""


def solve(
    head: Head, images: Tensor, drawn: Render, face: Tensor, parameters: Parameters, rounds: int = 3
) -> Parameters:
    """Parameters with texture and light as the photos show them; the geometry stays.

    Args:
        head: with a texture.
        images: (n, 3, h, w) in [0, 1].
        drawn: the head's render at the photos' size, for its normals and texture coordinates.
        face: (n, 1, h, w), 1 where the pixels are to be explained.
        parameters: n rows; where texture starts.
        rounds: alternations.

    A grey photo says nothing about hues: its modes of hue stay at 0, and its light is the same in every channel.
    """
    k = min(len(head.albedo_basis), SIZES["texture"])
    mean, modes = _surface(head, drawn, k)
    harmonics = basis(drawn.normals.movedim(1, -1)).flatten(1, 2)  # (n, p, 9)
    colours, weight = images.flatten(2), face.flatten(1)  # (n, 3, p), (n, p)
    weight = weight * (SAMPLES / weight.sum(1, keepdim=True).clamp_min(1)) / NOISE**2
    grey = is_grey(images, face)
    mean, modes, colours = (torch.where(_like(grey, x), x.mean(-2, keepdim=True), x) for x in (mean, modes, colours))
    texture, light = parameters.texture[:, :k].clone(), parameters.light
    allowed = torch.where(grey[:, None], ~hues(head)[:k], True).to(texture)
    for _ in range(rounds):
        trusted = weight
        for _ in range(2):
            albedo = mean + torch.einsum("nk,nkcp->ncp", texture, modes)
            light = _light(harmonics, albedo, colours, trusted)
            shading = torch.einsum("npj,njc->ncp", harmonics, light)
            texture = _texture(modes * shading[:, None], colours - mean * shading, trusted) * allowed
            error = (colours - shading * (mean + torch.einsum("nk,nkcp->ncp", texture, modes))).square().mean(1)
            trusted = weight / (1 + error / (2 * NOISE) ** 2)  # hair, glasses and shadows are not explained
    return parameters.replace(texture=F.pad(texture, (0, SIZES["texture"] - k)), light=light)


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


def _light(harmonics: Tensor, albedo: Tensor, colours: Tensor, weight: Tensor) -> Tensor:
    """Light (n, 9, 3): a ridge regression per channel, drawn to WHITE."""
    white = WHITE.to(albedo)
    spread = albedo.new_tensor(LIGHT_SPREAD)
    x = harmonics[:, None] * albedo[..., None]  # (n, c, p, 9)
    weighted = x.mT * weight[:, None, None]
    left = weighted @ x + torch.diag(1 / spread**2)
    right = (weighted @ colours[..., None])[..., 0] + (white / spread[:, None] ** 2).T
    return torch.linalg.solve(left, right).mT


def _texture(modes: Tensor, rest: Tensor, weight: Tensor) -> Tensor:
    """Coefficients (n, k) of shaded modes (n, k, c, p) that explain `rest` (n, c, p)."""
    x = modes.flatten(2)
    weighted = x * weight.repeat(1, modes.shape[2])[:, None]
    left = weighted @ x.mT + torch.eye(x.shape[1], device=x.device)
    return torch.linalg.solve(left, (weighted @ rest.flatten(1)[..., None])[..., 0])


def _like(flags: Tensor, values: Tensor) -> Tensor:
    return flags.reshape(-1, *[1] * (values.dim() - 1))
