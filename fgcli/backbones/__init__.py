"""Frozen feature networks; their weights come from fgcli.assets.

An extractor turns images into features: `extractor(images uint8 (n, h, w, 3)) -> (n, size)` float32, one row per image
whatever the batch; `name`, `size`, and a `protocol` that goes with every number made of its features. One that knows
classes inherits fgcli.capabilities.TellsClasses.
"""

from __future__ import annotations

from typing import Any

from fgcli.config import lookup, supply

FEATURES = {
    "pixels": "fgcli.backbones.pixels:Pixels",
    "laplacian": "fgcli.backbones.laplacian:Laplacian",
    "dlib_embedding": "fgcli.backbones.dlib_embedding:shared",
    "face_detector": "fgcli.backbones.face_detector:FaceDetector",
    "inception": "fgcli.backbones.inception:Inception",
    "classifier": "fgcli.classifiers.features:Classes",
}

__all__ = ["FEATURES", "create"]


def create(name: str, path: str, **context: Any) -> Any:
    """The extractor of this name; of the context it gets what it names.

    The context has `image_shape`, `embedder`, `classifier`, `region` and `device`.

    Raises:
        UsageError: no such extractor.
        FgError: its weights are missing, or these images have not what it needs.
    """
    lookup(FEATURES, name, path)  # a mistake is told by the param that names the extractor
    return supply(FEATURES, {"name": name}, path, **context)
