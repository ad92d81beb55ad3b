"""What a reader of photos of faces returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from fgcli.artifacts import Content


@dataclass(frozen=True)
class Photo:
    """Where a photo is.

    box: left, top, right, bottom in px of the upright photo, the part that counts; None: all of it.
    masks: files whose union (brighter than half) is the face, each covering the whole photo at any size.
    """

    path: Path
    box: tuple[int, int, int, int] | None = None
    masks: tuple[Path, ...] = ()


@dataclass(frozen=True)
class PhotoSet:
    """Photos of a data set and what is known of them; light, and the same in every process.

    Args:
        name: of the data set.
        licence: one sentence, shown to the user.
        sources: n unique stable names.
        photos: n photos.
        attribute_names: k names.
        attributes: (n, k) int8: 1 has it, 0 has it not, -1 unknown.
        identities: n names of persons, "" unknown; None: no person is known.
        splits: n official splits "train", "val" or "test"; None: the data set has none.
        ignored: number of other files beside the photos, by ending.
    """

    content: ClassVar[Content] = "faces"
    name: str
    licence: str
    sources: list[str]
    photos: list[Photo]
    attribute_names: list[str]
    attributes: np.ndarray
    identities: list[str] | None = None
    splits: list[str] | None = None
    ignored: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n, k = len(self.sources), len(self.attribute_names)
        columns = (self.photos, self.identities or self.sources, self.splits or self.sources)
        if self.attributes.shape != (n, k) or any(len(c) != n for c in columns):
            raise ValueError(f"{self.name}: columns of unequal lengths")
        if len(set(self.sources)) != n:
            raise ValueError(f"{self.name}: names of photos are not unique")

    def __len__(self) -> int:
        return len(self.sources)

    def identity(self) -> tuple[np.ndarray, list[str]]:
        """Person (n,) of each photo, -1 unknown, and the names of its values, in order of appearance."""
        people = self.identities or [""] * len(self)
        known = {person: i for i, person in enumerate(dict.fromkeys(filter(None, people)))}
        numbers = np.array([known.get(person, -1) for person in people], np.int32)
        return numbers, [f"{self.name}/{person}" for person in known]


def without_attributes(n: int) -> np.ndarray:
    """Attributes (n, 0) of a data set that has none."""
    return np.zeros((n, 0), np.int8)
