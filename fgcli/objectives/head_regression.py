"""What teaches the regressor of head parameters: coefficients, surface and projected landmarks of known renders."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fgcli.fitting.regressor import Regressor, surface_metric
from fgcli.heads.camera import project
from fgcli.heads.head import Head
from fgcli.heads.parameters import Parameters
from fgcli.heads.render import render
from fgcli.training.columns import HEAD
from fgcli.training.objective import Batch, Group, Objective, Phase, Terms

WEIGHTS = {"coefficients": 1.0, "surface": 2.0, "landmarks": 20.0}


class HeadRegression(Objective):
    """Three errors of a guess, in one phase.

    coefficients: mean squared error in standard deviations, each parameter weighing the same.
    surface: root mean squared distance of the face's vertices in the neutral pose, % of the head's height; it is a
    quadratic form of the coefficients' error.
    landmarks: mean distance of the 68 projected landmarks in [-1, 1].

    Args:
        regressor: what is trained.
        head: whose parameters they are.
    """

    needs = ("images", "masks", *HEAD)
    network: Regressor

    def __init__(self, regressor: Regressor, head: Head) -> None:
        super().__init__(regressor)
        self.shown, self.head = (head,), head.landmark_head()  # in a tuple it is no part of a checkpoint
        self.sizes = (min(regressor.sizes["shape"], 100), min(regressor.sizes["expression"], 50))
        self.register_buffer("metric", surface_metric(head, *self.sizes))
        self.groups = {"regressor": Group(list(regressor.parameters()))}
        self.phases = [Phase("regressor", "regressor", self.loss, WEIGHTS)]

    def loss(self, batch: Batch, rng: torch.Generator) -> Terms:
        """The three terms of a batch; while training the pictures are spoiled as photos are."""
        images = spoil(batch["images"], batch["masks"], rng) if self.training else batch["images"]
        truth = Parameters(**{name: batch[name] for name in HEAD})
        answer = self.network(images)
        with torch.autocast(images.device.type, enabled=False):
            guess = self.network.parameters_of(answer)
            off = torch.cat([(guess.shape - truth.shape)[:, : self.sizes[0]],
                             (guess.expression - truth.expression)[:, : self.sizes[1]]], 1)  # fmt: skip
            surface = torch.einsum("ni,ij,nj->n", off, self.metric, off)
            parts = (answer - self.network.answer_of(truth)).split(list(self.network.sizes.values()), 1)
            apart = (self.points(guess) - self.points(truth)).norm(dim=2)
            return {
                "coefficients": torch.stack([part.square().mean() for part in parts]).mean(),
                "surface": surface.clamp_min(1e-8).sqrt().mean(),
                "landmarks": apart.mean(),
            }

    def sheet(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Held-out pictures, and the heads that the network sees in them."""
        x = batch["images"]
        head = self.shown[0].to(x.device)
        p = self.network.parameters_of(self.network(x))
        vertices = head.vertices(p.shape, p.expression, p.pose)
        drawn = render(head, vertices, p.camera, x.shape[-1], head.albedo(p.texture), p.light)
        return {"render": x, "guess": drawn.image * 2 - 1}

    def points(self, p: Parameters) -> Tensor:
        """Projected landmarks (n, 68, 2)."""
        rows = self.head.contour_rows(p.pose)
        return project(self.head.landmark_points(p.shape, p.expression, p.pose, rows), p.camera)[..., :2]


def spoil(images: Tensor, masks: Tensor, rng: torch.Generator) -> Tensor:
    """Pictures (n, 3, h, w) in [-1, 1] as photos are: other backgrounds, grey ones, blurred, noisy, partly covered."""
    n, _, h, w = images.shape

    def chance(p: float) -> Tensor:
        return (torch.rand(n, 1, 1, 1, generator=rng, device=rng.device) < p).to(images.device)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng, device=rng.device).to(images.device)

    clouds = F.interpolate(normal(n, 3, 6, 6), (h, w), mode="bicubic") * 0.5
    elsewhere = torch.where(chance(0.5), clouds, images.roll(1, 0))
    images = torch.where((masks < 0.5) & chance(0.4), elsewhere, images)
    images = torch.where(chance(0.25), images.mean(1, keepdim=True), images)
    small = F.interpolate(F.interpolate(images, scale_factor=0.5, mode="area"), (h, w), mode="bilinear")
    images = torch.where(chance(0.25), small, images)
    at = torch.rand(n, 4, generator=rng, device=rng.device).to(images.device)
    y, x = torch.linspace(0, 1, h, device=images.device), torch.linspace(0, 1, w, device=images.device)
    rows = (y - at[:, :1]).abs() < 0.04 + 0.14 * at[:, 2:3]
    columns = (x - at[:, 1:2]).abs() < 0.04 + 0.14 * at[:, 3:4]
    covered = (rows[:, None, :, None] & columns[:, None, None]) & chance(0.25)
    images = torch.where(covered, normal(n, 3, 1, 1) * 0.5, images)
    gamma = torch.exp(0.2 * normal(n, 1, 1, 1))
    images = 2 * ((images.clamp(-1, 1) + 1) / 2).pow(gamma) - 1
    return images + 0.04 * chance(0.5) * normal(n, 3, h, w)
