"""The sets of images that distribution metrics compare, and how codes become images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch

from fgcli import codes as paths
from fgcli.artifacts import Content
from fgcli.capabilities import Conditional, Generator, Invertible, Masks
from fgcli.codes import Codes
from fgcli.intervals import blocks
from fgcli.pixels import u8

Images = Iterator[np.ndarray]


class Draws(Protocol):
    """Whatever gives new codes: a density of density.h5."""

    def __call__(self, n: int, seed: int) -> Codes:
        """n codes."""


@dataclass(frozen=True)
class Model:
    """A generator, and where its codes of rows of faces.h5 come from, with the rows' conditions if it wants some."""

    name: str
    generator: Generator
    codes: Callable[[np.ndarray], Codes]
    densities: Mapping[str, Draws] = field(default_factory=dict)
    """Densities of its codes, by name."""


@dataclass(frozen=True)
class Material:
    """What is compared with what."""

    content: Content
    """What the rows of faces.h5 are."""
    images: np.ndarray
    """uint8 (n, h, w, c), read batch by batch."""
    masks: np.ndarray
    """uint8 (n, h, w), 255 on the face or all over pictures taken whole, read batch by batch."""
    train: np.ndarray
    """Rows of the training split."""
    held: np.ndarray
    """Rows of the held-out faces."""
    coded: np.ndarray
    """Rows whose codes become reconstructions and mid-points."""
    people: np.ndarray
    """(n,) equal where one person is shown, see `fgcli.artifacts.people`."""
    models: list[Model]
    """The trained generator first, then the baseline where there is one."""


HELD_OUT = "real/held_out"
BACKGROUND = 128
"""Grey that hides from distances what nothing taught the generator."""
SETS = {
    "real/train": "training images drawn at random: what a perfect generator would reach, more or less",
    "reconstructions": "of the images of split SPLIT",
    "interpolations": "mid-points, by slerp in z and straight in w, of codes of random pairs of images of split SPLIT; "
    "each is in two",
    "samples_prior": "codes from the generator's own prior; N(0, I) for pca, whose training codes have unit variance; "
    "where a generator wants conditions, those of the held-out rows, in turn",
    "reconstructed_samples": "samples_prior, encoded and decoded again; of generators whose critic tells codes",
    "samples_NAME": "codes from the density NAME in density.h5",
}


def sets(data: Material, *, samples: int, batch: int, seed: int) -> Iterator[tuple[str, Images]]:
    """The sets of uint8 images (n, h, w, c) by name, batch by batch, held-out faces first.

    Args:
        data: faces and models.
        samples: draws per set.
        batch: images at a time.
        seed: of all draws.
    """
    order, train = _drawn_rows(data, samples, seed)
    yield HELD_OUT, (data.images[rows] for rows in batches(data.held, batch))
    yield "real/train", (data.images[rows] for rows in batches(train, batch))
    for model in data.models:
        yield f"{model.name}/reconstructions", _reconstructions(model, data.coded, batch)
        yield f"{model.name}/interpolations", _interpolations(model, order, batch)
        for label, codes in draws(model, samples, seed):
            yield f"{model.name}/samples_{label}", decoded(data, model, codes, batch, seed)
        if isinstance(model.generator, Invertible):
            yield f"{model.name}/reconstructed_samples", _again(model, samples, batch, seed)


def _drawn_rows(data: Material, samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows that mid-points begin and end at, in order, and training rows."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(data.coded)
    return order, np.sort(rng.choice(data.train, min(samples, len(data.train)), replace=False))


def left_out_together(data: Material, counts: Mapping[str, int], samples: int, seed: int) -> dict[str, np.ndarray]:
    """Blocks of the rows of each set, which intervals leave out: by people, of draws by place.

    A mid-point goes with the face that it begins at.
    """
    order, train = _drawn_rows(data, samples, seed)
    number = int(blocks(data.people[data.held]).max()) + 1
    of_rows = {HELD_OUT: data.held, "real/train": train, "reconstructions": data.coded, "interpolations": order}
    found = {}
    for name, count in counts.items():
        rows = of_rows.get(name, of_rows.get(name.partition("/")[2]))
        if rows is None:
            found[name] = np.arange(count) % number
        else:
            found[name] = blocks(data.people[rows]) % number
    return found


def draws(model: Model, samples: int, seed: int) -> Iterator[tuple[str, Codes]]:
    """Codes, without conditions, from the generator's own prior and from each density of its codes, by name."""
    first = paths.apart(seed)
    prior = paths.prior(model.generator, samples, first)
    yield "prior", prior
    for label, draw in model.densities.items():
        yield label, draw(samples, first).to(prior.values.device)


def count(data: Material, samples: int) -> int:
    """How many images `sets` makes in all."""
    kinds = sum(1 + len(model.densities) + isinstance(model.generator, Invertible) for model in data.models)
    drawn = kinds * samples + min(samples, len(data.train))
    return len(data.held) + len(data.models) * 2 * len(data.coded) + drawn


def shown(images: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Images (n, h, w, c), grey outside the region (h, w)."""
    return np.where(region[..., None], images, np.uint8(BACKGROUND))


def _reconstructions(model: Model, rows: np.ndarray, batch: int) -> Images:
    for part in batches(rows, batch):
        yield decode(model, model.codes(part))


def _interpolations(model: Model, order: np.ndarray, batch: int) -> Images:
    """Between each row of `order` and the next one, the last and the first."""
    for start, end in zip(batches(order, batch), batches(np.roll(order, -1), batch), strict=True):
        yield decode(model, paths.walk(model.codes(start), model.codes(end), [0.5]))


def _again(model: Model, samples: int, batch: int, seed: int) -> Images:
    """The prior's samples, encoded and decoded again: how far the generator knows its own pictures."""
    assert isinstance(model.generator, Invertible)
    drawn = paths.prior(model.generator, samples, paths.apart(seed))
    for codes in drawn.split(batch):
        with torch.no_grad():
            images = paths.decode(model.generator, codes)
            yield decode(model, paths.coded(model.generator, model.generator.encode(images)))


def decoded(data: Material, model: Model, codes: Codes, batch: int, seed: int) -> Images:
    """Pictures of draws, batch by batch; a generator that wants conditions is given those of held-out rows, in turn.

    So its pictures are held against photos of the same conditions. `seed` is that of the rows' order.
    """
    rows = np.random.default_rng(paths.apart(seed)).permutation(data.held)
    for i in range(0, len(codes), batch):
        part = codes[i : i + batch]
        if isinstance(model.generator, Conditional):
            under = rows[np.arange(i, i + len(part)) % len(rows)]
            part = replace(part, condition=model.codes(under).condition)
        yield decode(model, part)


@torch.no_grad()
def decode(model: Model, codes: Codes) -> np.ndarray:
    """8-bit images (n, h, w, c), as a file would hold them."""
    return u8(paths.decode(model.generator, codes)).cpu().numpy()


def region(masks: np.ndarray, train: np.ndarray, most: int = 10_000, chunk: int = 256) -> np.ndarray:
    """Where at least half of the training faces are: (h, w) bool."""
    rows = train[:: -(-len(train) // most)]
    total = np.zeros(masks.shape[1:], np.int64)
    for part in batches(rows, chunk):
        total += (masks[part] > 127).sum(0)
    return 2 * total >= len(rows)


@torch.no_grad()
def predicted_mask(generator: Masks, codes: Codes) -> np.ndarray:
    """Boolean masks (n, h, w): where the generator's mask decoder is above 0.5."""
    return (paths.decode_mask(generator, codes)[:, 0] > 0.5).cpu().numpy()


def batches(rows: np.ndarray, size: int) -> list[np.ndarray]:
    """`rows` in pieces of at most `size`."""
    return [rows[i : i + size] for i in range(0, len(rows), size)]
