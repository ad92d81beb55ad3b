"""Random patches of the pictures of a faces.h5, to train a generator of patches on (see the generator `tiled`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fgcli import artifacts
from fgcli.artifacts.schemas import SPLITS
from fgcli.config.fields import Count, Seed
from fgcli.datasets.pictureset import PictureSet
from fgcli.errors import FgError


def patches(path: str, side: Count, each: Count = 8, seed: Seed = 0) -> PictureSet:
    """Squares at random places, of every picture as many, in its split. What they show is not known.

    Args:
        path: faces.h5.
        side: of a patch, px; that of a picture over tiled's `tiles`. preprocess.size is to be the same.
        each: patches of a picture.
        seed: of the places.

    Raises:
        FgError: not a faces file, or its pictures are smaller.
    """
    file = Path(path).expanduser()
    split = artifacts.load(file, artifacts.FACES, ("split",))["split"]
    images = artifacts.rows(file, "images")
    n, height, width, _ = images.shape
    if side > min(height, width):
        raise FgError(f"{file}: expected pictures of {side} px or more, found {height}x{width}; lower side")
    places = np.random.default_rng(seed).integers(0, (height - side + 1, width - side + 1), (n * each, 2))

    def read(rows: np.ndarray) -> np.ndarray:
        return np.stack(
            [images[row // each, y : y + side, x : x + side] for row, (y, x) in zip(rows, places[rows], strict=True)]
        )

    return PictureSet(
        name="patches",
        content="pictures",
        licence=f"Patches of {file}: as its pictures.",
        sources=[f"{i:07d}/{j}" for i in range(n) for j in range(each)],
        classes=[],
        labels=np.full(n * each, -1, np.int32),
        side=side,
        read=read,
        splits=[SPLITS[value] for value in np.repeat(split, each)],
    )
