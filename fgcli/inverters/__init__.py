"""Inverters: image to code. `invert(generator, images (n, c, h, w)) -> codes (n, l, d)`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

INVERTERS = {
    "encoder": "fgcli.inverters.encoder:Encoder",
}


@torch.no_grad()
def reconstruction_error(generator: Any, images: Tensor, codes: Tensor, masks: np.ndarray) -> np.ndarray:
    """Root mean squared error (n,) on the face, images in [-1, 1]; masks (n, h, w) uint8."""
    m = torch.from_numpy(masks[:, None] > 127).to(images)
    squares = (generator.decode(codes) - images).square() * m
    return (squares.sum((1, 2, 3)) / (images.shape[1] * m.sum((1, 2, 3)).clamp_min(1))).sqrt().cpu().numpy()
