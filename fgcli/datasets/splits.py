"""Which photos or pictures train, which validate, which test."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from fgcli.datasets.photoset import PhotoSet
from fgcli.datasets.pictureset import PictureSet

TRAIN, VAL, TEST = 0, 1, 2
OFFICIAL = {"train": TRAIN, "val": VAL, "test": TEST}
UNSPLIT = 255
"""The split of what its data set does not split."""


def assign(
    sets: Sequence[PhotoSet] | Sequence[PictureSet], val: float, test: float, groups: np.ndarray, people: np.ndarray
) -> np.ndarray:
    """Split (n,) uint8 of the n photos of all sets: official if there is one, else by person, else by name.

    A group goes whole where its leader goes: its first photo with an official split, else its first photo.

    Args:
        sets: data sets.
        val: share of the people (or photos) that validate, 0 to 1.
        test: share that tests; val + test < 1.
        groups: (n,) group of each photo, see `fgcli.datasets.groups`.
        people: (n,) bool, photos whose group is a person: these are split in exact shares; the others by the sha256
            of their leader's name alone, so that added photos move no other.
    """
    split = official(sets)
    order = np.lexsort([np.arange(len(split)), split == UNSPLIT, groups])
    _, first, of = np.unique(groups[order], return_index=True, return_inverse=True)
    leader = np.empty(len(split), np.int64)
    leader[order] = order[first[of]]
    free, start = split == UNSPLIT, 0
    for data in sets:
        led = np.unique(leader[start : start + len(data)])
        led = led[(led >= start) & (led < start + len(data)) & free[led]]
        who = _names(data)
        names = {int(i): who[i - start] for i in led if people[i]}
        of_person = _by_person(list(names.values()), val, test)
        for i in led:
            split[i] = of_person[names[i]] if people[i] else _by_hash(data.sources[i - start], val, test)
        start += len(data)
    return np.where(free, split[leader], split)


def official(sets: Sequence[PhotoSet] | Sequence[PictureSet]) -> np.ndarray:
    """(n,) uint8 split of each photo as its data set has it, UNSPLIT where it has none."""
    return np.array([OFFICIAL[s] if s else UNSPLIT for data in sets for s in data.splits or [""] * len(data)], np.uint8)


def last_of_class(labels: np.ndarray, val: float, test: float) -> list[str]:
    """Splits of n pictures of classes (n,): of each class, in published order, the last test and those before them
    validate, in exact shares. Where one hand's pictures stand together, few hands are in two splits.
    """
    splits = ["train"] * len(labels)
    for label in np.unique(labels):
        from_end = np.flatnonzero(labels == label)[::-1].tolist()
        tests, vals = round(test * len(from_end)), round(val * len(from_end))
        for place, i in enumerate(from_end[: tests + vals]):
            splits[i] = "test" if place < tests else "val"
    return splits


def last_validate(n: int, one_of: int) -> list[str]:
    """Splits of n training pictures in their published order, the last n / one_of of which validate."""
    vals = n // one_of
    return ["train"] * (n - vals) + ["val"] * vals


def _names(data: PhotoSet | PictureSet) -> list[str]:
    """What each photo's group is called if it leads it: the person, if known, else the photo."""
    people = data.identities if isinstance(data, PhotoSet) and data.identities else [""] * len(data)
    return [person or source for person, source in zip(people, data.sources, strict=True)]


def _by_person(people: Sequence[str], val: float, test: float) -> dict[str, int]:
    """People ordered by the sha256 of their names; the first go to test, the next to val, in exact shares.

    Of three people or more, each wanted split gets at least one.
    """
    ordered = sorted(set(people), key=_sha)
    least = 1 if len(ordered) >= 3 else 0
    tests = max(least, round(test * len(ordered))) if test else 0
    vals = max(least, round(val * len(ordered))) if val else 0
    cut = [TEST] * tests + [VAL] * vals
    return dict(zip(ordered, (cut + [TRAIN] * len(ordered))[: len(ordered)], strict=True))


def _by_hash(source: str, val: float, test: float) -> int:
    """By the photo's own name alone, so that added photos move no other."""
    at = int(_sha(source)[:13], 16) / 16**13
    return TEST if at < test else VAL if at < test + val else TRAIN


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
