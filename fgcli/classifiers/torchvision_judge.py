"""Networks of torchvision as judges of pictures."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torchvision import models

from fgcli.classifiers.judges import ImageJudge
from fgcli.config.fields import Count

SMALLEST = 64
"""Side to which smaller pictures are enlarged, px: these networks divide it by 32."""


class Torchvision(ImageJudge):
    """One of torchvision's classifiers, with random weights to begin with.

    Args:
        attributes: k.
        side: of the pictures, px.
        model: its name in torchvision.
    """

    def __init__(
        self,
        attributes: Count,
        side: Count,
        model: Literal["resnet18", "resnet50", "mobilenet_v3_small", "efficientnet_b0"] = "resnet18",
    ) -> None:
        super().__init__(attributes, max(side, SMALLEST))
        self.net = models.get_model(model, weights=None, num_classes=attributes)

    def answer(self, x: Tensor) -> Tensor:
        """(n, k) of pictures (n, 3, side, side)."""
        return self.net(x)
