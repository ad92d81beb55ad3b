"""An encoder for a generator that came without one, trained afterwards (after pSp; Richardson et al. 2021)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from fgcli.capabilities import MEAN_OF, Conditional, Encodes, Entered, Generator, Wraps, require
from fgcli.codes import prior
from fgcli.config import Spec, build
from fgcli.config.fields import Count
from fgcli.errors import UsageError
from fgcli.layers.blocks import strided_block


class Encoded(Wraps, Encodes, Entered):
    """A generator as it is, and strided convolutions that tell its codes, in deviations from the mean one.

    Args:
        image_shape: (c, size, size); size is a power of two from 8.
        of: the generator: `fg train` takes its name, arguments and weights from `--init-from`.
        channels: of the encoder's first block, doubled with each halving, eight times at most.
        space: "w", one row for all layers, or "w+", a row for each, of a generator that has several.

    Raises:
        ValueError: w+ of a generator whose codes have one row.
        UsageError: a generator that is steered by a condition, which `encoded_gif` takes, or there one that is not.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        of: Spec,
        channels: Count = 32,
        space: Literal["w", "w+"] = "w",
    ) -> None:
        from fgcli.generators import GENERATORS

        super().__init__()
        inner: Generator = build(GENERATORS, of, "train.generator.of", image_shape=image_shape)
        if isinstance(inner, Conditional) != isinstance(self, Conditional):
            right = "encoded_gif" if isinstance(inner, Conditional) else "encoded"
            raise UsageError(f"train.generator.name: expected {right} to wrap {of['name']}, found another; correct it")
        self.inner = inner.requires_grad_(False).eval()
        self.image_shape, self.code_shape, self.space = image_shape, inner.code_shape, inner.space
        layers, size = inner.code_shape
        if space == "w+" and inner.space != "w+":
            raise ValueError(f"space expects w for {of['name']}, whose codes have one row, found w+")
        self.rows = layers if space == "w+" or inner.space != "w+" else 1
        blocks, last, side = [], image_shape[0], image_shape[1]
        while side > 4:
            wide = min(8 * channels, channels * image_shape[1] // side)
            blocks.append(strided_block(last, wide))
            last, side = wide, side // 2
        self.encoder = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(last * side**2, self.rows * size))
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("spread", torch.ones(size))

    mean: Tensor
    spread: Tensor

    def adopt(self) -> None:
        """Finds where the generator's codes lie: mean and deviation of each entry over draws from its prior."""
        values = prior(self.inner, MEAN_OF, 0).values.flatten(0, 1)
        self.mean.copy_(values.mean(0))
        self.spread.copy_(values.std(0))

    def encode(self, images: Tensor) -> Tensor:
        """Codes (n, 1 or l, d)."""
        return self.mean + self.spread * self.encoder(images).unflatten(1, (self.rows, -1))

    def decode(self, codes: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images: the generator's own."""
        return self.inner.decode(codes.expand(-1, self.code_shape[0], -1), condition)

    def prior(self, n: int, rng: torch.Generator, truncation: float = 1.0) -> Tensor:
        """The generator's own."""
        return self.inner.prior(n, rng, truncation)

    def entrance(self) -> list[Tensor]:
        """The generator's own; raises UsageError of one that has none."""
        inner: nn.Module = self.inner
        require(inner, (Entered,), by="the directions of an encoded generator")
        assert isinstance(inner, Entered)
        return inner.entrance()


class EncodedGIF(Encoded, Conditional):
    """As `encoded`, of a generator that is steered by a condition.

    The encoder sees the picture alone, which shows what its condition does: with both, codes came no nearer.

    Args:
        image_shape, of, channels, space: as there.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        of: Spec,
        channels: Count = 32,
        space: Literal["w", "w+"] = "w",
    ) -> None:
        super().__init__(image_shape, of, channels, space)
        assert isinstance(self.inner, Conditional)
        self.condition_shape, self.condition_column = self.inner.condition_shape, self.inner.condition_column
