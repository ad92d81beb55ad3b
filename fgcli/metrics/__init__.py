"""Metrics: numbers with a protocol.

A *paired* metric compares each prediction with its reference: `update(reference, prediction, mask)` with uint8 images
(n, h, w, 3) and boolean masks (n, h, w), `values` (n,) per image, `compute() -> float`.
A *distribution* metric compares the features of a set of images with those of a reference set: `features` names the
extractor, `compute(found (n, d), reference (m, d)) -> Score`.
Both have a `kind`, a `name`, under which results print them, and a `protocol` that goes with every number; its `value`
says what the number is, its `better` which way is better: "higher", "lower" or "one" (nearest to 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fgcli.backbones import FEATURES
from fgcli.config import lookup, supply

METRICS = {
    "l1": "fgcli.metrics.pixels:L1",
    "l2": "fgcli.metrics.pixels:L2",
    "ssim": "fgcli.metrics.ssim:SSIM",
    "ms_ssim": "fgcli.metrics.ms_ssim:MSSSIM",
    "vif": "fgcli.metrics.vif:VIF",
    "lpips": "fgcli.metrics.lpips:LPIPS",
    "identity": "fgcli.metrics.identity:Identity",
    "identity_distance": "fgcli.metrics.identity:IdentityDistance",
    "identity_same": "fgcli.metrics.identity:IdentitySame",
    "frechet": "fgcli.metrics.frechet:Frechet",
    "kid": "fgcli.metrics.kid:KID",
    "inception_score": "fgcli.metrics.inception_score:InceptionScore",
    "precision_recall": "fgcli.metrics.precision_recall:PrecisionRecall",
    "prd": "fgcli.metrics.prd:PRD",
    "faces_found": "fgcli.metrics.faces_found:FacesFound",
    "sharpness": "fgcli.metrics.sharpness:Sharpness",
}

__all__ = ["METRICS", "create", "label"]


def create(spec: Mapping[str, Any], path: str, **context: Any) -> Any:
    """The metric of a spec; of the context (`image_shape`, `embedder`, `device`) it gets what its constructor names.

    Raises:
        UsageError: as `fgcli.config.build`; or no such features.
        FgError: its weights are missing, or the images are too small for it.
    """
    if "features" in spec:
        lookup(FEATURES, str(spec["features"]), f"{path}.features")
    return supply(METRICS, spec, path, **context)


def label(spec: Mapping[str, Any]) -> str:
    """The spec in one word, `lpips_alex` for {name: lpips, net: alex}: known before the metric is built."""
    return "_".join(str(value) for value in spec.values())
