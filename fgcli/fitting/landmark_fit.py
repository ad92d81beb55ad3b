"""Geometry from landmarks: Levenberg-Marquardt over camera, pose, shape and expression, many faces at once.

Every step goes down r^T V^-1 r + |theta|^2 / tau^2, where r_i = p_i - q_i, p_i the head's projected landmarks
and q_i those found, both in [-1, 1], and

    V = S + diag_i(S_ii d_i^2 / c^2),   S = diag_i(sigma^2 / w_i^2) + C,   d_i^2 = r_i^T S_ii^-1 r_i

S is the covariance expected: sigma for what the head cannot show, C for the analyser, whose errors go together. To it a
landmark that lies d_i standard deviations off adds an error of its own, so that it neither counts nor tells of others.
With C = 0 these are the steps of iteratively reweighted least squares for Cauchy's loss, c^2 log(1 + d_i^2 / c^2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import jacfwd, vmap

from fgcli.heads.camera import project
from fgcli.heads.centring import centred
from fgcli.heads.head import JAW_POINTS, Head
from fgcli.heads.parameters import SIZES, Parameters

CAUCHY = 3.0
"""Residuals beyond so many standard deviations count little."""
POSE_SPREAD = (0.5, 0.7, 0.3, 0.25, 0.03, 0.03)
"""Standard deviations of nod, turn, tilt, and of the jaw, which hardly moves sideways; radians."""


@dataclass(frozen=True)
class LandmarkFit:
    """How landmarks are fitted.

    Attributes:
        shape: identity modes that are fitted. expression: expression modes.
        sigma: expected error of a landmark whoever finds it, in [-1, 1]. jaw: weight of the 17 jaw points, which lie
            less surely.
        steps: iterations.
    """

    shape: int = 24
    expression: int = 10
    sigma: float = 0.02
    jaw: float = 0.4
    steps: int = 8

    def __call__(
        self,
        head: Head,
        landmarks: Tensor,
        start: Parameters,
        covariance: Tensor | None = None,
        shape: Tensor | None = None,
    ) -> Parameters:
        """The parameters (n rows) whose landmarks lie on `landmarks` (n, 68, 2), in [-1, 1].

        Shape, expression and pose are drawn to the mean head that looks ahead.

        start: where to begin; its texture and light are kept. covariance: (n, 136, 136) of the errors of what found the
        landmarks; None: it makes none. shape: (n, 100) that stays as it is; None: it is fitted.
        """
        head = head.landmark_head().double()
        k = min(self.shape, head.shape_basis.shape[2]) if shape is None else 0
        e = min(self.expression, head.expression_basis.shape[2])
        split = [3, 6, k, e]
        held = landmarks.new_zeros(len(landmarks), 0) if shape is None else shape
        found = landmarks.double(), held.double()
        # tau: the standard deviations of the unknowns; the camera has none.
        spread = torch.cat([torch.full((3,), 1e3), torch.tensor(POSE_SPREAD), torch.ones(k + e)]).to(found[0])
        weight = torch.ones_like(found[0][0, :, 0])
        weight[:JAW_POINTS] = self.jaw
        expected = (self.sigma / weight).square().repeat_interleave(2).diag().expand(len(landmarks), -1, -1)
        if covariance is not None:
            expected = expected + covariance.double()

        def residuals(theta: Tensor, found: tuple[Tensor, Tensor], rows: Tensor) -> Tensor:
            camera, pose, moved, expression = theta[None].split(split, 1)
            goal, held = found
            points = head.landmark_points(torch.cat([moved, held[None]], 1), expression, pose, rows[None])
            return (project(points, camera)[0, :, :2] - goal).reshape(-1)

        def contour(theta: Tensor) -> Tensor:
            return head.contour_rows(theta[:, 3:9])

        theta = torch.cat([start.camera, start.pose, start.shape[:, :k], start.expression[:, :e]], 1).double()
        theta = _minimise(theta, contour, residuals, found, expected, spread, self.steps)
        camera, pose, moved, expression = theta.to(start.shape.dtype).split(split, 1)
        moved, expression = F.pad(moved, (0, SIZES["shape"] - k)), F.pad(expression, (0, SIZES["expression"] - e))
        return start.replace(camera=camera, pose=pose, shape=moved if shape is None else shape, expression=expression)


def frontal(head: Head, landmarks: Tensor) -> Parameters:
    """The mean head, placed by scale and shift on landmarks (n, 68, 2) in [-1, 1]: where a fit may start."""
    start = Parameters.zeros(len(landmarks), landmarks.device)
    camera = centred(head, start.shape, start.expression, start.pose, 1.0)
    points = head.landmark_points(start.shape, start.expression, start.pose)[..., :2] * camera.new_tensor([1.0, -1.0])
    inner, goal = points[:, JAW_POINTS:], landmarks[:, JAW_POINTS:].to(points)
    centre, towards = inner.mean(1, keepdim=True), goal.mean(1, keepdim=True)
    scale = ((goal - towards).square().sum((1, 2)) / (inner - centre).square().sum((1, 2))).sqrt()
    shift = towards[:, 0] / scale[:, None] - centre[:, 0]
    return start.replace(camera=torch.stack([scale, shift[:, 0], -shift[:, 1]], 1))


def residual(head: Head, parameters: Parameters, landmarks: Tensor) -> tuple[Tensor, Tensor]:
    """The head's landmarks (n, 68, 2) in [-1, 1], and the mean distance (n,) of the inner 51 to those found.

    The distance is in outer eye distances; where the jaw's points lie is a matter of taste.
    """
    p = parameters
    points = head.landmark_points(p.shape, p.expression, p.pose, head.contour_rows(p.pose))
    own = project(points, p.camera)[..., :2]
    eyes = (landmarks[:, 36] - landmarks[:, 45]).norm(dim=1)
    inner = (own - landmarks.to(own)).norm(dim=2)[:, JAW_POINTS:]
    return own, inner.mean(1) / eyes.clamp_min(1e-6)


def _minimise(
    theta: Tensor,
    rows_of: Callable[[Tensor], Tensor],
    residuals: Callable[[Tensor, tuple[Tensor, Tensor], Tensor], Tensor],
    found: tuple[Tensor, Tensor],
    expected: Tensor,
    spread: Tensor,
    steps: int,
) -> Tensor:
    """Levenberg-Marquardt with a damping of its own for every face; a step that makes it worse is not taken."""
    damping = theta.new_full((len(theta),), 1e-2)
    slope = vmap(jacfwd(residuals), in_dims=(0, 0, 0))
    value = vmap(residuals, in_dims=(0, 0, 0))
    for _ in range(steps):
        rows = rows_of(theta)
        r, j = value(theta, found, rows), slope(theta, found, rows)
        root = torch.linalg.cholesky_ex(_doubted(expected, r))[0]
        white = torch.linalg.solve_triangular(root, torch.cat([j, r[..., None]], 2), upper=False)
        j, r = white[..., :-1], white[..., -1]
        gradient = (j * r[..., None]).sum(1) + theta / spread**2
        hessian = j.mT @ j + (1 / spread**2).diag()
        damped = hessian + torch.diag_embed(damping[:, None] * hessian.diagonal(dim1=1, dim2=2) + 1e-12)
        trial = theta - torch.linalg.solve(damped, gradient)
        after = torch.linalg.solve_triangular(root, value(trial, found, rows)[..., None], upper=False)[..., 0]
        better = _cost(after, trial, spread) < _cost(r, theta, spread)
        theta = torch.where(better[:, None], trial, theta)
        damping = torch.where(better, damping / 5, damping * 10).clamp(1e-9, 1e9)
    return theta


def _doubted(expected: Tensor, r: Tensor) -> Tensor:
    """The covariance V (n, 136, 136) of residuals r (n, 136) of which S is expected."""
    each = expected.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).diagonal(dim1=1, dim2=3).movedim(3, 1)  # (n, 68, 2, 2)
    r = r.unflatten(1, (-1, 2))
    squared = (r * torch.linalg.solve(each, r)).sum(2)
    added = each * (squared / CAUCHY**2)[..., None, None]
    return expected + torch.diag_embed(added.permute(0, 2, 3, 1)).permute(0, 3, 1, 4, 2).flatten(3, 4).flatten(1, 2)


def _cost(r: Tensor, theta: Tensor, spread: Tensor) -> Tensor:
    return r.square().sum(1) + (theta / spread).square().sum(1)
