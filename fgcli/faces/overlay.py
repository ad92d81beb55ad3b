"""Crops with what was found in them, for people to check."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

EDGE, DOT = np.array([0, 230, 90], np.uint8), (255, 60, 60)


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
