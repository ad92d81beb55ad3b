"""DECA's coarse encoder (Feng et al. 2021, section 4.1): from a photo to 236 numbers, by its own crop.

The weights come from the user's own deca_model.tar.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from fgcli import artifacts
from fgcli.foreign import head_parts
from fgcli.foreign.deca_files import Network
from fgcli.heads.parameters import Parameters

SIDE = 224
"""Side of the crops that the network sees, px: its last pooling is over exactly 7 x 7."""
MARGIN = 1.1 * 1.25
"""Side of the crop over the mean side of the box around the landmarks."""


class Encoder:
    """From photos to parameters, by DECA's own crop and back to the photo's camera.

    Args:
        weights: the state of `Network`; batch counters may lack.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self.network = Network()
        counters = {k: v for k, v in self.network.state_dict().items() if k.endswith("num_batches_tracked")}
        self.network.load_state_dict({**counters, **weights})
        self.network.eval().requires_grad_(False)

    @classmethod
    def load(cls) -> Self:
        """From the imported file.

        Raises:
            FgError: it was not imported; says where to get it.
        """
        part = head_parts.load("deca", "flame.method=deca")
        assert part is not None
        arrays = artifacts.load(part.path).group("arrays")
        return cls({key: torch.from_numpy(array) for key, array in arrays.items()})

    @torch.no_grad()
    def parameters(self, images: Tensor, landmarks: Tensor | None = None) -> Parameters:
        """Parameters of images (n, 3, h, h) in [0, 1], cameras included.

        landmarks: (n, 68, 2) in [-1, 1]; of a row without them, or with None, the whole image is looked at.
        """
        maps = crop_maps(images, landmarks)
        found = Parameters.from_vector(self.network(crop(images, maps)), "deca")
        return found.replace(camera=to_image(found.camera, maps, images.shape[-1]))


def crop_maps(images: Tensor, landmarks: Tensor | None) -> Tensor:
    """Scale and offset (n, 3) with which DECA maps image px to crop px: crop = scale * px + offset (x, y).

    The square has the centre of the box around the landmarks and MARGIN times its mean side, in whole px.
    """
    n, _, height, width = images.shape
    whole = images.new_tensor([(SIDE - 1) / (max(height, width) - 1), 0, 0]).expand(n, -1)
    if landmarks is None:
        return whole
    points = (landmarks + 1) * width / 2 - 0.5
    low, high = points.amin(1), points.amax(1)
    side = ((high - low).mean(1) * MARGIN).floor().clamp_min(1)
    scale = ((SIDE - 1) / side)[:, None]
    maps = torch.cat([scale, -scale * ((low + high) / 2 - side[:, None] / 2)], 1)
    return torch.where(maps.isfinite().all(1, keepdim=True), maps, whole)


def crop(images: Tensor, maps: Tensor) -> Tensor:
    """The crops (n, 3, 224, 224) of images (n, 3, h, w): bilinear, black beyond the border."""
    height, width = images.shape[-2:]
    px = torch.arange(SIDE).to(images)
    grids = []
    for axis, size in ((1, width), (2, height)):
        source = (px - maps[:, axis, None]) / maps[:, :1]  # (n, 224)
        grids.append(2 * (source + 0.5) / size - 1)
    grid = torch.stack([grids[0][:, None].expand(-1, SIDE, -1), grids[1][:, :, None].expand(-1, -1, SIDE)], -1)
    return F.grid_sample(images, grid, align_corners=False)


def to_image(camera: Tensor, maps: Tensor, size: int) -> Tensor:
    """The camera (n, 3) of a `size` x `size` image, from that of its crop.

    DECA trains its camera on landmarks 2 px / 224 - 1, without the half pixel by which ours are off: a point at u in
    its crop lies at px = (112 (u + 1) - offset) / scale, and at 2 (px + 0.5) / size - 1 for us.
    """
    scale, offset = maps[:, :1], maps[:, 1:]
    zoom = SIDE / (scale * size)
    shift = (2 * ((SIDE / 2 - offset) / scale + 0.5) / size - 1) / (camera[:, :1] * zoom)
    return torch.cat([camera[:, :1] * zoom, camera[:, 1:2] + shift[:, :1], camera[:, 2:] - shift[:, 1:]], 1)
