"""Network outputs as uint8 pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fgcli.capabilities import Generator, Masks, Writes
from fgcli.codes import Codes, decode, decode_mask, written
from fgcli.pixels import u8
from fgcli.reports import grid
from fgcli.reports import written as sentences

PART = 64
"""Codes decoded at a time."""
SMALL = 128
"""Side below which pictures are enlarged on a sheet, px."""


def pictures(images: Tensor) -> list[np.ndarray]:
    """(n, 3 or 1, h, w) in [-1, 1] to a list of (h, w, 3) uint8."""
    return list(u8(images.detach()).expand(-1, -1, -1, 3).cpu().numpy())


def save_rows(path: Path, rows: Mapping[str, Tensor]) -> None:
    """A labelled row for each (n, 3 or 1, h, w) in [-1, 1], as a PNG; small pictures twice as large."""
    small = next(iter(rows.values())).shape[-1] < SMALL
    page = grid.sheet([pictures(images) for images in rows.values()], list(rows), scale=2 if small else 1)
    grid.save_picture(path, page)


def save_written(generator: Writes, path: Path, rows: Mapping[str, Tensor]) -> None:
    """A labelled row for the sentences of each planes (n, k, 1, t), as a PNG."""
    texts = {label: generator.write(planes) for label, planes in rows.items()}
    page = [[sentences.picture(generator.language, text) for text in row] for row in texts.values()]
    grid.save_picture(path, grid.sheet(page, list(rows)))


def mask_pictures(masks: Tensor) -> list[np.ndarray]:
    """(n, 1, h, w) in [0, 1] to grey pictures (h, w, 3)."""
    return pictures(2 * masks - 1)


@torch.no_grad()
def decoded(generator: Generator, codes: Codes) -> list[np.ndarray]:
    """Pictures (h, w, 3) of codes, part by part; of sentences what they mean is drawn."""
    if isinstance(generator, Writes):
        return [sentences.picture(generator.language, text) for text in written(generator, codes)]
    return [picture for part in codes.split(PART) for picture in pictures(decode(generator, part))]


@torch.no_grad()
def decoded_masks(generator: Masks, codes: Codes) -> list[np.ndarray]:
    """Predicted masks of codes as grey pictures (h, w, 3), part by part."""
    return [picture for part in codes.split(PART) for picture in mask_pictures(decode_mask(generator, part))]


def enlarge(model: Generator) -> int:
    """How much small pictures are enlarged in sheets."""
    return 1 if isinstance(model, Writes) else max(1, 128 // model.image_shape[-1])


def shown_size(model: Generator) -> tuple[int, int]:
    """Height and width of its pictures in sheets."""
    if isinstance(model, Writes):
        return sentences.SIDE, sentences.SIDE
    _, h, w = model.image_shape
    return enlarge(model) * h, enlarge(model) * w
