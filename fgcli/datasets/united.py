"""Several data sets as one: what is known of all their photos or pictures, one set after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fgcli.artifacts import Content
from fgcli.datasets.photoset import PhotoSet
from fgcli.datasets.pictureset import PictureSet


@dataclass(frozen=True)
class Table:
    """Columns of n rows.

    content: what all of them are.
    sources: n names, each of the data set and of the photo.
    attribute_names: k names of all sets in order of appearance; the last is "colour", which is measured later where
        no data set says it.
    attributes: (n, k) int8: 1 has it, 0 has it not, -1 unknown.
    identity: (n,) int32: person, or class of a picture; -1 unknown.
    identity_names: what the values 0, 1, … of identity are called.
    """

    content: Content
    sources: list[str]
    attribute_names: list[str]
    attributes: np.ndarray
    identity: np.ndarray
    identity_names: list[str]

    def fill_colour(self, rows: slice | np.ndarray, measured: np.ndarray) -> None:
        """Takes what was measured of some rows; what a data set says of them stands."""
        said = self.attributes[rows, -1]
        self.attributes[rows, -1] = np.where(said >= 0, said, measured)


def unite(sets: Sequence[PhotoSet] | Sequence[PictureSet]) -> Table:
    """All rows of data sets."""
    attribute_names, attributes = _attributes(sets)
    identity, identity_names = _identity(sets)
    return Table(
        _content(sets),
        [f"{data.name}/{source}" for data in sets for source in data.sources],
        attribute_names,
        attributes,
        identity,
        identity_names,
    )


def _content(sets: Sequence[PhotoSet | PictureSet]) -> Content:
    """What all sets have in common; faces are never united with pictures taken whole."""
    known = {data.content for data in sets}
    return known.pop() if len(known) == 1 else "pictures"


def _attributes(sets: Sequence[PhotoSet | PictureSet]) -> tuple[list[str], np.ndarray]:
    names = list(dict.fromkeys(name for data in sets for name in data.attribute_names if name != "colour"))
    names.append("colour")
    table = np.full((sum(map(len, sets)), len(names)), -1, np.int8)
    first = 0
    for data in sets:
        columns = [names.index(name) for name in data.attribute_names]
        table[first : first + len(data), columns] = data.attributes
        first += len(data)
    return names, table


def _identity(sets: Sequence[PhotoSet | PictureSet]) -> tuple[np.ndarray, list[str]]:
    """Numbers are counted on from data set to data set; equal names, as of classes, get one number."""
    known: dict[str, int] = {}
    columns = []
    for data in sets:
        own, names = data.identity()
        numbers = [known.setdefault(name, len(known)) for name in names]
        columns.append(np.array([*numbers, -1], np.int32)[own])  # -1, unknown, takes the last
    return np.concatenate(columns), list(known)
