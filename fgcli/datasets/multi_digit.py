"""Pictures of one to four written digits in a row, put together from a data set of single ones."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Annotated, NamedTuple

import numpy as np
from PIL import Image
from pydantic import Field

from fgcli.config import Spec, build
from fgcli.config.fields import Count, Seed
from fgcli.datasets import DATASETS
from fgcli.datasets.pictureset import PictureSet
from fgcli.errors import FgError

WORDS = ("one", "two", "three", "four")
SINGLE = ("mnist", "mnist_5k", "digits")
"""Data sets of single digits, white on black."""
TALL, GAP = 7, 1
"""Height of a digit and distance of slots, in 32nds of the side: the slots of four digits are hardly wider than 7."""


def multi_digit(
    of: Spec,
    side: Annotated[int, Field(ge=32, le=128)],
    count: Count = 6000,
    digits: Annotated[tuple[Annotated[int, Field(ge=1, le=len(WORDS))], ...], Field(min_length=1)] = (1, 2, 3, 4),
    seed: Seed = 0,
) -> PictureSet:
    """As MultiDigitMNIST, but with one to four digits in one set. A picture is of the split of its digits, so that no
    digit is in pictures of two splits.

    Doubinsky et al., *Wasserstein Loss for Semantic Editing in the Latent Space of GANs*, do not say how theirs are
    laid out. Here:

    - A picture of n digits has n slots of equal width, 1/32 of the side apart. Each digit is anywhere in its slot, at
      any height, so that digits never overlap.
    - Digits have one scale however many there are, so that their number alone tells pictures apart: cut to their ink,
      MNIST's 20 px become 7/32 of the side, 28 px of the paper's 128 and 7 of 32. Each one's brightest pixel is white.
    - How many digits, which, and where is drawn for each picture alone, by its place and `seed`: neither `count` nor
      `side` changes what a picture shows.

    The class is the number of digits: `one_digit`, `two_digits` and so on. For the edit that adds a digit, `one_to_two`
    is 0 with exactly one, 1 with exactly two, and unknown otherwise; `two_to_three` and `three_to_four` are alike.

    Args:
        of: where the digits come from: mnist, mnist_5k or digits, with its arguments; {name: mnist, path: folder}.
        side: of a picture, px; preprocess.size is to be the same.
        count: pictures.
        digits: how many a picture may show, each as likely.
        seed: of the draws.

    Raises:
        UsageError: another data set.
        ValueError: a number of digits twice.
        FgError: as the data set of the digits, or one of them is blank.
    """
    if len(set(digits)) < len(digits):
        raise ValueError(f"digits expects different numbers, found {list(digits)}")
    single: PictureSet = build({name: DATASETS[name] for name in SINGLE}, of, "preprocess.datasets.multi_digit.of")
    may = sorted(digits)
    layouts = _layouts(np.array(single.splits), count, may, seed)
    shown = np.array([len(layout.rows) for layout in layouts])
    made = lru_cache(maxsize=1)(partial(_digits, single, TALL * side // 32))

    def read(rows: np.ndarray) -> np.ndarray:
        return np.stack([_composed(layouts[row], made(), side) for row in rows])[..., None].repeat(3, axis=3)

    return PictureSet(
        name="multi_digit",
        content="digits",
        licence=f"Put together from {single.name}: {single.licence}",
        sources=[f"{i:06d}" for i in range(count)],
        classes=[f"{WORDS[n - 1]}_digit{'s' if n > 1 else ''}" for n in may],
        labels=np.searchsorted(may, shown).astype(np.int32),
        side=side,
        read=read,
        splits=[layout.split for layout in layouts],
        more=dict(_step(shown, n) for n in may if n + 1 in may),
    )


def _step(shown: np.ndarray, n: int) -> tuple[str, np.ndarray]:
    """The attribute of the edit from n digits to one more, of pictures that have `shown` (m,): its name and values."""
    return f"{WORDS[n - 1]}_to_{WORDS[n]}", np.select([shown == n, shown == n + 1], [0, 1], -1).astype(np.int8)


class Layout(NamedTuple):
    """What a picture of n digits shows.

    split: of its digits, and of itself.
    rows: (n,) its digits among the single ones, from left to right.
    places: (n, 2) of each digit, 0 to 1: the shares of the free height and of its slot's free width before it.
    """

    split: str
    rows: np.ndarray
    places: np.ndarray


def _layouts(splits: np.ndarray, count: int, digits: list[int], seed: int) -> list[Layout]:
    """Those of all pictures, from single digits with `splits` (m,): each split gets the share that it has of these."""
    members = {split: np.flatnonzero(splits == split) for split in np.unique(splits).tolist()}
    layouts = []
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        split, n = str(rng.choice(splits)), int(rng.choice(digits))
        layouts.append(Layout(split, rng.choice(members[split], n), rng.random((n, 2))))
    return layouts


def _digits(single: PictureSet, tall: int) -> list[np.ndarray]:
    """Each single digit, cut to its ink (h, w), at the scale that makes the longest side of all `tall` px.

    Raises:
        FgError: a digit without ink.
    """
    images = np.ascontiguousarray(single.read(np.arange(len(single)))[..., 0])
    blank = ~images.any((1, 2))
    if blank.any():
        raise FgError(
            f"{single.name}/{single.sources[blank.argmax()]}: expected a digit, found a blank picture; "
            "take the published files"
        )
    inks = [_cut(image) for image in images]
    scale = tall / max(max(ink.shape) for ink in inks)
    return [_scaled(ink, scale) for ink in inks]


def _cut(image: np.ndarray) -> np.ndarray:
    """The smallest part of a picture that has all its ink."""
    y, x = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
    return image[y[0] : y[-1] + 1, x[0] : x[-1] + 1]


def _scaled(ink: np.ndarray, scale: float) -> np.ndarray:
    """A digit in another size; thin strokes fade where it shrinks, so that its brightest pixel is made white again."""
    height, width = (max(1, round(length * scale)) for length in ink.shape)
    resized = np.asarray(Image.fromarray(ink).resize((width, height), Image.Resampling.BICUBIC))
    return np.rint(resized * (255 / resized.max())).astype(np.uint8)


def _composed(layout: Layout, digits: list[np.ndarray], side: int) -> np.ndarray:
    """The picture (side, side)."""
    image, n, gap = np.zeros((side, side), np.uint8), len(layout.rows), GAP * side // 32
    for k, (row, place) in enumerate(zip(layout.rows, layout.places, strict=True)):
        height, width = digits[row].shape
        left, right = k * (side + gap) // n, (k + 1) * (side + gap) // n - gap
        free = np.array([side - height, right - left - width])
        y, x = np.floor(place * (free + 1)).astype(int)
        image[y : y + height, left + x : left + x + width] = digits[row]
    return image
