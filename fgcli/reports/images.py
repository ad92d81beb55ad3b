"""Pictures inside an HTML page: encoded once, inlined, with the words that stand for them."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

LARGEST = 144
"""Side of an inlined face at most, px; larger ones are reduced."""
TILE = 128
"""Side at which faces are shown, px: smaller ones are enlarged by a whole factor up to it."""
QUALITY = 92
"""JPEG quality, without subsampling of colours: grey stays grey."""


@dataclass(frozen=True)
class Picture:
    """One image: its data URI, its alternative text, and a line under it."""

    uri: str
    alt: str
    note: str = ""


@dataclass(frozen=True)
class Row:
    """Pictures side by side: one label before them."""

    label: str
    pictures: list[Picture]


def picture(image: np.ndarray, alt: str, note: str = "", most: int = LARGEST) -> Picture:
    """A uint8 image (h, w, 3), at most `most` px wide, as a Picture."""
    page = Image.fromarray(np.ascontiguousarray(image))
    page.thumbnail((most, most), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    page.save(data, "JPEG", quality=QUALITY, subsampling=0)
    return Picture("data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode(), alt, note)


def pictures_of(images: Sequence[np.ndarray], alts: Sequence[str]) -> list[Picture]:
    """Several images with their words."""
    return [picture(image, alt) for image, alt in zip(images, alts, strict=True)]


def shown_side(side: int) -> int:
    """Side in CSS px at which faces of `side` px are shown: a whole multiple where they are tiny."""
    stored = min(side, LARGEST)
    return stored * max(1, TILE // stored)
