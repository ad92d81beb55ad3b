"""Pictures in [0, 1], where attacks live, and steps on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def unit(images: Tensor) -> Tensor:
    """From [-1, 1] to [0, 1]."""
    return (images + 1) / 2


def signed(pixels: Tensor) -> Tensor:
    """From [0, 1] to [-1, 1]."""
    return 2 * pixels - 1


def gradient(loss: Callable[[Tensor], Tensor], pixels: Tensor) -> Tensor:
    """Gradient (n, c, h, w) of losses (n) at pixels in [0, 1]; of grey pictures, along grey ones."""
    with torch.enable_grad():
        x = pixels.detach().requires_grad_()
        (found,) = torch.autograd.grad(loss(x).sum(), x)
    return torch.where(grey(pixels), found.mean(1, keepdim=True), found)


def grey(pixels: Tensor) -> Tensor:
    """(n, 1, 1, 1) whether a picture's channels are equal."""
    return (pixels == pixels[:, :1]).flatten(1).all(1)[:, None, None, None]


def noise(pixels: Tensor, rng: torch.Generator) -> Tensor:
    """Uniform in [0, 1], in the shape of the pictures; grey where they are."""
    drawn = torch.rand(pixels.shape, generator=rng, dtype=pixels.dtype).to(pixels.device)
    return torch.where(grey(pixels), drawn[:, :1], drawn)


def projected(pixels: Tensor, original: Tensor, epsilon: float) -> Tensor:
    """The nearest pixels within `epsilon` of the original in every value, and within [0, 1]."""
    return torch.clamp(pixels, original - epsilon, original + epsilon).clamp(0, 1)


def class_loss(defence: Any, classes: Tensor) -> Callable[[Tensor], Tensor]:
    """What an attacker of the encoder raises: -log softmax_c(-|f(x) - mu_c|^2) at the true class, (n).

    That is the cross-entropy of the class posterior of a mixture of variance 1/2. At the mixture's own variance the
    posterior is 0 or 1 in float32 and its gradient vanishes: the attack would fail for want of digits, not of holes.
    """
    model = defence.model
    return lambda x: F.cross_entropy(
        -model.variance * model.distances(model.encode(signed(x))), classes, reduction="none"
    )


def threshold_loss(defence: Any, targets: Tensor, a: float, b: float) -> Callable[[Tensor], Tensor]:
    """(|x - g(f(x))|^2 / tau_dec)^a + ((f(x) - mu_t)^T Sigma^-1 (f(x) - mu_t) / tau_enc)^b, (n): Eq. 4.10.

    Ghosh's thesis prints Sigma_t for Sigma^-1. Both terms are 1 at their threshold, tau_dec that of the target's class.
    """

    def loss(x: Tensor) -> Tensor:
        codes, error = defence.measure(signed(x))
        distance = defence.model.distances(codes).gather(1, targets[:, None])[:, 0]
        return (error / defence.reconstruction[targets]) ** a + (distance / defence.latent) ** b

    return loss


def descend(loss: Callable[[Tensor], Tensor], pixels: Tensor, steps: int, learning_rate: float) -> Tensor:
    """Adam on pixels in [0, 1], put back into that range after each step."""
    x = pixels.clone()
    optimizer = torch.optim.Adam([x], learning_rate)
    for _ in range(steps):
        x.grad = gradient(loss, x)
        optimizer.step()
        x.clamp_(0, 1)
    return x
