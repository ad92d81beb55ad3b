"""Random views of a batch: the same geometry for image and mask, colour for the image only."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Augment:
    """How far a training picture may stray; all zero leaves pictures as they are.

    Attributes:
        flip: probability of the mirror image.
        shift: largest translation, fraction of the side.
        zoom: largest relative change of scale.
        rotate: largest rotation, radians.
        light: largest relative change of brightness and of contrast.
        tint: largest relative change of each colour channel.
        mix: largest share of another face of the batch (mixup; Zhang et al. 2018).
    """

    flip: float = 0.0
    shift: float = 0.0
    zoom: float = 0.0
    rotate: float = 0.0
    light: float = 0.0
    tint: float = 0.0
    mix: float = 0.0

    def __call__(self, images: Tensor, masks: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Images (n, c, h, w) in [-1, 1] and masks (n, 1, h, w) in {0, 1}, both strayed; rng on the CPU."""
        n, device = len(images), images.device
        if self.shift or self.zoom or self.rotate:
            grid = F.affine_grid(self.affine(n, rng).to(device), list(images.shape), align_corners=False)
            both = torch.cat([images, masks], 1)
            both = F.grid_sample(both, grid, padding_mode="reflection", align_corners=False)
            images, masks = both[:, :-1], (both[:, -1:] > 0.5).float()
        elif self.flip:
            flips = (torch.rand(n, generator=rng) < self.flip).to(device)[:, None, None, None]
            images, masks = torch.where(flips, images.flip(3), images), torch.where(flips, masks.flip(3), masks)
        if self.mix:
            share = (self.mix * torch.rand(n, generator=rng))[:, None, None, None].to(device)
            images = images.lerp(images.roll(1, 0), share)
            masks = (masks.lerp(masks.roll(1, 0), share) > 0.5).float()
        if self.light or self.tint:
            gain = 1 + self.light * uniform(n, 1, rng) + self.tint * uniform(n, 3, rng)
            offset = self.light * uniform(n, 1, rng)
            images = (images * gain[:, :, None, None].to(device) + offset[:, :, None, None].to(device)).clamp(-1, 1)
        return images, masks

    def affine(self, n: int, rng: torch.Generator) -> Tensor:
        """Maps (n, 2, 3) from output to input positions in [-1, 1]: similarity and mirror."""
        angle = self.rotate * uniform(n, 1, rng)[:, 0]
        scale = torch.exp(math.log1p(self.zoom) * uniform(n, 1, rng)[:, 0])
        mirror = 1 - 2 * (torch.rand(n, generator=rng) < self.flip).float()
        shift = 2 * self.shift * uniform(n, 2, rng)
        c, s = scale * torch.cos(angle), scale * torch.sin(angle)
        return torch.stack(
            [torch.stack([mirror * c, -s, shift[:, 0]], 1), torch.stack([mirror * s, c, shift[:, 1]], 1)], 1
        )


def uniform(n: int, k: int, rng: torch.Generator) -> Tensor:
    """(n, k) uniform in [-1, 1]."""
    return 2 * torch.rand(n, k, generator=rng) - 1
