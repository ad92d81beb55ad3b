"""The numbers of a head by which a person steers a face: set them, read them, and the camera that they need.

Yaw, in radians, turns the face about head space's vertical axis, positive to image right; jaw, in radians, opens the
mouth; expression, shape and texture are modes of the head, in standard deviations; light is a harmonic of all colours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fgcli.capabilities import Conditional
from fgcli.errors import UsageError
from fgcli.heads.camera import project
from fgcli.heads.centring import centred, eyeballs
from fgcli.heads.conditions import condition_images
from fgcli.heads.head import Head, axis_angle, rotation_matrices
from fgcli.heads.parameters import SIZES, Parameters
from fgcli.pixels import pixels

YAW, JAW = math.pi / 8, math.pi / 12
"""The random protocol's largest turn to either side, and how far it opens the jaw at most; radians."""
LEADING = 3
"""Leading modes that it draws of shape, expression and texture."""
MODES, DRAWN = 3 * LEADING, 3 * LEADING + 4
"""Numbers that it needs of a draw: modes, from N(0, 1), and yaw, jaw, and shares of the rows of light and style."""


@dataclass(frozen=True)
class Factor:
    """One number of a head.

    Attributes:
        name: yaw, jaw, expression, shape, texture or light.
        mode: which mode or harmonic, from 0; None of yaw and jaw.
    """

    name: str
    mode: int | None = None

    def __str__(self) -> str:
        return self.name if self.mode is None else f"{self.name} {self.mode}"

    def verify(self, head: Head) -> None:
        """Raises UsageError where the head has no such mode."""
        bases = {"shape": head.shape_basis.shape[2], "expression": head.expression_basis.shape[2]}
        most = min(SIZES.get(self.name, 0), (bases | {"texture": len(head.albedo_basis), "light": 9}).get(self.name, 0))
        if self.mode is not None and self.mode >= most:
            raise UsageError(
                f"--{self.name} {self.mode}: expected a number below {most}, as head {head.name} has them, found "
                f"{self.mode}; choose a smaller one"
            )

    def set(self, p: Parameters, value: float) -> Parameters:
        """The heads with this number; all else stays."""
        if self.name == "yaw":
            turn = torch.zeros(len(p), 3)
            turn[:, 1] = value - yaw(p)
            head = axis_angle(rotation_matrices(turn) @ rotation_matrices(p.pose[:, :3]))
            return p.replace(pose=torch.cat([head, p.pose[:, 3:]], 1))
        name, place = ("pose", 3) if self.name == "jaw" else (self.name, self.mode or 0)
        changed = getattr(p, name).clone()
        changed[:, place] = value
        return p.replace(**{name: changed})

    def get(self, p: Parameters) -> Tensor:
        """This number (n,) of heads; of light the mean over colours."""
        if self.name == "yaw":
            return yaw(p)
        value = p.pose[:, 3] if self.name == "jaw" else getattr(p, self.name)[:, self.mode or 0]
        return value.flatten(1).mean(1) if value.ndim > 1 else value


def yaw(p: Parameters) -> Tensor:
    """The turn (n,) about the vertical axis, after tilt and nod."""
    turned = rotation_matrices(p.pose[:, :3])
    return torch.atan2(turned[:, 0, 2], turned[:, 2, 2])


def neutral(p: Parameters) -> Parameters:
    """Heads without expression and pose."""
    return p.replace(expression=torch.zeros_like(p.expression), pose=torch.zeros_like(p.pose))


def recentred(head: Head, own: Parameters, p: Parameters) -> Parameters:
    """The heads `p` (n rows), which `own` (a single row) became, under a camera that keeps the eyes where they were.

    An aligned crop has the eyes in the middle, however the head turns, which does so about its neck; so a turned head
    is shifted back, and one of another shape is scaled, as `centred` does. What the fitted camera of `own` differs by
    from that rule stays, so that what is not changed looks as it did.
    """
    rule, changed = (centred(head, q.shape, q.expression, q.pose, 1.0) for q in (own, p))
    scale = own.camera[:, :1] * changed[:, :1] / rule[:, :1]
    at = project(eyeballs(head, own.shape, own.expression, own.pose), own.camera)[..., :2].mean(1)
    middle = eyeballs(head, p.shape, p.expression, p.pose)[..., :2].mean(1)
    shift = at * at.new_tensor([1.0, -1.0]) / scale - middle
    return p.replace(camera=torch.cat([scale, shift], 1))


def exchanged(head: Head, one: Parameters, other: Parameters) -> Parameters:
    """Seven heads from one (a single row) to another, which take on one kind of number after the other.

    As in Figure 5.4 of Ghosh's thesis: none, none (its style comes first), shape, expression, pose with the camera,
    texture, light. Until the camera is exchanged, the eyes stay where they were.
    """
    heads = [one, one]
    for name in ("shape", "expression", "pose", "texture", "light"):
        heads.append(heads[-1].replace(**{name: getattr(other, name)}))
    heads[2:4] = [recentred(head, one, p) for p in heads[2:4]]
    return Parameters.joined([*heads[:4], *(p.replace(camera=other.camera) for p in heads[4:])])


def condition_of(model: Conditional, head: Head, p: Parameters) -> Tensor:
    """Heads (n rows) as a generator wants to be told them: their pictures, in [-1, 1], or their numbers."""
    if model.condition_column == "parameters":
        return p.to_vector("gif")
    return pixels(condition_images(head, p, model.image_shape[-1]))


def random_heads(head: Head, drawn: Tensor, lights: Tensor, framing: float) -> Parameters:
    """Heads of the random protocol (Ghosh's thesis, Figure 5.5), centred as in aligned crops.

    drawn: (n, DRAWN), all but the modes from U(0, 1). lights: (m, 9, 3), of training rows.
    """
    modes, turn, jaw, _ = drawn.float().split([MODES, 1, 1, 2], 1)
    p = Parameters.zeros(len(drawn)).replace(light=lights[place(drawn[:, -2], len(lights))])
    for name, values in zip(("shape", "expression", "texture"), modes.split(LEADING, 1), strict=True):
        getattr(p, name)[:, :LEADING] = values
    p.pose[:, 1:2], p.pose[:, 3:4] = (2 * turn - 1) * YAW, jaw * JAW
    return p.replace(camera=centred(head, p.shape, p.expression, p.pose, framing))


def place(share: Tensor, n: int) -> Tensor:
    """Places below n that shares (m,) in [0, 1] fall upon."""
    return (share * n).long().clamp_max(n - 1)
