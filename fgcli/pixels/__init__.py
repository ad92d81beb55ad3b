"""Pixels: 8-bit pictures as files hold them, and as networks see them; how alike two pictures are."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def pixels(images: Tensor, memory_format: torch.memory_format = torch.contiguous_format) -> Tensor:
    """uint8 (n, h, w, c) as float (n, c, h, w) in [-1, 1], written once, in the layout that is wanted."""
    source = images.permute(0, 3, 1, 2)
    values = torch.empty(source.shape, device=images.device, memory_format=memory_format)
    return values.copy_(source).div_(127.5).sub_(1)


def u8(images: Tensor) -> Tensor:
    """float (n, c, h, w) in [-1, 1] as uint8 (n, h, w, c), as a file would hold them: the inverse of `pixels`.

    >>> u8(pixels(torch.tensor([0, 7, 255], dtype=torch.uint8).view(1, 1, 3, 1))).flatten().tolist()
    [0, 7, 255]
    """
    return ((images.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).contiguous()


def tensor(images: np.ndarray) -> Tensor:
    """uint8 images (n, h, w, c) as (n, c, h, w) in [-1, 1]."""
    return pixels(torch.from_numpy(np.array(images)))


def squared_error(x: Tensor, y: Tensor) -> Tensor:
    """|x - y|^2 (n) of images (n, c, h, w): sum over pixels of the mean over channels.

    >>> squared_error(torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2)).tolist()
    [4.0]
    """
    return (x - y).square().mean(1).sum((1, 2))
