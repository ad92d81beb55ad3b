"""Detection by RetinaFace (Deng et al. 2019) and 68 landmarks by PIPNet (Jin, Liao, Shao 2021), from uniface."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fgcli.backbones.uniface_models import PROVIDERS, fetched
from fgcli.config.fields import Part
from fgcli.faces.landmarks import Box, Face, averaged, flaw


class UnifaceAnalyser:
    """Finds smaller, darker and more turned faces than dlib does.

    Args:
        confidence: least score of a face, 0 to 1.
    """

    notice: ClassVar[str] = (
        "uniface's 68-point PIPNet was trained on photos (300-W, CelebA) whose terms exclude commercial use: "
        "so does whatever is made with it."
    )

    def __init__(self, confidence: Part = 0.5) -> None:
        self._detector, self._landmarker = fetched("preprocess.analyser", lambda: _models(confidence))

    def analyse(self, image: np.ndarray) -> list[Face]:
        """The faces in an image, uint8 (h, w, 3) RGB, surest first."""
        bgr = np.ascontiguousarray(image[..., ::-1])
        return [self._face(bgr, found) for found in self._detector.detect(bgr)]

    def _face(self, bgr: np.ndarray, found: Any) -> Face:
        left, top, right, bottom = (float(v) for v in found.bbox[:4])
        points, doubt = averaged(bgr, (left, top, right, bottom), self._points)
        box = (left, top, right, bottom)
        five = np.asarray(found.landmarks)  # eyes, nose, corners of the mouth: these turn with the face, the 68 hardly
        sure = bool(five[:2, 1].mean() <= five[3:, 1].mean())
        return Face(box, points.astype(np.float32), float(found.confidence), flaw(points, doubt), sure)

    def _points(self, bgr: np.ndarray, box: Box) -> np.ndarray:
        return self._landmarker.get_landmarks(bgr, np.array(box)).astype(np.float64)


def _models(confidence: float) -> tuple[Any, Any]:
    from uniface.constants import PIPNetWeights
    from uniface.detection import RetinaFace
    from uniface.landmark import PIPNet

    detector = RetinaFace(confidence_threshold=confidence, providers=PROVIDERS)
    return detector, PIPNet(model_name=PIPNetWeights.DW300_CELEBA_68, providers=PROVIDERS)
