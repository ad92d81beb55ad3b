"""Sheets of small images with labels, as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fgcli.artifacts import write_aside
from fgcli.console import readable

INK, PAPER = (40, 40, 40), (255, 255, 255)
GAP = 2
"""Between pictures, px."""


def sheet(
    rows: Sequence[Sequence[np.ndarray]],
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    scale: int = 1,
) -> Image.Image:
    """Rows of equal-sized uint8 images (h, w, 3), each enlarged `scale` times, with labels left and above."""
    row_labels = [readable(text) for text in row_labels]
    h, w = (scale * s for s in rows[0][0].shape[:2])
    font = ImageFont.load_default(size=12)
    left = max((int(font.getlength(t)) + 8 for t in row_labels), default=0)
    top = 18 if column_labels else 0
    columns = max(map(len, rows))
    page = Image.new("RGB", (left + columns * (w + GAP) - GAP, top + len(rows) * (h + GAP) - GAP), PAPER)
    draw = ImageDraw.Draw(page)
    for j, text in enumerate(column_labels):
        draw.text((left + j * (w + GAP) + 2, 2), text, INK, font)
    for i, row in enumerate(rows):
        if i < len(row_labels):
            draw.text((2, top + i * (h + GAP) + h // 2 - 7), row_labels[i], INK, font)
        for j, image in enumerate(row):
            tile = Image.fromarray(np.ascontiguousarray(image)).resize((w, h), Image.Resampling.NEAREST)
            page.paste(tile, (left + j * (w + GAP), top + i * (h + GAP)))
    return page


def wrap(images: Sequence[np.ndarray], columns: int) -> list[list[np.ndarray]]:
    """A flat sequence of images as rows of `columns`."""
    return [list(images[i : i + columns]) for i in range(0, len(images), columns)]


def save_png(path: Path, page: Image.Image) -> None:
    """Writes a PNG whole or not at all; no metadata, so equal pictures give equal bytes."""
    with write_aside(path) as part:
        page.save(part, "PNG")


def spread(n: int, count: int) -> list[int]:
    """At most `count` of 0..n-1, evenly spread, the first among them.

    >>> spread(10, 3), spread(2, 3)
    ([0, 3, 6], [0, 1])
    """
    return [i * n // count for i in range(count)] if n > count > 0 else list(range(n if count > 0 else 0))
