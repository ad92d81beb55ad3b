"""Losses of GANs: how a generator and its critic learn from each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgcli.capabilities import Conditional, Contested, Kinds
from fgcli.codes import coded, decode
from fgcli.config.fields import Count, Share, Weight
from fgcli.errors import UsageError
from fgcli.frechet import Gaussian, frechet
from fgcli.objectives.augmenter import Augmenter
from fgcli.objectives.gmm_vae import labels_column
from fgcli.training.objective import Batch, Group, Objective, Phase, Terms

Loss = Literal["logistic", "hinge", "relativistic"]
DRAWN = 512
"""Samples that a validation looks at."""
SLOW = 0.02
"""Share of the newest step in what watches for trouble."""
PATH_DECAY = 0.01
"""Share of the newest batch in the mean path length (Karras et al. 2020, appendix B)."""
ALL_ALIKE = 0.1
"""Spread of samples, in that of real images, below which they have collapsed."""
ALL_TOLD = 0.98
"""How sure of itself a critic is, beyond which it teaches nothing more."""


class GAN(Objective):
    """A generator against its critic.

    With s the critic's scores of real images x and fakes G(w), the critic and the generator minimise

        logistic      f(-s(x)) + f(s(G))              f(-s(G))        f = softplus     (Goodfellow et al. 2014)
        hinge         max(0, 1 - s(x)) + max(0, 1 + s(G))   -s(G)                      (Lim and Ye 2017)
        relativistic  f(s(G) - s(x))                  f(s(x) - s(G))  pair by pair     (R3GAN; Huang et al. 2024)

    Every `penalty_interval` steps the critic also minimises gamma / 2 |ds/dx|^2: R1 (Mescheder et al. 2018); with
    `relativistic` the same for fakes, R2. It is taken of the images as the critic saw them, changed by the augmenter.

    Args:
        generator: with a critic.
        batch: images a step.
        loss: as above.
        gamma: weight of the penalty; "auto": 0.0002 pixels / batch, StyleGAN2-ADA's rule. 0 only for a critic whose
            weights are held.
        penalty_interval: steps between penalties.
        path_length: weight of the generator's path length regularisation (Karras et al. 2020, Eq. 4), every 4 steps.
        mixing: share of fakes whose layers from a random one on get another code, if the generator has layers.
        augment: what the critic sees is changed: "none"; "fixed", with probability `strength`; "ada", with one that
            follows how well the critic knows the photos, from `strength` on.
        strength: probability of each kind of change.
        ada_target: of the mean sign of the critic's scores of photos.
        ada_images: how many the critic sees while the probability rises from 0 to 1 at the fastest.
    """

    network: Contested
    alike = True
    capabilities: Kinds = (Contested,)
    path_mean: Tensor
    watched: Tensor

    def __init__(
        self,
        generator: Contested,
        batch: Count = 32,
        loss: Loss = "logistic",
        gamma: Weight | Literal["auto"] = "auto",
        penalty_interval: Count = 16,
        path_length: Weight = 0.0,
        mixing: Share = 0.0,
        augment: Literal["none", "fixed", "ada"] = "none",
        strength: Share = 0.0,
        ada_target: Share = 0.6,
        ada_images: Count = 500_000,
    ) -> None:
        super().__init__(generator, self.capabilities)
        if generator.classes:
            self.needs = ("images", labels_column(generator.classes, 0, 0))
        self.batch, self.loss, self.mixing = batch, loss, mixing
        verify_group(generator, batch)
        start = 0.0 if augment == "none" else strength
        self.augmenter = Augmenter(start, ada_target if augment == "ada" else None, ada_images, self.moves)
        self.register_buffer("path_mean", torch.zeros(()))
        self.register_buffer("watched", torch.tensor([1.0, 0.0]))  # spread of the samples, the critic's certainty
        own = set(map(id, self.opponent()))
        self.groups = {
            "critic": Group(self.opponent(), averaged=self.judged),
            "generator": Group([p for p in generator.parameters() if id(p) not in own]),
        }
        seen = {"certainty": 0.0, "sign": 0.0, "p": 0.0}
        weight = auto_gamma(generator.image_shape, batch) if gamma == "auto" else gamma
        self.phases = [Phase("critic", "critic", self.critic_loss, {"gan": 1.0} | seen, after=self.settle)]
        if weight:
            penalty = Phase("penalty", "critic", self.penalty, {"penalty": weight / 2}, interval=penalty_interval)
            self.phases.append(penalty)
        elif not generator.critic.smooth:
            kind = type(generator.critic).__name__
            raise UsageError(
                f"train.objective.gamma: expected above 0, found 0: {kind} diverges without a gradient penalty; "
                "set it to auto"
            )
        self.phases.append(
            Phase("generator", "generator", self.generator_loss, {"gan": 1.0, "spread": 0.0}, after=self.settle_spread)
        )
        if path_length:
            weights = {"path": path_length, "length": 0.0}
            self.phases.append(Phase("path", "generator", self.path, weights, interval=4, after=self.settle_path))

    judged = False
    """Whether the critic's average is of use, as where it encodes."""
    moves = True
    """Whether the augmenter may move images."""

    def opponent(self) -> list[nn.Parameter]:
        """What the critic's Adam moves."""
        return list(self.network.critic.parameters())

    # ---- what is drawn: for the whole batch, of which each process takes its places

    def normal(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """z ~ N(0, I), (n, mapped_size), the rows of this process."""
        z = self.network.normal(self.batch, (self.network.mapped_size,), rng)
        return z[batch["places"].to(z.device)]

    def labels(self, batch: Batch, rng: torch.Generator) -> Tensor | None:
        """Classes of fakes (n), None if the generator knows none."""
        drawn = self.network.labels(self.batch, rng)
        return None if drawn is None else drawn[batch["places"].to(drawn.device)]

    def codes(self, batch: Batch, rng: torch.Generator, labels: Tensor | None) -> Tensor:
        """w (n, 1 or l, d) from the prior, some of them mixed."""
        w, layers = self.network.map(self.normal(batch, rng), labels), self.network.code_shape[0]
        if not self.mixing or layers == 1:
            return w
        chances = torch.rand(self.batch, 2, generator=rng, device=rng.device)[batch["places"].to(rng.device)].to(w)
        first = torch.where(chances[:, 0] < self.mixing, 1 + chances[:, 1] * (layers - 1), layers).floor()  # (n)
        late = torch.arange(layers, device=w.device) >= first[:, None]  # (n, l)
        return torch.where(late[:, :, None], self.network.map(self.normal(batch, rng), labels), w)

    def seen(self, images: Tensor, batch: Batch, rng: torch.Generator) -> Tensor:
        """Images as the critic sees them."""
        return self.augmenter(images, rng, self.batch, batch["places"])

    def fakes(self, batch: Batch, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor | None]:
        """Codes (n, 1 or l, d), their images, and their classes."""
        labels = self.labels(batch, rng)
        w = self.codes(batch, rng, labels)
        return w, self.made(w, batch, rng), labels

    def made(self, codes: Tensor, batch: Batch, rng: torch.Generator) -> Tensor:
        """Images of codes."""
        return self.network.draft(codes, rng)

    def scores(self, images: Tensor, labels: Tensor | None, batch: Batch) -> Tensor:
        """The critic's scores (n)."""
        return self.network.critic(images, labels)

    # ---- phases

    def critic_loss(self, batch: Batch, rng: torch.Generator) -> Terms:
        """The loss, and what is watched: how sure the critic is, the mean sign of real scores, the augmenter's p."""
        with torch.no_grad():
            _, images, labels = self.fakes(batch, rng)
        real = self.scores(self.seen(batch["images"], batch, rng), batch.get("labels"), batch)
        fake = self.scores(self.seen(images, batch, rng), labels, batch)
        return {"gan": critic_loss(self.loss, real, fake)} | self.watch(real, fake)

    def watch(self, real: Tensor, fake: Tensor) -> Terms:
        """Terms of weight 0 of the critic's phase."""
        real, fake = real.detach(), fake.detach()
        certainty = real.sigmoid().mean() - fake.sigmoid().mean()
        return {"certainty": certainty, "sign": real.sign().mean(), "p": self.augmenter.p.clone()}

    def generator_loss(self, batch: Batch, rng: torch.Generator) -> Terms:
        """The loss, and the spread of the samples in that of the photos."""
        _, images, labels = self.fakes(batch, rng)
        return {"gan": self.fooled(images, labels, batch, rng), "spread": spread(images) / spread(batch["images"])}

    def fooled(self, images: Tensor, labels: Tensor | None, batch: Batch, rng: torch.Generator) -> Tensor:
        """The generator's loss of its fakes (n, c, h, w)."""
        real = None
        if self.loss == "relativistic":
            with torch.no_grad():
                real = self.scores(self.seen(batch["images"], batch, rng), batch.get("labels"), batch)
        return generator_loss(self.loss, self.scores(self.seen(images, batch, rng), labels, batch), real)

    def penalty(self, batch: Batch, rng: torch.Generator) -> Terms:
        """|ds/dx|^2, mean over real images; with `relativistic` plus that of fakes."""
        total = self.slope(batch["images"], batch.get("labels"), batch, rng)
        if self.loss == "relativistic":
            with torch.no_grad():
                _, images, labels = self.fakes(batch, rng)
            total = total + self.slope(images, labels, batch, rng)
        return {"penalty": total}

    def slope(self, images: Tensor, labels: Tensor | None, batch: Batch, rng: torch.Generator) -> Tensor:
        """Mean squared norm of the scores' gradient by the images, in float32."""
        x = self.seen(images, batch, rng).detach().float().requires_grad_()
        with torch.enable_grad(), torch.autocast(x.device.type, enabled=False):
            (gradient,) = torch.autograd.grad(self.scores(x, labels, batch).sum(), x, create_graph=True)
        return gradient.square().sum((1, 2, 3)).mean()

    def path(self, batch: Batch, rng: torch.Generator) -> Terms:
        """(|J^T y| - a)^2 with y ~ N(0, I) an image, J = dG/dw, a the mean of |J^T y| so far (Eq. 4)."""
        w = self.codes(batch, rng, self.labels(batch, rng)).expand(-1, self.network.code_shape[0], -1)
        with torch.enable_grad(), torch.autocast(w.device.type, enabled=False):
            images = self.network.draft(w, rng)
            noise = self.network.normal(self.batch, images.shape[1:], rng)[batch["places"].to(w.device)]
            pixels = images.shape[2] * images.shape[3]
            (pulled,) = torch.autograd.grad((images * noise).sum() / pixels**0.5, w, create_graph=True)
        lengths = pulled.square().sum(2).mean(1).sqrt()
        mean = self.path_mean.lerp(lengths.detach().mean(), PATH_DECAY)
        return {"path": (lengths - mean).square().mean(), "length": lengths.detach().mean()}

    # ---- what is kept between steps

    def settle(self, values: dict[str, float]) -> None:
        """The augmenter's p, and what watches for trouble."""
        self.augmenter.settle(values["sign"], self.batch)
        self.watched[1].lerp_(self.watched.new_tensor(values["certainty"]), SLOW)

    def settle_spread(self, values: dict[str, float]) -> None:
        """What watches for collapse."""
        self.watched[0].lerp_(self.watched.new_tensor(values["spread"]), SLOW)

    def settle_path(self, values: dict[str, float]) -> None:
        """The mean path length."""
        self.path_mean.lerp_(self.path_mean.new_tensor(values["length"]), PATH_DECAY)

    def trouble(self) -> str:
        """Collapse, or a critic that teaches nothing."""
        varied, certainty = self.watched.tolist()
        if varied < ALL_ALIKE:
            return (
                f"the samples have collapsed, they differ {varied:.2f} times as much as photos; lower "
                "train.learning_rate, raise objective.gamma or start with another seed"
            )
        if certainty > ALL_TOLD:
            return (
                f"the critic tells real from made with {certainty:.0%} certainty and teaches nothing; raise "
                "objective.gamma, set objective.augment=ada or lower generator.critic_width"
            )
        return ""

    def score(self) -> Look:
        """Fréchet distance of colours and edges."""
        return Look(self.network)


class Look:
    """Fréchet distance of colours and edges between validation images and DRAWN samples.

    Where a generator wants conditions the samples are drawn under those of the first of these images.

    The features of an image are its colours on a grid of 4 x 4 and, in each of these cells, how strong its edges are in
    8 directions: 48 + 128 numbers. They see whether a face has its parts in their places; means of pixels alone do not.
    """

    name = "the Fréchet distance of colours and edges"

    def __init__(self, generator: Contested) -> None:
        self.generator = generator
        self.real: list[np.ndarray] = []
        self.conditions: list[Tensor] = []
        self.rng: torch.Generator | None = None

    def update(self, batch: Batch, rng: torch.Generator) -> None:
        """Sees one batch."""
        self.rng = self.rng or rng
        self.real.append(look(batch["images"]))
        if isinstance(self.generator, Conditional) and sum(map(len, self.conditions)) < DRAWN:  # more are not drawn
            self.conditions.append(batch[self.generator.condition_column])

    def compute(self) -> float:
        """The distance."""
        assert self.rng is not None
        drawn = [self.generator.prior(64, self.rng) for _ in range(DRAWN // 64)]
        under: list[Tensor | None] = [None] * len(drawn)
        if self.conditions:
            pool = torch.cat(self.conditions)
            under = list(pool[torch.arange(DRAWN) % len(pool)].split(64))
        pairs = zip(drawn, under, strict=True)
        fake = [look(decode(self.generator, coded(self.generator, w, condition))) for w, condition in pairs]
        return frechet(Gaussian(np.concatenate(self.real)), Gaussian(np.concatenate(fake)))


def look(images: Tensor) -> np.ndarray:
    """Colours and edges (n, 16 c + 128) float64 of images (n, c, h, w) in [-1, 1]."""
    images = images.float()
    grey = images.mean(1, keepdim=True)
    x, y = grey[..., 1:-1, 2:] - grey[..., 1:-1, :-2], grey[..., 2:, 1:-1] - grey[..., :-2, 1:-1]
    angle = torch.atan2(y, x) / (2 * np.pi) * 8  # in [-4, 4]: eight directions
    strength, place = (x.square() + y.square()).sqrt(), torch.arange(-4.0, 4.0, device=images.device)
    share = (1 - ((angle - place[:, None, None] + 4) % 8 - 4).abs()).clamp_min(0)  # (n, 8, h, w): of both neighbours
    cells = [F.adaptive_avg_pool2d(images, 4), F.adaptive_avg_pool2d(strength * share, 4)]
    return torch.cat([c.flatten(1) for c in cells], 1).cpu().double().numpy()


def critic_loss(loss: Loss, real: Tensor, fake: Tensor) -> Tensor:
    """Mean over the batch of the critic's loss of scores (n).

    >>> float(critic_loss("hinge", torch.tensor([2.0, 0.0]), torch.tensor([-1.0, 1.0])))
    1.5
    """
    if loss == "hinge":
        return (F.relu(1 - real) + F.relu(1 + fake)).mean()
    if loss == "relativistic":
        return F.softplus(fake - real).mean()
    return (F.softplus(-real) + F.softplus(fake)).mean()


def generator_loss(loss: Loss, fake: Tensor, real: Tensor | None) -> Tensor:
    """Mean over the batch of the generator's loss of the scores (n) of fakes; real scores for "relativistic" alone."""
    if loss == "hinge":
        return -fake.mean()
    return F.softplus(-fake if real is None else real - fake).mean()


def auto_gamma(image_shape: tuple[int, int, int], batch: int) -> float:
    """0.0002 pixels / batch (StyleGAN2-ADA's rule for weights of R1).

    >>> auto_gamma((3, 256, 256), 16)
    0.8192
    """
    return 0.0002 * image_shape[1] * image_shape[2] / batch


def spread(images: Tensor) -> Tensor:
    """How much images (n, c, h, w) differ: standard deviation of their means on 4 x 4 cells, mean over cells."""
    return F.adaptive_avg_pool2d(images.detach().float(), 4).std(0).mean()


def verify_group(generator: Contested, batch: int) -> None:
    """Raises UsageError for a batch that is no multiple of the images that the critic compares."""
    group = generator.critic.group
    if batch % group:
        kind = type(generator.critic).__name__
        raise UsageError(
            f"train.batch: expected a multiple of {group}, the group in which {kind} compares images, found {batch}; "
            "choose one"
        )


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Inside the block gradients flow through the module, and none into its weights."""
    held = [p for p in module.parameters() if p.requires_grad]
    for parameter in held:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in held:
            parameter.requires_grad_(True)
