"""DECA's coarse encoder as its file holds it: the network whose weights they are, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fgcli import assets
from fgcli.errors import FgError
from fgcli.heads.parameters import SIZES


class Network(nn.Module):
    """A ResNet-50 without its classifier, then two dense layers; the names of the weights are those of DECA's file."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import resnet50

        self.encoder = resnet50()
        self.encoder.fc = nn.Identity()
        self.layers = nn.Sequential(nn.Linear(2048, 1024), nn.ReLU(), nn.Linear(1024, sum(SIZES.values())))

    def forward(self, crops: Tensor) -> Tensor:
        """The numbers (n, 236), in the order "deca", of crops (n, 3, 224, 224) in [0, 1]."""
        return self.layers(self.encoder(crops))


def read(path: Path) -> Mapping[str, Any]:
    """What torch.save put into a file, without running anything of it.

    Raises:
        FgError: a damaged file, or one of other things than tensors.
    """
    try:
        found = assets.read_tensors(path)
    except Exception as error:  # torch raises as the file is damaged
        raise FgError(f"{path}: expected a torch file of tensors, found one that torch cannot read safely") from error
    if not isinstance(found, dict):
        raise FgError(f"{path}: expected named weights, found a {type(found).__name__}; give deca_model.tar")
    return found


def parse(path: Path, content: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The coarse encoder's weights in deca_model.tar: all of them, in their shapes."""
    weights = content.get("E_flame")
    if not isinstance(weights, dict):
        raise FgError(f"{path}: expected the key E_flame, found {', '.join(content)}; give deca_model.tar")
    with torch.device("meta"):
        wanted = {key: value.shape for key, value in Network().state_dict().items()}
    needed = [key for key in wanted if not key.endswith("num_batches_tracked")]
    missing = [key for key in needed if key not in weights]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise FgError(
            f"{path}: expected all weights of E_flame, found none for {', '.join(missing[:3])}{more}; download it again"
        )
    for key in needed:
        if weights[key].shape != wanted[key]:
            raise FgError(
                f"{path}: expected {key} {tuple(wanted[key])}, found {tuple(weights[key].shape)}; give deca_model.tar"
            )
    return {key: weights[key].float().numpy() for key in needed}
