"""Which photos or pictures train, which validate, which test."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from fgcli.datasets.photoset import PhotoSet
from fgcli.datasets.pictureset import PictureSet

TRAIN, VAL, TEST = 0, 1, 2
OFFICIAL = {"train": TRAIN, "val": VAL, "test": TEST}


def assign(photos: PhotoSet | PictureSet, val: float, test: float) -> np.ndarray:
    """Split (n,) uint8 of every photo: official if there is one, else by person, else by the photo's name.

    A class is no person: pictures are split by their names.

    Args:
        photos: a data set.
        val: share of the people (or photos) that validate, 0 to 1.
        test: share that tests; val + test < 1.
    """
    if photos.splits is not None:
        return np.array([OFFICIAL[s] for s in photos.splits], np.uint8)
    by_name = np.array([_by_hash(source, val, test) for source in photos.sources], np.uint8)
    if isinstance(photos, PictureSet) or photos.identities is None:
        return by_name
    of_person = _by_person([p for p in photos.identities if p], val, test)
    return np.array(
        [of_person.get(person, alone) for person, alone in zip(photos.identities, by_name, strict=True)], np.uint8
    )


def by_class(sources: Sequence[str], labels: np.ndarray, val: float, test: float) -> list[str]:
    """Splits of n pictures of classes (n,): of each class, ordered by the sha256 of the names, the first test, the
    next validate, in exact shares.
    """
    splits = ["train"] * len(sources)
    for label in np.unique(labels):
        ordered = sorted(np.flatnonzero(labels == label).tolist(), key=lambda i: _sha(sources[i]))
        tests, vals = round(test * len(ordered)), round(val * len(ordered))
        for place, i in enumerate(ordered[: tests + vals]):
            splits[i] = "test" if place < tests else "val"
    return splits


def last_validate(n: int, one_of: int) -> list[str]:
    """Splits of n training pictures in their published order, the last n / one_of of which validate."""
    vals = n // one_of
    return ["train"] * (n - vals) + ["val"] * vals


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
