"""Metrics: numbers with a protocol.

A *paired* metric compares each prediction with its reference: `update(reference, prediction, mask)` with uint8 images
(n, h, w, 3) and boolean masks (n, h, w), `values` (n,) per image, `compute() -> float`.
A *distribution* metric compares sets of images: `update(name, images)` as often as wanted, `values` {set: features
(n, d)}, `compute(name, reference) -> float`.
Both have a `kind`, a `name`, under which results print them, and a `protocol` that goes with every number.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from fgcli.config import build, lookup

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
    "frechet_dlib_embedding": "fgcli.metrics.frechet:FrechetDlibEmbedding",
    "fid_inception": "fgcli.metrics.frechet:FIDInception",
}

__all__ = ["METRICS", "create", "label"]


def create(spec: Mapping[str, Any], path: str, **context: Any) -> Any:
    """The metric of a spec; of the context (`image_shape`, `embedder`) it gets what its constructor names.

    Raises:
        UsageError: as `fgcli.config.build`.
        FgError: its weights are missing, or the images are too small for it.
    """
    wanted = inspect.signature(lookup(METRICS, spec["name"], f"{path}.name")).parameters
    return build(METRICS, spec, path, **{k: v for k, v in context.items() if k in wanted})


def label(spec: Mapping[str, Any]) -> str:
    """The spec in one word, `lpips_alex` for {name: lpips, net: alex}: known before the metric is built."""
    return "_".join(str(value) for value in spec.values())
