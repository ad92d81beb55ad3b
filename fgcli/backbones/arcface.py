"""ArcFace (Deng et al. 2019) of aligned crops, from the package uniface: InsightFace's ResNet-50."""

from __future__ import annotations

from typing import Any

import numpy as np

from fgcli.backbones import IdentityJudge
from fgcli.backbones.uniface_models import PROVIDERS, fetched

FIVE = (slice(36, 42), slice(42, 48), slice(30, 31), slice(48, 49), slice(54, 55))
"""Of 68 landmarks those whose means ArcFace aligns faces by: both eyes, the nose, both corners of the mouth."""


class ArcFace(IdentityJudge):
    """Embeds aligned faces; the crops are aligned, so one transform serves all of them, as with dlib.

    Args:
        landmarks: (68, 2) mean landmarks of the aligned crops, px.

    Raises:
        FgError: uniface is not installed, or its weights can be neither found nor fetched.
    """

    title = "ArcFace"
    below = 0.72
    """A cosine of 0.28, from which InsightFace says of this network's embeddings that they are one person's
    (web-demos/src_recognition/main.py, for w600k_r50)."""
    notice = "ArcFace's weights are InsightFace's, for non-commercial research alone."

    def __init__(self, landmarks: np.ndarray) -> None:
        self._net = fetched("judges.identity", _model)
        self.five = np.stack([np.asarray(landmarks)[part].mean(0) for part in FIVE]).astype(np.float32)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Unit embeddings (n, 512) float32 of aligned uint8 images (n, h, w, 3)."""
        bgr = (np.ascontiguousarray(image[..., ::-1]) for image in images)
        found = [self._net.get_normalized_embedding(image, self.five) for image in bgr]
        return np.array(found, np.float32).reshape(len(images), -1)

    def distance(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """1 - cosine (n) of rows (n, 512)."""
        return 1 - (a * b).sum(-1)

    def __exit__(self, *_: object) -> None:
        pass


def _model() -> Any:
    from uniface.constants import ArcFaceWeights
    from uniface.recognition import ArcFace

    return ArcFace(model_name=ArcFaceWeights.RESNET, providers=PROVIDERS)
