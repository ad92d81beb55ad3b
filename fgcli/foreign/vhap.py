"""Heads as VHAP tracks them and avatar tools such as GaussianAvatars read them: one .npz of a whole sequence.

Of t frames: rotation, neck_pose, jaw_pose (t, 3), eyes_pose (t, 6): axis-angles, radians; translation (t, 3), m, after
the head has turned about its root joint; expr (t, 100); of all of them shape (300), static_offset (1, v, 3) and
focal_length (1). Everything is float32 but for three texts that say what the numbers mean.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fgcli.artifacts.outputs import write_npz
from fgcli.errors import FgError, UsageError
from fgcli.heads.centring import eyeballs
from fgcli.heads.head import Head
from fgcli.heads.parameters import SIZES, Parameters

SHAPE, EXPRESSION = 300, 100
FOCAL = 12.0
"""Focal length in sides of the picture: the camera is then some 3 m away, and perspective moves no point of a head by
more than some per cent from where the weak perspective, which was fitted, has it."""
CAMERA = (
    "a pinhole at (0, 0, 1) m that looks along -z, y up, its centre in the middle of a square picture: "
    "x = 2 f X / (1 - Z), y down = -2 f Y / (1 - Z) in [-1, 1], f focal_length in sides of the picture; "
    "each frame's translation puts the eyeballs where the fitted weak perspective has them"
)
PADDING = (
    f"shape {SIZES['shape']} of {SHAPE} and expr {SIZES['expression']} of {EXPRESSION} coefficients are fitted, the "
    "others are 0; so are neck_pose, eyes_pose and static_offset"
)


def save_vhap(path: Path, head: Head, p: Parameters) -> dict[str, str]:
    """Writes a sequence of one person; returns what it says of itself.

    Raises:
        UsageError: a head other than FLAME, whose numbers would mean nothing there.
        FgError: rows of several shapes.
    """
    if head.name != "flame":
        raise UsageError(
            f"--order vhap: expected the head flame, which avatar tools know, found {head.name}; fit with "
            "flame.head.name=flame"
        )
    shapes = len(p.shape.unique(dim=0))
    if shapes != 1:
        raise FgError(
            f"{path}: expected one shape in all {len(p)} heads, as a sequence of VHAP has, found {shapes}; fit them "
            "with fg flame --share-shape identity or export them one by one"
        )
    edition = f"{head.notice} (sha256 of the model's file: {head.source})"
    told = {"edition": edition, "camera": CAMERA, "padding": PADDING}
    arrays: dict[str, Any] = {name: value.detach().cpu().float().numpy() for name, value in _tensors(head, p).items()}
    arrays |= {name: np.array(text) for name, text in told.items()}
    write_npz(path, arrays)
    return told


def _tensors(head: Head, p: Parameters) -> dict[str, Tensor]:
    t, zero = len(p), p.pose.new_zeros
    return {
        "translation": translation(head, p),
        "rotation": p.pose[:, :3],
        "neck_pose": zero(t, 3),
        "jaw_pose": p.pose[:, 3:],
        "eyes_pose": zero(t, 6),
        "shape": F.pad(p.shape[0], (0, SHAPE - p.shape.shape[1])),
        "expr": F.pad(p.expression, (0, EXPRESSION - p.expression.shape[1])),
        "static_offset": zero(1, len(head.template), 3),
        "focal_length": torch.full((1,), FOCAL),
    }


def translation(head: Head, p: Parameters) -> Tensor:
    """(n, 3), m: where heads stand before CAMERA, for cameras of the weak perspective x = s (X + tx)."""
    depth = eyeballs(head, p.shape, p.expression, p.pose)[..., 2].mean(1)
    s, tx, ty = p.camera.unbind(1)
    return torch.stack([tx, ty, 1 - 2 * FOCAL / s - depth], 1)
