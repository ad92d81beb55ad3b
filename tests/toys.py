"""Inhabitants of the contract that fg itself does not have: a GAN without an encoder, a generator with conditions."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgcli.capabilities import Conditional, Mapped, Masks
from fgcli.frechet import Gaussian, frechet
from fgcli.generators.pca import PCA
from fgcli.training.objective import Group, Objective, Phase


class ToyGAN(Mapped):
    """A GAN's generator: z to w by a small network, one w for each of two layers, 4 px then full size. No encoder.

    Args:
        image_shape: (3, size, size). codes: size of z and w. width: channels.
    """

    space = "w+"

    def __init__(self, image_shape, codes=8, width=16) -> None:
        super().__init__()
        self.image_shape, self.code_shape, self.mapped_size = image_shape, (2, codes), codes
        self.mapping = nn.Sequential(
            nn.Linear(codes, 32), nn.LeakyReLU(0.2), nn.Linear(32, codes), nn.BatchNorm1d(codes, affine=False)
        )
        self.coarse = nn.Linear(codes, width * 16)
        self.shift = nn.Linear(codes, width)
        self.ups = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=1) for _ in range(int(math.log2(image_shape[1] / 4)))
        )
        self.out = nn.Conv2d(width, 3, 1)

    def map(self, z: Tensor) -> Tensor:
        return self.mapping(z)[:, None]

    def prior(self, n, rng, truncation=1.0) -> Tensor:
        w = self.map(self.normal(n, (self.mapped_size,), rng))
        return truncation * w.expand(n, *self.code_shape)  # the mean w is 0

    def decode(self, codes, condition=None) -> Tensor:
        x = self.coarse(codes[:, 0]).unflatten(1, (-1, 4, 4))
        for up in self.ups:
            x = F.leaky_relu(up(F.interpolate(x, scale_factor=2)), 0.2)
        return torch.tanh(self.out(x * (1 + self.shift(codes[:, 1])[:, :, None, None])))


class Hinge(Objective):
    """Hinge loss with a lazy gradient penalty R1; validation is the Fréchet distance of small pictures.

    Args:
        generator: without more. gamma: weight of R1 / 2. interval: of R1. constant: an extra lazy term, only watched.
        scored: without, no validation.
    """

    def __init__(self, generator, gamma=0.1, interval=4, constant=7.0, scored=True) -> None:
        super().__init__(generator)
        c = 16
        self.critic = nn.Sequential(
            nn.Conv2d(3, c, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(c, c, 4, 2, 1), nn.LeakyReLU(0.2), nn.Flatten(),
            nn.Linear(c * (generator.image_shape[1] // 4) ** 2, 1),
        )  # fmt: skip
        self.constant, self.scored = constant, scored
        betas = (0.0, 0.99)
        self.groups = {
            "generator": Group(list(generator.parameters()), betas=betas),
            "critic": Group(list(self.critic.parameters()), rate=2.0, betas=betas),
        }
        self.phases = [
            Phase("critic", "critic", self.critic_loss, {"real": 1.0, "fake": 1.0}),
            Phase("r1", "critic", self.penalty, {"r1": gamma / 2, "constant": 0.0}, interval=interval),
            Phase("generator", "generator", self.generator_loss, {"score": 1.0}),
        ]

    def fakes(self, n, rng):
        return self.network.decode(self.network.prior(n, rng))

    def critic_loss(self, batch, rng):
        x = batch["images"]
        with torch.no_grad():
            y = self.fakes(len(x), rng)
        return {"real": F.relu(1 - self.critic(x)).mean(), "fake": F.relu(1 + self.critic(y)).mean()}

    def penalty(self, batch, rng):
        x = batch["images"].detach().requires_grad_()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(self.critic(x).sum(), x, create_graph=True)
        return {"r1": slope.square().sum((1, 2, 3)).mean(), "constant": slope.new_tensor(self.constant)}

    def generator_loss(self, batch, rng):
        return {"score": -self.critic(self.fakes(len(batch["images"]), rng)).mean()}

    def score(self):
        return SmallFrechet(self.network) if self.scored else None


class SmallFrechet:
    """Fréchet distance between validation pictures and as many draws, of 4 px means."""

    name = "the Fréchet distance of small pictures"

    def __init__(self, generator) -> None:
        self.generator, self.real, self.fake = generator, [], []

    def update(self, batch, rng):
        x = batch["images"]
        for kept, images in ((self.real, x), (self.fake, self.generator.decode(self.generator.prior(len(x), rng)))):
            kept.append(F.adaptive_avg_pool2d(images.float(), 4).flatten(1).cpu().numpy())

    def compute(self):
        return frechet(*(Gaussian(np.concatenate(rows)) for rows in (self.real, self.fake)))


class Steered(Conditional):
    """A picture that is its condition's first channels, tinted by the code.

    Args:
        image_shape: (3, h, w). codes: unused beyond 3.
    """

    def __init__(self, image_shape, codes=3) -> None:
        super().__init__()
        self.image_shape, self.code_shape = image_shape, (1, codes)
        self.condition_shape = (6, *image_shape[1:])
        self.tint = nn.Linear(codes, 3)

    def decode(self, codes, condition=None) -> Tensor:
        return torch.tanh(condition[:, :3] + self.tint(codes[:, 0])[:, :, None, None])


class Shown(Objective):
    """Squared error of a Steered picture at code 0: an objective that needs conditions.

    Args:
        generator: steered by conditions.
    """

    needs = ("images", "condition")

    def __init__(self, generator) -> None:
        super().__init__(generator, (Conditional,))
        self.groups = {"all": Group(list(generator.parameters()))}
        self.phases = [Phase("all", "all", self.loss, {"l2": 1.0})]

    def loss(self, batch, rng):
        z = self.network.prior(len(batch["images"]), rng)
        return {"l2": (self.network.decode(z, batch["condition"]) - batch["images"]).square().mean()}


class TopHalf(PCA, Masks):
    """Eigenfaces whose mask is the upper half: 0.6 above 0.5, 0.4 below.

    Args:
        image_shape, codes: as for PCA.
    """

    def mask_logits(self, codes):
        logits = torch.full((len(codes), 1, *self.image_shape[1:]), math.log(0.4 / 0.6))
        logits[:, :, : self.image_shape[1] // 2] *= -1
        return logits


class Nowhere(PCA, Masks):
    """Eigenfaces that see no face anywhere.

    Args:
        image_shape, codes: as for PCA.
    """

    def mask_logits(self, codes):
        return torch.full((len(codes), 1, *self.image_shape[1:]), -math.inf)
