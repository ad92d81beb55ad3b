"""Detection and 68 landmarks by dlib, with the models of the package face-recognition-models: no download.

King, Dlib-ml, JMLR 2009; Dalal and Triggs 2005 (detector); Kazemi and Sullivan 2014 (landmarks).
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from fgcli.backbones.face_detector import detector
from fgcli.errors import FgError
from fgcli.faces.landmarks import COUNT, Box, Face, averaged, flaw, turn

ATTEMPTS = ((480, 0.0), (960, 0.0), (1920, 0.0), (960, -0.3))
"""Longer side of the copy that is searched, px, and the detector's threshold; the first that finds a face counts."""

ENLARGE = 2.0
"""The detector knows faces from 80 px on: small photos are enlarged, but no more than this."""

PAD_PX = 16
"""Edge pixels repeated around the copy, so that faces cut by the border are found."""

SURE, FRONTAL = 0.75, 0.18
"""Faces turned by more than FRONTAL and scored below SURE are refused: so are all profiles of the 610 demo photos."""

UPRIGHT = 0.5
"""Least score that tells an upright face from one upside down or lying, whose landmarks look as if it were upright.

Of 244 demo photos 15 scored less as they are; upside down, and 92 of them on their sides, none scored above 0.45.
"""


class DlibAnalyser:
    """Faces looking more or less at the camera; full profiles are mostly not found.

    The landmarks are the mean of those of the image and of its mirror image, which also tells how far to trust them.
    """

    notice: ClassVar[str] = (
        "dlib's 68-point landmark model was trained on photos (300-W) whose terms exclude commercial use: "
        "so does whatever is made with it."
    )

    def __init__(self) -> None:
        import dlib

        self._detector = detector()
        self._predictor = _predictor(model("shape_predictor_68_face_landmarks.dat"))
        self._rectangle: Any = dlib.rectangle

    def analyse(self, image: np.ndarray) -> list[Face]:
        """The faces in an image, uint8 (h, w, 3) RGB, in the detector's order."""
        tried = set()
        for side, threshold in ATTEMPTS:
            scale = min(side / max(image.shape[:2]), ENLARGE)
            if (scale, threshold) in tried:
                continue
            tried.add((scale, threshold))
            copy, scales = _copy(image, scale)
            boxes, scores, _ = self._detector.run(copy, 0, threshold)
            if len(boxes):
                return [self._face(copy, scales, *found) for found in zip(boxes, scores, strict=True)]
        return []

    def _face(self, copy: np.ndarray, scales: np.ndarray, found: Any, score: float) -> Face:
        box = (found.left(), found.top(), found.right(), found.bottom())
        points, doubt = averaged(copy, box, self._points)
        why = flaw(points, doubt)
        if not why and score < SURE and abs(turn(points)) > FRONTAL:
            why = "turned head and an unsure detection (probably a profile)"
        left, top = (np.array(box[:2]) - PAD_PX) / scales
        right, bottom = (np.array(box[2:]) + 1 - PAD_PX) / scales
        landmarks = (points - PAD_PX + 0.5) / scales - 0.5
        return Face((left, top, right, bottom), landmarks.astype(np.float32), float(score), why, score >= UPRIGHT)

    def _points(self, image: np.ndarray, box: Box) -> np.ndarray:
        shape = self._predictor(image, self._rectangle(*map(int, box)))
        return np.array([(shape.part(i).x, shape.part(i).y) for i in range(COUNT)], np.float64)


@cache
def _predictor(path: Path) -> Any:
    """The landmark model, 100 MB: read once per process."""
    import dlib

    return dlib.shape_predictor(str(path))


def model(name: str) -> Path:
    """A model file of the package face-recognition-models.

    Found without importing the package, whose import needs a setuptools of long ago.

    Raises:
        FgError: the package is not installed.
    """
    spec = find_spec("face_recognition_models")
    if spec is None or spec.origin is None:
        raise FgError("dlib: expected the package face-recognition-models, found none; pip install it")
    return Path(spec.origin).parent / "models" / name


def _copy(image: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """The image scaled and padded, contiguous (dlib silently misreads views), and the exact scales (x, y)."""
    height, width = image.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    resized = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0))
    padded = np.pad(resized, ((PAD_PX, PAD_PX), (PAD_PX, PAD_PX), (0, 0)), "edge")
    return np.ascontiguousarray(padded), np.array([size[0] / width, size[1] / height])
