"""Inversion by gradient descent on the code: for any generator, with an encoder or without."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fgcli.backbones import lpips_network
from fgcli.capabilities import Contested, Generator, Writes, require
from fgcli.codes import Codes, apart, coded, decode, prior
from fgcli.config.fields import Count, Positive, Weight
from fgcli.errors import FgError, UsageError
from fgcli.inverters import Context, Inverter

SMALLEST = 8
"""Side of the coarsest pictures that are compared, px."""
LPIPS_SIDE = 31
"""Side of the smallest pictures for LPIPS's trunk, px."""
PIXELS = 1.0
"""Weight of the squared error beside LPIPS."""


class Optimize(Inverter):
    """argmin_z d(G(z), x) by Adam from the best of several draws; the best code on the way is kept, row by row.

    d is LPIPS (Zhang et al. 2018) and the squared error of pixels, or `multiscale` where LPIPS's weights are not here,
    or what a GAN's critic sees, L1 summed over its blocks, and the squared error of pixels.

    Args:
        image_shape: (c, h, w).
        steps: of Adam.
        learning_rate: of Adam, in units of the code.
        starts: draws from the prior, of which each image starts at the nearest.
        distance: "lpips", "pixels", "critic", or "auto": lpips where its weights are and pictures are large enough.
        space: "w", one row for all layers, or "w+", a row for each, of generators that have several; "auto": w.
        noise: what is added to the codes while searching, in deviations of the prior's, falling to 0 in the first three
            quarters of the steps (Karras et al. 2020, appendix D, where it is 0.05).
        seconds: time for each image after which search and steps end early; 0 for as long as they take. A limit makes
            the result depend on the machine.

    Raises:
        FgError: LPIPS was asked for, and its weights are not here or pictures are too small.
    """

    refuses = (Writes,)  # a choice among rules has no gradient

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        steps: Count = 200,
        learning_rate: Positive = 0.05,
        starts: Count = 64,
        distance: Literal["auto", "lpips", "pixels", "critic"] = "auto",
        space: Literal["auto", "w", "w+"] = "auto",
        noise: Weight = 0.0,
        seconds: Weight = 0.0,
    ) -> None:
        self.steps, self.learning_rate, self.starts, self.seconds = steps, learning_rate, starts, seconds
        self.space, self.noise, self.critic = space, noise, distance == "critic"
        wanted = distance in ("auto", "lpips")
        self.network = perceptual(min(image_shape[1:]), needed=distance == "lpips") if wanted else None

    def resolved(self) -> dict[str, Any]:
        """Which distance it came to be."""
        return {"distance": "lpips" if self.network else "critic" if self.critic else "pixels"}

    def invert(self, generator: Generator, images: Tensor, context: Context) -> Codes:
        """Codes of images (n, c, h, w) in [-1, 1]."""
        away, end = self.distance(generator, images, context.known, context.condition), self.deadline(len(images))
        codes = self.layered(generator, self.start(generator, images, context, away, end))
        z = codes.values.clone().requires_grad_()
        adam, jitter = torch.optim.Adam([z], self.learning_rate), self.jitter(generator, context, z.shape[1:])
        best, lowest = z.detach().clone(), images.new_full((len(z),), torch.inf)
        for step in range(self.steps + 1):  # the last one only looks
            with torch.enable_grad():
                tried = z + jitter(step)
                losses = away(decode(generator, codes.moved(tried)))
                (z.grad,) = torch.autograd.grad(losses.sum(), z)
            better = losses.detach() < lowest
            best = torch.where(better[:, None, None], tried.detach(), best)
            lowest = torch.where(better, losses.detach(), lowest)
            if time.monotonic() > end:
                break
            adam.step()
        return codes.moved(best)

    def start(
        self, generator: Generator, images: Tensor, context: Context, away: Callable[[Tensor], Tensor], end: float
    ) -> Codes:
        """Where the search begins: see `nearest`."""
        return self.nearest(generator, images, context, away, end)

    def layered(self, generator: Generator, codes: Codes) -> Codes:
        """Codes with a row for each layer where they are wanted.

        Raises:
            UsageError: the generator has no layers.
        """
        if self.space == "auto":
            return codes
        if generator.space != "w+":
            raise UsageError(
                f"optimize space: expected auto for {type(generator).__name__}, whose codes have one row, found "
                f"{self.space}; set it to auto"
            )
        layers = generator.code_shape[0] if self.space == "w+" else 1
        return coded(generator, codes.values[:, :layers].expand(-1, layers, -1), codes.condition)

    def jitter(self, generator: Generator, context: Context, shape: torch.Size) -> Callable[[int], Tensor | float]:
        """step -> what is added to the codes, the same for all rows, so that they stay apart; nothing at the start."""
        if not self.noise:
            return lambda step: 0.0
        spread = prior(generator, self.starts, apart(context.seed)).values.std(0).mean()
        rng = torch.Generator().manual_seed(apart(context.seed))

        def draw(step: int) -> Tensor:
            fall = max(0.0, 1 - step / (0.75 * self.steps)) ** 2 if step else 0.0
            return self.noise * fall * spread * torch.randn(shape, generator=rng).to(spread.device)

        return draw

    def deadline(self, n: int) -> float:
        """When n images must be done."""
        return time.monotonic() + self.seconds * n if self.seconds else float("inf")

    def distance(
        self, generator: Generator, images: Tensor, known: Tensor | None = None, condition: Tensor | None = None
    ) -> Callable[[Tensor], Tensor]:
        """d(., images), (n); where pixels are not known they are taken to be met. A critic sees their conditions, too.

        Raises:
            UsageError: the critic's, of a generator without one.
        """
        if known is not None:
            away = self.distance(generator, images, condition=condition)
            return lambda made: away(torch.where(known, made, images))
        if self.critic:
            require(generator, (Contested,), by="optimize distance critic")
            assert isinstance(generator, Contested)
            critic = generator.critic
            with torch.no_grad():
                goal = critic.seen(images, condition)
            return lambda made: apart_in(critic.seen(made, condition), goal) + (made - images).square().mean((1, 2, 3))
        if self.network is None:
            return lambda made: multiscale(made, images)
        network = self.network.to(images.device)
        return lambda made: network(made, images).flatten() + PIXELS * (made - images).square().mean((1, 2, 3))

    @torch.no_grad()
    def nearest(
        self, generator: Generator, images: Tensor, context: Context, away: Callable[[Tensor], Tensor], end: float
    ) -> Codes:
        """For each image the draw whose picture is nearest, the mean draw among them, under the image's condition."""
        drawn, n = prior(generator, self.starts, apart(context.seed)).values, len(images)
        candidates = torch.cat([drawn.mean(0, keepdim=True), drawn])
        rows = 1 if context.condition is None else n  # one picture serves all images, if they have no conditions
        best, lowest = candidates[:1].expand(n, -1, -1), images.new_full((n,), torch.inf)
        for candidate in candidates:
            code = coded(generator, candidate.expand(rows, -1, -1), context.condition)
            losses = away(decode(generator, code).expand(n, -1, -1, -1))
            best = torch.where((losses < lowest)[:, None, None], candidate, best)
            lowest = torch.minimum(losses, lowest)
            if time.monotonic() > end:
                break
        return coded(generator, best, context.condition)


def apart_in(made: list[Tensor], goal: list[Tensor]) -> Tensor:
    """Mean absolute difference (n) of features, summed over the lists."""
    return torch.stack([(a - b).abs().flatten(1).mean(1) for a, b in zip(made, goal, strict=True)]).sum(0)


def multiscale(x: Tensor, y: Tensor) -> Tensor:
    """Squared error (n) of images (n, c, h, w), mean over scales: as they are, halved, again, down to SMALLEST px.

    >>> multiscale(torch.zeros(1, 3, 16, 16), torch.ones(1, 3, 16, 16)).tolist()
    [1.0]
    """
    total, scales = (x - y).square().mean((1, 2, 3)), 1
    while min(x.shape[2:]) >= 2 * SMALLEST:
        x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        total, scales = total + (x - y).square().mean((1, 2, 3)), scales + 1
    return total / scales


def perceptual(side: int, needed: bool) -> Any:
    """LPIPS's network, or None where its weights are not here or pictures of this side are too small.

    Raises:
        FgError: the same, where it is needed.
    """
    try:
        if side < LPIPS_SIDE:
            raise FgError(
                f"optimize distance: expected images of {LPIPS_SIDE} px for lpips, found {side} px; set distance pixels"
            )
        return lpips_network.load("alex")
    except FgError:
        if needed:
            raise
        return None
