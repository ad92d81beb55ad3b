"""Pictures of tiles, each with a code of its own, by a generator of small ones (Ghosh's thesis, section 6.3.3)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fgcli.capabilities import Conditional, Encodes, Generator, Solved, Wraps, require
from fgcli.config import Spec, build
from fgcli.config.fields import Count


class Tiled(Wraps, Encodes, Solved):
    """tiles x tiles pictures of a generator side by side, each decoded and encoded alone; nothing smooths their seams.

    Codes are those of the tiles, row by row: (n, tiles^2 l, d). `fg train --init-from` only puts it together. The data
    set `patches` has pictures to train a tile's generator on.

    Args:
        image_shape: (c, size, size).
        of: the generator of a tile, which has an encoder: `fg train` takes its name, arguments and weights from
            `--init-from`.
        tiles: along each side.

    Raises:
        ValueError: a side that is no multiple of `tiles`, or a generator without an encoder.
        UsageError: one that is steered by a condition, which knows no tiles.
    """

    def __init__(self, image_shape: tuple[int, int, int], of: Spec, tiles: Count = 2) -> None:
        from fgcli.generators import GENERATORS

        super().__init__()
        channels, height, width = image_shape
        if height % tiles or width % tiles:
            raise ValueError(f"tiles expects a divisor of {height}x{width}, found {tiles}")
        shape = (channels, height // tiles, width // tiles)
        inner: Generator = build(GENERATORS, of, "train.generator.of", image_shape=shape)
        if not isinstance(inner, Encodes):
            raise ValueError(f"of expects a generator that has an encoder, found {of['name']}")
        require(inner, refused=(Conditional,), by="generator tiled")
        self.inner: Encodes = inner.requires_grad_(False).eval()
        self.tiles, self.image_shape, self.space = tiles, image_shape, inner.space
        self.code_shape = (tiles**2 * inner.code_shape[0], inner.code_shape[1])

    def adopt(self) -> None:
        """Nothing to do."""

    def fit(self, images: np.ndarray) -> None:
        """Nothing to do."""

    def encode(self, images: Tensor) -> Tensor:
        """Codes (n, tiles^2 l, d) of images (n, c, h, w)."""
        n, c, h, w = images.shape
        t = self.tiles
        cut = images.reshape(n, c, t, h // t, t, w // t).permute(0, 2, 4, 1, 3, 5)  # (n, t, t, c, h / t, w / t)
        return self.gathered(self.inner.encode(cut.flatten(0, 2)))

    def decode(self, codes: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images (n, c, h, w)."""
        n, t = codes.shape[0], self.tiles
        made = self.inner.decode(codes.reshape(n * t * t, *self.inner.code_shape))  # (n t t, c, h / t, w / t)
        return made.unflatten(0, (n, t, t)).permute(0, 3, 1, 4, 2, 5).reshape(n, *self.image_shape)

    def prior(self, n: int, rng: torch.Generator, truncation: float = 1.0) -> Tensor:
        """Tiles that know nothing of each other: fit a density to codes of whole pictures to draw from."""
        return self.gathered(self.inner.prior(n * self.tiles**2, rng, truncation))

    def gathered(self, codes: Tensor) -> Tensor:
        """Codes of whole pictures of those of their tiles, of one row or one for each layer."""
        return codes.expand(-1, self.inner.code_shape[0], -1).reshape(-1, *self.code_shape)
