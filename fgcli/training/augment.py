"""Random views of a batch: the same geometry for every plane, colour for the images only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fgcli.errors import UsageError
from fgcli.training.columns import Column


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

    def verify(self, columns: Mapping[str, Column], path: str) -> None:
        """Raises UsageError where it would make a column untrue; `path` is where its params stand."""
        for name, value in asdict(self).items():
            bad = [column.name for column in columns.values() if value and name in column.untrue]
            if bad:
                raise UsageError(
                    f"{path}.{name}: expected 0 for an objective that needs {', '.join(bad)}, found {value:g}: the "
                    "changed picture has other values; set it to 0"
                )

    def __call__(self, batch: dict[str, Tensor], columns: Mapping[str, Column], rng: torch.Generator) -> None:
        """Lets the columns of a batch stray in place: images in [-1, 1] and what moves with them; rng on the CPU."""
        planes = [name for name, column in columns.items() if column.plane]
        if not planes:
            return
        mirrored = self.move(batch, planes, rng)
        if self.bends:
            binarise(batch, columns)
        for name in planes:
            mirror = columns[name].mirror
            if mirror and mirrored is not None:
                batch[name] = torch.where(mirrored[:, None, None, None], mirror(batch[name]), batch[name])
        if self.mix:
            share = (self.mix * torch.rand(len(batch[planes[0]]), generator=rng))[:, None, None, None]
            for name in planes:
                batch[name] = batch[name].lerp(batch[name].roll(1, 0), share.to(batch[name].device))
            binarise(batch, columns)
        if "images" in batch and (self.light or self.tint):
            batch["images"] = self.colour(batch["images"], rng)

    @property
    def bends(self) -> bool:
        """Whether pixels come to lie between pixels."""
        return bool(self.shift or self.zoom or self.rotate)

    def move(self, batch: dict[str, Tensor], planes: list[str], rng: torch.Generator) -> Tensor | None:
        """Moves all planes alike; returns which rows (n) are mirrored, None if nothing moved."""
        first = batch[planes[0]]
        n, device = len(first), first.device
        if self.bends:
            maps = self.affine(n, rng)
            together = torch.cat([batch[name] for name in planes], 1)
            grid = F.affine_grid(maps.to(device), list(together.shape), align_corners=False)
            moved = F.grid_sample(together, grid, padding_mode="reflection", align_corners=False)
            parts = moved.split([batch[name].shape[1] for name in planes], 1)
            batch.update(zip(planes, parts, strict=True))
            return (torch.linalg.det(maps[:, :, :2]) < 0).to(device)
        if self.flip:
            flips = (torch.rand(n, generator=rng) < self.flip).to(device)
            for name in planes:
                batch[name] = torch.where(flips[:, None, None, None], batch[name].flip(3), batch[name])
            return flips
        return None

    def colour(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """Another gain and offset for each picture, another gain for each of its channels, within [-1, 1]."""
        n, device = len(images), images.device
        gain = 1 + self.light * uniform(n, 1, rng) + self.tint * uniform(n, 3, rng)
        offset = self.light * uniform(n, 1, rng)
        return (images * gain[:, :, None, None].to(device) + offset[:, :, None, None].to(device)).clamp(-1, 1)

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


def binarise(batch: dict[str, Tensor], columns: Mapping[str, Column]) -> None:
    """Puts binary planes back to {0, 1}."""
    for name, column in columns.items():
        if column.binary:
            batch[name] = (batch[name] > 0.5).float()


def uniform(n: int, k: int, rng: torch.Generator) -> Tensor:
    """(n, k) uniform in [-1, 1]."""
    return 2 * torch.rand(n, k, generator=rng) - 1
