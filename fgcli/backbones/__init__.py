"""Frozen feature networks; their weights come from fgcli.assets.

An extractor turns images into features: `extractor(images uint8 (n, h, w, 3)) -> (n, size)` float32, one row per image
whatever the batch; `name`, `size`, and a `protocol` that goes with every number made of its features. One that knows
classes inherits fgcli.capabilities.TellsClasses.
"""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import numpy as np

from fgcli.config import lookup, supply

FEATURES = {
    "pixels": "fgcli.backbones.pixels:Pixels",
    "laplacian": "fgcli.backbones.laplacian:Laplacian",
    "dlib_embedding": "fgcli.backbones.dlib_embedding:shared",
    "face_detector": "fgcli.backbones.face_detector:FaceDetector",
    "inception": "fgcli.backbones.inception:Inception",
    "classifier": "fgcli.classifiers.features:Classes",
}

IDENTITIES = {
    "dlib": "fgcli.backbones.dlib_embedding:DlibEmbedding",
    "uniface": "fgcli.backbones.arcface:ArcFace",
}

__all__ = ["FEATURES", "IDENTITIES", "IdentityJudge", "create"]


class IdentityJudge(AbstractContextManager["IdentityJudge"]):
    """Says by the distance of two embeddings of faces whether they are one person's; built with `landmarks`, (68, 2)
    means of the aligned crops, px. Use as a context manager, to end its processes.

    Attributes:
        title: what it is. below: distance from which on two faces are two people's.
        notice: of its licence, if there is something to know; "" else.
    """

    title: ClassVar[str]
    below: ClassVar[float]
    notice: ClassVar[str] = ""

    @abstractmethod
    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Embeddings (n, d) float32 of aligned uint8 images (n, h, w, 3)."""

    @abstractmethod
    def distance(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """(n) of rows (n, d)."""


def create(name: str, path: str, **context: Any) -> Any:
    """The extractor of this name; of the context it gets what it names.

    The context has `image_shape`, `embedder`, `classifier`, `region` and `device`.

    Raises:
        UsageError: no such extractor.
        FgError: its weights are missing, or these images have not what it needs.
    """
    lookup(FEATURES, name, path)  # a mistake is told by the param that names the extractor
    return supply(FEATURES, {"name": name}, path, **context)
