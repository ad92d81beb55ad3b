"""What is learned and what is matched where params name nothing: decided by the training rows, and told.

Learned is what enough photos of enough people show, and enough do not. Matched are `colour`, and what stays the same in
all photos of a person, such as the sex: neither is to change when a smile does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fgcli.editors.matching import weights

ROWS, PEOPLE = (10, 30), (3, 10)
"""Training rows that an attribute needs with it, and without it, to be learned by default: a tenth of all, within these
bounds. So with the people in them: a quarter. A row of an unknown person counts as a person."""
COLOUR = "colour"
"""Measured of every photo: a trait of photos, which is matched and not learned by default."""
CHANGING = 0.05
"""Share of people whose photos differ in what stays the same, at most: labels have errors."""
COUNTERPARTS = 0.25
"""Share of either side's rows whose combination of matched attributes must be on the other side too, at least."""
Match = tuple[tuple[str, ...], dict[str, str]]
"""Names that are matched, and why others are not."""


@dataclass(frozen=True)
class Labels:
    """What is known of the training rows: values (n, k) in {-1, 0, 1} of k `names`; people (n,), -1 unknown."""

    names: list[str]
    values: np.ndarray
    people: np.ndarray

    def of(self, name: str) -> np.ndarray:
        """The column (n,) of an attribute."""
        return self.values[:, self.names.index(name)]

    @property
    def persons(self) -> np.ndarray:
        """People (n,), each unknown one of a number of its own."""
        return np.where(self.people < 0, -1 - np.arange(len(self.people)), self.people)

    @property
    def wanted(self) -> tuple[int, int]:
        """Rows and people that are enough."""
        rows, people = math.ceil(len(self.people) / 10), math.ceil(len(np.unique(self.persons)) / 4)
        return int(np.clip(rows, *ROWS)), int(np.clip(people, *PEOPLE))

    def sides(self, name: str) -> Iterator[tuple[int, int, str]]:
        """How many rows, and people in them, are "with" an attribute and how many "without" it."""
        for value, word in ((1, "with"), (0, "without")):
            side = self.persons[self.of(name) == value]
            yield len(side), len(np.unique(side)), word


def learned(labels: Labels) -> tuple[list[str], dict[str, str]]:
    """The attributes to learn by default, and why not the others."""
    chosen, left_out = [], {}
    for name in labels.names:
        few = [
            f"{rows} rows{f' of {people} people' if people < rows else ''} {word} it"
            for rows, people, word in labels.sides(name)
            if rows < labels.wanted[0] or people < labels.wanted[1]
        ]
        if name == COLOUR:
            left_out[name] = "of the photo, not of the face"
        elif few:
            left_out[name] = " and ".join(few)
        else:
            chosen.append(name)
    return chosen, left_out


def matched(labels: Labels, attribute: str) -> Match:
    """What to match an attribute on by default, and why not on more."""
    kept: tuple[str, ...] = ()
    left_out, value = {}, labels.of(attribute)
    for name in steady(labels):
        if name == attribute:
            continue
        groups = np.stack([labels.of(other) for other in (*kept, name)], 1)
        sides = weights(groups[value == 0], groups[value == 1])
        counted = [(int((side > 0).sum()), len(side)) for side in sides]
        few, of = min(counted, key=lambda pair: pair[0] / max(pair[1], 1))
        if few < max(ROWS[0], COUNTERPARTS * of):
            left_out[name] = f"it would leave {few} of {of} rows with counterparts"
        else:
            kept = (*kept, name)
    return kept, left_out


def steady(labels: Labels) -> Iterator[str]:
    """The names of what varies over all photos, and is `colour` or stays the same in all photos of a person."""
    for name in labels.names:
        value = labels.of(name)
        if len(np.unique(value)) < 2:
            continue
        known = (labels.people >= 0) & (value >= 0)
        number = np.unique(labels.people[known], return_inverse=True)[1]
        photos, having = np.bincount(number), np.bincount(number, value[known])
        several = photos > 1
        changing = several & (having > 0) & (having < photos)
        if name == COLOUR or (several.sum() >= PEOPLE[0] and changing.sum() <= CHANGING * several.sum()):
            yield name


def told_learned(labels: Labels, chosen: Sequence[str], left_out: Mapping[str, str]) -> str:
    """One line: what is learned and, by default, what is not, and why."""
    said = f"learns {', '.join(chosen) or 'nothing'}"
    if not left_out:
        return said
    others = ", ".join(f"{name} ({reason})" for name, reason in left_out.items())
    rows, people = labels.wanted
    wanted = f"what {rows} training rows{f' of {people} people' if people < rows else ''} have, and as many have not"
    return f"{said}; not {others}: by default {wanted}; name others in editor.attributes"


def told_matched(found: Mapping[str, Match]) -> str:
    """One line: what each attribute is matched on by default, those alike together, and why not on more."""
    alike: dict[str, list[str]] = {}
    for attribute, (names, left_out) in found.items():
        reasons = ", ".join(f"{name} ({reason})" for name, reason in left_out.items())
        said = (", ".join(names) or "nothing") + (f", not on {reasons}" if reasons else "")
        alike.setdefault(said, []).append(attribute)
    return "; ".join(f"matches {', '.join(attributes)} on {said}" for said, attributes in alike.items())
