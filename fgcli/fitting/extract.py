"""Three ways to a first guess of a head's parameters, and what is done with it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fgcli import artifacts
from fgcli.config import build
from fgcli.config.fields import Positive
from fgcli.errors import FgError
from fgcli.fitting.landmark_fit import frontal
from fgcli.fitting.regressor import Regressor
from fgcli.heads import HEADS
from fgcli.heads.head import Head
from fgcli.heads.parameters import Parameters

WORST = 0.12
"""Landmarks that lie further off than this, in outer eye distances, tell of a wrong fit."""
FAR = 4.5
"""So do coefficients beyond so many standard deviations."""


class Fit:
    """The mean head, scaled and shifted onto the landmarks: needs nothing but them.

    Args:
        head: whose parameters are wanted.
    """

    def __init__(self, head: Head) -> None:
        self.head = head

    def guess(self, images: Tensor, landmarks: Tensor) -> Parameters:
        """Parameters of images (n, 3, h, w) in [0, 1] with landmarks (n, 68, 2) in [-1, 1]."""
        return frontal(self.head, landmarks)


class Regress:
    """A small network that was trained on renders of this head (`fg regressor`).

    Args:
        head: whose parameters are wanted.
        regressor: regressor.h5.
        framing: of the crops, against FFHQ's.

    Raises:
        FgError: no such file, or one of another head.
    """

    def __init__(self, head: Head, regressor: Path, framing: Positive) -> None:
        stored = artifacts.load(regressor, artifacts.REGRESSOR)
        told = stored.meta["head"]
        if told["sha256"] != identity(head, told["build"])["sha256"]:
            raise FgError(
                f"{regressor}: expected a regressor of this head, {head.name}, found one of another, {told['name']}; "
                "train one on its renders (fg data make procedural_heads, fg regressor) or set flame.method=fit"
            )
        self.network = Regressor(**stored.meta["build"])
        state = stored.group("weights")
        with artifacts.blamed(regressor):
            artifacts.verify_state(state, {k: v.shape for k, v in self.network.state_dict().items()})
        self.network.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()})
        self.network.to(head.template.device).eval().requires_grad_(False)
        self.network.to(memory_format=torch.channels_last)  # a third faster for a single face
        self.zoom = framing / stored.meta["training"]["framing"]

    def guess(self, images: Tensor, landmarks: Tensor) -> Parameters:
        """Parameters of images (n, 3, h, w) in [0, 1]; landmarks are not looked at."""
        images = 2 * images - 1
        if abs(self.zoom - 1) > 1e-3:  # as tight as the pictures that the network knows
            maps = torch.eye(2, 3).to(images).mul(1 / self.zoom).expand(len(images), -1, -1)
            grid = F.affine_grid(maps, list(images.shape), align_corners=False)
            images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
        with torch.no_grad():
            p = self.network.parameters_of(self.network(images))
        return p.replace(camera=p.camera * p.camera.new_tensor([1 / self.zoom, 1.0, 1.0]))


class Deca:
    """DECA's coarse encoder (Feng et al. 2021), from the user's file; only for FLAME.

    Args:
        head: FLAME.

    Raises:
        FgError: the file was not imported, or the head is another.
    """

    def __init__(self, head: Head) -> None:
        from fgcli.fitting.deca import Encoder

        if head.name != "flame":
            raise FgError(
                f"flame.method: expected the head flame for deca, found {head.name}; set flame.head.name=flame"
            )
        self.network = Encoder.load()
        self.network.network.to(head.template.device)

    def guess(self, images: Tensor, landmarks: Tensor) -> Parameters:
        """Parameters of images (n, 3, h, w) in [0, 1] with landmarks (n, 68, 2) in [-1, 1]."""
        return self.network.parameters(images, landmarks)


def status(p: Parameters, residuals: Tensor, landmarks: Tensor) -> list[str]:
    """For each row "ok", or what is wrong with it."""
    told = []
    finite = torch.stack([v.flatten(1).isfinite().all(1) for v in vars(p).values()]).all(0)
    for i in range(len(residuals)):
        most = max(float(p.shape[i].abs().max()), float(p.expression[i].abs().max()))
        if not landmarks[i].isfinite().all():
            told.append("no landmarks to fit to")
        elif not finite[i]:
            told.append("the fit did not converge")
        elif float(residuals[i]) > WORST:
            told.append(f"landmarks off by {float(residuals[i]):.0%} of the outer eye distance")
        elif most > FAR:
            told.append(f"a coefficient lies at {most:.1f} standard deviations")
        else:
            told.append("ok")
    return told


def identity(head: Head, build: Mapping[str, Any]) -> dict[str, Any]:
    """Which head a file is about: how to build it, its name, and the sha256 of its shape."""
    content = hashlib.sha256()
    for array in (head.template, head.faces, head.shape_basis, head.expression_basis, head.albedo_mean):
        content.update(array.contiguous().numpy().tobytes())
    return {"build": dict(build), "name": head.name, "sha256": content.hexdigest()}


def same_head(told: Mapping[str, Any], path: Path) -> Head:
    """The head that a file is about.

    Raises:
        FgError: it cannot be built here, or has another shape by now.
    """
    head: Head = build(HEADS, told["build"], str(path))
    verify_today(identity(head, told["build"]), told, path)
    return head


def verify_today(head: Mapping[str, Any], told: Mapping[str, Any], path: Path) -> None:
    """Raises FgError unless a file, which tells of a head, is about the one that can be built here."""
    if head != told:
        raise FgError(
            f"{path}: expected parameters of today's head {told['name']}, found those of an earlier one; make it again"
        )
