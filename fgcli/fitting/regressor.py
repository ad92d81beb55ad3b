"""From a face crop straight to the head's parameters: a small convolutional network.

It is trained on renders of the head itself (`fg regressor`) and knows nothing of real photos: its guess is where a fit
starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgcli.heads.head import Head
from fgcli.heads.parameters import SIZES, Parameters
from fgcli.layers.blocks import strided_block

MODES = 40
"""Coefficients of shape, expression and texture that are predicted at most: later ones hardly show."""
SIDE = 64
"""Side of the pictures that the network sees, px."""


class Regressor(nn.Module):
    """Five strided convolutions and two dense layers; the answer is in standard deviations around the mean.

    Args:
        sizes: leading coefficients of each parameter that are predicted, by the names of `SIZES`.
        width: channels of the first stage; the last has six times as many.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, sizes: Mapping[str, int], width: int = 32) -> None:
        super().__init__()
        self.sizes = dict(sizes)
        channels = [3, width, 2 * width, 3 * width, 4 * width, 6 * width]
        stages: list[nn.Module] = []
        for a, b in pairwise(channels):
            stages += strided_block(a, b)
        count, flat = sum(sizes.values()), channels[-1] * (SIDE // 32) ** 2
        self.trunk = nn.Sequential(*stages, nn.Flatten())
        self.answer = nn.Sequential(nn.Linear(flat, 256), nn.ReLU(), nn.Linear(256, count))
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("spread", torch.ones(count))

    def forward(self, images: Tensor) -> Tensor:
        """Parameters (n, count) in standard deviations, of crops (n, 3, h, w) in [-1, 1]."""
        if images.shape[-1] != SIDE:
            images = F.interpolate(images, (SIDE, SIDE), mode="bilinear", antialias=True)
        return self.answer(self.trunk(images)).float()

    def parameters_of(self, answer: Tensor) -> Parameters:
        """Named parameters of an answer (n, count); what is not predicted is 0."""
        values = (answer * self.spread + self.mean).split(list(self.sizes.values()), 1)
        named = {k: F.pad(v, (0, SIZES[k] - v.shape[1])) for k, v in zip(self.sizes, values, strict=True)}
        return Parameters.zeros(len(answer), answer.device).replace(
            **{k: v.unflatten(1, (9, 3)) if k == "light" else v for k, v in named.items()}
        )

    def answer_of(self, parameters: Parameters) -> Tensor:
        """The inverse of `parameters_of`: (n, count)."""
        parts = [getattr(parameters, k).flatten(1)[:, :size] for k, size in self.sizes.items()]
        return (torch.cat(parts, 1) - self.mean) / self.spread

    def standardise(self, parameters: Parameters) -> None:
        """Sets mean and spread to those of a training set; what does not vary is predicted as it is."""
        self.mean.zero_()
        self.spread.fill_(1.0)
        values = self.answer_of(parameters)
        self.mean.copy_(values.mean(0))
        self.spread.copy_(values.std(0, correction=0).clamp_min(1e-4))


def leading(head: Head) -> dict[str, int]:
    """How many coefficients of each parameter a regressor of this head predicts: the leading MODES at most."""
    bases = {"shape": head.shape_basis.shape[2], "expression": head.expression_basis.shape[2]}
    bases["texture"] = len(head.albedo_basis)
    return {name: min(count, MODES) for name, count in bases.items()} | {"pose": 6, "camera": 3, "light": 27}


def surface_metric(head: Head, shapes: int, expressions: int) -> Tensor:
    """M (k, k): off' M off is the mean squared distance of the face's vertices, (% of the head's height)^2."""
    face = torch.from_numpy(head.regions["face"])
    height = head.template[:, 1].max() - head.template[face, 1].min()
    modes = torch.cat([head.shape_basis[face][..., :shapes], head.expression_basis[face][..., :expressions]], 2)
    flat = modes.flatten(0, 1) * (100 / height)
    return flat.T @ flat / len(face)
