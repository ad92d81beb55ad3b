"""Whether dlib's detector (Dalal and Triggs 2005) finds a face in an image."""

from __future__ import annotations

from functools import cache
from typing import Any

import dlib
import numpy as np
from PIL import Image

SIDE = 128
"""Side to which crops are enlarged, px: the detector knows faces from 80 px on."""
PAD = 32
"""Edge pixels repeated around, since crops are tighter than the detector's frame."""


@cache
def detector() -> Any:
    """dlib's detector of frontal faces, which takes half a second to make: once."""
    return dlib.get_frontal_face_detector()


class FaceDetector:
    """1 where the detector finds a face, 0 where it finds none. It is kind: it takes the mean face for one, too."""

    name, size = "face_detector", 1

    def __init__(self) -> None:
        self.detector = detector()

    @property
    def protocol(self) -> dict[str, Any]:
        """Protocol."""
        return {"features": f"whether dlib's detector finds a face in the image, enlarged to {SIDE} px"}

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """(n, 1) float32 in {0, 1} of uint8 images (n, h, w, 3)."""
        return np.array([self.finds(image) for image in images], np.float32).reshape(-1, 1)

    def finds(self, image: np.ndarray) -> bool:
        """Whether there is a face."""
        large = np.array(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        return len(self.detector(np.pad(large, ((PAD, PAD), (PAD, PAD), (0, 0)), mode="edge"), 0)) > 0
