"""Rejected photos by their reasons."""

from __future__ import annotations

import re
from collections.abc import Iterable

Rejected = tuple[str, str]
"""A photo's name, and why it gave no row."""


def grouped(rejected: Iterable[Rejected]) -> dict[str, list[Rejected]]:
    """Rejected photos by reason, the most frequent first. Reasons that differ in numbers alone are one, with "#".

    >>> grouped([("a", "no face found"), ("b", "2 faces found"), ("c", "9 faces found")])
    {'# faces found': [('b', '2 faces found'), ('c', '9 faces found')], 'no face found': [('a', 'no face found')]}
    """
    groups: dict[str, list[Rejected]] = {}
    for photo, reason in rejected:
        groups.setdefault(re.sub(r"\d+", "#", reason), []).append((photo, reason))
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    return {_common(reason, photos): photos for reason, photos in ordered}


def _common(reason: str, photos: list[Rejected]) -> str:
    """What all of a group have for a reason: numbers that are everywhere the same stay."""
    told = {own for _, own in photos}
    return told.pop() if len(told) == 1 else reason
