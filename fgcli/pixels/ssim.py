"""Structural similarity (Wang et al. 2004) as a map, differentiable and quick enough to be a training objective."""

from __future__ import annotations

import torch
from torch.nn import functional

K1, K2 = 0.01, 0.03
"""The stabilising constants of the paper."""


def gaussian(window: int, sigma: float, like: torch.Tensor) -> torch.Tensor:
    """A (window,) Gaussian of standard deviation `sigma` px that sums to one."""
    offset = torch.arange(window, dtype=like.dtype, device=like.device) - (window - 1) / 2
    weight = torch.exp(-(offset**2) / (2 * sigma**2))
    return weight / weight.sum()


def blur(images: torch.Tensor, window: int, sigma: float) -> torch.Tensor:
    """Gaussian means of (..., h, w) where the window fits: (..., h - window + 1, w - window + 1).

    All planes are the channels of one image: a depthwise convolution is many times faster on a CPU than a batch.
    """
    planes = images.reshape(1, -1, *images.shape[-2:])
    count = planes.shape[1]
    weight = gaussian(window, sigma, images)
    planes = functional.conv2d(planes, weight.expand(count, 1, 1, window), groups=count)
    planes = functional.conv2d(planes, weight[:, None].expand(count, 1, window, 1), groups=count)
    return planes.reshape(*images.shape[:-2], *planes.shape[-2:])


def ssim_map(
    x: torch.Tensor, y: torch.Tensor, data_range: float = 2.0, window: int = 11, sigma: float = 1.5
) -> torch.Tensor:
    """SSIM at every place where the window fits in the image.

    SSIM = (2 mx my + c1)(2 sxy + c2) / ((mx^2 + my^2 + c1)(sx^2 + sy^2 + c2)), with Gaussian means m and population
    (co)variances s; c1 = (K1 data_range)^2, c2 = (K2 data_range)^2. With s = x + y and d = x - y four moments are
    enough: 4 xy = s^2 - d^2 and 2 (x^2 + y^2) = s^2 + d^2.

    Args:
        x, y: (n, c, h, w) with values in a range of `data_range`; less than float32 is computed in float32.
        data_range: largest minus smallest possible value, 2 for [-1, 1].
        window: odd side of the Gaussian window, px.
        sigma: its standard deviation, px.

    Returns:
        (n, c, h - window + 1, w - window + 1), in [-1, 1].

    Raises:
        ValueError: shapes differ, or the image is smaller than the window.
    """
    if x.shape != y.shape or min(x.shape[-2:]) < window:
        raise ValueError(f"expected two equal shapes of at least {window} px, got {tuple(x.shape)}, {tuple(y.shape)}")
    with torch.autocast(x.device.type, enabled=False):
        x, y = (t if t.dtype == torch.float64 else t.float() for t in (x, y))
        c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
        s, d = x + y, x - y
        mean_s, mean_d, s2, d2 = blur(torch.stack((s, d, s * s, d * d)), window, sigma)
        mean_s2, mean_d2 = mean_s * mean_s, mean_d * mean_d
        var_s, var_d = s2 - mean_s2, d2 - mean_d2
        top = ((mean_s2 - mean_d2) / 2 + c1) * ((var_s - var_d) / 2 + c2)
        return top / (((mean_s2 + mean_d2) / 2 + c1) * ((var_s + var_d) / 2 + c2))


def ssim(
    x: torch.Tensor, y: torch.Tensor, data_range: float = 2.0, window: int = 11, sigma: float = 1.5
) -> torch.Tensor:
    """Mean of `ssim_map` over channels and places: (n,)."""
    return ssim_map(x, y, data_range, window, sigma).mean(dim=(1, 2, 3))
