"""Parameters of one person in many pictures: one shape for all of them, a course over time without the fits' jitter."""

from __future__ import annotations

import torch
from torch import Tensor

from fgcli.heads.head import axis_angle, rotation_matrices
from fgcli.heads.parameters import Parameters


def shared_shapes(shape: Tensor, people: Tensor, good: Tensor) -> Tensor:
    """Shapes (n, 100): of each of the people (n,) the median of the good rows (n,) bool; -1, nobody, keep theirs.

    The median, since one wrong fit moves it little; of two rows it is their mean.
    """
    shared = shape.clone()
    for person in people[(people >= 0) & good].unique():
        own = people == person
        shared[own] = shape[own & good].quantile(0.5, 0)
    return shared


def window_weights(at: Tensor, moments: Tensor, window: float) -> Tensor:
    """Weights (m, n) of values known `at` moments (n,) for others (m,): a Gaussian of deviation `window` around each.

    They sum to 1, so that where no value is near the nearest counts; of a window of 0 it alone does.
    """
    far = (moments[:, None] - at).square()
    if window == 0:
        return torch.nn.functional.one_hot(far.argmin(1), len(at)).to(at)
    return torch.softmax(-far / (2 * window**2), 1)


def smoothed(p: Parameters, at: Tensor, moments: Tensor, window: float) -> Parameters:
    """Parameters at `moments` (m,), means of rows known `at` moments (n,), see `window_weights`; all in frames.

    Of rotations the mean is taken as matrices, and the nearest rotation to it (the chordal mean): axis-angles of turns
    about several axes do not add.
    """
    weights = window_weights(at, moments, window)
    mixed = {name: torch.tensordot(weights, value.float(), 1) for name, value in vars(p).items()}
    turns = torch.tensordot(weights, rotation_matrices(p.pose.float().unflatten(1, (2, 3))), 1)
    u, _, vt = torch.linalg.svd(turns)
    flip = torch.ones_like(u[..., 0])
    flip[..., 2] = torch.det(u @ vt)
    pose = axis_angle((u @ (flip[..., None] * vt)).flatten(0, 1)).unflatten(0, (-1, 2))
    return Parameters(**mixed).replace(pose=pose.flatten(1))
