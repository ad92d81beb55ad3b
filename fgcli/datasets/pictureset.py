"""What a reader returns whose pictures are no photos of faces: they are taken whole, each of one known class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from PIL import Image

from fgcli.artifacts import Content


@dataclass(frozen=True)
class PictureSet:
    """Square pictures of a data set and their classes; light: no picture is in memory before `read`.

    Args:
        name: of the data set.
        content: what the pictures are.
        licence: one sentence, shown to the user.
        sources: n unique stable names.
        classes: names of the classes, in their published order.
        labels: (n,) class of each picture, a place in `classes`; -1 unknown.
        side: of the pictures as published, px.
        read: rows (m,) -> their pictures, uint8 (m, side, side, 3), grey ones with three equal channels. Rows in
            ascending order are fast; raises FgError where a file turns out to be damaged.
        splits: n official splits "train", "val" or "test"; None: the data set has none.
        margin: black px put around a picture before its size is changed.
        more: attributes beside the classes by name, (n,) int8 each: 1 has it, 0 has it not, -1 unknown.
    """

    name: str
    content: Content
    licence: str
    sources: list[str]
    classes: list[str]
    labels: np.ndarray
    side: int
    read: Callable[[np.ndarray], np.ndarray]
    splits: list[str] | None = None
    margin: int = 0
    more: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.sources)
        columns = (self.labels, *self.more.values())
        if any(column.shape != (n,) for column in columns) or len(self.splits or self.sources) != n:
            raise ValueError(f"{self.name}: columns of unequal lengths")
        if len(set(self.sources)) != n or len(set(self.attribute_names)) != len(self.attribute_names):
            raise ValueError(f"{self.name}: names of pictures, or of classes, are not unique")

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def attribute_names(self) -> list[str]:
        """One attribute per class, then the others."""
        return [*self.classes, *self.more]

    @property
    def attributes(self) -> np.ndarray:
        """(n, k) int8: 1 in the column of a picture's class, 0 in those of other classes, then what else is known."""
        of_class = (self.labels[:, None] == np.arange(len(self.classes))).astype(np.int8)
        return np.column_stack([of_class, *self.more.values()])

    def identity(self) -> tuple[np.ndarray, list[str]]:
        """Class (n,) of each picture, and the names of its values; sets that name a class alike share it."""
        return self.labels, self.classes

    def crops(self, rows: np.ndarray, size: int) -> np.ndarray:
        """Pictures uint8 (m, size, size, 3): as published if that is their size, else with the margin, then resized.

        Bicubic in both directions, averaging where it shrinks. The 8 px digits, for one, are counts in blocks of
        4 x 4 of a finer picture: enlarged to 32 px and averaged over these blocks again they differ from the counts
        by 16 of 255 (root mean squared) with bicubic interpolation, by 24 with bilinear.
        """
        images = self.read(rows)
        if size == self.side:
            return images
        around = (self.margin, self.margin)
        images = np.pad(images, ((0, 0), around, around, (0, 0)))
        if size == images.shape[1]:
            return images
        resized = [Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC) for image in images]
        return np.stack([np.asarray(image) for image in resized])


@dataclass(frozen=True)
class Part:
    """A file of pictures: how many, and what reads it: uint8 (count, side, side) or (count, side, side, 3)."""

    count: int
    load: Callable[[], np.ndarray]


def reader(parts: Sequence[Part]) -> Callable[[np.ndarray], np.ndarray]:
    """A `PictureSet.read` over files one after the other; the one read last stays in memory."""
    ends = np.cumsum([part.count for part in parts])
    load = lru_cache(maxsize=1)(lambda i: parts[i].load())

    def read(rows: np.ndarray) -> np.ndarray:
        rows = np.asarray(rows)
        of = np.searchsorted(ends, rows, side="right")
        found: list[np.ndarray] = [np.empty(0)] * len(rows)
        for i in np.unique(of):
            images = load(int(i))
            for at in np.flatnonzero(of == i):
                found[at] = images[rows[at] - ends[i] + parts[i].count]
        images = np.stack(found)
        return images if images.ndim == 4 else np.repeat(images[..., None], 3, axis=3)

    return read
