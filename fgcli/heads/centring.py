"""The camera under which a head sits as faces do in aligned crops."""

from __future__ import annotations

import torch
from torch import Tensor

from fgcli.heads.camera import project
from fgcli.heads.head import Head, rotation_matrices
from fgcli.heads.parameters import Parameters

EYES = torch.tensor([[0.2419, -0.0499], [-0.2441, -0.0491]])
"""Left and right eyeball in FFHQ's crops, [-1, 1], y down: where GIF's centring puts FLAME's."""


def eyeballs(head: Head, shape: Tensor, expression: Tensor, pose: Tensor) -> Tensor:
    """Centres (n, 2, 3) of the left and the right eyeball."""
    joints = head.joints(shape, expression)
    root, turned = joints[:, :1], rotation_matrices(pose[:, None, :3])[:, 0]
    return (joints[:, 3:5] - root) @ turned.mT + root


def centred(head: Head, shape: Tensor, expression: Tensor, pose: Tensor, framing: float) -> Tensor:
    """Camera (n, 3) that puts the eyeballs where FFHQ's crops have them, in a frame `framing` times as large.

    Least squares over s, tx, ty (GIF's centring). The scale is that of the frontal head: the crop of a turned face is
    no tighter, since its frame then follows the distance from eyes to mouth, which does not shrink.
    """
    goal = (EYES / framing).to(pose)
    frontal = eyeballs(head, shape, expression, torch.zeros_like(pose))
    across = frontal[:, 0, :2] - frontal[:, 1, :2]
    towards = (goal[0] - goal[1]) * torch.tensor([1.0, -1.0], device=pose.device)
    scale = (across * towards).sum(1, keepdim=True) / across.square().sum(1, keepdim=True)
    middle = eyeballs(head, shape, expression, pose)[..., :2].mean(1)
    at = goal.mean(0) * torch.tensor([1.0, -1.0], device=pose.device)
    return torch.cat([scale, at / scale - middle], 1)


def eyes_off(head: Head, p: Parameters, framing: float) -> Tensor:
    """How far (n,) the middle of the eyeballs lies from its place in such a frame, fraction of the side."""
    middle = project(eyeballs(head, p.shape, p.expression, p.pose), p.camera)[..., :2].mean(1)
    return (middle - EYES.mean(0).to(middle) / framing).norm(dim=1) / 2
