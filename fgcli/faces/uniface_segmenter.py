"""A face mask from BiSeNet's 19 face classes (Yu et al. 2018), by uniface."""

from __future__ import annotations

from typing import Any

import numpy as np

from fgcli.backbones.uniface_models import PROVIDERS, fetched
from fgcli.faces.align import compose, crop_transform, invert, warp, warp_mask
from fgcli.faces.view import View

DROPPED = (0, 7, 8, 9, 14, 15, 16)
"""Background, ears, earrings, neck, necklace, cloth: as the masked VAE's authors do; hair, hat, glasses stay."""

PARSED_PX = 512
"""The network's own size; it sees FFHQ's frame, on which it was trained."""


class UnifaceSegmenter:
    """Everything that belongs to the head, with hair; nothing beyond FFHQ's frame."""

    def __init__(self) -> None:
        self._parser: Any = fetched("preprocess.segmenter", _model)

    def segment(self, view: View) -> np.ndarray:
        """Mask uint8 (size, size), 255 on the face."""
        frame = crop_transform(view.landmarks, PARSED_PX)
        seen = warp(view.photo, frame, PARSED_PX)
        classes = self._parser.parse(np.ascontiguousarray(seen[..., ::-1]))
        return warp_mask(~np.isin(classes, DROPPED), compose(view.matrix, invert(frame)), view.size)


def _model() -> Any:
    from uniface.parsing import BiSeNet

    return BiSeNet(providers=PROVIDERS)
