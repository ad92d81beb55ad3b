"""Random people under random light, and pictures of them with everything known.

A head stands as in an aligned crop: its eyes lie where those of FFHQ's crops do, with the small errors of a detector.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fgcli.heads.centring import centred
from fgcli.heads.head import Head
from fgcli.heads.light import directional
from fgcli.heads.parameters import SIZES, Parameters

DEGREE = np.pi / 180
MOST = 2.5
"""Coefficients are drawn again beyond so many standard deviations."""
BEARDED = 0.2
"""Share of people with a beard that one sees."""


@dataclass(frozen=True)
class Population:
    """How far people and cameras vary.

    Attributes:
        yaw: largest turn of the head to either side, radians; uniform.
        pitch: standard deviation of looking up or down, radians.
        roll: standard deviation of what tilt an alignment leaves, radians.
        framing: side of the frame against FFHQ's, as preprocess has it.
        off: standard deviation of the alignment's errors: relative for the scale, fraction of the side for the place.
        modes: identity modes that vary, the leading ones.
    """

    yaw: float = 30 * DEGREE
    pitch: float = 8 * DEGREE
    roll: float = 3 * DEGREE
    framing: float = 0.8
    off: float = 0.03
    modes: int = SIZES["shape"]

    def person(self, head: Head, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Shape and texture of one person: unit Gaussians, as many as the head has, and now and then a beard."""
        shape = _gaussian(rng, min(head.shape_basis.shape[2], SIZES["shape"]))
        shape[self.modes :] = 0
        texture = _gaussian(rng, min(len(head.albedo_basis), SIZES["texture"]))
        if "beard" in head.texture_names and rng.random() < BEARDED:
            texture[head.texture_names.index("beard")] = rng.uniform(2.5, 5)
        return {"shape": _padded(shape, SIZES["shape"]), "texture": _padded(texture, SIZES["texture"])}

    def moment(self, head: Head, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Expression, pose and light of one picture, and the errors of its alignment."""
        pose = np.zeros(6)
        pose[:3] = rng.normal(0, self.pitch), rng.uniform(-self.yaw, self.yaw), rng.normal(0, self.roll)
        pose[3] = rng.uniform(0, 0.3) if rng.random() < 0.3 else 0.02 * abs(rng.normal())
        return {
            "expression": _padded(expression(head, rng), SIZES["expression"]),
            "pose": pose,
            "light": _light(rng),
            "off": rng.normal(0, self.off, 3),
        }

    def parameters(self, head: Head, people: list[dict], moments: list[dict]) -> Parameters:
        """One row per picture: the person, the moment, and the camera of an aligned crop."""
        drawn = {k: _tensor([row[k] for row in rows]) for rows in (people, moments) for k in rows[0]}
        off = drawn.pop("off")
        camera = centred(head, drawn["shape"], drawn["expression"], drawn["pose"], self.framing)
        side = 2 / camera[:, :1]  # the frame's side in metres
        camera = torch.cat([camera[:, :1] * (1 + off[:, :1]), camera[:, 1:] + off[:, 1:] * side], 1)
        return Parameters(camera=camera, **drawn)


def expression(head: Head, rng: np.random.Generator) -> np.ndarray:
    """Coefficients (e,): most modes mild, a few strong, as in faces; eyes are closed in one picture of ten."""
    drawn = _gaussian(rng, head.expression_basis.shape[2])
    drawn *= np.where(rng.random(len(drawn)) < 0.3, 1.2, 0.4)
    if "blink" in head.expression_names:
        i = head.expression_names.index("blink")
        drawn[i] = rng.uniform(1.8, 2.2) if rng.random() < 0.1 else 0.4 * np.clip(drawn[i], -1, 1)
    return drawn[: SIZES["expression"]]


def _light(rng: np.random.Generator) -> np.ndarray:
    """Ambient light and one or two lamps in front of the face, each with a tint: (9, 3)."""
    total = np.zeros((9, 3))
    lamps = 1 + (rng.random() < 0.5)
    for _ in range(lamps):
        towards = rng.uniform(-1, 1), rng.uniform(-0.3, 0.9), rng.uniform(0.4, 1.2)
        lamp = directional(towards, rng.uniform(0.2, 0.6) / lamps, rng.uniform(0.5, 0.8) / lamps)
        total += lamp.numpy() * np.exp(rng.normal(0, 0.04, 3))
    return total * np.exp(rng.normal(0, 0.12))


def _gaussian(rng: np.random.Generator, k: int) -> np.ndarray:
    drawn = rng.standard_normal(k)
    while (far := np.abs(drawn) > MOST).any():
        drawn[far] = rng.standard_normal(far.sum())
    return drawn


def _padded(values: np.ndarray, size: int) -> np.ndarray:
    return np.pad(values, (0, size - len(values)))


def _tensor(rows: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(rows).astype(np.float32))
