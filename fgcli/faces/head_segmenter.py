"""A face mask from a head fitted to the landmarks: right where the head is turned, and closed at the hairline."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from fgcli.config import build
from fgcli.errors import FgError
from fgcli.faces.colour_cut import refine
from fgcli.faces.view import View
from fgcli.fitting.landmark_fit import LandmarkFit, frontal
from fgcli.heads import HEADS
from fgcli.heads.camera import to_ndc
from fgcli.heads.face_mask import face_mask
from fgcli.heads.render import render

COLOUR_PX = 192
"""Colours are looked at in crops of this side at most, px."""
GREY = 3.0
"""Mean difference of the largest and smallest channel, of 255, below which a photo is grey."""
BAND = 0.05
"""How far colours may move the edge, fraction of the side."""


class HeadSegmenter:
    """The face region of a fitted head, its edge moved to where the colours change.

    Args:
        head: name in HEADS: procedural, or flame with your own files.
        colour: move the edge by colour, where the photo has any; false: the head's own region.
    """

    def __init__(self, head: str = "procedural", colour: bool = True) -> None:
        torch.set_num_threads(1)  # photos are cut over processes; and bytes must not depend on the number of threads
        self.head = build(HEADS, {"name": head}, "preprocess.segmenter.head")
        self.fit, self.colour = LandmarkFit(), colour

    def segment(self, view: View) -> np.ndarray:
        """Mask uint8 (size, size), 255 on the face.

        Raises:
            FgError: no head fits the landmarks.
        """
        marks = to_ndc(torch.from_numpy(view.crop_landmarks()), view.size)[None].float()
        with torch.no_grad():
            p = self.fit(self.head, marks, frontal(self.head, marks))
            if not p.camera.isfinite().all():
                raise FgError("no head fits the landmarks of this face")
            drawn = render(self.head, self.head.vertices(p.shape, p.expression, p.pose), p.camera, view.size)
            mask = face_mask(self.head, drawn)[0, 0].numpy() > 0.5
        if self.colour and mask.any() and coloured(view.crop()):
            mask = self._refined(view, mask)
        return np.where(mask, 255, 0).astype(np.uint8)

    def _refined(self, view: View, mask: np.ndarray) -> np.ndarray:
        side = min(view.size, COLOUR_PX)
        small = np.asarray(Image.fromarray(mask).resize((side, side)))
        cut = refine(view.crop(side), small, BAND * side)
        if side == view.size:
            return cut
        values = Image.fromarray(cut.astype(np.float32)).resize((view.size, view.size), Image.Resampling.BICUBIC)
        return np.asarray(values) > 0.5


def coloured(image: np.ndarray) -> bool:
    """Whether an image uint8 (h, w, 3) has colours: greys alone tell hair from skin too badly."""
    return float((image.max(2).astype(np.int16) - image.min(2)).mean()) > GREY
