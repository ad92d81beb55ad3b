"""Sheets of small images with labels, and the files of pictures."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fgcli.artifacts import write_aside
from fgcli.artifacts.outputs import picture_mark
from fgcli.console import readable
from fgcli.errors import UsageError

INK, PAPER = (40, 40, 40), (255, 255, 255)
GAP = 2
"""Between pictures, px."""
LINE = 15
"""Height of a line below a picture, px."""

FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {"compress_level": 2}),  # four times as quick as Pillow's 6, files 6 to 22 % larger
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".webp": ("WEBP", {"lossless": True}),
    ".tif": ("TIFF", {"compression": "tiff_lzw"}),
    ".tiff": ("TIFF", {"compression": "tiff_lzw"}),
}
"""Endings of pictures that are written, what Pillow calls their formats, and how it writes them."""
LONGEST = {"JPEG": 65_500, "WEBP": 16_383}
"""The longest side that a format can hold, px."""


def sheet(
    rows: Sequence[Sequence[np.ndarray]],
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    scale: int = 1,
    feet: Sequence[Sequence[Sequence[str]]] = (),
) -> Image.Image:
    """Rows of equal-sized uint8 images (h, w, 3), each enlarged `scale` times, with labels left and above.

    `feet` are the lines below each image of each row; one that is wider than an image is broken between words.
    """
    h, w = (scale * s for s in rows[0][0].shape[:2])
    font, (left, top) = label_font(), margins(row_labels, column_labels)
    below = [[[line for text in lines for line in broken(readable(text), w - 4)] for lines in row] for row in feet]
    down = h + GAP + LINE * max((len(lines) for row in below for lines in row), default=0)
    room = (down - GAP, w)
    page = Image.new("RGB", extent(len(rows), max(map(len, rows)), room, row_labels, column_labels), PAPER)
    draw = ImageDraw.Draw(page)
    for j, text in enumerate(column_labels):
        draw.text((left + j * (w + GAP) + 2, 2), text, INK, font)
    for i, row in enumerate(rows):
        if i < len(row_labels):
            draw.text((2, top + i * down + h // 2 - 7), readable(row_labels[i]), INK, font)
        for j, image in enumerate(row):
            x, y = left + j * (w + GAP), top + i * down
            tile = Image.fromarray(np.ascontiguousarray(image)).resize((w, h), Image.Resampling.NEAREST)
            page.paste(tile, (x, y))
            for k, text in enumerate(below[i][j] if below else ()):
                draw.text((x + 2, y + h + k * LINE), text, INK, font)
    return page


def broken(text: str, width: int) -> list[str]:
    """The text as lines of at most `width` px; a word that is wider is cut."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and label_font().getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(fitting(word, width))
    return lines or [""]


def fitting(text: str, width: int) -> str:
    """The text, cut where it is wider than `width` px."""
    font = label_font()
    if font.getlength(text) <= width:
        return text
    return next((f"{text[:n]}…" for n in range(len(text), 0, -1) if font.getlength(f"{text[:n]}…") <= width), "")


def extent(
    rows: int,
    columns: int,
    picture: tuple[int, int],
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
) -> tuple[int, int]:
    """Width and height of a sheet of pictures of (h, w), px."""
    (h, w), (left, top) = picture, margins(row_labels, column_labels)
    return left + columns * (w + GAP) - GAP, top + rows * (h + GAP) - GAP


def margins(row_labels: Sequence[str], column_labels: Sequence[str]) -> tuple[int, int]:
    """What labels take left of the pictures and above them, px."""
    font = label_font()
    return max((int(font.getlength(readable(t))) + 8 for t in row_labels), default=0), 18 if column_labels else 0


def label_font() -> Any:
    """Of all labels."""
    return ImageFont.load_default(size=12)


def wrap(images: Sequence[np.ndarray], columns: int) -> list[list[np.ndarray]]:
    """A flat sequence of images as rows of `columns`."""
    return [list(images[i : i + columns]) for i in range(0, len(images), columns)]


def picture_format(path: Path) -> tuple[str, dict[str, Any]]:
    """The entry of FORMATS that the name of a picture asks for.

    Raises:
        UsageError: its ending is none of them.
    """
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"{path}: expected a picture's ending, {', '.join(FORMATS)}, found {path.suffix or 'none'!r}")
    return FORMATS[path.suffix.lower()]


def verify_room(path: Path, size: tuple[int, int]) -> None:
    """Raises UsageError where the format of a picture cannot hold this width and height, px."""
    width, height = size
    longest = LONGEST.get(picture_format(path)[0], sys.maxsize)
    if max(width, height) > longest:
        raise UsageError(
            f"{path}: expected a picture of at most {longest} px a side, found {width} x {height}; name a .png or "
            "ask for fewer at a time"
        )


def save_picture(path: Path, page: Image.Image, profile: bytes | None = None) -> None:
    """Writes a picture in the format that its name says, whole or not at all.

    No metadata but fg's mark and the ICC profile of its colours, so equal pictures give equal bytes.
    """
    kind, options = picture_format(path)
    verify_room(path, page.size)
    with write_aside(path) as part:
        page.save(part, kind, icc_profile=profile, **options, **picture_mark(kind))


def spread(n: int, count: int) -> list[int]:
    """At most `count` of 0..n-1, evenly spread, the first among them.

    >>> spread(10, 3), spread(2, 3)
    ([0, 3, 6], [0, 1])
    """
    return [i * n // count for i in range(count)] if n > count > 0 else list(range(n if count > 0 else 0))
