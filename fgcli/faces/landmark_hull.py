"""A face mask from landmarks alone: the jaw, closed over the forehead."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from PIL import Image, ImageDraw
from pydantic import Field

from fgcli.faces.landmarks import JAW, NOSE_BASE, eye_centres
from fgcli.faces.view import View

FINE = 8
"""The outline is drawn this many times finer than the mask."""


class LandmarkHull:
    """Jaw line and an arc over the brows.

    Args:
        forehead: height of the arc above the eyes, in lengths from the eyes to the base of the nose. By the rule of
            thirds the brows are near 0.45 and the hairline near 1.9; eyes, unlike brows, stay when a face moves.
    """

    def __init__(self, forehead: Annotated[float, Field(ge=0.5, le=2.5)] = 1.5) -> None:
        self.forehead = forehead

    def segment(self, view: View) -> np.ndarray:
        """Mask uint8 (size, size), 255 on the face."""
        return fill(outline(view.crop_landmarks(), self.forehead), view.size)


def outline(landmarks: np.ndarray, forehead: float) -> np.ndarray:
    """Closed polygon (m, 2), px: jaw points 0 to 16, then half an ellipse from 16 back to 0 over the forehead."""
    points = np.asarray(landmarks, np.float64)
    jaw, eyes = points[JAW], np.mean(eye_centres(points), 0)
    middle = (jaw[0] + jaw[-1]) / 2
    # The jaw's ends lie at the eyes' height: the arc rises from there to the forehead's top.
    rise = eyes + forehead * (eyes - points[NOSE_BASE]) - middle
    angles = np.linspace(0, np.pi, 33)[1:-1, None]
    arc = middle + np.cos(angles) * (jaw[-1] - middle) + np.sin(angles) ** 0.8 * rise
    return np.concatenate([jaw, arc])


def fill(polygon: np.ndarray, size: int) -> np.ndarray:
    """Mask uint8 (size, size): 255 where the polygon (m, 2), px, covers at least half of a pixel."""
    canvas = Image.new("L", (size * FINE, size * FINE))
    fine = (polygon + 0.5) * FINE - 0.5
    ImageDraw.Draw(canvas).polygon([tuple(p) for p in fine], fill=1)
    cover = np.asarray(canvas, np.float32).reshape(size, FINE, size, FINE).mean((1, 3))
    return np.where(cover >= 0.5, 255, 0).astype(np.uint8)
