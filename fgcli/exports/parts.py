"""What of a generator is exported: its encoder, decoder, masks and mapping, and inputs to try each with."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from fgcli.capabilities import Conditional, Contested, Encodes, Generator, Mapped, Masks
from fgcli.exports import Part

TRIED = 10
"""Inputs that each part is tried with."""


@torch.no_grad()
def parts_of(generator: Generator) -> dict[str, Part]:
    """The parts that a generator in eval mode has; their inputs are drawn with seed 0.

    Codes, of whatever part, are (n, l, d): those of one row are given for every layer, as the decoder takes them.
    """
    rng = torch.Generator().manual_seed(0)
    codes = whole(generator, generator.prior(TRIED, rng)).contiguous()
    inputs = {"codes": codes}
    if isinstance(generator, Conditional):
        inputs["condition"] = torch.rand(TRIED, *generator.condition_shape, generator=rng) * 2 - 1
    parts = {"decoder": Part(generator.decode, inputs, "images")}
    if isinstance(generator, Encodes):
        images = generator.decode(*inputs.values())
        parts["encoder"] = Part(partial(encoded, generator), {"images": images}, "codes")
    if isinstance(generator, Masks):
        parts["masks"] = Part(generator.decode_mask, {"codes": codes}, "masks")
    if isinstance(generator, Mapped):
        drawn = {"z": torch.randn(TRIED, generator.mapped_size, generator=rng)}
        if isinstance(generator, Contested) and (labels := generator.labels(TRIED, rng)) is not None:
            drawn["labels"] = labels
        parts["mapping"] = Part(partial(mapped, generator), drawn, "codes")
    return parts


def whole(generator: Generator, codes: Tensor) -> Tensor:
    """Codes (n, 1, d) or (n, l, d) as (n, l, d)."""
    return codes.expand(-1, generator.code_shape[0], -1)


def encoded(generator: Encodes, images: Tensor) -> Tensor:
    """Codes (n, l, d) of images."""
    return whole(generator, generator.encode(images))


def mapped(generator: Mapped, z: Tensor, *labels: Tensor) -> Tensor:
    """Codes (n, l, d) of draws from N(0, I) and, if the generator knows classes, labels (n)."""
    return whole(generator, generator.map(z, *labels))


@torch.no_grad()
def difference(one: Part, other: Part) -> float:
    """Largest difference of what two do with the inputs of the first, all at once and the first row by itself.

    Of numbers that are larger than 1 it is relative to the largest.
    """
    worst = 0.0
    for n in (TRIED, 1):
        wanted, found = (part.call(*one.rows(n)) for part in (one, other))
        if wanted.shape != found.shape:
            return float("inf")
        gap = (wanted - found).abs().max() / wanted.abs().max().clamp_min(1)
        worst = max(worst, gap.item() if gap.isfinite() else float("inf"))
    return worst
