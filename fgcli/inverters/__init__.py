"""Inverters: from images to codes.

An entry is an `Inverter`; its constructor takes flat arguments, and `image_shape` if it asks. Which one made
latents.h5, how and with which seed stands in the file, and `load` builds it again: every command that meets a photo
inverts it as those faces were.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from fgcli import artifacts, config
from fgcli.capabilities import Generator, Kinds, require
from fgcli.codes import Codes, apart, conditioned, decode, prior

INVERTERS = {
    "encoder": "fgcli.inverters.encoder:Encoder",
    "hybrid": "fgcli.inverters.hybrid:Hybrid",
    "optimize": "fgcli.inverters.optimize:Optimize",
}

SELF_TEST = 8
"""Generated pictures that are inverted to see how near their known codes are met."""


@dataclass(frozen=True)
class Context:
    """What an inversion may need beside the images.

    Attributes:
        seed: of all its draws.
        condition: (n, ...) of the images, for a Conditional generator.
        known: bool (n, 1, h, w), true where pixels count; by default all do.
    """

    seed: int = 0
    condition: Tensor | None = None
    known: Tensor | None = None


class Inverter(ABC):
    """Finds codes whose pictures are the images.

    Attributes:
        requires: capabilities that the generator must have.
        refuses: those that it must not have.
    """

    requires: ClassVar[Kinds] = ()
    refuses: ClassVar[Kinds] = ()

    @abstractmethod
    def invert(self, generator: Generator, images: Tensor, context: Context) -> Codes:
        """Codes of images (n, c, h, w) in [-1, 1], a row's the same whatever rows are beside it, but for rounding."""

    def resolved(self) -> dict[str, Any]:
        """Arguments that were left to chance, such as what is installed, as they were settled: files keep them."""
        return {}


def create(spec: dict[str, Any], generator: Generator, path: str) -> Inverter:
    """The inverter that `spec` describes, for this generator; `path` says where it was given.

    Raises:
        UsageError: no such inverter, a wrong argument, or a generator without what it requires, or that it refuses.
    """
    kind = config.lookup(INVERTERS, spec["name"], f"{path}.name")
    by = f"{path} {spec['name']}"
    require(generator, kind.requires, kind.refuses, by=by, otherwise=", or the inverter optimize")
    inverter: Inverter = config.supply(INVERTERS, spec, path, image_shape=generator.image_shape)
    return inverter


def load(latents: Path, generator: Generator, name: str = "") -> tuple[Inverter, Context]:
    """The inverter that made latents.h5, or another `name` with its defaults, and the seed of that file.

    Raises:
        UsageError: no such inverter, or none for this generator.
        FgError: not a latents file, or what it was made with is not here.
    """
    meta = artifacts.load(latents, artifacts.LATENTS, ()).meta
    if name in ("", meta["inverter"]["name"]):
        return create(meta["inverter"], generator, str(latents)), Context(meta["seed"])
    return create({"name": name}, generator, "inverter"), Context(meta["seed"])


def fitting(generator: Generator) -> list[str]:
    """Names of the inverters that can invert a generator."""
    kinds = {name: config.lookup(INVERTERS, name, "inverter") for name in INVERTERS}
    return [
        name
        for name, kind in kinds.items()
        if all(isinstance(generator, wanted) for wanted in kind.requires) and not isinstance(generator, kind.refuses)
    ]


@torch.no_grad()
def reconstruction_error(generator: Generator, images: Tensor, codes: Codes, masks: np.ndarray) -> np.ndarray:
    """Root mean squared error (n,) on the face, images in [-1, 1]; masks (n, h, w) uint8."""
    m = torch.from_numpy(masks[:, None] > 127).to(images)
    squares = (decode(generator, codes) - images).square() * m
    return (squares.sum((1, 2, 3)) / (images.shape[1] * m.sum((1, 2, 3)).clamp_min(1))).sqrt().cpu().numpy()


@torch.no_grad()
def self_test(
    inverter: Inverter, generator: Generator, seed: int, conditions: np.ndarray | None = None
) -> dict[str, float]:
    """How near inversion comes where the answer is known: pictures drawn from the prior.

    Returns:
        picture_error: root mean squared error of the pictures, in [0, 2]; picture_floor: that of the mean code.
        code_error: root mean squared distance of the codes over their spread, for which the mean code has 1.
    """
    first = apart(seed + 1)  # or the inverter's own draws would be these
    true = conditioned(prior(generator, SELF_TEST, first), conditions, first)
    images = decode(generator, true)
    found = inverter.invert(generator, images, Context(seed, true.condition))
    mean = true.moved(true.values.mean(0, keepdim=True).expand_as(true.values))
    off = (found.values - true.values).square().mean().sqrt()
    return {
        "picture_error": float((decode(generator, found) - images).square().mean().sqrt()),
        "picture_floor": float((decode(generator, mean) - images).square().mean().sqrt()),
        "code_error": float(off / (true.values - mean.values).square().mean().sqrt().clamp_min(1e-12)),
    }
