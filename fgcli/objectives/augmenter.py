"""Random views of what a critic sees, real or made, through which gradients flow.

They keep a critic from learning few photos by heart (Zhao et al. 2020, DiffAugment; Karras et al. 2020a, ADA). Each
kind of change befalls each image with probability p; below about 0.8 the generator does not learn the changes
themselves. Ours: moved pictures go on as in a mirror, since with black borders the samples get grey frames.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SHIFT = 1 / 8
"""Largest translation, fraction of the side (DiffAugment)."""
SCALE = 0.2
"""Standard deviation of the logarithm of the scale to base 2 (ADA)."""
TURN = 0.1
"""Largest rotation, half turns. ADA turns all the way, which faces do not need."""
BRIGHTNESS = 0.2
"""Standard deviation of what is added, in [-1, 1] (ADA)."""
CONTRAST = 0.5
"""Standard deviation of the logarithms of contrast and saturation to base 2 (ADA)."""
HOLE = 0.5
"""Side of the square that is greyed, fraction of the image's (both)."""
DRAWS = 13
"""Random numbers for an image."""
MOST = 0.8
"""Largest p that the controller sets."""


class Augmenter(nn.Module):
    """Changes images, each kind with probability p, which a controller may move.

    Args:
        p: probability at the start.
        target: to which the controller steers r = E[sign D(real)]; None: p stays.
        images: how many the critic sees while p goes from 0 to 1 at the fastest.
        moves: whether images are moved, too; not where something beside them says what stands where.
    """

    p: Tensor

    def __init__(self, p: float, target: float | None = None, images: int = 500_000, moves: bool = True) -> None:
        super().__init__()
        self.register_buffer("p", torch.tensor(float(p)))
        self.target, self.images, self.moves = target, images, moves

    @property
    def active(self) -> bool:
        """Whether there is anything to do now or later."""
        return self.target is not None or float(self.p) > 0

    def forward(self, images: Tensor, rng: torch.Generator, total: int, places: Tensor) -> Tensor:
        """Changed images (n, c, h, w) in [-1, 1]; the draws are those of `places` (n) in a batch of `total`."""
        if not self.active:
            return images
        uniform, normal = (
            draw(total, DRAWS, generator=rng, device=rng.device)[places.to(rng.device)].to(images)
            for draw in (torch.rand, torch.randn)
        )
        on = uniform[:, :6] < self.p  # (n, 6): which kinds befall which image
        moved = move(images, on[:, :3], uniform[:, 6:10], normal[:, 0]) if self.moves else images
        return hole(colour(moved, on[:, 3:5], normal[:, 1:4]), on[:, 5], uniform[:, 10:12])

    def settle(self, sign: float, batch: int) -> None:
        """p rises while the critic's signs on real images say that it knows them: |dp| = batch / images a step."""
        if self.target is not None:
            step = batch / self.images * (1 if sign > self.target else -1)
            self.p.copy_((self.p + step).clamp(0, MOST))


def move(images: Tensor, on: Tensor, uniform: Tensor, normal: Tensor) -> Tensor:
    """Translated by whole pixels, scaled and turned, each where `on` (n, 3) says so; beyond its border it is mirrored.

    Args:
        images: (n, c, h, w).
        uniform: (n, 4) in [0, 1], of the translation and the turn. normal: (n), of the scale.
    """
    n, _, h, w = images.shape
    zero, one = normal.new_zeros(n), normal.new_ones(n)
    reach = torch.tensor([w, h], device=images.device)
    pixels = ((2 * uniform[:, :2] - 1) * SHIFT * reach).round() * on[:, :1]
    x, y = (2 * pixels / reach).unbind(1)  # in the units of affine_grid: the whole side is 2
    scale = torch.where(on[:, 1], 2 ** (SCALE * normal), one)
    angle = torch.where(on[:, 2], (2 * uniform[:, 2] - 1) * TURN * math.pi, zero)
    cosine, sine = angle.cos() / scale, angle.sin() / scale
    maps = torch.stack([torch.stack([cosine, -sine, x], 1), torch.stack([sine, cosine, y], 1)], 1)  # (n, 2, 3)
    grid = F.affine_grid(maps, list(images.shape), align_corners=False)
    moved = F.grid_sample(images.float(), grid, padding_mode="reflection", align_corners=False)
    return torch.where(on.any(1)[:, None, None, None], moved, images)  # untouched ones to the bit


def colour(images: Tensor, on: Tensor, normal: Tensor) -> Tensor:
    """Brighter or darker, and of another contrast and saturation, where `on` (n, 2) says so; normal (n, 3)."""
    amount = normal[:, :, None, None, None]  # (n, 3, 1, 1, 1)
    light, others = (on[:, i, None, None, None] for i in range(2))
    images = torch.where(light, images + BRIGHTNESS * amount[:, 0], images)
    grey = images.mean(1, keepdim=True)
    saturated = grey + (images - grey) * 2 ** (CONTRAST * amount[:, 1])
    mean = saturated.mean((1, 2, 3), keepdim=True)
    return torch.where(others, mean + (saturated - mean) * 2 ** (CONTRAST * amount[:, 2]), images)


def hole(images: Tensor, on: Tensor, uniform: Tensor) -> Tensor:
    """A square of HOLE of the side set to 0 where `on` (n) says so; its centre uniform (n, 2) anywhere in the image."""
    inside = torch.ones_like(images[:, :1], dtype=torch.bool)
    for axis, size in ((2, images.shape[2]), (3, images.shape[3])):
        at = (torch.arange(size, device=images.device) + 0.5) / size
        near = (at - uniform[:, axis - 2, None]).abs() < HOLE / 2  # (n, size)
        inside = inside & near.unflatten(1, (1, size, 1) if axis == 2 else (1, 1, size))
    return images * ~(inside & on[:, None, None, None])
