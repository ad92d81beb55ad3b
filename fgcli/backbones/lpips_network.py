"""LPIPS (Zhang et al. 2018), version 0.1: its linear weights ship in the package lpips, its trunk is an asset."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import torch

from fgcli import assets

TRUNKS = {"alex": "alexnet", "vgg": "vgg16"}
"""Trunk by its name in lpips, and the asset with its weights."""


@functools.cache
def load(net: str) -> torch.nn.Module:
    """The network, frozen: (x, y) in [-1, 1] of (n, 3, h, w) -> (n, 1, 1, 1).

    Raises:
        FgError: the trunk's weights are not imported or damaged.
    """
    import lpips

    state = assets.state_dict(TRUNKS[net], f"lpips_{net}")
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # lpips calls torchvision by its old names
        # Without pnet_rand it would download the trunk; pnet_tune would leave it with gradients.
        network = lpips.LPIPS(net=net, pnet_rand=True, pnet_tune=False, verbose=False)
    # slice2.3.weight of lpips is features.3.weight of torchvision.
    trunk = {name: state["features." + name.partition(".")[2]] for name in network.net.state_dict()}
    network.net.load_state_dict(trunk)
    return network.eval().requires_grad_(False)


def distance(network: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """LPIPS (n,) of images (n, 3, h, w).

    Raises:
        ValueError: values outside [-1, 1].
    """
    for images in (x, y):
        if images.min() < -1 or images.max() > 1:
            raise ValueError(f"expected images in [-1, 1], got [{images.min():.3f}, {images.max():.3f}]")
    with torch.no_grad():
        return network(x, y).flatten()
