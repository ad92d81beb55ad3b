"""Geometry, albedo and light from pixels: gradient descent through the renderer.

Minimises, for each face, the mean over its pixels of log(1 + d^2 / 4 s^2), d the colour's error and s NOISE, plus a
little of the landmarks' distances, taken likewise, plus |theta|^2 of coefficients in standard deviations. A head turns
about its root joint, far below the face: where the pose moves, the camera moves along so that the middle of the face
stays in place, or else neither could take a step without the other. For renders, and for photos that look like them:
hair, beards and glasses, which the head does not have, pull the geometry away (landmarks alone do not).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fgcli.fitting.landmark_fit import POSE_SPREAD
from fgcli.heads.camera import project
from fgcli.heads.head import JAW_POINTS, Head, rotation_matrices
from fgcli.heads.parameters import Parameters
from fgcli.heads.rasteriser import Fragments, rasterise, refresh
from fgcli.heads.render import sample, shading, unit

SIDE = 64
"""Pictures are compared at this side at most, px."""
NOISE = 0.008
SIGMA = 0.02
"""Expected error of a landmark, in [-1, 1]; further off they count less."""
AGAIN = 4
"""Steps between rasterisations: in between the faces behind the pixels stay."""
UNITS = {"camera": 0.05, "pose": 0.1, "shape": 1.0, "expression": 1.0, "texture": 1.0, "light": 0.15}
"""What a step of 1 means: relative scale and half sides, radians, standard deviations, light."""


@dataclass(frozen=True)
class PhotometricFit:
    """How pixels are fitted.

    Attributes:
        shape, expression, texture: leading modes that move.
        steps: of Adam. rate: its step size at the start, in UNITS; it falls linearly to a tenth.
        landmarks: weight of the landmarks. prior: weight of the coefficients' prior, against the mean over pixels.
    """

    shape: int = 24
    expression: int = 10
    texture: int = 20
    steps: int = 60
    rate: float = 0.15
    landmarks: float = 0.01
    prior: float = 0.0005

    def __call__(
        self, head: Head, images: Tensor, face: Tensor, landmarks: Tensor | None, start: Parameters
    ) -> Parameters:
        """Refined parameters.

        Args:
            head: with a texture.
            images: (n, 3, h, w) in [0, 1].
            face: (n, 1, h, w), 1 where pixels count; the rest of the head is ignored.
            landmarks: (n, 68, 2) in [-1, 1]; None: pixels alone.
            start: where to begin, light included.
        """
        goal, face = reduced(images), reduced(face)
        unknown = {k: torch.zeros_like(getattr(start, k), requires_grad=True) for k in UNITS}
        optimizer = torch.optim.Adam(unknown.values(), self.rate, (0.9, 0.95))
        surface, fragments, pivot = _surface(head, self.texture, goal.shape[-1]), None, _pivot(head)
        for step in range(self.steps):
            p = self._moved(start, unknown, pivot)
            vertices = head.vertices(p.shape, p.expression, p.pose)
            ndc = project(vertices, p.camera)
            if fragments is None or step % AGAIN == 0:
                fragments = rasterise(ndc.detach(), head.faces, goal.shape[-1])
            drawn = _drawn(head, refresh(fragments, ndc, head.faces), vertices, surface, p)
            loss = self._loss(drawn, fragments, goal, face, p)
            if landmarks is not None:
                points = project(head.landmarks(vertices, p.pose.detach()), p.camera)[..., :2]
                apart = (points - landmarks).square().sum(2) / SIGMA**2
                loss = loss + self.landmarks * (1 + apart).log().mean(1)
            for group in optimizer.param_groups:
                group["lr"] = self.rate * (1 - 0.9 * step / self.steps)
            optimizer.zero_grad()
            loss.sum().backward()
            optimizer.step()
        with torch.no_grad():
            return self._moved(start, unknown, pivot)

    def _moved(self, start: Parameters, unknown: dict[str, Tensor], pivot: Tensor) -> Parameters:
        """Parameters after the steps so far; modes that may not move stay, and so does the pivot in the picture."""
        u = {k: UNITS[k] * v for k, v in unknown.items()}
        for name in ("shape", "expression", "texture"):
            count = getattr(self, name)
            u[name] = F.pad(u[name][:, :count], (0, max(0, u[name].shape[1] - count)))
        s, rest = start.camera[:, :1], {k: getattr(start, k) + u[k] for k in UNITS if k != "camera"}
        before, now = (rotation_matrices(pose[:, :3]) @ pivot for pose in (start.pose, rest["pose"]))
        shift = start.camera[:, 1:] + u["camera"][:, 1:] / s - (now - before)[:, :2]
        return start.replace(camera=torch.cat([s * u["camera"][:, :1].exp(), shift], 1), **rest)

    def _loss(self, drawn: Tensor, fragments: Fragments, goal: Tensor, face: Tensor, p: Parameters) -> Tensor:
        """Loss (n,) of colours (3, k) at the covered pixels, and of the coefficients."""
        pixel = fragments.pixel
        counted = face.flatten().index_select(0, pixel)
        error = drawn - goal.movedim(1, 0).flatten(1).index_select(1, pixel)
        robust = counted * (error.square().sum(0) / (4 * NOISE**2)).log1p()
        n = len(goal)
        total = robust.new_zeros(n).index_add(0, fragments.picture, robust)
        pixels = robust.new_zeros(n).index_add(0, fragments.picture, counted)
        pose = (p.pose / p.pose.new_tensor(POSE_SPREAD)).square().sum(1)
        size = sum(getattr(p, k).square().sum(1) for k in ("shape", "expression", "texture"))
        return total / pixels.clamp_min(1) + self.prior * (size + pose)


def reduced(pictures: Tensor) -> Tensor:
    """Pictures (n, c, h, w) at SIDE at most."""
    if pictures.shape[-1] <= SIDE:
        return pictures
    return F.interpolate(pictures, (SIDE, SIDE), mode="bilinear", antialias=True)


def _pivot(head: Head) -> Tensor:
    """The middle of the mean head's face (3,), from the root joint."""
    none, still = head.template.new_zeros(1, 0), head.template.new_zeros(1, 6)
    return head.landmark_points(none, none, still)[0, JAW_POINTS:].mean(0) - head.joints(none, none)[0, 0]


def _surface(head: Head, modes: int, size: int) -> tuple[Tensor, Tensor]:
    """Mean albedo and its leading modes, no finer than pictures of `size` px can show."""
    step = max(1, head.albedo_mean.shape[-1] // (2 * size))
    return F.avg_pool2d(head.albedo_mean, step), F.avg_pool2d(head.albedo_basis[:modes], step)


def _drawn(head: Head, fragments: Fragments, vertices: Tensor, surface: tuple[Tensor, Tensor], p: Parameters) -> Tensor:
    """Colours (3, k) at the covered pixels."""
    mean, modes = surface
    albedo = mean + (p.texture[:, : len(modes)] @ modes.flatten(1)).unflatten(1, mean.shape)
    normals = unit(fragments.gather(head.faces, head.normals(vertices)))
    uv = fragments.gather(head.uv_faces, head.uv)
    return sample(albedo, uv, fragments.counts) * shading(normals, p.light, fragments.counts)
