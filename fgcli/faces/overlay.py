"""Crops and photos with what was found in them, for people to check."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fgcli.faces.landmarks import Face

EDGE, DOT = np.array([0, 230, 90], np.uint8), (255, 60, 60)
PREVIEW_PX = 1600
"""Longest side of a photo with numbers."""


def overlay(image: np.ndarray, mask: np.ndarray, landmarks: np.ndarray, side: int) -> np.ndarray:
    """A crop, uint8 (s, s, 3), at `side` px with its mask's outline and its landmarks (68, 2), crop px."""
    zoom = side / len(image)
    big = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)).copy()
    inside = np.asarray(Image.fromarray(mask).resize((side, side), Image.Resampling.NEAREST)) > 127
    core = inside.copy()
    core[1:] &= inside[:-1]
    core[:-1] &= inside[1:]
    core[:, 1:] &= inside[:, :-1]
    core[:, :-1] &= inside[:, 1:]
    big[inside & ~core] = EDGE
    page = Image.fromarray(big)
    draw = ImageDraw.Draw(page)
    for x, y in ((landmarks + 0.5) * zoom - 1).round().astype(int).tolist():
        draw.rectangle((x, y, x + 1, y + 1), DOT)
    return np.asarray(page)


def with_numbers(photo: np.ndarray, faces: Sequence[Face]) -> Image.Image:
    """A photo, uint8 (h, w, 3), made smaller if it is large, with a box around each of its faces, numbered from 1."""
    page = Image.fromarray(photo)
    page.thumbnail((PREVIEW_PX, PREVIEW_PX))
    zoom, line = page.width / photo.shape[1], max(2, max(page.size) // 300)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=max(14, max(page.size) // 25))
    for number, face in enumerate(faces, 1):
        left, top, right, bottom = (zoom * edge for edge in face.box)
        draw.rectangle((left, top, right, bottom), outline=tuple(EDGE.tolist()), width=line)
        corner = (min(max(left, 0), page.width - 20), min(max(top, 0), page.height - 20))
        draw.rectangle(draw.textbbox(corner, str(number), font), DOT)
        draw.text(corner, str(number), "white", font)
    return page
