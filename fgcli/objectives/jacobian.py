"""How strongly a decoder answers to its code: ||J||_F^2 = sum_ij (dD_i / dz_j)^2, exactly or by unbiased estimates.

Neither pythae nor the code released with Ghosh's thesis computes it. pythae's RAE-GP takes the gradient with respect to
the input image of the summed output; the released code takes the gradient with respect to z of the summed squared
output. Both change when the sign of an output pixel is flipped, which ||J||_F^2 does not.

All functions take decode: codes (n, l, d) -> images, codes, images = decode(codes) and rng; they give one value per
row, (n,).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Decode = Callable[[Tensor], Tensor]
STEP = 1e-2
"""Of the finite difference: its rounding noise is about 1e-7 / STEP."""


def hutchinson(decode: Decode, codes: Tensor, images: Tensor, rng: torch.Generator) -> Tensor:
    """|J^T v|^2 with v of random signs: E v v^T = I, so its mean is ||J||_F^2 (Hutchinson 1990); one backward pass."""
    (pulled,) = torch.autograd.grad(images, codes, signs(images, rng), create_graph=True)
    return pulled.square().sum((1, 2))


def finite_difference(decode: Decode, codes: Tensor, images: Tensor, rng: torch.Generator) -> Tensor:
    """|(D(z + h u) - D(z)) / h|^2 with u of random signs: its mean is ||J||_F^2 + O(h^2); one forward pass."""
    ahead = decode(codes + STEP * signs(codes, rng))
    return ((ahead - images) / STEP).square().sum((1, 2, 3))


def exact(decode: Decode, codes: Tensor, images: Tensor, rng: torch.Generator) -> Tensor:
    """||J||_F^2, a forward-mode derivative per dimension of the code.

    Each row moves with a random sign, so that rows which meet in a batch norm add nothing to each other's mean.
    """
    total, sides = codes.new_zeros(len(codes)), signs(codes[:, :1, :1], rng)
    for direction in torch.eye(codes[0].numel()).to(codes).unflatten(1, codes.shape[1:]):
        column: Tensor = torch.func.jvp(decode, (codes,), (sides * direction,))[1]
        total = total + column.square().sum((1, 2, 3))
    return total


def reference(decode: Decode, codes: Tensor, images: Tensor, rng: torch.Generator) -> Tensor:
    """The released code's term: |d/dz sum_i D_i(z)^2|^2, mean over the code's dimensions."""
    (gradient,) = torch.autograd.grad(images.square().sum(), codes, create_graph=True)
    return gradient.square().mean((1, 2))


@contextmanager
def still_statistics(network: nn.Module) -> Iterator[None]:
    """Inside the block batch norms do as they did, but their running statistics stay: a second look is no second batch.

    Forward-mode derivatives would not allow for a change of them either.
    """
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def signs(like: Tensor, rng: torch.Generator) -> Tensor:
    """-1 or 1, of the same shape."""
    return torch.randint(0, 2, like.shape, generator=rng, device=rng.device).to(like) * 2 - 1


MODES = {"hutchinson": hutchinson, "finite_difference": finite_difference, "exact": exact, "reference": reference}
