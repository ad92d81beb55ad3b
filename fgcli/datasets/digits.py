"""Digits of scikit-learn (Alpaydin and Kaynak 1998): 1,797 written digits of 8 x 8 px; comes with fg."""

from __future__ import annotations

import numpy as np

from fgcli.datasets.pictureset import Part, PictureSet, reader
from fgcli.datasets.splits import by_class

CLASSES = [f"digit_{i}" for i in range(10)]
WHITE = 16
"""Counts of ink go from 0 to this."""


def digits() -> PictureSet:
    """All 1,797, none of a known writer. There is no official split: of each class 20 % test and 10 % validate.

    Which ones is decided by the hash of their names, so that it is the same everywhere.
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    images = np.rint(found.images * (255 / WHITE)).astype(np.uint8)
    sources = [f"{i:04d}" for i in range(len(images))]
    labels = found.target.astype(np.int32)
    return PictureSet(
        name="digits",
        content="digits",
        licence="Digits of scikit-learn (Alpaydin, Kaynak 1998; UCI): CC BY 4.0.",
        sources=sources,
        classes=CLASSES,
        labels=labels,
        side=8,
        read=reader([Part(len(images), lambda: images)]),
        splits=by_class(sources, labels, val=0.1, test=0.2),
    )
